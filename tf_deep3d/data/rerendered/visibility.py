"""Which triangle of a surface each pixel of one picture shows, in NumPy: for a single picture that is several times as
fast as `rendering`, whose many tensor operations pay for batches and gradients. The rule is the same.

Letters: V vertices, T triangles, N pixels, P pairs of a triangle and a pixel centre.
"""

import numpy as np


def visible(
    pixels: np.ndarray, depth: np.ndarray, triangles: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the pixels of a square picture that show a surface.

    Args:
      pixels: [V, 2] px.
      depth: [V] dm, all in front of the camera.
      triangles: [T, 3] int, counter-clockwise seen from outside; those that show their back are not seen.
      size: px, side of the picture.

    Returns:
      place [N] int, row * size + column, ascending; triangle [N] int; perspective-correct weights of its corners
      [N, 3] float32.
    """
    places = np.asarray(pixels, np.float32).T - np.float32(0.5)  # pixel centres are whole numbers
    (x0, y0), (x1, y1), (x2, y2) = corners = [places.take(triangles[:, i], axis=1) for i in range(3)]
    front = np.flatnonzero((x1 - x0) * (y2 - y0) < (y1 - y0) * (x2 - x0))
    corners = [corner.take(front, axis=1) for corner in corners]
    low = np.maximum(np.ceil(np.minimum.reduce(corners)), 0)
    wide, tall = np.maximum(np.minimum(np.floor(np.maximum.reduce(corners)), size - 1) - low + 1, 0).astype(np.int32)
    count = wide * tall
    owner = np.repeat(np.arange(len(front), dtype=np.int32), count)
    slot = np.arange(len(owner), dtype=np.int32) - np.repeat(np.cumsum(count, dtype=np.int32) - count, count)
    down, right = np.divmod(slot, wide.take(owner))
    column, row = low[0].take(owner) + right, low[1].take(owner) + down
    (x0, y0), (x1, y1), (x2, y2) = ((x.take(owner) - column, y.take(owner) - row) for x, y in corners)
    edges = x2 * y1 - x1 * y2, x0 * y2 - x2 * y0, x1 * y0 - x0 * y1
    inside = np.flatnonzero((edges[0] >= 0) & (edges[1] >= 0) & (edges[2] >= 0))
    owner, place = front[owner[inside]], (row[inside] * size + column[inside]).astype(np.int64)
    edges = np.stack([edge[inside] for edge in edges])
    weights = edges * (1 / np.asarray(depth, np.float32)).take(triangles[owner].T)
    total, area = weights.sum(0), edges.sum(0)
    order = np.lexsort((total / np.maximum(area, 1e-12), place))
    nearest = order[np.append(np.diff(place[order]) > 0, True)[: len(order)]]
    return place[nearest], owner[nearest], (weights[:, nearest] / np.maximum(total[nearest], 1e-12)).T
