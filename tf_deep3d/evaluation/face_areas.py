"""Parts of a face that looks along +z, by a few landmarks: what is measured, and where errors lie.

The borders go by the corners of the eyes and of the mouth and by the base of the nose alone, so that scans with seven
landmarks have the same parts as those with sixty-eight.

Letters: P points, N corners of an outline.
"""

import numpy as np

from tf_deep3d.face.landmarks import (
    INNER_EYE_CORNERS,
    INNER_LIPS,
    MOUTH_CORNERS,
    NOSE_BASE,
    OUTER_EYE_CORNERS,
)

AREAS = ("forehead", "eyes", "nose", "cheeks", "mouth", "chin")
EYE = (0.6, 0.35)  # half axes of an eye with its lids, over the distance of its corners


def outside_eyes_and_mouth(points: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Points that are neither eye or lid nor inside the lips: what lies there opens, closes and shines through.

    Args:
      points: [P, 3] mm.
      landmarks: [68, 3] mm, NaN where one is not known: what is not known leaves nothing out.

    Returns:
      [P] bool.
    """
    left_out = np.zeros(len(points), bool)
    for corners in zip(OUTER_EYE_CORNERS, INNER_EYE_CORNERS, strict=True):
        one, other = landmarks[list(corners), :2]
        along = (other - one) / np.linalg.norm(other - one)
        place = points[:, :2] - (one + other) / 2
        across = np.array([-along[1], along[0]])
        size = np.linalg.norm(other - one) * np.array(EYE)
        left_out |= ((place @ along / size[0]) ** 2 + (place @ across / size[1]) ** 2) < 1
    return ~(left_out | _inside(points[:, :2], landmarks[INNER_LIPS, :2]))


def _inside(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """[P] bool: which `points` [P, 2] a ray to the right leaves `outline` [N, 2] an odd number of times."""
    start, end = outline, np.roll(outline, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    crossed = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    at = start[:, 0] + (y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    return (crossed & (x < at)).sum(1) % 2 == 1


def areas(points: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Which of `points` [P, 3] lie in each of `AREAS`: name -> [P] bool. Each point lies in one.

    Args:
      points: see above, mm.
      landmarks: [68, 3] mm; where the corners or the nose's base are not known, all areas are empty.
    """
    eyes, mouth = landmarks[[*OUTER_EYE_CORNERS, *INNER_EYE_CORNERS]], landmarks[list(MOUTH_CORNERS)]
    middle = np.concatenate([eyes, mouth])[:, 0].mean()
    base = landmarks[NOSE_BASE, 1]
    long, wide = eyes[:, 1].mean() - base, np.ptp(mouth[:, 0])
    apart = np.ptp(eyes[2:, 0])
    aside = np.abs(points[:, 0] - middle)
    up = (points[:, 1] - base) / long  # 0 at the nose's base, 1 between the eyes
    corner = (points[:, 1] - mouth[:, 1].mean()) / wide  # 0 at the corners of the mouth
    flank = apart * (0.65 - 0.35 * np.clip(up, 0, 1))  # half the nose's width
    near = aside < 0.55 * wide
    tests = {
        "forehead": up > 1.55,
        "nose": (up > -0.1) & (up < 1.15) & (aside < flank),
        "eyes": up > 0.65,
        "mouth": near & (up <= -0.1) & (corner > -0.25),
        "chin": near & (corner <= -0.25),
        "cheeks": np.isfinite(up + corner + flank),
    }
    free = np.isfinite(up + corner + flank)
    found = {}
    for name, chosen in tests.items():
        found[name] = free & chosen
        free = free & ~chosen
    return {name: found[name] for name in AREAS}
