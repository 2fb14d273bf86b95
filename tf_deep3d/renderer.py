"""Differentiable triangle renderer in `keras.ops`: rasterize -> Fragments -> interpolate -> render.

Visibility carries no gradient; barycentrics do. Pixels and depth come from `camera.to_pixels`: x right, y down, the
centre of pixel (row i, column j) at (j + 0.5, i + 0.5), depth in dm from the camera plane.

Letters: B batch, V vertices, T triangles, C channels; S triangle-image pairs that reach a pixel centre, N
candidates (one triangle, one pixel centre of its bounding box), P pixels of all images.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import backend, ops

NEAR = 1e-2  # dm; a triangle with a vertex nearer than this, or behind the camera, is not drawn
FARTHEST_PIXEL = 1e6  # px; beyond it float32 has no sub-pixel precision, and a triangle is not drawn
LARGEST_IMAGE = 32766  # px per side
BUDGET = 64  # candidates per pixel of the image, by default, with dynamic shapes
STATIC_BUDGET = 4  # the same with static shapes (JAX), where every candidate that could be costs time


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
      depth: [B, V] float32, dm along the viewing direction, larger is farther.
      triangles: [T, 3] int32, counter-clockwise seen from outside in the world (y up); on the picture, with y down,
        the same turn has a negative signed area.
      height, width: of the image in px.
      cull: leave out triangles that show their back.
      budget: largest number of candidates (triangle, pixel centre in its bounding box) of one image; an image that
        needs more is left empty and reported in `Fragments.complete`.

    Returns:
      `Fragments`.

    Raises:
      ValueError: for an image side outside [1, 32766].
    """
    points, triangles = _screen_points(pixels, depth), ops.convert_to_tensor(triangles, "int32")
    seen, complete = _visibility(points, triangles, height, width, cull, budget)
    surface = _surface(seen, triangles, points.shape[1])
    weights, _ = _weights(_corners(points, surface), surface)
    return Fragments(seen, _spread(weights, surface), complete)


def interpolate(fragments, attributes, triangles):
    """Spreads vertex attributes over the pixels.

    Args:
      fragments: `Fragments`.
      attributes: [B, V, C] float32.
      triangles: [T, 3] int32.

    Returns:
      [B, H, W, C], zero where no triangle is seen.
    """
    attributes = ops.convert_to_tensor(attributes, "float32")
    surface = _surface(fragments.triangle, ops.convert_to_tensor(triangles, "int32"), attributes.shape[1])
    weights = ops.unstack(_gather(ops.reshape(fragments.barycentrics, (-1, 3)), surface.pixel), axis=-1, num=3)
    return _spread(_blend(weights, ops.unstack(_corners(attributes, surface))), surface)


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
    height, width = camera.height, camera.width
    points, triangles = _screen_points(face.pixels, face.depth), ops.convert_to_tensor(triangles, "int32")
    seen, complete = _visibility(points, triangles, height, width, cull, budget)
    surface = _surface(seen, triangles, points.shape[1])
    attributes = [points, face.colors] + ([face.normals] if normals else [])
    corners = ops.unstack(_corners(ops.concatenate(attributes, axis=-1), surface))
    channels = len(corners) // 3
    weights, depth = _weights([corners[i * channels + j] for i in range(3) for j in range(3)], surface)
    values = _blend(weights, [corners[i * channels + j] for i in range(3) for j in range(3, channels)])
    values = _spread(values, surface)
    coverage = ops.expand_dims(ops.cast(seen >= 0, "float32"), -1)
    return Rendering(
        image=values[..., :3],
        coverage=coverage,
        depth=_spread([depth], surface),
        inner_face=coverage if inner_face is None else _lookup(inner_face, seen),
        normals=values[..., 3:] if normals else None,
        fragments=Fragments(seen, _spread(weights, surface), complete),
    )


def composite(rendering, background):
    """Puts the rendered face over `background` [B, H, W, 3], RGB."""
    return ops.where(rendering.coverage > 0, rendering.image, background)


def triangles_within(vertices, triangles):
    """[T] bool: the `triangles` [T, 3] all of whose corners belong to the region `vertices` [V] bool. NumPy."""
    return np.all(np.asarray(vertices)[np.asarray(triangles)], axis=-1)


# Visibility: no gradient.


