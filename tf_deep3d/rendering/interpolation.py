"""Attributes of the surface that is seen, and where on its triangles: everything here carries gradients.

The pixels that see a triangle are taken out of the images once; columns of numbers, one for each channel, go through
the equations, and are put back. Gradients of gathers are written by hand where autodiff would make slow scatters.

Letters: B batch, V vertices, T triangles, C channels, P visible pixels of all images.
"""

from typing import Any, NamedTuple

from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.rendering import lists

SLIVER = 1e-3  # px^2, twice the area below which the gradient of the barycentrics fades instead of exploding


class Surface(NamedTuple):
    """The pixels that see a triangle.

    Attributes:
      pixel: [P] int32, indices into the flattened images.
      slot: [B * H * W] int32, 1 + the pixel's position in `pixel`, or 0.
      corners: [3 P] int32, vertices of all first, all second and all third corners, as indices into all images'.
      valid: [P] bool, False for an entry that only fills the list (see `lists.listed`).
      shape: (H, W).
    """

    pixel: Array
    slot: Array
    corners: Array
    valid: Array
    shape: tuple[int, int]


def surface_of(seen: Array, triangles: Array, vertices: Array) -> Surface:
    """The `Surface` of the triangles `seen` [B, H, W] int32 (-1: none), given `triangles` [T, 3] int32 and V."""
    batch, (height, width) = ops.shape(seen)[0], seen.shape[1:]
    seen = ops.reshape(seen, (-1,))
    (pixel,) = lists.listed(seen >= 0)
    seen = ops.take(seen, pixel)
    corners = ops.transpose(ops.take(triangles, seen, axis=0)) + pixel // (height * width) * vertices
    order = ops.where(seen >= 0, ops.arange(1, ops.shape(pixel)[0] + 1, dtype="int32"), ops.zeros_like(pixel))
    slot = ops.segment_max(order, pixel, batch * height * width)
    return Surface(pixel, ops.maximum(slot, 0), ops.reshape(corners, (-1,)), seen >= 0, (height, width))


def at_corners(attributes: list[Array], surface: Surface) -> list[list[Array]]:
    """For each of the three corners of the triangle seen, the channels [P] of `attributes`, a list of [B, V, C]."""
    sizes = [values.shape[2] for values in attributes]
    channels = sum(sizes)

    @ops.custom_gradient
    def take(*rows: Array) -> Any:
        count = ops.shape(rows[0])[0]

        def gradient(upstream: Array) -> tuple[Array, ...]:
            columns = lists.totals(ops.unstack(upstream, num=channels), surface.corners, count)
            groups = [columns[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
            return tuple(ops.transpose(ops.stack(group)) for group in groups)

        rows = ops.transpose(ops.stack([group[:, i] for group in rows for i in range(group.shape[1])]))
        return ops.transpose(ops.take(rows, surface.corners, axis=0)), gradient

    columns = take(*(ops.reshape(values, (-1, size)) for values, size in zip(attributes, sizes, strict=True)))
    columns = ops.unstack(ops.reshape(columns, (3 * channels, -1)), num=3 * channels)
    columns = [lists.guard(column, surface.valid, 0.0) for column in columns]
    return [columns[i::3] for i in range(3)]


def barycentrics(corners: list[list[Array]], surface: Surface) -> tuple[list[Array], Array]:
    """Perspective-correct weights of the corners, three of [P], and the depth [P] in dm.

    Args:
      corners: x and y in px and 1 / depth in 1 / dm of each of the three corners, [P] each.
      surface: `Surface`.
    """
    height, width = surface.shape
    row = surface.pixel // width
    x = ops.cast(surface.pixel - row * width, "float32")
    y = ops.cast(row % height, "float32")
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
    x0, x1, x2 = x0 - 0.5 - x, x1 - 0.5 - x, x2 - 0.5 - x  # rounded as in `rasterizer.visible`
    y0, y1, y2 = y0 - 0.5 - y, y1 - 0.5 - y, y2 - 0.5 - y
    e0, e1, e2 = x2 * y1 - x1 * y2, x0 * y2 - x2 * y0, x1 * y0 - x0 * y1
    w0, w1, w2 = e0 * z0, e1 * z1, e2 * z2
    area, scale = e0 + e1 + e2, 1.0 / lists.guard(w0 + w1 + w2, surface.valid, 1.0)
    factor = ops.minimum(ops.abs(ops.stop_gradient(area)) / SLIVER, 1.0)
    w0, w1, w2, depth = (_damp(value * scale, factor) for value in (w0, w1, w2, area))
    return [w0, w1, w2], depth


def _damp(values: Array, factor: Array) -> Array:
    """`values`, with their gradient times `factor`."""
    return ops.custom_gradient(lambda values: (values, lambda upstream: upstream * factor))(values)


def blend(weights: list[Array], corners: list[list[Array]]) -> list[Array]:
    """C channels [P] of weights, three of [P], and corners, three lists of C channels."""
    a, b, c = weights
    return [a * u + b * v + c * w for u, v, w in zip(*corners, strict=True)]


def spread(columns: list[Array], surface: Surface) -> Array:
    """[B, H, W, C] images of C columns [P], zero where no triangle is seen."""

    @ops.custom_gradient
    def put(rows: Array) -> Any:
        return _fill(rows, surface), lambda upstream: ops.take(upstream, surface.pixel, axis=0)

    return ops.reshape(put(ops.transpose(ops.stack(columns))), (-1, *surface.shape, len(columns)))


def collect(image: Array, surface: Surface) -> list[Array]:
    """C columns [P] of images [B, H, W, C], the inverse of `spread`."""
    channels = image.shape[-1]

    @ops.custom_gradient
    def take(rows: Array) -> Any:
        return ops.take(rows, surface.pixel, axis=0), lambda upstream: _fill(upstream, surface)

    return ops.unstack(take(ops.reshape(image, (-1, channels))), num=channels, axis=-1)


def _fill(rows: Array, surface: Surface) -> Array:
    """[B * H * W, C] of rows [P, C]."""
    padded = ops.concatenate([ops.zeros((1, rows.shape[1])), rows], axis=0)
    return ops.take(padded, surface.slot, axis=0)
