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
    points = np.asarray(pixels, np.float32) - np.float32(0.5)  # pixel centres are whole numbers
    a, b, c = (points[triangles[:, i]] for i in range(3))
    across, along = b - a, c - a
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)), 0)
    high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c)), size - 1)
    wide, tall = np.maximum(high - low + 1, 0).astype(np.int32).T
    count = np.where(across[:, 0] * along[:, 1] < across[:, 1] * along[:, 0], wide * tall, 0)
    owner = np.repeat(np.arange(len(triangles), dtype=np.int32), count)
    slot = np.arange(len(owner), dtype=np.int32) - np.repeat(np.cumsum(count, dtype=np.int32) - count, count)
    down = slot // wide[owner]
    column = low[owner, 0] + (slot - down * wide[owner])
    row = low[owner, 1] + down
    (x0, y0), (x1, y1), (x2, y2) = ((corner[owner, 0] - column, corner[owner, 1] - row) for corner in (a, b, c))
    edges = x2 * y1 - x1 * y2, x0 * y2 - x2 * y0, x1 * y0 - x0 * y1
    inside = np.flatnonzero((edges[0] >= 0) & (edges[1] >= 0) & (edges[2] >= 0))
    owner, place = owner[inside], (row[inside] * size + column[inside]).astype(np.int64)
    near = (1 / np.asarray(depth, np.float32))[triangles[owner]]
    weights = np.stack([edge[inside] for edge in edges], 1)
    area = weights.sum(1)
    weights *= near
    total = weights.sum(1)
    order = np.lexsort((total / np.maximum(area, 1e-12), place))
    last = order[np.append(place[order][1:] != place[order][:-1], True)] if len(order) else order
    return place[last], owner[last], weights[last] / np.maximum(total[last, None], 1e-12)
