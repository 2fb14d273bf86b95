"""The landmarks that a fit compares: which they are, where the photo has them, and what each is worth.

Letters: B photos, L landmarks.
"""

from dataclasses import replace

import numpy as np

from tf_deep3d.face import uncertainty
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import pose
from tf_deep3d.fitting.settings import FitSettings, Observation
from tf_deep3d.losses.weighing import joint_landmarks, precisions


def landmark_targets(
    model: MorphableModel, observation: Observation, settings: FitSettings, start: Coefficients
) -> tuple[MorphableModel, np.ndarray, np.ndarray]:
    """The model with a landmark set "fit", its targets [B, L, 2] and their weights in the poses of `start`: [B, L], or
    [B, L, 2, 2] where the model knows how far a detector strays."""
    points = model.landmarks.get("mediapipe478")
    if settings.strays and observation.dense is not None and points is not None and points.moments is not None:
        still = np.ones(len(points.vertices), np.float32)
        still[IRISES] = 0
        weights = precisions(points, still, start.angles)
        return replace(model, landmarks={"fit": points}), observation.dense.astype(np.float32), weights
    targets, dense = observation.landmarks, 0.0
    if observation.dense is not None and "mediapipe478" in model.landmarks and settings.dense > 0:
        targets, dense = np.concatenate([targets, observation.dense], axis=1), settings.dense
    joint, weights = joint_landmarks(model, settings.emphasis, settings.jaw, dense)
    model = replace(model, landmarks={"fit": joint})
    trust = uncertainty.trust(pose.facing(model, "fit", start), settings.hidden)
    return model, targets.astype(np.float32), trust * weights / weights.mean()
