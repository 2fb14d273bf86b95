"""Bends a face model onto a surface: non-rigid ICP with the model's own modes.

Point to plane, without scale, with the modes' own prior as the ridge. Nothing needs to correspond but the surfaces.

Letters: V vertices, K modes, P points of the surface.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from tf_deep3d.evaluation import metrics, registration
from tf_deep3d.evaluation.measuring import Truth
from tf_deep3d.face import geometry
from tf_deep3d.face import reconstruction as faces
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE
from tf_deep3d.face.morphable_model import MorphableModel

RESIDUAL = 0.7  # mm, what the modes leave of a face: the noise against which their prior is weighed
INDEPENDENT = 200  # pieces of a face whose residuals say something of their own; neighbouring points repeat each other
STEPS, TOLERANCE = 40, 2e-3  # at most so many; ends when no coefficient moves more
RIGID = 6  # unknowns of a motion


class Pairs(NamedTuple):
    """Points that lie on the face: their numbers [P] and the linear system of their distances to it.

    `system` [P, RIGID + K] is how far a small motion and the modes move the face there, along its normals `along`
    [P, 3] in the frame of the points; `gap` [P] mm is what is missing; `center` [3] is what the motion turns about.
    """

    points: np.ndarray
    along: np.ndarray
    system: np.ndarray
    gap: np.ndarray
    center: np.ndarray


class Bent(NamedTuple):
    """A face model that lies on a surface.

    Attributes:
      coefficients: [K].
      shape: [V, 3] mm, in the model's frame.
      pairs: `Pairs` at the end.
      motion: that brings `shape` onto the surface.
      residual: mm of the standard deviation that `solve` counts with.
    """

    coefficients: np.ndarray
    shape: np.ndarray
    pairs: Pairs
    motion: registration.Similarity3D
    residual: float


def bend(model: MorphableModel, basis: np.ndarray, truth: Truth, residual: float = RESIDUAL) -> Bent:
    """Fits modes of a face model to a surface.

    Args:
      model: `MorphableModel`, with `ibug68`, in dm.
      basis: [K, V, 3] dm, the modes, one standard deviation each.
      truth: `Truth`.
      residual: mm, the noise against which the modes' prior is weighed: less follows the surface closer.

    Returns:
      `Bent`.
    """
    points, normals, marks = truth
    mean = model.mean_shape.astype(np.float64) * MILLIMETRES
    basis = basis.astype(np.float64) * MILLIMETRES
    coefficients = np.zeros(len(basis))
    own = faces.at_landmarks(model.landmarks["ibug68"], mean[None])[0]
    start = registration.similarity_from_landmarks(own[INNER_FACE], marks[INNER_FACE], scale=False)
    facing = geometry.vertex_normals(mean[None], model.triangles, model.vertex_corners)[0]
    motion = registration.icp(mean, facing, points, normals, start, scale=False)
    for _ in range(STEPS):
        pairs = _pair(model, mean, basis, coefficients, motion, points, normals)
        step = solve(pairs, pairs.gap, coefficients, residual)
        rotation = Rotation.from_rotvec(step[:3]).as_matrix()
        shift = pairs.center + step[3:RIGID] - rotation @ pairs.center
        motion = registration.compose(registration.Similarity3D(1.0, rotation, shift), motion)
        coefficients = coefficients + step[RIGID:]
        if np.abs(step[RIGID:]).max() < TOLERANCE:
            break
    pairs = _pair(model, mean, basis, coefficients, motion, points, normals)
    return Bent(coefficients, mean + np.tensordot(coefficients, basis, 1), pairs, motion, residual)


def _pair(
    model: MorphableModel,
    mean: np.ndarray,
    basis: np.ndarray,
    coefficients: np.ndarray,
    motion: registration.Similarity3D,
    points: np.ndarray,
    normals: np.ndarray,
) -> Pairs:
    """Pairs points [P, 3] with the nearest vertices of the bent and moved face: `Pairs`.

    As in `registration.icp`, pairs whose normals disagree, the farthest few and the face's border do not count.
    """
    shape = mean + np.tensordot(coefficients, basis, 1)
    own = geometry.vertex_normals(shape[None], model.triangles, model.vertex_corners)[0]
    placed, own = motion.apply(shape), own @ motion.rotation.T
    distance, nearest = map(np.asarray, KDTree(placed).query(points))
    paired = (own[nearest] * normals).sum(1) > registration.FACING
    paired &= ~np.isin(nearest, metrics.border(model.triangles))
    paired &= distance <= np.quantile(distance[paired], registration.TRIMMED)
    nearest, along = nearest[paired], own[nearest[paired]]
    center = placed[nearest].mean(0)
    turn = np.cross(placed[nearest] - center, along)
    bent = np.einsum("pj,kpj->pk", along @ motion.rotation, basis[:, nearest])
    gap = ((points[paired] - placed[nearest]) * along).sum(1)
    return Pairs(np.flatnonzero(paired), along, np.concatenate([turn, along, bent], 1), gap, center)


def solve(pairs: Pairs, gap: np.ndarray, coefficients: np.ndarray, residual: float) -> np.ndarray:
    """The motion and change of the modes that close `gap` [P] or [P, N] best, where `coefficients` [K] or [K, N] are
    to stay small: [RIGID + K] or [RIGID + K, N]; `residual` as of `bend`."""
    weight = INDEPENDENT / (len(pairs.points) * residual**2)
    normal = weight * pairs.system.T @ pairs.system
    normal[RIGID:, RIGID:] += np.eye(len(coefficients))
    right = weight * pairs.system.T @ gap
    right[RIGID:] -= coefficients
    return np.linalg.solve(normal, right)
