"""The texture of a face in the model's UV map, completed where no photo shows the face.

What photos show (`views`) is completed in the logarithm of the colours, source after source (other photos, the mirrored
other side of the face, the model's albedo): a source is put under the photo's light and corrected by its difference to
what is known already, continued as a membrane (Perez et al., "Poisson Image Editing", 2003: the gradient is the
source's, the border is the photo's), so that it continues the shading and leaves no seam.

What is known and how sources are corrected is smooth, and found on the coarse atlas; only colours have all texels. The
photo's light stays in the texture, and `Texture.albedo` is without it; `merging` joins many photos under one light.
Beyond the islands of the UV map colours go on smoothly, so that bilinear samples and mipmaps see no background.

Letters: S side of the texture, N its texels, n those of the coarse atlas, s the coarse side, V vertices.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tf_deep3d.face import Face, lighting
from tf_deep3d.texture import fields
from tf_deep3d.texture.atlas import Atlas, at_texels, on_texture, refined
from tf_deep3d.texture.views import View

DEVIATIONS = (0.3, 0.7)  # of log colours from what is expected, between which a slanted texel loses its weight
FEATHER = 1 / 256  # share of S over which weights rise from the borders of what is seen
DARKEST = 0.02  # added to colours before the logarithm
# Of log light from its median, at most, of the mean over the channels and of what differs from it: a fitted light says
# little about sides that no photo shows.
SHADES, TINTS = 0.7, 0.15
SHADOWS = 12.0  # coarse texels, standard deviation of the smoothing that takes shadows from what light leaves
NEAR, EDGES = 4.0, 2.0  # the same, of how far light counts, and below which there is the skin's detail and no shadow
# Log light, deviations within that smoothing that count half: of the fitted light, of shadows.
FAINT, STRONG = 0.03, 0.2
VIVID = 0.1  # log light, the tint that is half taken for the light's, half for the skin's
# Log light that the other side of a face has more or less, at most, and from where to where it tells less and less.
RELIT = (0.4, 0.9)
USUAL = (5, 95)  # percentiles of the light where a photo shows the face, which bound it elsewhere
HAIR = 0.15  # log light, below what is around, from which brows and where a beard may grow there is hair
# Coarse texels, the same of the smoothing by which is known what continues, and how far, in log colours, from it a
# texel may be to count half.
PATCHES, STRAYING = 12.0, 0.15
ODD = 0.5, 0.15  # the same from the median of the face, of the mean over the channels and of what differs from it
REACH = 12.0  # cells of a membrane, about a fifth of the texture, to which an oddly lit border tells of what is beyond


class Canvas(NamedTuple):
    """What a texture is completed with, on the coarse atlas.

    Attributes:
      source: [s, s, 3] float32, logarithm of the model's albedo.
      light: [s, s, 3] float32, logarithm of the light on it; 0 where none is known.
      covered: [s, s, 1] float32, 1 on the islands of the UV map, else 0.
      eyes: [s, s] bool, on an eyeball.
      mouth: [s, s] bool, inside the mouth.
    """

    source: np.ndarray
    light: np.ndarray
    covered: np.ndarray
    eyes: np.ndarray
    mouth: np.ndarray


class Texture(NamedTuple):
    """A complete texture.

    Attributes:
      image: [S, S, 3] float32 RGB in [0, 1]; the first row is at v = 1.
      albedo: the same without the photo's light and soft shadows, as bright as the model's albedo.
      weight: [S, S] float32 in [0, 1], 1 where the texture is the photo, 0 where it was completed.
    """

    image: np.ndarray
    albedo: np.ndarray
    weight: np.ndarray


def light_on(face: Face, illumination: np.ndarray) -> np.ndarray:
    """The fitted light [V, 3] on a face's vertices.

    Args:
      face: `Face` of NumPy arrays; its first face is taken.
      illumination: [C, 9].
    """
    light = lighting.irradiance(np.asarray(face.normals)[:1], np.asarray(illumination)[None])[0]
    return np.broadcast_to(light, (len(light), 3))


def taken_apart(light: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The median [C] of a light [N, C], and of the logarithm of what it is over that, the mean [N, 1] over the channels
    and the tint [N, C], within `TINTS`."""
    usual = np.maximum(np.median(light, axis=0), 1e-3)
    shade = np.log(np.maximum(light / usual, 1e-3))
    strength = shade.mean(axis=-1, keepdims=True)
    return usual, strength, np.clip(shade - strength, -TINTS, TINTS)