def _screen_points(pixels, depth):
    """[B, V, 3]: x, y in px and 1 / depth in 1 / dm; NaN for vertices that cannot be drawn."""
    pixels, depth = ops.convert_to_tensor(pixels, "float32"), ops.convert_to_tensor(depth, "float32")
    depth = ops.expand_dims(depth, -1)
    valid = (depth > NEAR) & (depth < np.inf)
    valid = valid & (ops.max(ops.abs(pixels), axis=-1, keepdims=True) < FARTHEST_PIXEL)
    nearness = ops.where(valid, 1.0 / ops.where(valid, depth, 1.0), np.nan)
    return ops.concatenate([pixels, nearness], axis=-1)


def _visibility(points, triangles, height, width, cull, budget):
    """Triangle seen by each pixel, [B, H, W] int32, and whether each image was within the budget, [B] bool."""
    if not (1 <= height <= LARGEST_IMAGE and 1 <= width <= LARGEST_IMAGE):
        raise ValueError(f"An image side must be in [1, {LARGEST_IMAGE}]. Received: height={height}, width={width}")
    points = ops.stop_gradient(points)
    batch, vertices, count = ops.shape(points)[0], points.shape[1], triangles.shape[0]
    columns = ops.transpose(points - np.float32([0.5, 0.5, 0.0]), (2, 1, 0))  # [3, V, B], pixel centres at integers
    corners = [ops.take(columns[axis], triangles[:, i], axis=0) for i in range(3) for axis in range(3)]  # [T, B]
    x0, y0, _, x1, y1, _, x2, y2, _ = corners

    # Bounding boxes are half open: the pixel centres in [left, right) x [top, bottom).
    left = ops.maximum(ops.ceil(ops.minimum(ops.minimum(x0, x1), x2)), 0.0)
    right = ops.minimum(ops.ceil(ops.maximum(ops.maximum(x0, x1), x2)), float(width))
    top = ops.maximum(ops.ceil(ops.minimum(ops.minimum(y0, y1), y2)), 0.0)
    bottom = ops.minimum(ops.ceil(ops.maximum(ops.maximum(y0, y1), y2)), float(height))
    wide, high = right - left, bottom - top
    centres = ops.where((wide > 0) & (high > 0), wide * high, 0.0)
    nearness, area = _nearness(corners, left, top, cull)
    if cull:
        centres = ops.where(area > -1e-3, centres, 0.0)
    complete = ops.sum(centres, axis=0) <= 0.999 * (budget or BUDGET * height * width)
    centres = ops.where(complete, centres, 0.0)

    # Most triangles hold a single centre: the first one of every triangle is tested in place ...
    first = _where((centres > 0) & (nearness > 0))
    t = first // batch
    pixel = ((first - t * batch) * height + _int_at(top, first)) * width + _int_at(left, first)
    hits = [(ops.take(ops.reshape(nearness, (-1,)), first), pixel, t)]
    # ... and the others are listed.
    many = _where(centres > 1)
    t = many // batch
    image = many - t * batch
    index = ops.take(triangles, t, axis=0) + ops.expand_dims(image * vertices, -1)
    rows = ops.take(ops.reshape(points, (-1, 3)), index, axis=0)
    counts = _int_at(centres, many) - 1
    ends = ops.cumsum(counts)
    total = ops.sum(counts)
    owner = ops.cumsum(ops.segment_sum(ops.ones_like(ends), ends, total + 1)[:-1])
    corners = ops.unstack(ops.take(ops.reshape(rows, (-1, 9)), owner, axis=0), axis=-1, num=9)
    ints = ops.stack([ends - counts - 1, _int_at(wide, many), _int_at(left, many), _int_at(top, many), image, t], axis=-1)
    before, wide, left, top, image, t = ops.unstack(ops.take(ints, owner, axis=0), axis=-1, num=6)
    local = ops.arange(total, dtype="int32") - before
    row = local // wide
    x, y = left + local - row * wide, top + row
    nearness, _ = _nearness(corners, ops.cast(x, "float32") + 0.5, ops.cast(y, "float32") + 0.5, cull)
    pixel = (image * height + y) * width + x
    others = _where(nearness > 0)
    hits.append(tuple(ops.take(a, others) for a in (nearness, pixel, t)))

    nearness, pixel, t = (ops.concatenate(pair) for pair in zip(*hits, strict=True))
    nearest = ops.take(ops.segment_max(nearness, pixel, batch * height * width), pixel)
    order = ops.where(nearness == nearest, count - t, 0)  # among equals, the first triangle
    seen = ops.segment_max(order, pixel, batch * height * width)
    seen = ops.where(seen > 0, count - seen, -1)
    return ops.reshape(seen, (-1, height, width)), complete


