"""Parts of the head that move like bones: both rows of teeth and the eyeballs.

A part's points are an affine image of themselves: of four controls, three axes and a center, of which people have their
own. An expression turns and shifts a part as a whole, by a rotation vector and a displacement of its center that add up
over the expression's units; upper teeth are fixed to the skull, and eyeballs only turn.

Letters: K units, P points.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from tf_deep3d.porting.open_face import geometry, shape, surface
from tf_deep3d.porting.open_face.sources import Sources
from tf_deep3d.porting.open_face.surface import Surface

NAMES = ("jaw", "eyeLeft", "eyeRight")
MIRRORED = np.array([0, 2, 1])  # the bone on the other side
_STILL = 0.002  # dm; targets that move all of a part's points by less do not mean to
_BACK_RINGS = 4  # of an eyeball, behind its widest one


def affine(points: np.ndarray, origin: np.ndarray | float = 0.0) -> np.ndarray:
    """Weights [P, 4] of the four controls of a part (three axes and the center at `origin`) for its `points` [P, 3]."""
    return np.concatenate([points - origin, np.ones((len(points), 1))], 1)


def rigid_motions(
    points: np.ndarray, moves: np.ndarray, center: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rigid motions nearest to displacements.

    Args:
      points: [P, 3].
      moves: [K, P, 3], of the points.
      center: [3], of the turn.

    Returns:
      (rotation vectors [K, 3] in radians; displacements of the center [K, 3]; largest distance left, [K]).
    """
    rotation, shift = shape.rigid_motion(points + moves, points)  # moved points @ rotation + shift are the points
    back = np.einsum("kij,kpj->kpi", rotation, points - shift[:, None])
    left = np.linalg.norm(points + moves - back, axis=2).max(1)
    moved = np.einsum("kij,kj->ki", rotation, center - shift) - center
    return Rotation.from_matrix(rotation).as_rotvec(), moved, left


def motions(
    sources: Sources, names: Sequence[str], teeth_center: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turns and shifts of the bones by targets.

    Args:
      sources: `Sources`.
      names: K names of targets.
      teeth_center: [3] dm, of the lower row, on the base mesh.

    Returns:
      (turns [K, 3 bones, 3] radians; shifts [K, 3 bones, 3] dm of the base mesh; distances left [K, 3 bones]).
    """
    results = []
    for group in ("helper-lower-teeth", "helper-l-eye", "helper-r-eye"):
        own = np.unique(sources.quads[group])
        points = sources.vertices[own]
        center = teeth_center if "teeth" in group else (points.max(0) + points.min(0)) / 2
        moves = shape.vertex_displacements(sources, own, names)
        moves[np.abs(moves).max((1, 2)) < _STILL] = 0
        turn, shift, left = rigid_motions(points, moves, center)
        results.append((turn, shift if "teeth" in group else 0 * shift, left))
    turns, shifts, left = (np.stack(each, 1) for each in zip(*results, strict=True))
    return turns, shifts, left


def eyeball_frame(face: Surface, side: int) -> np.ndarray:
    """How the controls of an eyeball follow from the face's control points: [4, C].

    Args:
      face: `surface.Surface`.
      side: 1 for the person's left eye, -1 for the right one.
    """
    directions, _, _ = surface.eye_disc()
    frame = np.zeros((4, len(face.offset)))
    frame[:, eyeball(face, side)] = np.linalg.pinv(affine(directions))
    return frame


def eyeball(face: Surface, side: int) -> np.ndarray:
    """The control points of one eyeball of the face: [K] int, in the order of `surface.eye_disc`."""
    eyes = np.unique(face.quads[face.parts == surface.EYE])
    return np.split(eyes, 2)[0 if side < 0 else 1]


def back_of_eyeball(front: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rest of a unit eyeball that looks along +z.

    Args:
      front: [P, 3], its front, up to the widest ring.
      triangles: [T, 3], of the front.

    Returns:
      (points [B, 3]; triangles [S, 3], into the front's points, then the new ones; ring [R] int, of the front).
    """
    edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    numbers = edges[:, 0] * len(front) + edges[:, 1]
    border = dict(edges[~np.isin(edges[:, 1] * len(front) + edges[:, 0], numbers)].tolist())
    ring = [min(border)]
    while border[ring[-1]] != ring[0]:
        ring.append(border[ring[-1]])
    ring = np.array(ring)
    angles = np.pi / 2 * np.arange(1, _BACK_RINGS + 1) / (_BACK_RINGS + 1)
    rings = [front[ring] * [np.cos(angle), np.cos(angle), 0] + [0, 0, -np.sin(angle)] for angle in angles]
    points = np.concatenate([*rings, [[0, 0, -1]]])
    cells = np.concatenate([ring[None], len(front) + np.arange(_BACK_RINGS * len(ring)).reshape(_BACK_RINGS, -1)])
    quads = np.concatenate([geometry.strip(b, a, closed=True) for a, b in pairwise(cells)])
    last, pole = cells[-1], len(front) + len(points) - 1
    fan = np.stack([np.roll(last, -1), last, np.full(len(last), pole)], 1)
    return points, np.concatenate([quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), fan]), ring
