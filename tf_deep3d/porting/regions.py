"""Regions of the face by geometry, for models that bring none: polygons of the landmarks, seen from the front.

The rules, on the mean shape in dm, with P the 68 landmarks (order in `landmarks`):

- eyes: within the lid points of an eye, no farther than `EYE_DEPTH` in front of or behind them;
- lids: within the lid points spread from their centre by `LID_SPREAD` in x and y, same depth, not eyes;
- inner_mouth: within the inner lips, or within the outer lips and more than `LIP_DEPTH` behind them; to `MOUTH_DEPTH`;
- lips: within the outer lips, no farther than `LIP_DEPTH` from them, not inner_mouth;
- inner_face: within the jaw line and the brows lifted by `FOREHEAD` of the distance from brows to nose base, and not
  behind the jaw line's ends: the part that the photometric loss looks at;
- skin: inner_face without all of the above and without a strip of `BROW_WIDTH` along each brow.

A region that the source knows replaces the rule's.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from tf_deep3d.face.landmarks import BROWS, EYES, INNER_LIPS, JAW, NOSE_BASE, OUTER_LIPS
from tf_deep3d.face.morphable_model import REGIONS

EYE_DEPTH = 0.15  # dm
LID_SPREAD = (1.35, 2.2)
LIP_DEPTH = 0.12  # dm
MOUTH_DEPTH = 0.8  # dm
FOREHEAD = 0.5
BROW_WIDTH = 0.07  # dm


def face_regions(
    vertices: np.ndarray, points: np.ndarray, known: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """The regions of `morphable_model.REGIONS`.

    Args:
      vertices: [V, 3] dm, the mean shape.
      points: [68, 3] dm, its landmarks.
      known: name -> bool [V], regions that the source gives.

    Returns:
      Dict of name -> bool [V].
    """
    known = known or {}
    flat, depth = vertices[:, :2], vertices[:, 2]

    def pick(name: str, rule: Callable[[], np.ndarray]) -> np.ndarray:
        return np.asarray(known[name], bool) if name in known else rule()

    def around_eyes(spread: Sequence[float]) -> np.ndarray:
        chosen = np.zeros(len(vertices), bool)
        for eye in EYES:
            lids = points[eye]
            center = lids[:, :2].mean(0)
            polygon = center + (lids[:, :2] - center) * spread
            chosen |= within(flat, polygon) & between(depth, lids[:, 2], EYE_DEPTH, EYE_DEPTH)
        return chosen

    def mouth() -> np.ndarray:
        outer, inner = points[OUTER_LIPS], points[INNER_LIPS]
        behind = within(flat, outer[:, :2]) & (depth < outer[:, 2].min() - LIP_DEPTH)
        opening = within(flat, inner[:, :2]) & (depth < outer[:, 2].max() + LIP_DEPTH)
        return (behind | opening) & (depth > outer[:, 2].min() - MOUTH_DEPTH)

    def lip_band() -> np.ndarray:
        outer = points[OUTER_LIPS]
        return within(flat, outer[:, :2]) & between(depth, outer[:, 2], LIP_DEPTH, LIP_DEPTH)

    def front() -> np.ndarray:
        brows = np.concatenate([points[brow, :2] for brow in BROWS])
        lift = FOREHEAD * (brows[:, 1].mean() - points[NOSE_BASE, 1])
        outline = np.concatenate([points[JAW, :2], (brows + np.array([0, lift]))[::-1]])
        return within(flat, outline) & (depth > points[JAW, 2].min() - EYE_DEPTH)

    def bare_skin() -> np.ndarray:
        brows = np.zeros(len(vertices), bool)
        for brow in BROWS:
            brows |= near_line(flat, points[brow, :2], BROW_WIDTH)
        return inner_face & ~(eyes | lids | inner_mouth | lips | brows)

    eyes = pick("eyes", lambda: around_eyes((1.0, 1.0)))
    lids = pick("lids", lambda: around_eyes(LID_SPREAD) & ~eyes)
    inner_mouth = pick("inner_mouth", mouth)
    lips = pick("lips", lambda: lip_band() & ~inner_mouth)
    inner_face = pick("inner_face", front)
    skin = pick("skin", bare_skin)
    regions = (skin, inner_face, lips, inner_mouth, lids, eyes)
    return dict(zip(REGIONS, regions, strict=True))


def within(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of `points` [N, 2] lie inside `polygon` [K, 2] (crossing number, so it may be concave): bool [N]."""
    x, y = points[:, :1], points[:, 1:]
    x0, y0 = polygon.T
    x1, y1 = np.roll(polygon, -1, 0).T
    crosses = (y0 <= y) != (y1 <= y)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    return (crosses & (x < x0 + (y - y0) / rise * (x1 - x0))).sum(1) % 2 == 1


def between(depth: np.ndarray, bounds: np.ndarray, behind: float, ahead: float) -> np.ndarray:
    """Which `depth` [N] lie within the range of `bounds`, widened by `behind` and `ahead`: bool [N]."""
    return (depth > bounds.min() - behind) & (depth < bounds.max() + ahead)


def near_line(points: np.ndarray, line: np.ndarray, width: float) -> np.ndarray:
    """Which of `points` [N, 2] are nearer than `width` to the polyline `line` [K, 2]: bool [N]."""
    near = np.zeros(len(points), bool)
    for start, end in pairwise(line):
        step = end - start
        along = np.clip((points - start) @ step / max(step @ step, 1e-30), 0, 1)
        near |= np.linalg.norm(points - start - along[:, None] * step, axis=1) < width
    return near
