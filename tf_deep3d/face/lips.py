"""Closed lips: how far those of a face stand apart, and how they meet.

A face that is linear in its coefficients has lips that overlap in some people and part in others by about half a
millimetre, and through the slit teeth show. Seen from the front, the lips part in a column of the mouth by what the
lowest point of the upper lip is above the highest one of the lower lip. Both move half of that, and the skin around
follows.

A photo tells whether lips are closed: detectors see those of dark or blurred mouths up to some millimetres apart, but
between them the photo is darker and redder than lips are, or as they are, where teeth are whiter.

Letters: V vertices, N vertices that move, E points of lips, K columns across the mouth.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d.face.morphable_model import MorphableModel

COLUMNS = 41
SPLIT = 0.93  # of half the width of the lips, within which they are two
OVERLAP = 0.003  # dm, of closed lips, so that nothing shows between two columns
REACH = (0.01, 0.08)  # dm from where lips meet, between which the skin follows less and less
SLANTS = (-0.27, 0.0, 0.27)  # of the lines of sight along which nothing shows between closed lips: 15 degrees
SMALLEST = 10  # vertices of a lip
# Of MediaPipe's 478 points, columns in the middle of the mouth: the upper lip's lower edge and the lower lip's upper
# one, the upper one's upper edge and the lower one's lower one.
EDGES = np.array([(13, 14, 0, 17), (82, 87, 37, 84), (312, 317, 267, 314), (81, 178, 39, 181), (311, 402, 269, 405)]).T
SLIT = (0.35, 0.5, 0.65)  # of the way from lip to lip, where a photo is asked for teeth
NARROW = 0.025  # dm, a detected opening that may be none
# Of logarithms of colours + `DARKEST`, of what is between the lips over theirs, from which there are teeth: how far
# less red it is, and how much brighter.
WHITER, BRIGHTER, DARKEST = 0.08, 0.05, 0.05


class Lips(NamedTuple):
    """The lips of a face model, in columns across the mouth.

    Attributes:
      ends: [E, 2] int, vertices of edges that cross a column.
      share: [E], where they do, of the way to the second one.
      column: [E] int.
      upper: [E] bool, of the upper lip.
      vertices: [N] int, that move.
      place: [N], in columns; a corner of the mouth is one before the first and one after the last.
      follow: [N] in [-0.5, 0.5], how far up each moves, of what lips part by.
    """

    ends: np.ndarray
    share: np.ndarray
    column: np.ndarray
    upper: np.ndarray
    vertices: np.ndarray
    place: np.ndarray
    follow: np.ndarray


def lips_of(model: MorphableModel) -> Lips | None:
    """The `Lips` of a face model; None for one that has no lips, or whose lips are one."""
    shape = np.asarray(model.mean_shape)
    lips = model.regions.get("lips", np.zeros(len(shape), bool))
    if not lips.any():
        return None
    across = shape[:, 0]
    right, left = across[lips].min(), across[lips].max()
    middle, half = (left + right) / 2, SPLIT * (left - right) / 2
    columns = middle + half * np.linspace(-1, 1, COLUMNS + 2)[1:-1]
    between = lips & (np.abs(across - middle) < half)
    corners = np.asarray(model.triangles).T
    edges = corners[[[0, 1], [1, 2], [2, 0]]][:, :, np.logical_and.reduce(between[corners])].transpose(0, 2, 1)
    edges = edges[edges[..., 0] < edges[..., 1]]  # once each, but for some of the border
    halves = _halves(shape, edges)
    if halves is None:
        return None
    edges = edges[(halves[0] | halves[1])[edges[:, 0]]]
    first, second = across[edges].T
    crossing, column = np.nonzero((first[:, None] < columns) != (second[:, None] < columns))
    share = (columns[column] - first[crossing]) / (second - first)[crossing]
    upper = halves[0][edges[crossing, 0]]
    if any(len(np.unique(column[part])) < COLUMNS for part in (upper, ~upper)):
        return None
    nobody = np.zeros(0, int)
    found = Lips(edges[crossing], share.astype(np.float32), column, upper, nobody, nobody, nobody)
    bound = np.flatnonzero(np.any(list(model.regions.values()), axis=0))  # the teeth of a head are not
    return _moving(found, shape, np.array([right, *columns, left]), halves, bound)


def parted(lips: Lips, shape: np.ndarray) -> np.ndarray:
    """By how much lips part in the columns, seen from the front, from below or from above, where that is most: [K], in
    the unit of `shape` [V, 3]; negative where they overlap."""
    points = _points(lips, shape)
    most = np.full(COLUMNS, -np.inf)
    for slant in SLANTS:
        height = points[:, 1] + slant * points[:, 2]
        lowest, highest = np.full(COLUMNS, np.inf), np.full(COLUMNS, -np.inf)
        np.minimum.at(lowest, lips.column[lips.upper], height[lips.upper])
        np.maximum.at(highest, lips.column[~lips.upper], height[~lips.upper])
        most = np.maximum(most, lowest - highest)
    return most


def sealed(lips: Lips | None, shape: np.ndarray) -> np.ndarray:
    """A face [V, 3] dm, unposed, whose lips meet; as it is where they do, or without `Lips`."""
    if lips is None:
        return shape
    apart = np.pad(np.maximum(parted(lips, shape) + OVERLAP, 0.0), 1)  # corners part by nothing
    moved = shape.copy()
    moved[lips.vertices, 1] += lips.follow * _between(apart, lips.place)
    return moved


def shown_closed(picture: np.ndarray, points: np.ndarray, scale: float) -> bool:
    """Whether a photo shows closed lips.

    Args:
      picture: [H, W, 3] RGB in [0, 1], the aligned photo.
      points: [478, 2 or more] px in it, of MediaPipe.
      scale: px for a dm.
    """
    upper, lower, top, bottom = np.asarray(points, np.float64)[EDGES, :2]
    if np.linalg.norm(upper - lower, axis=1).mean() > NARROW * scale:
        return False
    slit = np.log(np.mean([_at(picture, upper + way * (lower - upper)) for way in SLIT], axis=0) + DARKEST)
    own = np.mean([np.log(_at(picture, (a + b) / 2) + DARKEST) for a, b in ((upper, top), (lower, bottom))], axis=0)
    red, *others = (slit - own).T
    whiter = np.median(np.mean(others, axis=0) - red)
    return bool(whiter < WHITER and np.median((slit - own).mean(axis=1)) < BRIGHTER)


def _at(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Colours [n, 3] of a picture [H, W, 3] at `places` [n, 2] px, interpolated; its border goes on beyond it."""
    x, y = np.clip(places.T - 0.5, 0.0, np.array([[picture.shape[1]], [picture.shape[0]]]) - 1.0)
    left, top = x.astype(int), y.astype(int)
    right, bottom = np.minimum(left + 1, picture.shape[1] - 1), np.minimum(top + 1, picture.shape[0] - 1)
    x, y = (x - left)[:, None], (y - top)[:, None]
    upper, lower = (picture[row, left] * (1 - x) + picture[row, right] * x for row in (top, bottom))
    return upper * (1 - y) + lower * y