def _nearness(corners, x, y, cull):
    """1 / depth of triangles at (x, y), not positive or NaN outside of them, and twice their area in px^2.

    Two triangles compare the same two products at a shared edge, so that no pixel falls between them.
    """
    x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners
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
    return ops.where(inside, (e0 * z0 + e1 * z1 + e2 * z2) / area, -1.0), area


def _where(condition):
    """Indices of the true elements, flattened."""
    return ops.nonzero(ops.reshape(condition, (-1,)))[0]


def _int_at(values, indices):
    return ops.cast(ops.take(ops.reshape(values, (-1,)), indices), "int32")


# Attributes: with gradient.


class _Surface(NamedTuple):
    """The pixels that see a triangle.

    Attributes:
      pixel: [P] int32, indices into the flattened images.
      slot: [B * H * W] int32, 1 + the pixel's position in `pixel`, or 0.
      corners: [P, 3] int32, indices into the flattened vertices of all images.
      shape: (H, W).
    """

    pixel: Any
    slot: Any
    corners: Any
    shape: Any


def _surface(seen, triangles, vertices):
    height, width = seen.shape[1:]
    seen = ops.reshape(seen, (-1,))
    pixel = _where(seen >= 0)
    image = pixel // (height * width)
    corners = ops.take(triangles, ops.take(seen, pixel), axis=0) + ops.expand_dims(image * vertices, -1)
    slot = ops.segment_max(ops.arange(1, ops.shape(pixel)[0] + 1, dtype="int32"), pixel, ops.shape(seen)[0])
    return _Surface(pixel, ops.maximum(slot, 0), corners, (height, width))


def _corners(values, surface):
    """[3 C, P]: values [B, V, C] at the three corners of each visible pixel's triangle."""
    channels = values.shape[2]
    rows = ops.reshape(values, (-1, channels))
    indices = ops.reshape(surface.corners, (-1,))

    @ops.custom_gradient
    def take(rows):
        size = ops.shape(rows)[0]

        def gradient(upstream):
            return ops.segment_sum(ops.reshape(ops.transpose(upstream), (-1, channels)), indices, size)

        return ops.transpose(ops.reshape(ops.take(rows, indices, axis=0), (-1, 3 * channels))), gradient

    return take(rows)


def _weights(corners, surface):
    """Perspective-correct barycentrics, three of [P], and the depth [P], of corners [9, P]."""
    height, width = surface.shape
    row = surface.pixel // width
    x = ops.cast(surface.pixel - row * width, "float32") + 0.5
    y = ops.cast(row % height, "float32") + 0.5
    x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners if isinstance(corners, list) else ops.unstack(corners)
    x0, x1, x2 = x0 - x, x1 - x, x2 - x
    y0, y1, y2 = y0 - y, y1 - y, y2 - y
    e0, e1, e2 = x2 * y1 - x1 * y2, x0 * y2 - x2 * y0, x1 * y0 - x0 * y1
    w0, w1, w2 = e0 * z0, e1 * z1, e2 * z2
    scale = 1.0 / (w0 + w1 + w2)
    return [w0 * scale, w1 * scale, w2 * scale], (e0 + e1 + e2) * scale


def _blend(weights, corners):
    """Channels, C of [P], of weights, three of [P], and corners, 3 C of [P]."""
    channels = len(corners) // 3
    a, b, c = weights
    return [
        a * corners[i] + b * corners[channels + i] + c * corners[2 * channels + i] for i in range(channels)
    ]


def _spread(columns, surface):
    """[B, H, W, C] images of C columns [P], zero where no triangle is seen."""
    rows = ops.transpose(ops.stack(columns))

    @ops.custom_gradient
    def spread(rows):
        padded = ops.concatenate([ops.zeros((1, len(columns))), rows], axis=0)
        return ops.take(padded, surface.slot, axis=0), lambda upstream: ops.take(upstream, surface.pixel, axis=0)

    return ops.reshape(spread(rows), (-1, *surface.shape, len(columns)))


def _gather(rows, indices):
    return ops.take(rows, indices, axis=0)


def _lookup(members, seen):
    """[B, H, W, 1] float32, 1 where the triangle seen belongs to `members` [T] bool."""
    members = ops.cast(ops.convert_to_tensor(members), "float32")
    members = ops.concatenate([members, ops.zeros((1,))])  # for -1
    return ops.expand_dims(ops.take(members, seen, axis=0), -1)
