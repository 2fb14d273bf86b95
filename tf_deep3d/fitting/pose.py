"""A head's pose from its landmarks, and which landmarks a pose lets the camera see.

Letters: B batch, L landmarks.
"""

from dataclasses import replace

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.losses import weighing

# Weights of landmarks: of nose and inner lips and of the contour among the 68, and of each of the 478 dense ones.
EMPHASIS, JAW, DENSE = 3.0, 0.2, 0.3
STEP = 1e-5  # radians and dm, of central differences


def initial_coefficients(
    model: MorphableModel, landmarks: np.ndarray, lighting: str, jaw: float = JAW, camera: Camera | None = None
) -> Coefficients:
    """The mean face in the poses of B photos.

    Args:
      model: `MorphableModel`.
      landmarks: [B, 68, 2], px of the aligned photos.
      lighting: "rgb" or "white".
      jaw: weight of the contour.
      camera: of the aligned photos, or those of `camera.together`.

    Returns:
      `Coefficients` of B faces.
    """
    start = model.layout(lighting).zeros(len(landmarks))
    return posed(model, start, landmarks, camera or Camera(), jaw)


def posed(
    model: MorphableModel, start: Coefficients, landmarks: np.ndarray, camera: Camera, jaw: float = JAW
) -> Coefficients:
    """The faces of `start` in the poses of their photos; other arguments as of `initial_coefficients`."""
    shape = faces.unposed_shape(model, start.identity, start.expression)
    points = faces.at_landmarks(model.landmarks["ibug68"], shape)
    weights = weighing.landmark_weights(emphasis=1.0, jaw=jaw)
    focal, x, y = (np.broadcast_to(np.ravel(each), len(landmarks)) for each in (camera.focal, *camera.center))
    poses = np.stack(
        [
            landmark_pose(points[i], target, weights, replace(camera, focal=float(focal[i]), center=(x[i], y[i])))
            for i, target in enumerate(landmarks)
        ]
    )
    return start._replace(angles=poses[:, :3].astype("float32"), translation=poses[:, 3:].astype("float32"))


def landmark_pose(
    points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, camera: Camera | None = None
) -> np.ndarray:
    """Pose that projects `points` onto `pixels`: orthographic start, then perspective least squares.

    Args:
      points: [L, 3], unposed, dm.
      pixels: [L, 2], px.
      weights: [L], of the squared distances.
      camera: `Camera`, by default that of the aligned photo.

    Returns:
      [6]: pitch, yaw, roll in radians, translation in dm.
    """
    from scipy.optimize import least_squares  # a quarter of a second, and few photos need it

    camera = camera or Camera()
    root = np.sqrt(weights)[:, None]
    upright = (pixels - np.array(camera.center)) * [1, -1] * camera.distance / camera.focal
    system = np.concatenate([points, np.ones((len(points), 1))], axis=-1)
    solution = np.linalg.lstsq(system * root, upright * root, rcond=None)[0].T  # [2, 4]
    scale = np.mean(np.linalg.norm(solution[:, :3], axis=-1))
    right, up = solution[:, :3] / np.linalg.norm(solution[:, :3], axis=-1, keepdims=True)
    u, _, v = np.linalg.svd(np.stack([right, up, np.cross(right, up)]))
    shift = camera.distance * (1 - 1 / max(scale, 1e-3))
    start = np.concatenate([geometry.angles_of((u @ v)[None])[0], solution[:, 3] / scale, [shift]])

    def residuals(poses: np.ndarray) -> np.ndarray:  # [N, 6] -> [N, 2 L]
        posed = faces.pose(np.broadcast_to(points, (len(poses), *points.shape)), poses[:, :3], poses[:, 3:])
        return ((to_pixels(camera, posed)[0] - pixels) * root).reshape(len(poses), -1)

    def slopes(pose: np.ndarray) -> np.ndarray:  # [2 L, 6], asked for all at once
        ahead, behind = np.split(residuals(pose + STEP * np.concatenate([np.eye(6), -np.eye(6)])), 2)
        return (ahead - behind).T / (2 * STEP)

    return least_squares(lambda pose: residuals(pose[None])[0], start, slopes, loss="soft_l1", f_scale=4.0).x


def facing(model: MorphableModel, name: str, pose: Coefficients) -> np.ndarray:
    """Cosines [B, L] of the angles between normals and viewing directions on the mean face.

    Args:
      model: `MorphableModel`.
      name: of the landmark set.
      pose: `Coefficients` of B faces, whose angles and translation count.
    """
    normals = geometry.vertex_normals(model.mean_shape[None], model.triangles, model.vertex_corners)
    points = np.concatenate([model.mean_shape[None], normals], axis=-1)
    points, normals = np.split(faces.at_landmarks(model.landmarks[name], points), 2, axis=-1)
    toward = np.array([0, 0, Camera().distance], np.float32) - faces.pose(points, pose.angles, pose.translation)
    turned = faces.pose(normals, pose.angles, np.zeros_like(pose.translation))
    return np.sum(geometry.normalize(turned) * geometry.normalize(toward), axis=-1)