def complete(
    views: Iterable[View],
    albedo: np.ndarray,
    atlas: Atlas,
    light: np.ndarray | None = None,
    mirror: bool = True,
) -> Texture:
    """Joins what photos show and completes the rest.

    Args:
      views: `View`s of the same atlas; where several show a texel the best seen face counts first.
      albedo: [V, 3] RGB in [0, 1], of the model's vertices: the last source.
      atlas: `Atlas`.
      light: [V, 3] of the view that shows most, see `light_on`; None for an even one.
      mirror: use the mirrored other side of the face before the albedo.

    Returns:
      `Texture`; its light is that of the view that shows most.
    """
    canvas = prepare_canvas(albedo, atlas, light)
    value = np.zeros((0, 3), np.float32)
    weight = np.zeros_like(canvas.covered)
    coarse = np.zeros_like(canvas.source)
    for view in sorted(views, key=lambda view: -float(view.weight.sum())):
        shown = np.log(view.colors + DARKEST)
        small = coarsened(atlas, shown)
        known = trust(small, coarsened(atlas, view.weight[:, None]), canvas)
        if len(value):
            correction = offset(coarse, weight, small, known, canvas)
            shown += at_fine(correction, atlas)
            small += correction
            seen, mine = (at_fine(each, atlas) for each in (weight, known))
            shown, _ = _continued(value, seen, shown, mine)
        value = shown
        coarse, weight = _continued(coarse, weight, small, known)
    return finish(value, weight, canvas, albedo, atlas, mirror)


def prepare_canvas(albedo: np.ndarray, atlas: Atlas, light: np.ndarray | None = None) -> Canvas:
    """`Canvas` of the albedo [V, 3] of the model's vertices and the light [V, 3] on them."""
    coarse = atlas.coarse
    source = on_texture(coarse, logarithms(at_texels(coarse, albedo)))
    shades = np.zeros_like(source)
    if light is not None:
        usual, strength, tint = taken_apart(light)
        shade = np.log(usual) + np.clip(strength, -SHADES, SHADES) + tint
        shades = on_texture(coarse, at_texels(coarse, shade))
    inside = at_texels(coarse, atlas.zones.inner_mouth[:, None]) > 0.5
    eyes, mouth = (on_texture(coarse, part)[..., 0] > 0 for part in (coarse.eyes, inside))
    return Canvas(source, shades, coarse.counts, eyes, mouth)


def finish(
    value: np.ndarray, weight: np.ndarray, canvas: Canvas, albedo: np.ndarray, atlas: Atlas, mirror: bool = True
) -> Texture:
    """Completes a texture that is known in part.

    Args:
      value: [N, 3], logarithms of colours + `DARKEST`.
      weight: [s, s, 1] in [0, 1], how well each texel is known.
      canvas: `Canvas`.
      albedo: [V, 3] of the model's vertices.
      atlas: `Atlas`.
      mirror: use the mirrored other side of the face before the albedo.

    Returns:
      `Texture`.
    """
    canvas = _bounded(canvas, weight)
    seen = at_fine(weight, atlas)
    part = np.flatnonzero(seen[:, 0] < 1.0)
    known, filled, coarse, total = seen[part], value[part], coarsened(atlas, value), weight
    if mirror:
        picture, trusted = _mirrored(atlas.coarse, coarse, weight)
        relit = canvas.light - _mirrored(atlas.coarse, canvas.light, canvas.covered)[0]
        alike = 1.0 - fields.ramp(np.abs(relit.mean(axis=-1, keepdims=True)), RELIT)
        relit, trusted = np.clip(relit, -RELIT[0], RELIT[0]), trusted * alike
        source = picture + relit
        correction = offset(coarse, total, source, trusted, canvas)
        values, usable = _mirrored(atlas, on_texture(atlas, value), on_texture(atlas, seen), part)
        values, usable = values + at_fine(correction + relit, atlas, part), usable * at_fine(alike, atlas, part)
        filled, known = _continued(filled, known, values, usable)
        coarse, total = _continued(coarse, total, source + correction, trusted)
    correction = offset(coarse, total, canvas.source + canvas.light, canvas.covered, canvas) + canvas.light
    source = logarithms(at_texels(atlas, albedo, part)) + at_fine(correction, atlas, part)
    value = value.copy()
    value[part] = _continued(filled, known, source, np.ones_like(known))[0]
    lit = np.exp(value)
    bare = lit * at_fine(np.exp(-_shading(coarsened(atlas, value), weight, canvas, atlas)), atlas)
    image, albedo = (_picture(np.clip(colors - DARKEST, 0.0, 1.0), atlas) for colors in (lit, bare))
    return Texture(image, albedo, on_texture(atlas, seen)[..., 0])


