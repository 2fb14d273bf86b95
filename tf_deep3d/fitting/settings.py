"""What a fit is told: the photos, how far to go, and what counts. NumPy alone.

Letters: B photos.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.face import uncertainty
from tf_deep3d.face.camera import Camera, alone
from tf_deep3d.face.coefficients import GROUPS, Coefficients
from tf_deep3d.fitting import pose
from tf_deep3d.losses.weighing import LossWeights

# One photo is all there is, so landmarks and priors weigh more than in training.
WEIGHTS = LossWeights(photometric=4.0, landmark=1.6e-2, prior=2e-3, prior_albedo=0.05, exposure=0.03)


@dataclass(frozen=True)
class Stage:
    """One descent at one level of detail.

    Attributes:
      level: of detail, see `morphable_model.pick_level`.
      steps: number of Adam steps, or 0.
      learning_rate: at the start of the stage; falls to a tenth along a half cosine.
      perceptual: compare the descriptors of photo and render, too.
    """

    level: int
    steps: int
    learning_rate: float
    perceptual: bool


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Attributes:
      stages: run one after the other.
      weights: of the loss terms.
      lighting: "rgb" or "white".
      emphasis: weight of nose and inner lips among the 68 landmarks (20 in training).
      jaw: weight of the 17 contour points among the 68 landmarks.
      dense: weight of each of the 478 dense landmarks, where photo and model have them.
      hidden: factor of the weight of landmarks on the side turned away, where the detector can only guess.
      strays: weigh the dense landmarks alone, by how far the detector strays from each in that pose, where the model
        knows it (`face.uncertainty`); then `emphasis`, `jaw`, `dense` and `hidden` say nothing.
      shared: names of the groups of coefficients that all faces of a batch have in common.
      fixed: names of the groups that stay as they are.
      pull: weight of the squared way from where the fit started, in units of `SCALES`; `gauss_newton` alone asks it.

    Raises:
      InputError: if there is no such group.
    """

    stages: tuple[Stage, ...] = (
        Stage(level=0, steps=80, learning_rate=0.1, perceptual=False),
        Stage(level=1, steps=40, learning_rate=0.05, perceptual=True),
    )
    weights: LossWeights = WEIGHTS
    lighting: str = "rgb"
    emphasis: float = pose.EMPHASIS
    jaw: float = pose.JAW
    dense: float = pose.DENSE
    hidden: float = uncertainty.HIDDEN
    strays: bool = False
    shared: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    pull: float = 7e-3

    def __post_init__(self) -> None:
        if not {*self.shared, *self.fixed} <= {*GROUPS}:
            raise InputError(f"shared and fixed name groups of {GROUPS}. Received: {self.shared}, {self.fixed}")

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)


class Observation(NamedTuple):
    """What is known of B aligned photos.

    Attributes:
      images: [B, 224, 224, 3] float32 RGB in [0, 1].
      landmarks: [B, 68, 2], px of the aligned photo.
      attention: [B, 224, 224, 1] float32, skin attention in [0, 1].
      dense: [B, 478, 2], px, or None.
      camera: those that saw the aligned photos (`camera.together`); None for the usual one.
    """

    images: np.ndarray
    landmarks: np.ndarray
    attention: np.ndarray
    dense: np.ndarray | None = None
    camera: Camera | None = None

    def one(self, index: int) -> "Observation":
        """The `index`-th photo alone."""
        mine = slice(index, index + 1)
        return Observation(
            self.images[mine],
            self.landmarks[mine],
            self.attention[mine],
            None if self.dense is None else self.dense[mine],
            None if self.camera is None else alone(self.camera, index),
        )


class Fit(NamedTuple):
    """The outcome.

    Attributes:
      coefficients: `Coefficients` of B faces, NumPy.
      terms: raw loss terms, name -> [B], at the last stage's level of detail; the perceptual one wherever there is a
        network for it.
    """

    coefficients: Coefficients
    terms: dict[str, np.ndarray]
