"""What a photo shows of a reconstructed face: its texture, pictures to judge it by, and a page to look at it."""

from dataclasses import replace

import keras
import numpy as np

import tf_deep3d
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.face.reconstruction import Face
from tf_deep3d.reconstructed import Appearance, Reconstruction
from tf_deep3d.reconstruction import view
from tf_deep3d.reconstruction.portraits import Portrait
from tf_deep3d.rendering import pictures
from tf_deep3d.texture import texture
from tf_deep3d.texture.atlas import Atlas
from tf_deep3d.texture.views import View, extract_view

OVERLAY = "overlay.png"


def paint(portrait: Portrait, atlas: Atlas, shown: MorphableModel | None, found: Reconstruction) -> Appearance:
    """The `Appearance` of a face.

    Args:
      portrait: of the photo.
      atlas: `atlas.unwrap` of the reconstruction's model.
      shown: the model at the level of detail of the page, or None for no page.
      found: the face.
    """
    skin = texture.complete([photograph(portrait, atlas, found)], found.face.albedo[0], atlas)
    strip = overlay(portrait, found.face, found.model.triangles)
    pages = {} if shown is None else {view.VIEW: view.face_page(found, shown, skin.image, strip)}
    return Appearance(skin.image, {OVERLAY: strip}, pages)


def overlay(portrait: Portrait, face: Face, triangles: np.ndarray, scale: int = 2) -> np.ndarray:
    """The panels [H, W, 3] uint8 of `pictures.overlay_strip` with the detected landmarks.

    Args:
      portrait: of the photo.
      face: in the camera of the aligned photo.
      triangles: [T, 3] int, of the face.
      scale: px of a panel over px of the aligned photo.
    """
    return pictures.overlay_strip(portrait.crop.image, face, triangles, scale, portrait.landmarks())


def photograph(portrait: Portrait, atlas: Atlas, found: Reconstruction) -> View:
    """What the photo of a `Portrait` shows of its face; arguments as of `paint`."""
    transform = portrait.crop.transform
    from_window = replace(transform, translation=tuple(transform.apply(np.array(portrait.corner, np.float64))))
    return extract_view(portrait.window, found.model, found.face, found.camera, from_window, atlas)


def versions() -> dict[str, str]:
    """Versions of what made the results, name -> version."""
    return {"tf_deep3d": tf_deep3d.__version__, "keras": keras.__version__, "numpy": np.__version__}
