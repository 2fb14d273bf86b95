"""What a photo shows of a reconstructed face: its texture, pictures to judge it by, and a page to look at it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from typing import Any

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
from tf_deep3d.texture.texture import Texture
from tf_deep3d.texture.views import View, extract_view, texture_size

OVERLAY = "overlay.png"
MAKERS = ("numpy", "ai-edge-litert", "keras")  # packages whose versions are told with results


def paint(
    portrait: Portrait,
    atlases: Callable[[int], Atlas],
    shown: MorphableModel | None,
    kind: str,
    keep_everything: bool,
    found: Reconstruction,
) -> Appearance:
    """The `Appearance` of a face.

    Args:
      portrait: of the photo.
      atlases: `atlas.unwrap` of the reconstruction's model, a function of the size.
      shown: the model at the level of detail of the page, or None for no page.
      kind: the texture that meshes and page show, one of `face_files.TEXTURES`.
      keep_everything: take what lies before the face into the texture, too.
      found: the face.
    """
    atlas = atlases(texture_size(found.model, found.face, portrait.crop.transform.scale))
    seen = photograph(portrait, atlas, found, keep_everything)
    light = texture.light_on(found.face, found.coefficients.illumination[0])
    skin = texture.complete([seen], found.face.albedo[0], atlas, light)
    textures = textures_of(skin)
    strip = overlay(portrait, found.face, found.model.triangles)
    pages = {} if shown is None else {view.VIEW: view.face_page(found, shown, textures[kind], strip)}
    report = texture_report(skin, atlas, kind) | {"left_out": seen.left_out}
    return Appearance(textures, kind, {OVERLAY: strip}, pages, report)


def textures_of(skin: Texture) -> dict[str, np.ndarray]:
    """The textures of `face_files.TEXTURES`."""
    return {"photo": skin.image, "albedo": skin.albedo}


def texture_report(skin: Texture, atlas: Atlas, kind: str) -> dict[str, Any]:
    """What JSON tells of a texture that meshes show as `kind`."""
    shown = float(skin.weight.reshape(-1)[atlas.texels].mean())
    return {"meshes_show": kind, "size_px": atlas.size, "share_from_photo": round(shown, 4)}


def overlay(portrait: Portrait, face: Face, triangles: np.ndarray, scale: int = 2) -> np.ndarray:
    """The panels [H, W, 3] uint8 of `pictures.overlay_strip` with the detected landmarks.

    Args:
      portrait: of the photo.
      face: in the camera of the aligned photo.
      triangles: [T, 3] int, of the face.
      scale: px of a panel over px of the aligned photo.
    """
    return pictures.overlay_strip(portrait.crop.image, face, triangles, scale, portrait.landmarks())


def photograph(portrait: Portrait, atlas: Atlas, found: Reconstruction, keep_everything: bool = False) -> View:
    """What the photo of a `Portrait` shows of its face; arguments as of `paint`."""
    transform = portrait.crop.transform
    from_window = replace(transform, translation=tuple(transform.apply(np.array(portrait.corner, np.float64))))
    return extract_view(portrait.window, found.model, found.face, found.camera, from_window, atlas, keep_everything)


def versions() -> dict[str, str]:
    """Versions of what made the results, name -> version."""
    found = {"tf_deep3d": tf_deep3d.__version__}
    for name in MAKERS:
        with suppress(metadata.PackageNotFoundError):  # what is not installed has made nothing
            found[name] = metadata.version(name)
    return found
