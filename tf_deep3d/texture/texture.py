"""The texture of a face in the model's UV map, completed where no photo shows the face.

What photos show (`views`) is completed in the logarithm of the colours, source after source (other photos, the mirrored
other side of the face, the model's albedo): a source is corrected by its difference to what is known already, spread
smoothly into the unknown (pull-push: Gortler et al., "The Lumigraph", 1996, section 3.4), so that it continues the
shading and leaves no seam.

The photo's light stays in the texture; `merging` joins many photos under one light. Beyond the islands of the UV map
colours go on smoothly, so that bilinear samples and mipmaps see no background.

Letters: S side of the texture, V vertices.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tf_deep3d.texture import fields
from tf_deep3d.texture.atlas import Atlas, at_texels, on_texture
from tf_deep3d.texture.views import View

DEVIATIONS = (0.3, 0.7)  # of log colours from what is expected, between which a slanted texel loses its weight
FEATHER = 1 / 512  # share of S over which weights rise from the borders of what is seen
DARKEST = 0.02  # added to colours before the logarithm


class Canvas(NamedTuple):
    """What a texture is completed with.

    Attributes:
      source: [S, S, 3] float32, logarithm of the model's albedo.
      covered: [S, S, 1] float32, 1 on the islands of the UV map, else 0.
      eyes: [S, S] bool, on an eyeball.
    """

    source: np.ndarray
    covered: np.ndarray
    eyes: np.ndarray


class Texture(NamedTuple):
    """A complete texture.

    Attributes:
      image: [S, S, 3] float32 RGB in [0, 1]; the first row is at v = 1.
      weight: [S, S] float32 in [0, 1], 1 where the texture is the photo, 0 where it was completed.
    """

    image: np.ndarray
    weight: np.ndarray


def complete(views: Iterable[View], albedo: np.ndarray, atlas: Atlas, mirror: bool = True) -> Texture:
    """Joins what photos show and completes the rest.

    Args:
      views: `View`s of the same atlas; where several show a texel the best seen face counts first.
      albedo: [V, 3] RGB in [0, 1], of the model's vertices: the last source.
      atlas: `Atlas`.
      mirror: use the mirrored other side of the face before the albedo.

    Returns:
      `Texture`; its light is that of the view that shows most.
    """
    canvas = prepare_canvas(albedo, atlas)
    value, weight = np.zeros_like(canvas.source), np.zeros_like(canvas.covered)
    for view in sorted(views, key=lambda view: -float(view.weight.sum())):
        shown = on_texture(atlas, np.log(view.colors + DARKEST))
        known = trust(shown, on_texture(atlas, view.weight), canvas)
        value, weight = _continue_with(shown, known, value, weight, canvas.eyes)
    return finish(value, weight, canvas, atlas, mirror)


def prepare_canvas(albedo: np.ndarray, atlas: Atlas) -> Canvas:
    """`Canvas` of the albedo [V, 3] of the model's vertices."""
    source = on_texture(atlas, np.log(np.maximum(at_texels(atlas, albedo), 0.0) + DARKEST))
    covered = on_texture(atlas, np.ones(len(atlas.texels), np.float32))
    return Canvas(source, covered, on_texture(atlas, atlas.eyes)[..., 0] > 0)


def finish(value: np.ndarray, weight: np.ndarray, canvas: Canvas, atlas: Atlas, mirror: bool = True) -> Texture:
    """Completes a texture that is known in part.

    Args:
      value: [S, S, 3], logarithms of colours + `DARKEST`.
      weight: [S, S, 1] in [0, 1], how well each texel is known.
      canvas: `Canvas`.
      atlas: `Atlas`.
      mirror: use the mirrored other side of the face before the albedo.

    Returns:
      `Texture`.
    """
    seen = weight
    if mirror:
        value, weight = _continue_with(*_mirrored(atlas, value, weight), value, weight, canvas.eyes)
    value, _ = _continue_with(canvas.source, canvas.covered, value, weight, canvas.eyes)
    image = np.clip(np.exp(value) - DARKEST, 0.0, 1.0)
    return Texture(fields.pull_push(image, canvas.covered), seen[..., 0])


def trust(value: np.ndarray, weight: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Weight [S, S, 1] of a view (`value` [S, S, 3], logarithms, and `weight` [S, S, 1]) for completion.

    Feathered at its borders within the islands, and without slanted texels whose colour does not go on from what is
    seen from the front: hair, a collar or the background beside a face that was fitted too wide. Eyes may look aside.
    """
    covered = canvas.covered
    side = 2 * round(FEATHER * len(weight)) + 1
    inner = fields.mean_around(weight + 1.0 - covered, side)
    weight = np.minimum(weight, np.clip(2.0 * inner - 1.0, 0.0, 1.0))
    sure = fields.ramp(weight, (0.8, 1.0))
    offset = value - canvas.source
    deviation = np.abs(offset - fields.spread(offset, np.square(sure)))
    deviation = np.maximum.reduce([deviation[..., i : i + 1] for i in range(3)]) * covered
    deviation[canvas.eyes] = 0.0
    deviation = fields.mean_around(deviation, 4 * side) / np.maximum(fields.mean_around(covered, 4 * side), 1e-6)
    return weight * np.maximum(1.0 - fields.ramp(deviation, DEVIATIONS), sure)


def _continue_with(
    source: np.ndarray, trust: np.ndarray, value: np.ndarray, weight: np.ndarray, eyes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Continues `value` [S, S, 3], known with `weight` [S, S, 1], by `source`, known with `trust`; all logarithms."""
    both = np.square(weight * trust)
    offset = fields.spread(value - source, both)
    # The irises of two sources do not lie on each other: one offset for the eyes, from white to white.
    seen = eyes & (both[..., 0] > 0.5)
    if seen.any():
        offset[eyes] = np.percentile(value[seen], 90, axis=0) - np.percentile(source[seen], 90, axis=0)
    rest = (1.0 - weight) * trust
    total = weight + rest
    return (value * weight + (source + offset) * rest) / np.maximum(total, 1e-6), total


def _mirrored(atlas: Atlas, value: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`value` [S, S, 3] and `weight` [S, S, 1] at the mirrored places of the texels that are not fully known."""
    usable = np.isfinite(atlas.mirror[:, 0]) & (weight.reshape(-1)[atlas.texels] < 1.0)
    usable = np.flatnonzero(usable & ~atlas.eyes)  # both eyes look the same way
    places = atlas.mirror[usable]
    mirrored = fields.bilinear(np.concatenate([value * weight, weight], axis=-1), places)
    found = np.zeros((len(atlas.texels), 4), np.float32)
    found[usable, :3] = mirrored[:, :3] / np.maximum(mirrored[:, 3:], 1e-6)
    found[usable, 3] = mirrored[:, 3]
    return on_texture(atlas, found[:, :3]), on_texture(atlas, found[:, 3])
