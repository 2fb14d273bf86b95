"""Points that follow a face; the 68 iBUG landmarks by name, and errors of landmarks.

The picture's left comes first: the jaw starts there, and so do pairs; eyes and lips go round clockwise from their left
corner. The 478 points of MediaPipe have their names in `detection.networks`.

Letters: L landmarks, B batch, Y yaws and P pitches of `uncertainty`.
"""

from dataclasses import dataclass

import numpy as np

from tf_deep3d.arrays import Array, Namespace

JAW = slice(0, 17)
BROWS = (slice(17, 22), slice(22, 27))
NOSE_BRIDGE = slice(27, 31)  # its last point is the tip
NOSE_END = slice(28, 31)  # the lower bridge and the tip
NOSTRILS = slice(31, 36)
EYES = (slice(36, 42), slice(42, 48))
OUTER_LIPS, INNER_LIPS = slice(48, 60), slice(60, 68)
INNER_FACE = slice(17, 68)  # all but the jaw, whose definition differs between detectors
NOSE_ROOT, NOSE_TIP, NOSE_BASE = 27, 30, 33
OUTER_EYE_CORNERS, INNER_EYE_CORNERS = (36, 45), (39, 42)
MOUTH_CORNERS = (48, 54)
COUNT = 68
DENSE_COUNT = 478  # of MediaPipe's mesh with irises
IRISES = slice(468, 478)  # of the dense ones; they follow the gaze

# Where each point goes when left and right change places.
MIRROR = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37,
        36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Landmarks:
    """Points that follow the surface.

    Attributes:
      vertices: [L, 3] int32, the corners of the triangle each point lies in; those of the eyes of `alignment5` lie
        round the eye, whose point is between its corners.
      weights: [L, 3] float32, barycentric, sum to 1.
      moments: [Y, P, L, 3] float32 dm^2, how far a detector strays from the points by yaw and pitch (`uncertainty`), or
        None where nobody measured it.
    """

    vertices: Array
    weights: Array
    moments: Array | None = None


def eye_distance(points: Array, xp: Namespace = np) -> Array:
    """Distance [..] of the outer corners of the eyes of `points` [.., 68, 2 or 3], in their unit."""
    right, left = OUTER_EYE_CORNERS
    return xp.sqrt(xp.sum((points[..., right, :] - points[..., left, :]) ** 2, axis=-1))


def mean_distance(predicted: Array, truth: Array, xp: Namespace = np) -> Array:
    """Mean distance [..] of the 51 points of the inner face of `predicted` and `truth` [.., 68, 2 or 3]."""
    offset = predicted[..., INNER_FACE, :] - truth[..., INNER_FACE, :]
    return xp.mean(xp.sqrt(xp.sum(offset**2, axis=-1)), axis=-1)


def nme(predicted: Array, truth: Array, xp: Namespace = np) -> Array:
    """Normalised mean error [..]: `mean_distance` over the `eye_distance` of the truth; 0.01 is one per cent."""
    return mean_distance(predicted, truth, xp) / eye_distance(truth, xp)
