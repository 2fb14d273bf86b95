"""One texture from all photos of a person, photo by photo, in the light of none of them.

What a photo shows is divided by the light that was found for it, and compared with the model's albedo in the logarithm
of the colours. That difference is taken apart in two bands (Burt and Adelson, "A Multiresolution Spline With
Application to Image Mosaics", 1983). The coarse one, what is left of the photo's light and the person's complexion, is
averaged over wide and smooth weights, so that no border of a photo shows in it; a photo that contradicts the median of
the photos somewhere, by a hand or a collar, is outvoted there. The fine one, detail, comes from the photos that see a
texel best, so that it stays sharp. What moves, both eyes and the mouth, comes from one photo each, the sharpest of
those that are told to show it well, and is set into the rest as a membrane.

Letters: N photos, M texels, S side of the texture in px, s of its coarse atlas, h, w size of the coarse band.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tf_deep3d.face import Face, geometry, lighting
from tf_deep3d.texture import fields, texture
from tf_deep3d.texture.atlas import Atlas, at_texels, on_texture
from tf_deep3d.texture.texture import Texture
from tf_deep3d.texture.views import View

SHARPNESS = 8  # power of the weights of the fine band: a photo that is trusted half as much counts 1/256
REACH = 4.0  # cells of the coarse band, standard deviation of the smoothing of its weights
SHADES = (0.15, 0.5)  # of the photo's median light, between which a texel rises from unusable to well lit
DISAGREEMENT = 0.3  # of log colours from what the photos agree on, at which a photo counts a quarter
ROUNDS = 3  # in which they agree
PARTS = ("eyes", "mouth")  # of `occlusion.Zones`, from one photo each
OUTVOTED = 0.9  # of the largest agreement with what most photos show, below which one gives no part
FOLDS = 20.0  # texels of the coarse atlas, standard deviation of the smoothing that leaves none
BORDER = 3.0  # texels of the coarse atlas, over which a part goes over into the rest


class Shot(NamedTuple):
    """One photo of many.

    Attributes:
      view: `View` of `reflectance`.
      importance: of the photo, in (0, 1].
      parts: name of one of `PARTS` -> how well the photo shows it, 0 where it does not; 1 for those not named.
    """

    view: View
    importance: float
    parts: Mapping[str, float] = {}


class _Layer(NamedTuple):
    """What one photo adds to the model's albedo, in logarithms.

    Attributes:
      difference: [M, 3] float16.
      small: [s, s, 3], the same on the coarse atlas.
      known: [s, s, 1] in [0, 1], where it is trusted.
      weight: [s, s, 1] in [0, 1], how well it shows each texel, without its importance.
      coarse: [h, w, 3], the coarse band of the difference, filled where the photo shows nothing.
      reach: [h, w, 1], weight of the coarse band, with the photo's importance.
      importance: of the photo.
    """

    difference: np.ndarray
    small: np.ndarray
    known: np.ndarray
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
    light = at_texels(atlas, texture.light_on(face, illumination))
    strength = light @ lighting.LUMINANCE.astype(np.float32)
    seen = view.weight > 0
    usual = np.median(strength[seen]) if seen.any() else 1.0
    if usual <= 0:  # no light explains this photo
        return view._replace(weight=np.zeros_like(view.weight))
    weight = view.weight * fields.ramp(strength / usual, SHADES)
    common, stronger, tint = texture.taken_apart(_unfolded(light, face, illumination, atlas))
    light = common * np.exp(np.clip(stronger, -texture.SHADES, texture.SHADES) + tint)
    return view._replace(colors=view.colors / np.maximum(light, SHADES[0] * usual), weight=weight)


def _unfolded(light: np.ndarray, face: Face, illumination: np.ndarray, atlas: Atlas) -> np.ndarray:
    """The light [M, 3] on the texels, but on `PARTS` that on the surface without folds.

    A fitted light does not know the folds of lids and lips, which another expression has moved, and divided by their
    shade they would glow.
    """
    covered = on_texture(atlas.coarse, np.ones(len(atlas.coarse.texels), np.float32))
    normals = on_texture(atlas.coarse, at_texels(atlas.coarse, np.asarray(face.normals)[0]))
    zone = np.any(list(_zones(atlas).values()), axis=0)
    away = ndimage.distance_transform_edt(~zone[..., 0]).astype(np.float32)[..., None]
    folded = texture.at_fine(1.0 - fields.ramp(away, (0.0, FOLDS)), atlas)
    chosen = np.flatnonzero(folded[:, 0] > 0)
    smooth = geometry.normalize(texture.at_fine(fields.blurred(normals, covered, FOLDS), atlas, chosen))
    light = light.copy()
    unfolded = lighting.irradiance(smooth[None], np.asarray(illumination)[None])[0]
    light[chosen] += folded[chosen] * (unfolded - light[chosen])
    return light


def merge(shots: Iterable[Shot], albedo: np.ndarray, atlas: Atlas, mirror: bool = True) -> Texture:
    """Merges what photos show and completes the rest.

    Args:
      shots: at least one `Shot`; read once, and about 8 MB are kept of each at 1024 texels.
      albedo: [V, 3] RGB in [0, 1], of the model's vertices.
      atlas: `Atlas`.
      mirror: complete what no photo shows from the other side of the face before the albedo.

    Returns:
      `Texture` of albedo.
    """
    canvas = texture.prepare_canvas(albedo, atlas)
    base = texture.logarithms(at_texels(atlas, albedo))
    zones = _zones(atlas)
    layers: list[_Layer] = []
    worth: list[list[float]] = []  # of each photo for each of `PARTS`
    for view, importance, parts in shots:
        layer = _layer(np.log(view.colors + texture.DARKEST) - base, view, importance, canvas, atlas)
        layers.append(layer)
        worth.append([parts.get(name, 1.0) * importance * _clarity(layer, zones[name]) for name in PARTS])
    coarse, agreement = agree(np.stack([x.coarse for x in layers]), np.stack([x.reach for x in layers]))
    size = canvas.covered.shape[:2]
    value = base + texture.at_fine(fields.grow(coarse, *size), atlas) + _details(layers, agreement, atlas)
    seen = np.maximum.reduce([layer.known for layer in layers])
    for name, values in zip(PARTS, zip(*worth, strict=True), strict=True):
        share, _ = fields.shrink(zones[name].astype(np.float32), np.ones(zones[name].shape, np.float32))
        usual = (agreement * share).sum(axis=(1, 2, 3)) / max(float(share.sum()), 1e-30)
        least = OUTVOTED * usual.max() if len(layers) > 2 else 0.0  # goggles are sharp, too
        number = int(np.argmax(values * (usual >= least)))
        if values[number] > 0:
            value, seen = _set_in(value, seen, layers[number], base, zones[name], atlas)
    return texture.finish(value, seen, canvas, albedo, atlas, mirror)


def _zones(atlas: Atlas) -> dict[str, np.ndarray]:
    """[s, s, 1] bool of each of `PARTS`."""
    parts = {name: at_texels(atlas.coarse, atlas.zones.parts[name][:, None]) for name in PARTS}
    return {name: on_texture(atlas.coarse, part) > 0.5 for name, part in parts.items()}


def _clarity(layer: _Layer, zone: np.ndarray) -> float:
    """How much of a zone [s, s, 1] a photo shows, times how sharp it is there."""
    inside = zone * layer.weight
    if not zone.any() or not inside.any():
        return 0.0
    light = layer.small.mean(axis=-1, keepdims=True)
    edges = np.square(light - ndimage.gaussian_filter(light, (2.0, 2.0, 0)))
    return float(inside.sum() / zone.sum()) * float(np.sqrt((edges * inside).sum() / inside.sum()))


def _set_in(
    value: np.ndarray, seen: np.ndarray, layer: _Layer, base: np.ndarray, zone: np.ndarray, atlas: Atlas
) -> tuple[np.ndarray, np.ndarray]:
    """`value` [M, 3], known with `seen` [s, s, 1], with what one photo shows of a zone [s, s, 1] and nobody else."""
    coarse = texture.coarsened(atlas, value - base)
    around = (1.0 - zone) * seen * layer.known
    correction = fields.membrane(coarse - layer.small, around)
    balls = on_texture(atlas.coarse, atlas.coarse.eyes)[..., 0] > 0
    lids = zone[..., 0] & ~balls
    if zone[balls].any() and lids.any():  # islands of their own
        correction[balls] = correction[lids].mean(axis=0)
    soft = np.clip(1.0 - ndimage.distance_transform_edt(~zone[..., 0]) / BORDER, 0.0, 1.0)[..., None]
    soft = soft.astype(np.float32)
    own = base + layer.difference + texture.at_fine(correction, atlas)
    value = value + texture.at_fine(soft * layer.known, atlas) * (own - value)
    return value, np.where(zone, layer.known, seen)


def agree(coarse: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What photos agree on, and how far each of them does: a mean whose weights fall with the distance from it.

    It starts from the median of three or more photos; elsewhere from one colour for all, so that of two photos the one
    counts that looks like skin.

    Args:
      coarse: [N, h, w, 3], logarithms of colours over those expected.
      reach: [N, h, w, 1], weights.

    Returns:
      [h, w, 3], and [N, h, w, 1] in (0, 1].
    """
    usual = np.sum(coarse * reach, axis=(0, 1, 2)) / max(float(reach.sum()), 1e-30)
    shown = reach > 0.1 * reach.max(axis=0)
    count = shown.sum(axis=0)
    ordered = np.sort(np.where(shown, coarse, np.inf), axis=0)
    middle = [np.take_along_axis(ordered, np.maximum(count - k, 0)[None] // 2, axis=0)[0] for k in (1, 0)]
    common = np.where(count > 2, np.where(count > 2, np.add(*middle), 0.0) / 2, usual)
    agreement = np.ones_like(reach)
    for _ in range(ROUNDS):
        distance = np.linalg.norm(coarse - common, axis=-1, keepdims=True)
        agreement = 1.0 / np.square(1.0 + np.square(distance / DISAGREEMENT))
        weights = ndimage.gaussian_filter(agreement * reach, (0, REACH, REACH, 0))
        weights *= np.where(count > 2, agreement, 1.0)  # smoothing must not bring back who is outvoted
        common = np.sum(coarse * weights, axis=0) / np.maximum(weights.sum(0), 1e-30)
    return common, agreement


def _layer(difference: np.ndarray, view: View, importance: float, canvas: texture.Canvas, atlas: Atlas) -> _Layer:
    """`_Layer` of a difference [M, 3] from the albedo, in what a `View` shows."""
    small = texture.coarsened(atlas, difference)
    weight, facing = np.split(texture.coarsened(atlas, np.stack([view.weight, view.facing], axis=1)), 2, axis=-1)
    known = texture.trust(small + canvas.source, weight, canvas)
    weight = known * facing
    coarse = fields.pull_push(*fields.shrink(small, known))
    reach = fields.shrink(weight, weight)
    return _Layer(
        difference.astype(np.float16), small, known, weight, coarse, importance * reach[0] * reach[1], importance
    )


def _details(layers: list[_Layer], agreement: np.ndarray, atlas: Atlas) -> np.ndarray:
    """The fine band [M, 3], of the `_Layer`s that see a texel best and agree [N, h, w, 1] with the others."""
    size = layers[0].weight.shape[:2]
    total, details = np.float32(0.0), np.float32(0.0)
    for layer, agreed in zip(layers, agreement, strict=True):
        weight = layer.weight * fields.grow(agreed, *size) * layer.importance
        fine = texture.at_fine(np.concatenate([weight, fields.grow(layer.coarse, *size)], axis=-1), atlas)
        weight = fine[:, :1] ** SHARPNESS
        details = details + weight * (layer.difference - fine[:, 1:])
        total = total + weight
    return details / np.maximum(total, 1e-30)


def expose(skin: Texture, illumination: np.ndarray, importance: np.ndarray) -> Texture:
    """A `Texture` of albedo whose image is as bright as the photos: under an even light of their mean strength.

    Args:
      skin: `Texture`.
      illumination: [P, C, 9] of the photos.
      importance: [P], weights of the mean.
    """
    front = np.tile(np.array([0, 0, 1], np.float32), (len(illumination), 1, 1))
    strength = np.average(lighting.irradiance(front, illumination).mean((1, 2)), weights=importance)
    return skin._replace(image=np.clip(skin.image * max(strength, SHADES[0]), 0.0, 1.0))
