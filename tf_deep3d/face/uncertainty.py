"""How far a detector strays from landmarks, by pose, and what a seen landmark is therefore worth.

A model file may hold, for a set of landmarks, second moments of the offsets of detected points from the landmarks'
projections, measured at a grid of yaws and pitches (`porting.open_face.strays`). They lie in the picture plane of an
upright face, x right and y down, and are measured in dm at the face, so that they go for every size of picture.

Letters: B batch, L landmarks, Y yaws, P pitches of the grid.
"""

import math

import numpy as np

from tf_deep3d.arrays import Array, Namespace

YAW, PITCH = math.radians(80), math.radians(24)  # the grid goes from minus to plus these; beyond, its border counts
MOMENTS = 3  # xx, xy, yy
HIDDEN = 0.1  # factor of the weight of a landmark on the side turned away, where a detector can only guess
COSINES = (-0.1, 0.2)  # of the angle to the viewing direction, between which a landmark turns from hidden to seen


def shares(angles: Array, yaws: int, pitches: int, xp: Namespace = np) -> Array:
    """Bilinear shares [B, Y * P] of the nodes of a grid of `yaws` x `pitches` at `angles` [B, 3]."""
    parts: list[Array] = []
    for angle, limit, count in ((angles[:, 1], YAW, yaws), (angles[:, 0], PITCH, pitches)):
        place = (xp.clip(angle / limit, -1.0, 1.0) + 1.0) * ((count - 1) / 2)
        nodes = np.arange(count, dtype=np.float32)
        parts.append(xp.maximum(1.0 - xp.abs(xp.expand_dims(place, 1) - nodes), 0.0))
    both = xp.expand_dims(parts[0], 2) * xp.expand_dims(parts[1], 1)
    return xp.reshape(both, (-1, yaws * pitches))


def precision(moments: Array, angles: Array, xp: Namespace = np) -> Array:
    """Inverse second moments [B, L, 2, 2] of landmarks in B poses, over their mean size in a frontal view.

    A landmark's squared distance r' W r then counts by how seldom a detector errs so far in that direction, and a
    landmark of middling reliability counts in a frontal view as if W were the identity.

    Args:
      moments: [Y, P, L, 3], see `Landmarks.moments`.
      angles: [B, 3], pitch, yaw, roll in radians.
      xp: array namespace.
    """
    yaws, pitches, count = moments.shape[:3]
    nodes = np.reshape(np.asarray(moments, np.float32), (yaws * pitches, count * MOMENTS))
    front = _inverse(np.reshape(shares(np.zeros((1, 3)), yaws, pitches) @ nodes, (1, count, MOMENTS)), np)
    size = np.float32(np.mean(np.asarray(front[..., 0, 0] + front[..., 1, 1])) / 2)
    here = xp.matmul(shares(angles, yaws, pitches, xp), nodes)
    upright = _inverse(xp.reshape(here, (-1, count, MOMENTS)), xp) / size
    cosine, sine = xp.cos(angles[:, 2]), xp.sin(angles[:, 2])
    turn = xp.stack([xp.stack([cosine, sine], -1), xp.stack([-sine, cosine], -1)], 1)  # as seen, with y down
    turn = xp.expand_dims(turn, 1)
    return xp.matmul(xp.matmul(turn, upright), xp.swapaxes(turn, 2, 3))


def trust(cosine: np.ndarray, hidden: float = HIDDEN) -> np.ndarray:
    """Factor in [`hidden`, 1] of a landmark's weight, by the cosine of its normal's angle to the viewing direction."""
    seen = np.clip((cosine - COSINES[0]) / (COSINES[1] - COSINES[0]), 0.0, 1.0)
    return hidden + (1.0 - hidden) * seen


def _inverse(moments: Array, xp: Namespace) -> Array:
    """Inverse matrices [.., 2, 2] of `moments` [.., 3]."""
    xx, xy, yy = (moments[..., i] for i in range(MOMENTS))
    rows = [xp.stack([yy, -xy], -1), xp.stack([-xy, xx], -1)]
    return xp.stack(rows, -2) / xp.expand_dims(xp.expand_dims(xx * yy - xy * xy, -1), -1)
