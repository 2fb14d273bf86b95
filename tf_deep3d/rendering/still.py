"""Still pictures: the renderer in NumPy, one picture at a time and without gradients, for what is only looked at.

It starts at once, where a backend takes seconds, and sees what `renderer` sees: the same tests in the same order, in
single precision.

Letters: V vertices, T triangles, C channels, N candidates: pairs of a triangle and a pixel centre.
"""

from typing import NamedTuple

import numpy as np

NEAR = 1e-2  # dm; a triangle with a vertex nearer than this, or behind the camera, is not drawn
FARTHEST_PIXEL = 1e6  # px; beyond it float32 has no sub-pixel precision, and a triangle is not drawn
LARGEST_IMAGE = 2**24  # px
SHAPES = 16  # px; among triangles whose centres fill a smaller rectangle of the same sides, ALIKE are tested together
ALIKE = 64
AT_ONCE = 1 << 14  # candidates or pixels that are worked at together, few enough for the processor's cache


class Fragments(NamedTuple):
    """What each pixel sees.

    Attributes:
      triangle: [H, W] int32, index of the nearest triangle over the pixel's centre, -1 where there is none.
      barycentrics: [H, W, 3] float32, perspective-correct weights of its corners, zero where there is none.
    """

    triangle: np.ndarray
    barycentrics: np.ndarray


class _Hits(NamedTuple):
    """Triangles `owner` [N] over pixels [N], and their 1 / depth there."""

    owner: np.ndarray
    pixel: np.ndarray
    nearness: np.ndarray


