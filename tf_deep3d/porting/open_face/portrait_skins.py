"""Skins for whole heads, lifted one by one from portraits: what the open benchmark's people wear.

A portrait is reconstructed and its texture, without its light, is brought to the vertices of the face. How light a
skin is in truth no single photo says, nor in light of which colour it stood: its luminance is set, and its mean colour
is that of the model's skins of that luminance. Highlights, shade and hair that a reconstruction takes for skin are
levelled. Around the face, skin of the model goes on in the same colour; eyes, teeth and tongue are the model's.

Letters: V vertices of the head, F of them are the face's.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, painting
from tf_deep3d.face.head import Head
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.reconstruction.reconstructor import FaceReconstructor

REFINE = 20  # steps of the fit to a portrait
FADE = 0.25  # dm inside the face's border over which the portrait's colours end
DARKEST = 0.01  # albedo, for logarithms
EVEN, PURE = 0.25, 0.08  # of a logarithm, by which skin strays at most from its mean brightness, and in hue
OWN = ("tongue", "upper teeth", "lower teeth", "eyes", "throat")  # parts that keep the model's colours


def skins(
    photos: Sequence[Path], lightness: Sequence[float], model: MorphableModel, head: Head
) -> Iterator[np.ndarray]:
    """Albedo of heads, [V, 3] in [0, 1], one for each portrait.

    Args:
      photos: portraits of one face each, seen from the front.
      lightness: luminance of the skin of each.
      model: `MorphableModel` of the face, at the head's level of detail.
      head: `Head`.

    Raises:
      InputError: if no face is found on a portrait.
    """
    reconstructor = FaceReconstructor.from_preset(refine=REFINE)
    inner = inside(model)
    for number, (photo, wanted) in enumerate(zip(photos, lightness, strict=True)):
        found = reconstructor.reconstruct(photo)
        if not found:
            raise InputError(f"a face must be seen on {photo}. Received: none")
        fine, texture = found[0].model, found[0].texture
        assert texture is not None, "a reconstructor paints"
        texture = to_uint8(texture)
        colors = painting.paint(fine.mean_shape, fine.triangles, fine.uv, fine.uv_triangles, texture, 0)[2] / 255
        complexion = head.complexions[number % len(head.complexions)]
        yield continued(head, model, colors[: head.face], wanted, inner, complexion)


def continued(
    head: Head, model: MorphableModel, colors: np.ndarray, wanted: float, inner: np.ndarray, complexion: np.ndarray
) -> np.ndarray:
    """Albedo [V, 3] of a whole head.

    Args:
      head, model: see `skins`.
      colors: [F, 3] in [0, 1], of the face.
      wanted: luminance of the skin.
      inner: [F] in [0, 1], how much the face's colours count.
      complexion: [Kt], albedo coefficients of what the face's colours do not show.
    """
    base = np.clip(faces.albedo(head.whole, complexion[None])[0], DARKEST, 1)
    skin = model.regions["skin"] & (inner > 0)
    colors = levelled(model, np.maximum(colors, DARKEST) / np.median(colors[skin], axis=0))
    colors = np.clip(colors * tone(model, wanted), DARKEST, 1)
    share = np.zeros((len(base), 1))
    share[: head.face, 0] = inner
    own = np.zeros(len(base), bool)
    own[head.whole.triangles[np.any([head.parts[name] for name in OWN], axis=0)]] = True
    own[: head.face] |= model.regions["eyes"] | model.regions["inner_mouth"]
    around = np.log(base) + np.median(np.log(colors[skin]), axis=0) - np.median(np.log(base[: head.face][skin]), axis=0)
    lifted = around.copy()
    lifted[: head.face] = np.log(colors)
    found = np.exp(share * lifted + (1 - share) * around)
    return np.clip(np.where(own[:, None], base, found), 0, 1)


def levelled(model: MorphableModel, colors: np.ndarray) -> np.ndarray:
    """Colours [F, 3] over that of the skin, less their extremes.

    Nothing is lighter by more than `EVEN`, and only brows, lips, lids and nostrils are darker, or differ in hue by more
    than `PURE`.
    """
    shade = np.log(colors).mean(1, keepdims=True)
    hue = np.log(colors) - shade
    own = (model.regions["inner_face"] & ~model.regions["skin"])[:, None]
    shade = np.where(own & (shade < 0), shade, EVEN * np.tanh(shade / EVEN))
    return np.exp(shade + np.where(own, hue, PURE * np.tanh(hue / PURE)))


def tone(model: MorphableModel, luminance: float) -> np.ndarray:
    """The colour [3] of the model's skins of a luminance: the first albedo mode is the skin's tone."""
    skin = model.regions["skin"]
    mean, mode = (np.mean(each[skin], axis=0) for each in (model.mean_albedo, model.albedo_basis[0]))
    return mean + (luminance - mean @ LUMINANCE) / (mode @ LUMINANCE) * mode


def inside(model: MorphableModel) -> np.ndarray:
    """[F] in [0, 1]: 1 on the face, 0 at its border."""
    place = model.mean_shape
    distance = KDTree(place[metrics.border(model.triangles)]).query(place)[0]
    return np.clip(distance / FADE, 0, 1)
