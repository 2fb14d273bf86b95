"""Differentiable triangle renderer in `keras.ops`: rasterize -> Fragments -> interpolate; `render` does it in one pass.

Visibility carries no gradient; barycentrics do. Pixels and depth come from `camera.to_pixels`: x right, y down, the
centre of pixel (row i, column j) at (j + 0.5, i + 0.5), depth in dm from the camera plane.

It runs eagerly, in `tf.function`, under a distribution strategy, in a SavedModel and under `jax.jit`. On TensorFlow the
lists of candidates and of visible pixels have the length they need, which XLA cannot compile: use `jit_compile=False`.

Letters: B batch, V vertices, T triangles, C channels, P visible pixels of all images.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import backend, ops

NEAR = 1e-2  # dm; a triangle with a vertex nearer than this, or behind the camera, is not drawn
FARTHEST_PIXEL = 1e6  # px; beyond it float32 has no sub-pixel precision, and a triangle is not drawn
LARGEST_IMAGE = 2**24  # px
STATIC_SHAPES = backend.backend() == "jax"
BUDGET = 4 if STATIC_SHAPES else 16  # candidates per pixel; with static shapes all of them always cost time
SLIVER = 1e-3  # px^2, twice the area below which the gradient of the barycentrics fades instead of exploding


class Fragments(NamedTuple):
    """What each pixel sees.

    Attributes:
      triangle: [B, H, W] int32, index of the nearest triangle over the pixel's centre, -1 where there is none.
      barycentrics: [B, H, W, 3] float32, perspective-correct weights of its corners, zero where there is none;
        differentiable with respect to pixels and depth.
      complete: [B] bool, False for an image that needed more candidates than the budget and was left empty.
    """

    triangle: Any
    barycentrics: Any
    complete: Any


class Rendering(NamedTuple):
    """A rendered batch.

    Attributes:
      image: [B, H, W, 3] RGB, zero where no triangle is seen.
      coverage: [B, H, W, 1], 1.0 where a triangle is seen, else 0.0; no gradient.
      depth: [B, H, W, 1], dm from the camera plane, zero where no triangle is seen.
      inner_face: [B, H, W, 1], 1.0 where a triangle of the inner face region is seen, else 0.0; no gradient.
      normals: [B, H, W, 3], world, interpolated (not of unit length), zero where no triangle is seen; or None.
      fragments: `Fragments`.
    """

    image: Any
    coverage: Any
    depth: Any
    inner_face: Any
    normals: Any
    fragments: Any


def rasterize(pixels, depth, triangles, height, width, cull=True, budget=None):
    """Finds the triangle that each pixel sees, and where on it.

    Args:
      pixels: [B, V, 2] float32, projected vertices in px (x right, y down).
      depth: [B, V] float32, dm along the viewing direction, larger is farther. A triangle with a vertex at 0.01 dm or
        nearer, behind the camera, a million px away or not finite is not drawn.
      triangles: [T, 3] int32, counter-clockwise seen from outside in the world (y up); on the picture, with y down,
        the same turn has a negative signed area.
      height, width: of the image in px, together at most 2^24 px.
      cull: leave out triangles that show their back.
      budget: largest number of candidates of one image: pixel centres in the bounding boxes of its triangles, without
        the first and the last of each. An image that needs more is left empty and reported in `Fragments.complete`.
        A face needs one to four per pixel it covers; long thin diagonal triangles need many. By default
        16 (H W + 4096); on JAX 4 (H W + 4096), because there the whole budget is always worked through.

    Returns:
      `Fragments`. Of triangles at the same depth, the first is seen. A pixel belongs to a triangle whose border
      passes exactly through its centre, except at the right and lower end of the triangle's bounding box.

    Raises:
      ValueError: if the image has no pixel or more than 2^24.
    """
    triangles = ops.convert_to_tensor(triangles, "int32")
    points, valid = _screen_points(pixels, depth)
    seen, complete = _visibility(points, valid, triangles, height, width, cull, budget)
    surface = _surface(seen, triangles, ops.shape(valid)[1])
    weights, _ = _weights(_corners(points, surface), surface)
    return Fragments(seen, _spread(weights, surface), complete)


def interpolate(fragments, attributes, triangles):
    """Spreads vertex attributes over the pixels.

    Args:
      fragments: `Fragments`.
      attributes: [B, V, C] float32.
      triangles: [T, 3] int32.

    Returns:
      [B, H, W, C], zero where no triangle is seen; differentiable with respect to attributes and barycentrics.
    """
    attributes = ops.convert_to_tensor(attributes, "float32")
    surface = _surface(fragments.triangle, ops.convert_to_tensor(triangles, "int32"), ops.shape(attributes)[1])
    weights = _collect(fragments.barycentrics, surface)
    return _spread(_blend(weights, _corners([attributes], surface)), surface)


def render(face, triangles, camera, inner_face=None, normals=False, cull=True, budget=None):
    """Renders faces; all attributes are interpolated in one pass.

    Args:
      face: `face.Face`.
      triangles: [T, 3] int32.
      camera: `camera.Camera`.
      inner_face: [T] bool, triangles of the inner face region (see `triangles_within`); by default all.
      normals: also interpolate the normals.
      cull, budget: as in `rasterize`.

    Returns:
      `Rendering`.
    """
    triangles = ops.convert_to_tensor(triangles, "int32")
    points, valid = _screen_points(face.pixels, face.depth)
    seen, complete = _visibility(points, valid, triangles, camera.height, camera.width, cull, budget)
    surface = _surface(seen, triangles, ops.shape(valid)[1])
    attributes = [face.colors, face.normals] if normals else [face.colors]
    corners = _corners([*points, *(ops.convert_to_tensor(a, "float32") for a in attributes)], surface)
    weights, depth = _weights([corner[:3] for corner in corners], surface)
    values = _spread(_blend(weights, [corner[3:] for corner in corners]), surface)
    coverage = ops.expand_dims(ops.cast(seen >= 0, "float32"), -1)
    return Rendering(
        image=values[..., :3] if normals else values,
        coverage=coverage,
        depth=_spread([depth], surface),
        inner_face=coverage if inner_face is None else _membership(inner_face, seen),
        normals=values[..., 3:] if normals else None,
        fragments=Fragments(seen, _spread(weights, surface), complete),
    )


def composite(rendering, background):
    """Puts the rendered face over `background` [B, H, W, 3], RGB."""
    return rendering.image + (1.0 - rendering.coverage) * background


def triangles_within(vertices, triangles):
    """[T] bool: the `triangles` [T, 3] all of whose corners belong to the region `vertices` [V] bool. NumPy."""
    return np.all(np.asarray(vertices)[np.asarray(triangles)], axis=-1)


# Visibility: no gradient.


def _screen_points(pixels, depth):
    """Pixels [B, V, 2], 1 / depth [B, V, 1] in 1 / dm, and which vertices can be drawn, [B, V] bool."""
    pixels, depth = ops.convert_to_tensor(pixels, "float32"), ops.convert_to_tensor(depth, "float32")
    valid = (depth > NEAR) & (depth < np.inf)
    valid = valid & (ops.abs(pixels[..., 0]) < FARTHEST_PIXEL) & (ops.abs(pixels[..., 1]) < FARTHEST_PIXEL)
    nearness = 1.0 / ops.where(valid, depth, ops.ones_like(depth))
    return (pixels, ops.expand_dims(nearness, -1)), valid


def _visibility(points, valid, triangles, height, width, cull, budget):
    """Triangle seen by each pixel, [B, H, W] int32, and whether each image was within the budget, [B] bool."""
    if not (height >= 1 and width >= 1 and height * width <= LARGEST_IMAGE):
        raise ValueError(f"An image must have 1 to {LARGEST_IMAGE} px. Received: height={height}, width={width}")
    pixels, nearness = (ops.stop_gradient(p) for p in points)
    batch = ops.shape(pixels)[0]
    budget = budget or BUDGET * (height * width + 4096)
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
    hits = [_listed(inside & (centres > 0), nearness, top * width + left)]  # float32 holds 2^24 exactly
    x, y = left + wide - 1.0, top + high - 1.0
    inside, last_nearness, _ = _test(corners, x, y, cull)
    hits.append(_listed(inside & (centres > 1), last_nearness, y * width + x))

    # ... and those in between are listed, for triangles in front of the camera that do not show their back.
    several = (centres > 2) & ops.equal(nearness, nearness)
    if cull:
        several = several & (area > -1e-3)
    between = ops.maximum(centres - 2.0, 0.0) * ops.cast(several, "float32")
    complete = ops.sum(between, axis=0) <= 0.9999 * ops.minimum(float(budget), 2.0**30 / ops.cast(batch, "float32"))
    pair, between, *columns = _listed(several, between, left, top, wide, *(a for corner in corners for a in corner))
    counts = ops.cast(between, "int32") * ops.cast(ops.take(complete, pair % batch), "int32")
    start, owner, slot = _expand(counts, batch * budget)
    columns = ops.take(ops.transpose(ops.stack(columns)), owner, axis=0)
    left, top, wide, *columns = ops.unstack(ops.transpose(columns), num=12)
    position = slot - ops.take(start, owner) + 1
    row = position // ops.cast(wide, "int32")
    x = left + ops.cast(position, "float32") - ops.cast(row, "float32") * wide
    y = top + ops.cast(row, "float32")
    inside, nearness, _ = _test([columns[0:3], columns[3:6], columns[6:9]], x, y, cull)
    index, *values = _listed(inside, nearness, y * width + x)
    hits.append([ops.take(pair, ops.take(owner, index)), *values])

    pair, nearness, place = (ops.concatenate(a) for a in zip(*hits, strict=True))
    t = pair // batch
    pixel = (pair - t * batch) * (height * width) + ops.cast(place, "int32")
    seen = _nearest(t, nearness, pixel, ops.shape(triangles)[0], batch * height * width)
    keep = ops.reshape(ops.cast(complete, "int32"), (-1, 1, 1))
    return ops.reshape(seen, (-1, height, width)) * keep + keep - 1, complete  # -1 where not to be kept


def _span(a, b, c, size):
    """First pixel centre in [min, max) of three coordinates and [0, size), and how many there are.

    Half open, so that a centre on the border between two boxes belongs to one of them.
    """
    first = ops.maximum(ops.ceil(ops.minimum(ops.minimum(a, b), c)), 0.0)
    end = ops.minimum(ops.ceil(ops.maximum(ops.maximum(a, b), c)), float(size))
    return first, ops.maximum(end - first, 0.0)


def _test(corners, x, y, cull):
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


def _nearest(t, nearness, pixel, triangles, size):
    """[size] int32: of the hits `t` the nearest on each pixel, among equals the first; -1 where there is none."""
    nearest = ops.take(ops.segment_max(nearness, pixel, size), pixel)
    winner = ops.cast(ops.equal(nearness, nearest) & (nearness > 0), "int32")
    seen = ops.maximum(ops.segment_max(winner * (triangles - t), pixel, size), 0)  # triangles - t, 0 for none
    return triangles - seen - (triangles + 1) * ops.cast(ops.equal(seen, 0), "int32")


# Attributes: with gradient.


class _Surface(NamedTuple):
    """The pixels that see a triangle.

    Attributes:
      pixel: [P] int32, indices into the flattened images.
      slot: [B * H * W] int32, 1 + the pixel's position in `pixel`, or 0.
      corners: [3 P] int32, vertices of all first, all second and all third corners, as indices into all images'.
      valid: [P] bool, False for an entry that only fills the list (see `_listed`).
      shape: (H, W).
    """

    pixel: Any
    slot: Any
    corners: Any
    valid: Any
    shape: Any


def _surface(seen, triangles, vertices):
    batch, (height, width) = ops.shape(seen)[0], seen.shape[1:]
    seen = ops.reshape(seen, (-1,))
    (pixel,) = _listed(seen >= 0)
    seen = ops.take(seen, pixel)
    corners = ops.transpose(ops.take(triangles, seen, axis=0)) + pixel // (height * width) * vertices
    order = ops.where(seen >= 0, ops.arange(1, ops.shape(pixel)[0] + 1, dtype="int32"), ops.zeros_like(pixel))
    slot = ops.segment_max(order, pixel, batch * height * width)
    return _Surface(pixel, ops.maximum(slot, 0), ops.reshape(corners, (-1,)), seen >= 0, (height, width))


def _corners(attributes, surface):
    """For each corner of the triangle seen, a list of channels [P] of `attributes`, a list of [B, V, C]."""
    sizes = [values.shape[2] for values in attributes]
    channels = sum(sizes)

    @ops.custom_gradient
    def take(*rows):
        count = ops.shape(rows[0])[0]

        def gradient(upstream):
            columns = _totals(ops.unstack(upstream, num=channels), surface.corners, count)
            groups = [columns[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
            return tuple(ops.transpose(ops.stack(group)) for group in groups)

        rows = ops.transpose(ops.stack([group[:, i] for group in rows for i in range(group.shape[1])]))
        return ops.transpose(ops.take(rows, surface.corners, axis=0)), gradient

    columns = take(*(ops.reshape(values, (-1, size)) for values, size in zip(attributes, sizes, strict=True)))
    columns = ops.unstack(ops.reshape(columns, (3 * channels, -1)), num=3 * channels)
    columns = [_guard(column, surface.valid, 0.0) for column in columns]
    return [columns[i::3] for i in range(3)]


def _weights(corners, surface):
    """Perspective-correct barycentrics, three of [P], and the depth [P], of corners (x, y, 1 / depth)."""
    height, width = surface.shape
    row = surface.pixel // width
    x = ops.cast(surface.pixel - row * width, "float32")
    y = ops.cast(row % height, "float32")
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
    x0, x1, x2 = x0 - 0.5 - x, x1 - 0.5 - x, x2 - 0.5 - x  # rounded as in `_visibility`
    y0, y1, y2 = y0 - 0.5 - y, y1 - 0.5 - y, y2 - 0.5 - y
    e0, e1, e2 = x2 * y1 - x1 * y2, x0 * y2 - x2 * y0, x1 * y0 - x0 * y1
    w0, w1, w2 = e0 * z0, e1 * z1, e2 * z2
    area, scale = e0 + e1 + e2, 1.0 / _guard(w0 + w1 + w2, surface.valid, 1.0)
    factor = ops.minimum(ops.abs(ops.stop_gradient(area)) / SLIVER, 1.0)
    w0, w1, w2, depth = (_damp(value * scale, factor) for value in (w0, w1, w2, area))
    return [w0, w1, w2], depth


def _damp(values, factor):
    """`values`, with their gradient times `factor`."""
    return ops.custom_gradient(lambda values: (values, lambda upstream: upstream * factor))(values)


def _blend(weights, corners):
    """C channels [P] of weights, three of [P], and corners, three lists of C channels."""
    a, b, c = weights
    return [a * u + b * v + c * w for u, v, w in zip(*corners, strict=True)]


def _spread(columns, surface):
    """[B, H, W, C] images of C columns [P], zero where no triangle is seen."""

    @ops.custom_gradient
    def spread(rows):
        return _fill(rows, surface), lambda upstream: ops.take(upstream, surface.pixel, axis=0)

    return ops.reshape(spread(ops.transpose(ops.stack(columns))), (-1, *surface.shape, len(columns)))


def _collect(image, surface):
    """C columns [P] of images [B, H, W, C], the inverse of `_spread`."""
    channels = image.shape[-1]

    @ops.custom_gradient
    def collect(rows):
        return ops.take(rows, surface.pixel, axis=0), lambda upstream: _fill(upstream, surface)

    return ops.unstack(collect(ops.reshape(image, (-1, channels))), num=channels, axis=-1)


def _fill(rows, surface):
    """[B * H * W, C] of rows [P, C]."""
    padded = ops.concatenate([ops.zeros((1, rows.shape[1])), rows], axis=0)
    return ops.take(padded, surface.slot, axis=0)


def _membership(members, seen):
    """[B, H, W, 1] float32, 1 where the triangle seen belongs to `members` [T] bool."""
    members = ops.cast(ops.convert_to_tensor(members), "float32")
    members = ops.concatenate([members, ops.zeros((1,))])  # the last one for -1
    return ops.expand_dims(ops.take(members, seen, axis=0), -1)


# Lists of a length that depends on the values: the only place where backends differ. With static shapes they are as
# long as they could be; what fills them up has a zero first value or is not valid.


def _listed(condition, *values):
    """Indices of the true elements of `condition`, flattened, and the `values` there."""
    condition = ops.reshape(condition, (-1,))
    values = [ops.reshape(value, (-1,)) for value in values]
    if STATIC_SHAPES:
        return [ops.arange(condition.shape[0]), *(ops.where(condition, value, 0) for value in values)]
    indices = ops.nonzero(condition)[0]
    return [indices, *(ops.take(value, indices) for value in values)]


def _expand(counts, longest):
    """Lists `counts[i]` slots for each i: where the slots of i start, the i of each slot, and the slots."""
    ends = ops.cumsum(counts)
    total = ops.sum(counts)
    length = longest if STATIC_SHAPES else total
    owner = ops.cumsum(ops.segment_sum(ops.ones_like(ends), ends, length + 1)[:-1])
    slot = ops.arange(length, dtype="int32")
    if STATIC_SHAPES:  # what fills the list repeats its end
        owner, slot = ops.minimum(owner, counts.shape[0] - 1), ops.minimum(slot, total - 1)
    return ends - counts, owner, slot


def _totals(columns, indices, count):
    """For each of `columns` [3 P], the sums of its values with equal indices [3 P]: [count] each.

    On TensorFlow `bincount`, whose rows (here the three corners) are counted in parallel and each in order, is several
    times faster than `segment_sum`, whose threads each read everything.
    """
    if STATIC_SHAPES:
        return [ops.segment_sum(column, indices, count) for column in columns]
    indices = ops.reshape(indices, (3, -1))
    return [ops.sum(ops.bincount(indices, ops.reshape(c, (3, -1)), minlength=count), axis=0) for c in columns]


def _guard(values, valid, default):
    return ops.where(valid, values, default) if STATIC_SHAPES else values