def rasterize(
    pixels: np.ndarray, depth: np.ndarray, triangles: np.ndarray, height: int, width: int, cull: bool = True
) -> Fragments:
    """Finds the triangle that each pixel sees, and where on it.

    Args:
      pixels: [V, 2], projected vertices in px (x right, y down).
      depth: [V], dm along the viewing direction.
      triangles: [T, 3] int.
      height, width: of the image in px.
      cull: leave out triangles that show their back.

    Returns:
      `Fragments`; which triangle a pixel sees is said at `renderer.rasterize`.

    Raises:
      ValueError: if the image has no pixel or more than 2^24.
    """
    check_size(height, width)
    pixels, depth = np.asarray(pixels, np.float32), np.asarray(depth, np.float32)
    valid = (depth > NEAR) & (depth < np.inf) & (np.abs(pixels) < FARTHEST_PIXEL).all(axis=1)
    points = np.empty((3, len(depth)), np.float32)
    points[:2] = pixels.T - np.float32(0.5)  # pixel centres are integers
    points[2] = 1 / np.where(valid, depth, 1)
    drawn = np.flatnonzero(valid[triangles].all(axis=1))
    corners = points.take(triangles[drawn].T, axis=1)  # [3 coordinates, 3 corners, T]
    triangle, barycentrics = np.full(height * width, -1, np.int32), np.zeros((height * width, 3), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # a triangle without area covers nothing
        seen = _visible(corners, height, width, cull)
        for part in _parts(np.flatnonzero(seen >= 0)):
            triangle[part] = drawn[seen[part]]
            barycentrics[part] = _barycentrics(corners.take(seen[part], axis=2), part, width)
    return Fragments(triangle.reshape(height, width), barycentrics.reshape(height, width, 3))


def interpolate(fragments: Fragments, attributes: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Vertex `attributes` [V, C] over the pixels, [H, W, C] float32, zero where no triangle is seen."""
    attributes = np.asarray(attributes, np.float32)
    image = np.zeros((fragments.triangle.size, attributes.shape[1]), np.float32)
    triangle, barycentrics = fragments.triangle.reshape(-1), fragments.barycentrics.reshape(-1, 3)
    shown = np.flatnonzero(triangle >= 0)
    for part in _parts(shown):
        image[part] = mixed(attributes, triangles.take(triangle.take(part), axis=0), barycentrics.take(part, axis=0))
    return image.reshape(*fragments.triangle.shape, -1)


def mixed(attributes: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Attributes [V, C] at points between `corners` [N, 3] with `weights` [N, 3]: [N, C]; quick for up to `AT_ONCE`."""
    first, second, third = corners.T.astype(np.intp)
    values = attributes.take(first, axis=0) * weights[:, :1]
    values += attributes.take(second, axis=0) * weights[:, 1:2]
    values += attributes.take(third, axis=0) * weights[:, 2:]
    return values


def check_size(height: int, width: int) -> None:
    """Raises ValueError for an image that has no pixel or more than 2^24."""
    if not (height >= 1 and width >= 1 and height * width <= LARGEST_IMAGE):
        raise ValueError(f"An image must have 1 to {LARGEST_IMAGE} px. Received: height={height}, width={width}")


def _visible(corners: np.ndarray, height: int, width: int, cull: bool) -> np.ndarray:
    """[H * W] int, the nearest of triangles with `corners` [3, 3, T] on each pixel, among equals the first; else -1."""
    left, wide = _span(corners[0], width)
    top, high = _span(corners[1], height)
    reach = np.flatnonzero((wide > 0) & (high > 0) & (_front(corners) if cull else True))
    shapes = np.minimum(wide[reach], SHAPES) * (SHAPES + 1) + np.minimum(high[reach], SHAPES)
    hits: list[_Hits] = []
    for shape in np.flatnonzero(np.bincount(shapes, minlength=1) >= ALIKE).tolist():
        across, down = divmod(shape, SHAPES + 1)
        if max(across, down) < SHAPES:
            for part in _parts(reach[shapes == shape], AT_ONCE // (across * down)):
                x = left[part] + np.arange(across)[:, None]
                y = top[part] + np.arange(down)[:, None, None]
                hits.append(_covered(np.tile(part, across * down), corners.take(part, axis=2), x, y, width, cull))
            shapes[shapes == shape] = -1  # done
    reach, centres = reach[shapes >= 0], wide * high
    ends = np.cumsum(centres[reach])
    for part in np.split(reach, np.searchsorted(ends, np.arange(AT_ONCE, ends[-1] if len(ends) else 0, AT_ONCE))):
        owner = np.repeat(part, centres[part])
        starts = np.cumsum(centres[part]) - centres[part]
        row, column = np.divmod(np.arange(len(owner)) - np.repeat(starts, centres[part]), wide[owner])
        x, y = column + left[owner], row + top[owner]
        hits.append(_covered(owner, corners.take(owner, axis=2), x, y, width, cull))
    owner, pixel, nearness = (np.concatenate(each) for each in zip(*hits, strict=True))
    nearest = np.zeros(height * width, np.float32)
    np.maximum.at(nearest, pixel, nearness)
    first = np.flatnonzero(nearness == nearest[pixel])
    seen = np.full(height * width, corners.shape[2])
    np.minimum.at(seen, pixel[first], owner[first])
    seen[seen == corners.shape[2]] = -1
    return seen


def _covered(owner: np.ndarray, corners: np.ndarray, x: np.ndarray, y: np.ndarray, width: int, cull: bool) -> _Hits:
    """Those of the pixel centres (x, y) int that triangles with `corners` cover; `owner` [N] for all centres."""
    inside, nearness = _test(corners, x.astype(np.float32), y.astype(np.float32), cull)
    here = np.flatnonzero(inside)
    return _Hits(*(each.reshape(-1).take(here) for each in (owner, y * width + x, nearness)))


def _parts(indices: np.ndarray, size: int = AT_ONCE) -> list[np.ndarray]:
    """`indices` [N] in parts of at most `size`."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _span(coordinates: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel centre in [min, max) of three `coordinates` [3, T] and [0, size), and how many there are: [T] int."""
    first = np.maximum(np.ceil(coordinates.min(axis=0)), 0)
    end = np.minimum(np.ceil(coordinates.max(axis=0)), size)
    return first.astype(np.int64), np.maximum(end - first, 0).astype(np.int64)


def _front(corners: np.ndarray) -> np.ndarray:
    """[T] bool, without those that surely show their back."""
    (x0, x1, x2), (y0, y1, y2), _ = corners
    return (x2 - x0) * (y1 - y0) - (x1 - x0) * (y2 - y0) > -1e-2


def _test(corners: np.ndarray, x: np.ndarray, y: np.ndarray, cull: bool) -> tuple[np.ndarray, np.ndarray]:
    """Whether triangles with `corners` [3, 3, N] cover (x, y), and their 1 / depth there.

    Two triangles compare the same two products at a shared edge, so that no pixel falls between them.
    """
    (x0, x1, x2), (y0, y1, y2), (z0, z1, z2) = corners
    x0, x1, x2, y0, y1, y2 = x0 - x, x1 - x, x2 - x, y0 - y, y1 - y, y2 - y
    p0, q0, p1, q1, p2, q2 = x2 * y1, x1 * y2, x0 * y2, x2 * y0, x1 * y0, x0 * y1
    inside = (p0 >= q0) & (p1 >= q1) & (p2 >= q2)
    if not cull:
        inside |= (p0 <= q0) & (p1 <= q1) & (p2 <= q2)
    e0, e1, e2 = p0 - q0, p1 - q1, p2 - q2
    nearness = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
    return inside & (nearness > 0), nearness


def _barycentrics(corners: np.ndarray, pixel: np.ndarray, width: int) -> np.ndarray:
    """Perspective-correct weights [P, 3] of the `corners` [3, 3, P] that are seen by `pixel` [P]."""
    y, x = (place.astype(np.float32) for place in np.divmod(pixel, width))
    (x0, x1, x2), (y0, y1, y2), nearness = corners
    x0, x1, x2, y0, y1, y2 = x0 - x, x1 - x, x2 - x, y0 - y, y1 - y, y2 - y
    weights = nearness * np.stack([x2 * y1 - x1 * y2, x0 * y2 - x2 * y0, x1 * y0 - x0 * y1])
    return (weights / (weights[0] + weights[1] + weights[2])).T
