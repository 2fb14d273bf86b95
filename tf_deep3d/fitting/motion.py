"""Pose and expression of a known person from landmarks, frame by frame.

With identity fixed, landmarks are linear in expression and, for a small turn, in pose: a few Gauss-Newton steps with
the model's prior on the expression (damped least squares) find both. All frames of a clip are seen by one camera, so
that poses of different frames can be compared and smoothed.

Letters: N frames, L landmarks, Ki and Ke identity and expression modes.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from tf_deep3d import face as faces
from tf_deep3d.face import geometry, uncertainty
from tf_deep3d.face.camera import Camera, projection_jacobian, to_pixels
from tf_deep3d.face.landmarks import COUNT
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import pose
from tf_deep3d.losses import weighing

STEPS = 5  # of Gauss-Newton; more change nothing
PRIOR = 0.1  # of squared standard deviations against mean squared px; what the photo fit's weights amount to
OUTLIER = 4.0  # px of the 224 px crop from which a landmark's pull grows no more (Huber)


class Person(NamedTuple):
    """The landmarks of one identity.

    Attributes:
      points: [L, 3], neutral, unposed, dm; the 68 first, then the dense ones if the model has them.
      modes: [Ke, L, 3], dm for one standard deviation of each expression mode.
      normals: [L, 3], unit, neutral, unposed.
      weights: [L], of the squared distances; mean 1.
    """

    points: np.ndarray
    modes: np.ndarray
    normals: np.ndarray
    weights: np.ndarray


class Motion(NamedTuple):
    """How a person moves.

    Attributes:
      angles: [N, 3], pitch, yaw, roll in radians (`geometry.rotation_matrix`).
      translation: [N, 3], dm.
      expression: [N, Ke], standard deviations.
    """

    angles: np.ndarray
    translation: np.ndarray
    expression: np.ndarray


def person(model: MorphableModel, identity: np.ndarray) -> Person:
    """The `Person` of a `MorphableModel` with identity coefficients [Ki]."""
    neutral = faces.neutral_shape(model, np.asarray(identity, np.float32)[None])
    normals = geometry.vertex_normals(neutral, model.triangles, model.vertex_corners)
    joint, weights = weighing.joint_landmarks(model, pose.EMPHASIS, pose.JAW, pose.DENSE)
    return Person(
        points=faces.at_landmarks(joint, neutral)[0].astype(np.float64),
        modes=faces.at_landmarks(joint, model.expression_basis).astype(np.float64),
        normals=geometry.normalize(faces.at_landmarks(joint, normals)[0].astype(np.float64)),
        weights=(weights / weights.mean()).astype(np.float64),
    )


def solve(
    known: Person, pixels: np.ndarray, camera: Camera, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose and expression of one frame.

    Args:
      known: `Person`.
      pixels: [L, 2], px of `camera`, the landmarks of `known` as they were found.
      camera: `Camera`, at about the scale of an aligned crop.
      steps: of Gauss-Newton.

    Returns:
      angles [3], translation [3], expression [Ke].
    """
    start = pose.landmark_pose(known.points[:COUNT], pixels[:COUNT], known.weights[:COUNT], camera)
    rotation = geometry.rotation_matrix(start[None, :3])[0]
    translation, expression = start[3:], np.zeros(len(known.modes))
    weights = known.weights * uncertainty.trust(_facing(known, rotation, translation, camera))
    weights = weights / weights.sum()
    prior = np.concatenate([np.full(6, 1e-9), np.full(len(expression), PRIOR)])
    modes = known.modes.transpose(1, 2, 0)  # [L, 3, Ke]
    for _ in range(steps):
        turned = (known.points + modes @ expression) @ rotation.T
        projected, depth = to_pixels(camera, (turned + translation)[None])
        residual = pixels - projected[0]
        columns = np.concatenate(
            [-geometry.cross_matrices(turned), np.tile(np.eye(3), (len(turned), 1, 1)), rotation @ modes], 2
        )
        jacobian = projection_jacobian(turned + translation, depth[0], camera) @ columns  # [L, 2, 6 + Ke]
        distance = np.linalg.norm(residual, axis=-1)
        trust = weights * np.minimum(1.0, OUTLIER / np.maximum(distance, 1e-9))
        pulled = (jacobian * trust[:, None, None]).reshape(-1, jacobian.shape[-1])
        normal = pulled.T @ jacobian.reshape(pulled.shape) + np.diag(prior)
        gradient = pulled.T @ residual.reshape(-1)
        gradient[6:] -= PRIOR * expression
        step = np.linalg.solve(normal, gradient)
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
        translation, expression = translation + step[3:6], expression + step[6:]
    return geometry.angles_of(rotation[None])[0], translation, expression


def project(known: Person, motion: Motion, camera: Camera) -> np.ndarray:
    """Landmarks [N, L, 2] of a `Person` in a `Motion`, px of `camera`."""
    shape = known.points + np.einsum("nk,klc->nlc", motion.expression, known.modes)
    return to_pixels(camera, faces.pose(shape, motion.angles, motion.translation))[0]


def continuous(angles: np.ndarray) -> np.ndarray:
    """Angles [N, 3] without jumps of a full turn, so that they can be interpolated and smoothed."""
    return np.unwrap(angles, axis=0)


def _facing(known: Person, rotation: np.ndarray, translation: np.ndarray, camera: Camera) -> np.ndarray:
    """Cosines [L] of the angles between the landmarks' normals and the viewing directions."""
    toward = geometry.normalize(np.array([0, 0, camera.distance]) - known.points @ rotation.T - translation)
    return np.sum(known.normals @ rotation.T * toward, axis=-1)
