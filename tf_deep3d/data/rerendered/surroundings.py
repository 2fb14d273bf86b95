"""What is around a face follows it: hair, ears, neck and background of a photo, warped along with a face that moves.

At the border of the face the surroundings go where the face goes. Where the face hides a part of itself, its contour in
the new picture meets what the photo showed just beside the head. In between, and towards the picture's border, which
stays, places are interpolated (Shepard 1968).

Letters: S side of a picture, R points of a ring, G points of a grid.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

BLACK = 10  # level of 255, up to which a pixel may be one beyond the photo
RING = 240  # points of the ring around a face
STEP = 3.0  # px, about, between the points of the ring
CELL = 8  # px between the points of the grid
EDGE = 16  # px between the points of the picture's border
FAR = 40.0  # px from the face, from which the border stays where it is
SOFT = 4.0  # px, of a contour whose direction is asked for
SEAM = 0.1  # of `middle`, up to which a ring's point lies at the border of the face
SPECKLE = 2  # px, half the width of what JPEG may leave in the black
EDGED = 30  # level of 255, from which a photo's rim is not the darkness around it


def beyond(image: np.ndarray) -> np.ndarray:
    """Where a record lies beyond its photo, [S, S] bool: outside the convex hull of what is not black, if that ends at
    an edge; without one the photo itself is dark there.

    Args:
      image: [S, S, 3] uint8.
    """
    shown = np.pad(image.max(-1) > BLACK, SPECKLE, mode="edge")
    shown = ndimage.binary_opening(shown, iterations=SPECKLE)[SPECKLE:-SPECKLE, SPECKLE:-SPECKLE]
    if not shown.any():
        return np.zeros_like(shown)
    photo = _hull(shown)
    rim = photo & ~ndimage.binary_erosion(photo, iterations=4, border_value=1)
    edged = rim.any() and np.median(image.max(-1)[rim]) > EDGED
    return ~photo if edged else np.zeros_like(shown)


def _hull(mask: np.ndarray) -> np.ndarray:
    """The pixels [S, S] bool within the convex hull of `mask` [S, S]."""
    rows = np.flatnonzero(mask.any(1))
    ends = mask[rows].argmax(1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(1)
    points = np.concatenate([np.stack([rows, end], 1) for end in ends])
    try:
        equations = ConvexHull(points).equations
    except QhullError:  # a line
        return mask
    rows, columns = np.indices(mask.shape)
    inside = np.ones(mask.shape, bool)
    for down, across, offset in equations:
        inside &= down * rows + across * columns + offset <= 0.5
    return inside


def continued(picture: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """`picture` [S, S, C] uint8 with each pixel of `outer` [S, S] as the nearest of the others, two px further in."""
    if not outer.any():
        return picture
    known = ndimage.binary_erosion(~outer, iterations=2, border_value=1)
    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return picture[rows, columns]


def follow(places: np.ndarray, mask: np.ndarray, middle: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Where each pixel around a face, and under it, is to be found in the photo.

    Args:
      places: [S, S, 2], px of the photo that the pixels of the face show.
      mask: [S, S] bool, where they are.
      middle: [S, S] in [0, 1], 0 at the border of the face.
      head: [S, S] bool, where the photo shows the fitted head.

    Returns:
      [S, S, 2] float32, px of the photo.
    """
    size = len(mask)
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask, border_value=1))
    chosen = np.linspace(0, len(rows) - 1, min(RING, len(rows))).astype(int)
    rows, columns = rows[chosen], columns[chosen]
    here = np.stack([columns, rows], 1) + 0.5
    there = places[rows, columns]
    hidden = middle[rows, columns] > SEAM
    there[hidden] = _beside(head, there[hidden], _outwards(mask)[rows[hidden], columns[hidden]])
    steps = np.arange(0, size + 1, EDGE, dtype=float)
    low, high = np.zeros_like(steps), np.full_like(steps, size)
    border = np.concatenate([np.stack(pair, 1) for pair in ((steps, low), (steps, high), (low, steps), (high, steps))])
    away = ((border[:, None] - here) ** 2).sum(-1).min(1, initial=np.inf)
    border = border[away > FAR**2]
    moves = np.concatenate([there - here, np.zeros_like(border)])
    length = np.repeat(np.array([STEP, EDGE], np.float32), [len(here), len(border)])
    return _shepard(np.concatenate([here, border]), moves, length, size)


def _outwards(mask: np.ndarray) -> np.ndarray:
    """[S, S, 2]: the direction in which `mask` [S, S] ends, x and y."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), SOFT, truncate=2, mode="nearest")
    slope = np.stack(np.gradient(-soft)[::-1], -1)
    return slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-9)


def _beside(head: np.ndarray, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The first places [N, 2] outside `head` [S, S] on the way from `points` [N, 2] along `directions` [N, 2]."""
    size = len(head)
    steps = np.arange(size, dtype=np.float32)
    ways = points[:, None] + steps[:, None] * directions[:, None]
    column, row = np.moveaxis(np.clip(ways, 0, size - 1).astype(np.int32), -1, 0)
    inside = head[row, column] & ((ways >= 0) & (ways < size)).all(-1)
    first = np.argmin(inside, axis=1)
    return points + steps[first][:, None] * directions


def _shepard(points: np.ndarray, moves: np.ndarray, length: np.ndarray, size: int) -> np.ndarray:
    """Places [S, S, 2] moved like the `points` [R, 2] near them, by `moves` [R, 2], each for a `length` [R] of ring."""
    knots = np.arange(size // CELL + 1) * float(CELL)
    squares = (knots[:, None] - points.T[:, None]).astype(np.float32) ** 2  # [2, knots, R]
    squares = squares[1][:, None] + squares[0] + np.float32(1)
    weights = (length / (squares * np.sqrt(squares))).reshape(-1, len(points))
    coarse = (weights @ moves.astype(np.float32)) / weights.sum(1, keepdims=True)
    coarse = coarse.reshape(len(knots), len(knots), 2)
    centers = np.arange(size, dtype=np.float32) + np.float32(0.5)
    first = (centers / CELL).astype(int)
    part = (centers / CELL - first)[:, None]
    rows = coarse[first] * (1 - part[..., None]) + coarse[first + 1] * part[..., None]
    moved = rows[:, first] * (1 - part) + rows[:, first + 1] * part
    moved[..., 0] += centers
    moved[..., 1] += centers[:, None]
    return moved