def _points(lips: Lips, shape: np.ndarray) -> np.ndarray:
    """The points [E, 3] of a face."""
    first, second = shape[lips.ends[:, 0]], shape[lips.ends[:, 1]]
    return first + lips.share[:, None] * (second - first)


def _between(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """`values` [K + 2], of a corner, the columns and the other corner, interpolated at `place` [N] in columns."""
    before = np.clip(np.floor(place).astype(int) + 1, 0, COLUMNS)
    return values[before] + (place + 1 - before) * np.diff(values)[before]


def _halves(shape: np.ndarray, edges: np.ndarray) -> np.ndarray | None:
    """The upper and the lower lip, each held together by `edges` [n, 2]: [2, V] bool; None where they are one."""
    vertices, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2).T
    label = np.arange(len(vertices))
    while True:
        least = label.copy()
        for here, there in (ends, ends[::-1]):
            np.minimum.at(least, here, label[there])
        least = least[least]
        if (least == label).all():
            break
        label = least
    names, counts = np.unique(label, return_counts=True)
    large = [vertices[label == names[i]] for i in np.argsort(-counts)[:2] if counts[i] >= SMALLEST]
    if len(large) < 2:
        return None
    if shape[large[0], 1].mean() < shape[large[1], 1].mean():
        large.reverse()
    halves = np.zeros((2, len(shape)), bool)
    halves[0, large[0]] = halves[1, large[1]] = True
    return halves


def _moving(lips: Lips, shape: np.ndarray, columns: np.ndarray, halves: np.ndarray, bound: np.ndarray) -> Lips:
    """`lips` with the vertices that move, of those `bound` to the face: how far they are from where the `halves`
    [2, V] bool meet in the mean face, `shape` [V, 3], says how much. `columns` [K + 2] lie between the corners."""
    points = _points(lips, shape)
    meeting = np.empty((2, COLUMNS, 3))
    for column in range(COLUMNS):
        for half, (part, sign) in enumerate(((lips.upper, -1), (~lips.upper, 1))):
            mine = points[part & (lips.column == column)]
            meeting[half, column] = mine[np.argmax(sign * mine[:, 1])]
    away = np.maximum(meeting.min(axis=(0, 1)) - shape[bound], shape[bound] - meeting.max(axis=(0, 1)))
    near = bound[(away < REACH[1]).all(axis=1)]
    across = shape[near, 0]
    before = np.clip((across[:, None] >= columns).sum(axis=1) - 1, 0, COLUMNS)
    place = before - 1 + np.clip((across - columns[before]) / np.diff(columns)[before], 0.0, 1.0)
    seam = _between(np.pad(meeting[..., 1].mean(axis=0), 1, mode="edge"), place)
    above: np.ndarray = halves[0, near] | (~halves[1, near] & (shape[near, 1] > seam))
    distance = np.empty(len(near))
    for half, mine in zip(meeting, (above, ~above), strict=True):
        own = shape[near[mine]].astype(np.float64)
        squares = np.square(own).sum(axis=1)[:, None] - 2 * own @ half.T + np.square(half).sum(axis=1)
        distance[mine] = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    nearness = np.clip((REACH[1] - distance) / (REACH[1] - REACH[0]), 0.0, 1.0)
    follow = np.square(nearness) * (3.0 - 2.0 * nearness) * np.where(above, -0.5, 0.5)
    moves = follow != 0
    return lips._replace(
        vertices=near[moves], place=place[moves].astype(np.float32), follow=follow[moves].astype(np.float32)
    )