def _bounded(canvas: Canvas, weight: np.ndarray) -> Canvas:
    """`canvas`, whose light where no photo shows the face, by `weight` [s, s, 1], is as it is in places that one shows:
    the fitted one is a guess there."""
    shown = canvas.light[(weight[..., 0] > 0.5) & ~(canvas.eyes | canvas.mouth)]
    if not len(shown):
        return canvas
    least, most = np.percentile(shown, USUAL, axis=0).astype(np.float32)
    return canvas._replace(light=canvas.light + (1.0 - weight) * (np.clip(canvas.light, least, most) - canvas.light))


def trust(value: np.ndarray, weight: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Weight [s, s, 1] of a view (`value` [s, s, 3], logarithms, and `weight` [s, s, 1]) for completion.

    Feathered at its borders within the islands, and without slanted texels whose colour does not go on from what is
    seen from the front: hair, a collar or the background beside a face that was fitted too wide. Eyes may look aside.
    """
    covered = canvas.covered
    side = 2 * round(FEATHER * len(weight)) + 1
    inner = fields.mean_around(weight + 1.0 - covered, side)
    narrow = canvas.mouth[..., None]  # seen through a slit
    weight = np.where(narrow, weight, np.minimum(weight, np.clip(2.0 * inner - 1.0, 0.0, 1.0)))
    sure = fields.ramp(weight, (0.8, 1.0))
    difference = value - canvas.source - canvas.light
    deviation = np.abs(difference - fields.spread(difference, np.square(sure)))
    deviation = np.maximum.reduce([deviation[..., i : i + 1] for i in range(3)]) * covered
    deviation[canvas.eyes | canvas.mouth] = 0.0
    deviation = fields.mean_around(deviation, 4 * side) / np.maximum(fields.mean_around(covered, 4 * side), 1e-6)
    return weight * np.maximum(1.0 - fields.ramp(deviation, DEVIATIONS), sure)


def offset(
    value: np.ndarray, weight: np.ndarray, source: np.ndarray, trusted: np.ndarray, canvas: Canvas
) -> np.ndarray:
    """What [s, s, 3] to add to `source`, known with `trusted`, so that it continues `value`, known with `weight`.

    Values are logarithms [s, s, 3], weights [s, s, 1].
    """
    both = weight * trusted
    difference = value - source
    skin = both * ~(canvas.eyes | canvas.mouth)[..., None]
    if not skin.any():
        return fields.membrane(difference, both)
    # What is not skin at its border, brows or lashes, says nothing about the light beyond it.
    usual = fields.blurred(difference, skin, PATCHES)
    skin = skin / (1.0 + np.square(np.abs(difference - usual).max(axis=-1, keepdims=True) / STRAYING))
    # Nor does hair or a reflection there, of another tint or darkness than most of the face.
    away = difference - np.median(difference[both[..., 0] > 0.5], axis=0) if (both > 0.5).any() else difference
    darker = away.mean(axis=-1, keepdims=True)
    tinted = np.abs(away - darker).max(axis=-1, keepdims=True)
    skin = skin / (1.0 + np.square(darker / ODD[0]) + np.square(tinted / ODD[1]))
    correction = fields.membrane(difference, skin, REACH)
    correction[canvas.mouth] = np.average(correction.reshape(-1, 3), axis=0, weights=skin.reshape(-1))
    # The irises of two sources do not lie on each other: one offset for the eyes, from white to white.
    seen = canvas.eyes & (both[..., 0] > 0.5)
    if seen.any():
        correction[canvas.eyes] = np.percentile(value[seen], 90, axis=0) - np.percentile(source[seen], 90, axis=0)
    return correction


def coarsened(atlas: Atlas, values: np.ndarray) -> np.ndarray:
    """Values [N, C] of the texels as a picture [s, s, C] of means on the coarse atlas, 0 beside the islands."""
    block = atlas.size // atlas.coarse.size
    if block == 1:
        return on_texture(atlas, values)
    means = fields.block_sums(on_texture(atlas, values), block) / np.maximum(atlas.counts, 1.0)
    filled = fields.pull_push(means, np.minimum(atlas.counts, 1.0))  # a cell whose centre alone is on an island
    return on_texture(atlas.coarse, _cells(filled, atlas))


def at_fine(picture: np.ndarray, atlas: Atlas, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    """A picture [s, s, C] on the coarse atlas at the texels of the fine one, or at those `chosen`: [N, C]."""
    return refined(atlas, _cells(picture, atlas), chosen)


def _cells(picture: np.ndarray, atlas: Atlas) -> np.ndarray:
    """Values [n, C] of a picture [s, s, C] at the texels of the coarse atlas."""
    return picture.reshape(-1, picture.shape[-1]).take(atlas.coarse.texels, axis=0)


def logarithms(albedo: np.ndarray) -> np.ndarray:
    """Logarithms of colours + `DARKEST`."""
    return np.log(np.maximum(albedo, 0.0) + DARKEST)


def _continued(
    value: np.ndarray, weight: np.ndarray, source: np.ndarray, trusted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`value` [.., 3], known with `weight` [.., 1], and where it is not `source`, known with `trusted`; and how well
    both are known."""
    total = weight + (1.0 - weight) * trusted
    share = (total - weight) / np.maximum(total, 1e-6)
    return value + share * (source - value), total


def _mirrored(
    atlas: Atlas, value: np.ndarray, weight: np.ndarray, chosen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`value` [S, S, 3] and `weight` [S, S, 1] at the mirrored places: pictures, or of texels `chosen` the values."""
    texels = np.arange(len(atlas.texels)) if chosen is None else chosen
    usable = np.isfinite(atlas.mirror[texels, 0]) & ~atlas.eyes[texels]  # both eyes look the same way
    found = np.zeros((len(texels), 4), np.float32)
    known = np.concatenate([value * weight, weight], axis=-1)
    found[usable] = fields.bilinear(known, atlas.mirror[texels[usable]])
    values, weights = found[:, :3] / np.maximum(found[:, 3:], 1e-6), found[:, 3:]
    return (values, weights) if chosen is not None else (on_texture(atlas, values), on_texture(atlas, weights))


def _shading(value: np.ndarray, seen: np.ndarray, canvas: Canvas, atlas: Atlas) -> np.ndarray:
    """Light and shadows [s, s, 3] in a complete picture `value` [s, s, 3] on the coarse atlas.

    Around each texel the light counts as far as the picture follows it where a photo shows it, `seen` [s, s, 1] (He et
    al., "Guided Image Filtering", 2013): a fitted light is darker below brows and nose than light is that comes back
    from cheeks and lips. What it leaves is compared with the model's albedo; where it varies slowly or strongly, it is
    shadow or the light's colour. Lips and the hair of brows and beards are not: over them the shadow around goes on.
    """
    hairy, lips = (
        on_texture(atlas.coarse, at_texels(atlas.coarse, part[:, None])) > 0.01
        for part in (atlas.zones.parts["beard"] | atlas.zones.parts["brows"], atlas.zones.parts["mouth"])
    )
    skin = canvas.covered * ~(canvas.eyes[..., None] | lips)
    light = canvas.light.mean(axis=-1, keepdims=True)
    left = (value - canvas.source).mean(axis=-1, keepdims=True)
    skin *= ~(hairy & (left - fields.blurred(left, skin * ~hairy, SHADOWS) < -HAIR))
    fine, rest = (each - fields.blurred(each, skin, SHADOWS) for each in (light, left))
    products = np.concatenate([fine * rest, fine * fine], axis=-1)
    along, across = np.split(fields.blurred(products, skin * seen, NEAR), 2, axis=-1)
    light = canvas.light - fine * (1.0 - np.clip(along / (across + FAINT**2), 0.0, 1.0))
    left = fields.blurred(value - canvas.source - light, skin, EDGES)
    smooth = fields.blurred(left, skin, SHADOWS)
    if skin.any():
        left, smooth = (each - np.median(smooth[skin[..., 0] > 0], axis=0) for each in (left, smooth))
    shade, edges = (each.mean(axis=-1, keepdims=True) for each in (smooth, left))
    tint = smooth - shade
    strong = fields.blurred(np.square(edges - shade), skin, SHADOWS)
    shade += (edges - shade) * strong / (strong + STRONG**2) * (skin > 0)
    vivid = np.square(tint).sum(axis=-1, keepdims=True)
    shade = np.clip(shade, -SHADES, SHADES) + tint * vivid / (vivid + VIVID**2) * ~lips
    return np.where(canvas.eyes[..., None], canvas.light, light + shade)


def _picture(colors: np.ndarray, atlas: Atlas) -> np.ndarray:
    """Colours [N, 3] as a picture [S, S, 3], which goes on smoothly beyond the islands."""
    picture = on_texture(atlas, colors).reshape(-1, 3)
    beside = np.ones(len(picture), bool)
    beside[atlas.texels] = False
    beside = np.flatnonzero(beside)
    coarse = coarsened(atlas, colors)
    coarse = fields.pull_push(coarse, atlas.coarse.counts)
    places = np.stack([beside % atlas.size, beside // atlas.size], axis=1) + 0.5
    picture[beside] = fields.bilinear(coarse, places * (atlas.coarse.size / atlas.size))
    return picture.reshape(atlas.size, atlas.size, 3)
