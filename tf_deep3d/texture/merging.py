"""One texture from all photos of a person, photo by photo, in the light of none of them.

What a photo shows is divided by the light that was found for it, and compared with the model's albedo in the logarithm
of the colours. That difference is taken apart in two bands (Burt and Adelson, "A Multiresolution Spline With
Application to Image Mosaics", 1983). The coarse one, what is left of the photo's light and the person's complexion, is
averaged over wide and smooth weights, so that no border of a photo shows in it; a photo that contradicts the others
somewhere, by a hand or a collar, counts less there. The fine one, detail, comes from the photos that see a texel best,
so that it stays sharp. The eyes come from one photo, because they look somewhere.

Letters: N photos, S side of the texture in px, h, w size of the coarse band.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tf_deep3d.face import Face, lighting
from tf_deep3d.texture import fields, texture
from tf_deep3d.texture.atlas import Atlas, at_texels, on_texture
from tf_deep3d.texture.texture import Texture
from tf_deep3d.texture.views import View

SHARPNESS = 8  # power of the weights of the fine band: a photo that is trusted half as much counts 1/256
REACH = 4.0  # cells of the coarse band, standard deviation of the smoothing of its weights
SHADES = (0.15, 0.5)  # of the photo's median light, between which a texel rises from unusable to well lit
DISAGREEMENT = 0.3  # of log colours from what the photos agree on, at which a photo counts half
ROUNDS = 3  # in which they agree


class _Layer(NamedTuple):
    """What one photo adds to the model's albedo, in logarithms.

    Attributes:
      difference: [S, S, 3] float16.
      weight: [S, S, 1] float16 in [0, 1], how well it shows each texel, without its importance.
      coarse: [h, w, 3], the coarse band of the difference, filled where the photo shows nothing.
      reach: [h, w, 1], weight of the coarse band, with the photo's importance.
      importance: of the photo.
    """

    difference: np.ndarray
    weight: np.ndarray
    coarse: np.ndarray
    reach: np.ndarray
    importance: float


def reflectance(view: View, face: Face, illumination: np.ndarray, atlas: Atlas) -> View:
    """What a photo shows, without its light.

    Args:
      view: `View`.
      face: `Face` of NumPy arrays; its first face is taken.
      illumination: [C, 9] of the photo.
      atlas: `Atlas`.

    Returns:
      `View` of albedo, not clipped; texels in deep shade have less weight.
    """
    normals, illumination = np.asarray(face.normals)[:1], np.asarray(illumination)[None]
    light = at_texels(atlas, lighting.irradiance(normals, illumination)[0])
    strength = light @ lighting.LUMINANCE.astype(np.float32) if light.shape[1] == 3 else light[:, 0]
    seen = view.weight > 0
    usual = np.median(strength[seen]) if seen.any() else 1.0
    if usual <= 0:  # no light explains this photo
        return view._replace(weight=np.zeros_like(view.weight))
    weight = view.weight * fields.ramp(strength / usual, SHADES)
    return view._replace(colors=view.colors / np.maximum(light, SHADES[0] * usual), weight=weight)


def merge(views: Iterable[tuple[View, float]], albedo: np.ndarray, atlas: Atlas, mirror: bool = True) -> Texture:
    """Merges what photos show and completes the rest.

    Args:
      views: iterable of at least one (`View` of `reflectance`, importance of the photo in (0, 1]); read once,
        and about 8 MB are kept of each.
      albedo: [V, 3] RGB in [0, 1], of the model's vertices.
      atlas: `Atlas`.
      mirror: complete what no photo shows from the other side of the face before the albedo.

    Returns:
      `Texture`.
    """
    canvas = texture.prepare_canvas(albedo, atlas)
    seen, layers, eyes, best = np.zeros_like(canvas.covered), [], None, 0.0
    for view, importance in views:
        shown = on_texture(atlas, np.log(view.colors + texture.DARKEST))
        known = texture.trust(shown, on_texture(atlas, view.weight), canvas)
        seen = np.maximum(seen, known)
        weight = known * on_texture(atlas, view.facing)
        layers.append(_layer(shown - canvas.source, known, weight, importance))
        score = importance * float(weight[canvas.eyes].sum())
        if score > best:
            eyes, best = (shown[canvas.eyes], known[canvas.eyes]), score
    coarse, agreement = agree(np.stack([x.coarse for x in layers]), np.stack([x.reach for x in layers]))
    value = canvas.source + fields.grow(coarse, *seen.shape[:2]) + _details(layers, agreement)
    if eyes is not None:
        looks, sure = eyes
        value[canvas.eyes] += sure * (looks - value[canvas.eyes])
    return texture.finish(value, seen, canvas, atlas, mirror)


def agree(coarse: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What photos agree on, and how far each of them does: a mean whose weights fall with the distance from it.

    The first of `ROUNDS` starts from one colour for all, so that of two photos the one counts that looks like skin.

    Args:
      coarse: [N, h, w, 3], logarithms of colours over those expected.
      reach: [N, h, w, 1], weights.

    Returns:
      [h, w, 3], and [N, h, w, 1] in (0, 1].
    """
    common = np.sum(coarse * reach, axis=(0, 1, 2)) / max(float(reach.sum()), 1e-30)
    agreement = np.ones_like(reach)
    for _ in range(ROUNDS):
        distance = np.linalg.norm(coarse - common, axis=-1, keepdims=True)
        agreement = 1.0 / (1.0 + np.square(distance / DISAGREEMENT))
        weights = ndimage.gaussian_filter(agreement * reach, (0, REACH, REACH, 0))
        common = np.sum(coarse * weights, axis=0) / np.maximum(weights.sum(0), 1e-30)
    return common, agreement


def _layer(difference: np.ndarray, known: np.ndarray, weight: np.ndarray, importance: float) -> _Layer:
    """`_Layer` of a difference [S, S, 3] that is `known` [S, S, 1], and its weight [S, S, 1]."""
    reach = fields.shrink(weight, weight)
    coarse = fields.pull_push(*fields.shrink(difference, known))
    return _Layer(
        difference.astype(np.float16), weight.astype(np.float16), coarse, importance * reach[0] * reach[1], importance
    )


def _details(layers: list[_Layer], agreement: np.ndarray) -> np.ndarray:
    """The fine band [S, S, 3], of the `_Layer`s that see a texel best and agree [N, h, w, 1] with the others."""
    size = layers[0].weight.shape[:2]
    total, details = np.zeros((*size, 1), np.float32), np.zeros((*size, 3), np.float32)
    for layer, agreed in zip(layers, agreement, strict=True):
        weight = np.float32(layer.weight) * fields.grow(agreed, *size) * layer.importance
        weight **= SHARPNESS
        details += weight * (layer.difference - fields.grow(layer.coarse, *size))
        total += weight
    return details / np.maximum(total, 1e-30)


def expose(skin: Texture, illumination: np.ndarray, importance: np.ndarray) -> Texture:
    """A `Texture` of albedo as bright as the photos: an even light of their mean strength from the front.

    Args:
      skin: `Texture`.
      illumination: [P, C, 9] of the photos.
      importance: [P], weights of the mean.
    """
    front = np.tile(np.array([0, 0, 1], np.float32), (len(illumination), 1, 1))
    strength = np.average(lighting.irradiance(front, illumination).mean((1, 2)), weights=importance)
    return skin._replace(image=np.clip(skin.image * max(strength, SHADES[0]), 0.0, 1.0))
