"""Puts one shape on another: similarities from landmarks, and the iterated closest point.

Letters: V vertices of the mesh, P points of the truth, L landmarks.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from tf_deep3d.errors import InputError

TRIMMED = 0.97  # share of the nearest pairs that move the mesh during ICP
FACING = 0.3  # cosine of the angle between the normals of a pair, from which it moves the mesh
ICP_STEPS = 60  # at most
ICP_TOLERANCE = 1e-4  # mm; ICP ends when no point moves more


class Similarity3D(NamedTuple):
    """q = scale * rotation p + translation.

    Attributes:
      scale: positive.
      rotation: [3, 3].
      translation: [3] mm.
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Maps `points` [..., 3]."""
        return self.scale * (np.asarray(points) @ self.rotation.T) + self.translation

    def inverse(self) -> "Similarity3D":
        """The similarity that undoes this one."""
        back = self.rotation.T / self.scale
        return Similarity3D(1 / self.scale, self.rotation.T, -back @ self.translation)


def similarity_from_landmarks(source: np.ndarray, target: np.ndarray, scale: bool = True) -> Similarity3D:
    """Least-squares similarity source -> target (Umeyama 1991); rows that are not finite are left out.

    Args:
      source, target: [L, 3] mm.
      scale: with isotropic scale, else 1.

    Returns:
      `Similarity3D`.

    Raises:
      InputError: for fewer than three known points, or points on a line.
      ValueError: on different shapes.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise ValueError(f"source and target must both be [L, 3]. Received: {source.shape}, {target.shape}")
    known = np.isfinite(source).all(1) & np.isfinite(target).all(1)
    source, target = source[known], target[known]
    if len(source) < 3 or min(map(_rank, (source, target))) < 2:
        raise InputError(f"at least three points that are not on one line are needed. Received: {source.tolist()}")
    middle, goal = source.mean(0), target.mean(0)
    u, strength, v = np.linalg.svd((target - goal).T @ (source - middle))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    rotation = (u * sign) @ v
    factor = float((strength * sign).sum() / ((source - middle) ** 2).sum()) if scale else 1.0
    return Similarity3D(factor, rotation, goal - factor * rotation @ middle)


def _rank(points: np.ndarray) -> int:
    return np.linalg.matrix_rank(points - points.mean(0), 1e-6 * (np.ptp(points) + 1))


def icp(
    vertices: np.ndarray,
    normals: np.ndarray,
    points: np.ndarray,
    point_normals: np.ndarray,
    start: Similarity3D,
    scale: bool = True,
    steps: int = ICP_STEPS,
) -> Similarity3D:
    """Moves a mesh onto the points of the truth: point-to-plane ICP by Gauss-Newton (Chen and Medioni 1992).

    Each point is paired with its nearest vertex. Pairs whose normals disagree and the farthest few do not count, so
    that what only one of the two surfaces has moves nothing.

    Args:
      vertices: [V, 3] mm.
      normals: [V, 3] unit.
      points: [P, 3] mm.
      point_normals: [P, 3] unit.
      start: `Similarity3D` vertices -> points to start from.
      scale: also search the isotropic scale.
      steps: at most so many.

    Returns:
      `Similarity3D` vertices -> points.

    Raises:
      InputError: if the surfaces turn away from each other, so that hardly a point has its counterpart.
    """
    vertices, normals = np.asarray(vertices, np.float64), np.asarray(normals, np.float64)
    points, point_normals = np.asarray(points, np.float64), np.asarray(point_normals, np.float64)
    tree = KDTree(vertices)
    current = start
    for _ in range(steps):
        distance, nearest = map(np.asarray, tree.query(current.inverse().apply(points)))
        turned = normals[nearest] @ current.rotation.T
        paired = (turned * point_normals).sum(1) > FACING
        if paired.sum() < 10:
            raise InputError(f"the mesh and the truth hardly face each other. Received: {int(paired.sum())} pairs")
        paired &= distance <= np.quantile(distance[paired], TRIMMED)
        moved, turned, goal = current.apply(vertices[nearest[paired]]), turned[paired], points[paired]
        middle = moved.mean(0)
        arm = moved - middle
        system = np.concatenate([np.cross(arm, turned), turned, (turned * arm).sum(1, keepdims=True)], 1)
        if not scale:
            system = system[:, :6]
        gap = ((goal - moved) * turned).sum(1)
        step = np.linalg.lstsq(system.T @ system, system.T @ gap, rcond=1e-12)[0]
        rotation = Rotation.from_rotvec(step[:3]).as_matrix()
        factor = float(np.clip(1 + step[6], 0.5, 2)) if scale else 1.0
        update = Similarity3D(factor, rotation, middle + step[3:6] - factor * rotation @ middle)
        before, current = current, compose(update, current)
        if np.linalg.norm(current.apply(points) - before.apply(points), axis=1).max() < ICP_TOLERANCE:
            break
    return current


def compose(outer: Similarity3D, inner: Similarity3D) -> Similarity3D:
    """The similarity that applies `inner` first, then `outer`."""
    return Similarity3D(outer.scale * inner.scale, outer.rotation @ inner.rotation, outer.apply(inner.translation))
