"""What is compared, and what it weighs: the terms of the hybrid loss, and the landmarks in it. NumPy alone.

Letters: B batch, L landmarks.
"""

from dataclasses import dataclass

import numpy as np

from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face import landmarks, uncertainty
from tf_deep3d.face.morphable_model import Landmarks, MorphableModel

TERMS = (
    "photometric",
    "landmark",
    "perceptual",
    "prior",
    "albedo_flatness",
    "illumination_whiteness",
    "exposure",
    "shape",
    "albedo",
)

EMPHASIS = 20.0  # weight of the landmarks that decide about nose and mouth


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms, and of the coefficient groups inside the prior.

    The defaults are the released codes'; `configs/` has the paper's.

    Attributes:
      photometric, landmark, perceptual, prior, albedo_flatness, illumination_whiteness, exposure, shape, albedo: of
        `TERMS`; the last two are `supervised`, and the last three zero in the paper.
      prior_identity, prior_expression, prior_albedo: factors of the squared norms in `prior`.
    """

    photometric: float = 1.92
    landmark: float = 1.6e-3
    perceptual: float = 0.2
    prior: float = 3e-4
    albedo_flatness: float = 5.0
    illumination_whiteness: float = 10.0
    exposure: float = 0.0
    shape: float = 0.0
    albedo: float = 0.0
    prior_identity: float = 1.0
    prior_expression: float = 0.8
    prior_albedo: float = 1.7e-2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be finite and not negative. Received: {value}")


def landmark_weights(emphasis: float = EMPHASIS, jaw: float = 1.0) -> np.ndarray:
    """Weights of the 68 iBUG landmarks.

    Args:
      emphasis: of nose tip, bridge end and inner lips (Deng et al. 2019, section 3.2.1: 20).
      jaw: of the 17 contour points. Below 1 where the detector follows the visible contour and the model does not.

    Returns:
      [68] float32.
    """
    weights = np.ones(landmarks.COUNT, np.float32)
    weights[landmarks.NOSE_END] = weights[landmarks.INNER_LIPS] = emphasis
    weights[landmarks.JAW] = jaw
    return weights


def joint_landmarks(
    model: MorphableModel, emphasis: float = EMPHASIS, jaw: float = 1.0, dense: float = 0.0
) -> tuple[Landmarks, np.ndarray]:
    """The 68 iBUG landmarks and, where the model has them, the 478 dense ones of MediaPipe, as one set.

    Args:
      model: `MorphableModel`.
      emphasis, jaw: see `landmark_weights`.
      dense: weight of each dense landmark beside those of the 68; with 0 they are left out.

    Returns:
      (`Landmarks`, weights [L]), L = 68 or 546. Of the 68 alone the weights are the paper's. With the dense
      ones, all weights have the mean of the 68's: they share the term, and it grows no larger.
    """
    sets, weights = [model.landmarks["ibug68"]], [landmark_weights(emphasis, jaw)]
    mean = weights[0].mean()
    if dense > 0 and "mediapipe478" in model.landmarks:
        sets.append(model.landmarks["mediapipe478"])
        weights.append(np.full(landmarks.DENSE_COUNT, dense, np.float32))
        weights[1][landmarks.IRISES] = 0
    weights = np.concatenate(weights)
    joint = Landmarks(*(np.concatenate([getattr(s, part) for s in sets]) for part in ("vertices", "weights")))
    return joint, weights * (mean / weights.mean())


def precisions(points: Landmarks, weights: np.ndarray, angles: Array) -> np.ndarray:
    """Weights [B, L, 2, 2] of landmarks by how far a detector strays from them in B poses, times `weights` [L].

    Args:
      points: `Landmarks` with moments.
      weights: [L] or [B, L].
      angles: [B, 3], pitch, yaw, roll in radians.
    """
    return np.asarray(weights)[..., None, None] * uncertainty.precision(points.moments, np.asarray(angles))
