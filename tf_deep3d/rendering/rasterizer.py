"""Visibility: which triangle each pixel sees. It carries no gradient.

Letters: B batch, V vertices, T triangles, N candidates: pairs of a triangle and a pixel centre.
"""

import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.rendering import lists
from tf_deep3d.rendering.still import FARTHEST_PIXEL, NEAR, check_size


def screen_points(pixels: Array, depth: Array) -> tuple[tuple[Array, Array], Array]:
    """What decides visibility.

    Args:
      pixels: [B, V, 2], px.
      depth: [B, V], dm.

    Returns:
      (pixels [B, V, 2], 1 / depth [B, V, 1] in 1 / dm), both float32, and which vertices can be drawn, [B, V] bool.
    """
    pixels, depth = ops.convert_to_tensor(pixels, "float32"), ops.convert_to_tensor(depth, "float32")
    valid = (depth > NEAR) & (depth < np.inf)
    valid = valid & (ops.abs(pixels[..., 0]) < FARTHEST_PIXEL) & (ops.abs(pixels[..., 1]) < FARTHEST_PIXEL)
    nearness = 1.0 / ops.where(valid, depth, ops.ones_like(depth))
    return (pixels, ops.expand_dims(nearness, -1)), valid


def visible(
    points: tuple[Array, Array],
    valid: Array,
    triangles: Array,
    height: int,
    width: int,
    cull: bool = True,
    budget: int | None = None,
) -> tuple[Array, Array]:
    """Finds the triangle that each pixel sees.

    Args:
      points, valid: of `screen_points`.
      triangles: [T, 3] int32.
      height, width, cull, budget: as in `renderer.rasterize`.

    Returns:
      [B, H, W] int32, -1 where no triangle is seen, and whether each image was within the budget, [B] bool.

    Raises:
      ValueError: if the image has no pixel or more than 2^24.
    """
    check_size(height, width)
    pixels, nearness = (ops.stop_gradient(p) for p in points)
    batch = ops.shape(pixels)[0]
    budget = budget or lists.CANDIDATES_PER_PIXEL * (height * width + 4096)
    zero = ops.zeros_like(valid, "float32")
    x = ops.transpose(ops.where(valid, pixels[..., 0] - 0.5, zero))  # [V, B], pixel centres are integers
    y = ops.transpose(ops.where(valid, pixels[..., 1] - 0.5, zero))
    z = ops.transpose(ops.where(valid, nearness[..., 0], zero + np.nan))
    corners = [[ops.take(a, triangles[:, i], axis=0) for a in (x, y, z)] for i in range(3)]  # of [T, B]
    left, wide = _span(corners[0][0], corners[1][0], corners[2][0], width)
    top, high = _span(corners[0][1], corners[1][1], corners[2][1], height)

    # Most triangles of a dense mesh reach few pixel centres: the first and the last are tested in place ...
    centres = wide * high
    inside, nearness, area = _test(corners, left, top, cull)
    hits = [lists.listed(inside & (centres > 0), nearness, top * width + left)]  # float32 holds 2^24 exactly
    x, y = left + wide - 1.0, top + high - 1.0
    inside, last_nearness, _ = _test(corners, x, y, cull)
    hits.append(lists.listed(inside & (centres > 1), last_nearness, y * width + x))

    # ... and those in between are listed, for triangles in front of the camera that do not show their back.
    several = (centres > 2) & ops.equal(nearness, nearness)
    if cull:
        several = several & (area > -1e-3)
    between = ops.maximum(centres - 2.0, 0.0) * ops.cast(several, "float32")
    complete = ops.sum(between, axis=0) <= 0.9999 * ops.minimum(float(budget), 2.0**30 / ops.cast(batch, "float32"))
    pair, between, *columns = lists.listed(several, between, left, top, wide, *(a for c in corners for a in c))
    counts = ops.cast(between, "int32") * ops.cast(ops.take(complete, pair % batch), "int32")
    start, owner, slot = lists.expand(counts, batch * budget)
    columns = ops.take(ops.transpose(ops.stack(columns)), owner, axis=0)
    left, top, wide, *columns = ops.unstack(ops.transpose(columns), num=12)
    position = slot - ops.take(start, owner) + 1
    row = position // ops.cast(wide, "int32")
    x = left + ops.cast(position, "float32") - ops.cast(row, "float32") * wide
    y = top + ops.cast(row, "float32")
    inside, nearness, _ = _test([columns[0:3], columns[3:6], columns[6:9]], x, y, cull)
    index, *values = lists.listed(inside, nearness, y * width + x)
    hits.append([ops.take(pair, ops.take(owner, index)), *values])

    pair, nearness, place = (ops.concatenate(a) for a in zip(*hits, strict=True))
    t = pair // batch
    pixel = (pair - t * batch) * (height * width) + ops.cast(place, "int32")
    seen = _nearest(t, nearness, pixel, ops.shape(triangles)[0], batch * height * width)
    keep = ops.reshape(ops.cast(complete, "int32"), (-1, 1, 1))
    return ops.reshape(seen, (-1, height, width)) * keep + keep - 1, complete  # -1 where not to be kept


def _span(a: Array, b: Array, c: Array, size: int) -> tuple[Array, Array]:
    """First pixel centre in [min, max) of three coordinates and [0, size), and how many there are.

    Half open, so that a centre on the border between two boxes belongs to one of them.
    """
    first = ops.maximum(ops.ceil(ops.minimum(ops.minimum(a, b), c)), 0.0)
    end = ops.minimum(ops.ceil(ops.maximum(ops.maximum(a, b), c)), float(size))
    return first, ops.maximum(end - first, 0.0)


def _test(corners: list[list[Array]], x: Array, y: Array, cull: bool) -> tuple[Array, Array, Array]:
    """Whether triangles cover (x, y), their 1 / depth there, and twice their area in px^2.

    Two triangles compare the same two products at a shared edge, so that no pixel falls between them.
    """
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
    x0, x1, x2 = x0 - x, x1 - x, x2 - x
    y0, y1, y2 = y0 - y, y1 - y, y2 - y
    p0, q0 = x2 * y1, x1 * y2
    p1, q1 = x0 * y2, x2 * y0
    p2, q2 = x1 * y0, x0 * y1
    inside = (p0 >= q0) & (p1 >= q1) & (p2 >= q2)
    if not cull:
        inside = inside | ((p0 <= q0) & (p1 <= q1) & (p2 <= q2))
    e0, e1, e2 = p0 - q0, p1 - q1, p2 - q2
    area = e0 + e1 + e2
    nearness = (e0 * z0 + e1 * z1 + e2 * z2) / area
    return inside & (nearness > 0), nearness, area


def _nearest(t: Array, nearness: Array, pixel: Array, triangles: Array, size: Array) -> Array:
    """[size] int32: of the hits `t` [N] the nearest on each pixel, among equals the first; -1 where there is none."""
    nearest = ops.take(ops.segment_max(nearness, pixel, size), pixel)
    winner = ops.cast(ops.equal(nearness, nearest) & (nearness > 0), "int32")
    seen = ops.maximum(ops.segment_max(winner * (triangles - t), pixel, size), 0)  # triangles - t, 0 for none
    return triangles - seen - (triangles + 1) * ops.cast(ops.equal(seen, 0), "int32")
