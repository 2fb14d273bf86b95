"""Registers another surface, or a whole statistical model, to the identity modes of a face model.

The face model's modes bend it until it lies on the other surface: non-rigid ICP, point to plane, without scale, with
the modes' own prior as the ridge. The other model's modes follow to first order: each moves the surface, and what of
that the face model can follow is one linear solve. Nothing needs to correspond but the surfaces.

Letters: V vertices, K modes of the face model, N of the other, P points of the other surface.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tf_deep3d.evaluation import metrics, registration
from tf_deep3d.face import geometry
from tf_deep3d.face import reconstruction as faces
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE, NOSE_TIP
from tf_deep3d.face.morphable_model import MorphableModel

RESIDUAL = 0.7  # mm, what the modes leave of a face: the noise against which their prior is weighed
INDEPENDENT = 200  # pieces of a face whose residuals say something of their own; neighbouring points repeat each other
STEPS, TOLERANCE = 40, 2e-3  # at most so many; ends when no coefficient moves more
RIGID = 6  # unknowns of a motion


class Registration(NamedTuple):
    """Another statistical model in the coefficients of the face model.

    Attributes:
      mean: [K], of its mean shape.
      modes: [N, K], what each of its modes adds.
      residual: mm, root mean square distance from its mean shape to the fitted face.
      motion: that lays the fitted face, in mm, on the other model's mean shape.
    """

    mean: np.ndarray
    modes: np.ndarray
    residual: float
    motion: registration.Similarity3D


class _Pairs(NamedTuple):
    """Points that lie on the face: their numbers [P] and the linear system of their distances to it.

    `system` [P, RIGID + K] is how far a small motion and the modes move the face there, along its normals `along`
    [P, 3] in the frame of the points; `gap` [P] mm is what is missing; `center` [3] is what the motion turns about.
    """

    points: np.ndarray
    along: np.ndarray
    system: np.ndarray
    gap: np.ndarray
    center: np.ndarray


def register(model: MorphableModel, other: MorphableModel) -> Registration:
    """Expresses `other` in the identity coefficients of `model`; both with `ibug68`, in dm.

    What counts of the other mean shape is the skin that is seen from the front and the sides and lies within
    `metrics.CROP_RADIUS` of the nose tip, without eyes and the inside of the mouth.
    """
    vertices = other.mean_shape.astype(np.float64) * MILLIMETRES
    marks = _landmarks(other, vertices)
    skin = ~(other.regions["eyes"] | other.regions["inner_mouth"])
    near = metrics.within(vertices, marks[NOSE_TIP]) & metrics.visible(vertices, other.triangles)
    region = np.flatnonzero(skin & near)
    normals = geometry.vertex_normals(vertices[None], other.triangles, other.vertex_corners)[0]
    points, normals = vertices[region], normals[region]

    mean = model.mean_shape.astype(np.float64) * MILLIMETRES
    basis = model.identity_basis.astype(np.float64) * MILLIMETRES
    coefficients = np.zeros(len(basis))
    start = registration.similarity_from_landmarks(_landmarks(model, mean)[INNER_FACE], marks[INNER_FACE], scale=False)
    own = geometry.vertex_normals(mean[None], model.triangles, model.vertex_corners)[0]
    motion = registration.icp(mean, own, points, normals, start, scale=False)
    for _ in range(STEPS):
        pairs = _pair(model, mean, basis, coefficients, motion, points, normals)
        step = _solve(pairs, pairs.gap, coefficients)
        rotation = Rotation.from_rotvec(step[:3]).as_matrix()
        shift = pairs.center + step[3:RIGID] - rotation @ pairs.center
        motion = registration.compose(registration.Similarity3D(1.0, rotation, shift), motion)
        coefficients = coefficients + step[RIGID:]
        if np.abs(step[RIGID:]).max() < TOLERANCE:
            break
    pairs = _pair(model, mean, basis, coefficients, motion, points, normals)
    moves = other.identity_basis[:, region[pairs.points]].astype(np.float64) * MILLIMETRES
    modes = _solve(pairs, (moves * pairs.along).sum(-1).T, np.zeros((len(basis), len(moves))))[RIGID:].T
    return Registration(coefficients, modes, metrics.root_mean_square(pairs.gap), motion)


def _landmarks(model: MorphableModel, vertices: np.ndarray) -> np.ndarray:
    """The 68 points [68, 3] on `vertices` [V, 3]."""
    return faces.at_landmarks(model.landmarks["ibug68"], vertices[None])[0]


def _pair(
    model: MorphableModel,
    mean: np.ndarray,
    basis: np.ndarray,
    coefficients: np.ndarray,
    motion: registration.Similarity3D,
    points: np.ndarray,
    normals: np.ndarray,
) -> _Pairs:
    """Pairs points [P, 3] with the nearest vertices of the bent and moved face: `_Pairs`.

    As in `registration.icp`, pairs whose normals disagree, the farthest few and the face's border do not count.
    """
    shape = mean + np.tensordot(coefficients, basis, 1)
    own = geometry.vertex_normals(shape[None], model.triangles, model.vertex_corners)[0]
    placed, own = motion.apply(shape), own @ motion.rotation.T
    distance, nearest = cKDTree(placed).query(points)
    paired = (own[nearest] * normals).sum(1) > registration.FACING
    paired &= ~np.isin(nearest, metrics.border(model.triangles))
    paired &= distance <= np.quantile(distance[paired], registration.TRIMMED)
    nearest, along = nearest[paired], own[nearest[paired]]
    center = placed[nearest].mean(0)
    turn = np.cross(placed[nearest] - center, along)
    bend = np.einsum("pj,kpj->pk", along @ motion.rotation, basis[:, nearest])
    gap = ((points[paired] - placed[nearest]) * along).sum(1)
    return _Pairs(np.flatnonzero(paired), along, np.concatenate([turn, along, bend], 1), gap, center)


def _solve(pairs: _Pairs, gap: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """The motion and change of the modes that close `gap` [P] or [P, N] best, where `coefficients` [K] or [K, N] are
    to stay small: [RIGID + K] or [RIGID + K, N]."""
    weight = INDEPENDENT / (len(pairs.points) * RESIDUAL**2)
    normal = weight * pairs.system.T @ pairs.system
    normal[RIGID:, RIGID:] += np.eye(len(coefficients))
    right = weight * pairs.system.T @ gap
    right[RIGID:] -= coefficients
    return np.linalg.solve(normal, right)
