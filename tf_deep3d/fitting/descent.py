"""Analysis by synthesis: coefficients by gradient descent on the hybrid loss, for a batch of aligned photos at once.

The pose starts from the landmarks, the rest from the mean face. The descent goes from coarse to fine levels of detail
with Adam; the faces of a batch share each step but do not influence each other, unless groups of coefficients are
shared: then they are photos of one person. Nothing is random.

Letters: B batch, L landmarks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model, uncertainty
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import GROUPS, SCALES, Coefficients
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import pose
from tf_deep3d.losses import hybrid
from tf_deep3d.losses.hybrid import LossWeights
from tf_deep3d.models.recognition import describe
from tf_deep3d.rendering import renderer

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


class Fit(NamedTuple):
    """The outcome.

    Attributes:
      coefficients: `Coefficients` of B faces, NumPy.
      terms: raw loss terms, name -> [B], at the last stage's level of detail; the perceptual one wherever there is a
        network for it.
    """

    coefficients: Coefficients
    terms: dict[str, np.ndarray]


class FaceFitter(keras.Model):
    """Owns the coefficients of B faces as weights; calling it gives the loss terms, training it fits them."""

    def __init__(
        self,
        model: MorphableModel,
        observation: Observation,
        start: Coefficients,
        settings: FitSettings,
        recognition: keras.Model | None = None,
    ) -> None:
        """Prepares the descent.

        Args:
          model: `MorphableModel` at the level to use.
          observation: `Observation`.
          start: `Coefficients` to start from; shared groups start from their mean.
          settings: `FitSettings`.
          recognition: the perceptual network, or None to leave the perceptual term out.
        """
        super().__init__(name="face_fitter")
        self.settings = settings
        self.recognition = recognition
        model, points, weights = _landmark_targets(model, observation, settings, start)
        inner = renderer.triangles_within(model.regions["inner_face"], model.triangles)
        self.constants = _Constants(
            model=model.on_backend(ops.convert_to_tensor),
            images=ops.convert_to_tensor(observation.images),
            attention=ops.convert_to_tensor(observation.attention),
            points=ops.convert_to_tensor(points),
            point_weights=ops.convert_to_tensor(weights, "float32"),
            inner_face=ops.convert_to_tensor(inner),
            skin=ops.convert_to_tensor(model.regions["skin"]),
            features=None if recognition is None else describe(recognition, ops.convert_to_tensor(observation.images)),
            camera=observation.camera or Camera(),
        )
        self.steps_taken = Coefficients(*map(self._add_group, GROUPS, start, SCALES))

    def _add_group(self, name: str, start: np.ndarray, scale: float) -> keras.Variable:
        start = np.mean(start, axis=0, keepdims=True) if name in self.settings.shared else start
        initial = keras.initializers.Constant(start / scale)
        return self.add_weight(start.shape, initial, name=name, trainable=name not in self.settings.fixed)

    def coefficients(self) -> Coefficients:
        """The current `Coefficients` of the B faces, as tensors."""
        faces_count = len(self.constants.images)
        scaled = (weight * scale for weight, scale in zip(self.steps_taken, SCALES, strict=True))
        return Coefficients(*(ops.broadcast_to(group, (faces_count, *group.shape[1:])) for group in scaled))

    def call(self, _: Array) -> dict[str, Array]:
        """The raw loss terms, name -> [B]; the argument is there because Keras wants one."""
        known = self.constants
        coefficients = self.coefficients()
        face = faces.reconstruct(known.model, coefficients, known.camera, xp=ops, landmarks="fit")
        rendering = renderer.render(face, known.model.triangles, known.camera, known.inner_face)
        terms = {
            "photometric": hybrid.photometric(known.images, rendering.image, rendering.inner_face, known.attention),
            "landmark": hybrid.landmark(face.landmarks, known.points, known.point_weights),
            "prior": hybrid.prior(coefficients, self.settings.weights),
            "albedo_flatness": hybrid.albedo_flatness(face.albedo, known.skin),
            "illumination_whiteness": hybrid.illumination_whiteness(coefficients.illumination),
            "exposure": hybrid.exposure(coefficients.illumination, face.normals, known.skin),
        }
        if self.recognition is not None:
            features = describe(self.recognition, renderer.composite(rendering, known.images))
            terms["perceptual"] = hybrid.perceptual(features, known.features)
        return terms

    def compute_loss(
        self, x: Array = None, y: Array = None, y_pred: Array = None, sample_weight: Array = None, training: bool = True
    ) -> Array:
        """The weighted total of the terms."""
        return hybrid.total(y_pred, self.settings.weights)


@dataclass(frozen=True)
class _Constants:
    """Tensors that the fitter reads; a dataclass, because Keras would track a container."""

    model: MorphableModel
    images: Array
    attention: Array
    points: Array
    point_weights: Array
    inner_face: Array
    skin: Array
    features: Array | None
    camera: Camera


def fit(
    models: Sequence[MorphableModel],
    observation: Observation,
    settings: FitSettings | None = None,
    recognition: keras.Model | None = None,
    start: Coefficients | None = None,
    on_step: Callable[[], object] | None = None,
) -> Fit:
    """Fits a morphable model to aligned photos.

    Args:
      models: the `MorphableModel` at its levels of detail, the coarsest first.
      observation: `Observation` of B photos.
      settings: `FitSettings`.
      recognition: perceptual network of `models.recognition`, or None to do without.
      start: `Coefficients` to start from; by default the mean face in the pose that the landmarks give.
      on_step: called without arguments after each step.

    Returns:
      `Fit`. A face whose photo has no solution may have coefficients that are not finite: ask `np.isfinite`.
    """
    settings = settings or FitSettings()
    coefficients = start or pose.initial_coefficients(
        models[-1], observation.landmarks, settings.lighting, settings.jaw, observation.camera
    )
    model, nothing = models[-1], np.zeros((1, 1), "float32")
    for stage in settings.stages:
        model = morphable_model.pick_level(models, stage.level)
        if not stage.steps:
            continue
        fitter = FaceFitter(model, observation, coefficients, settings, recognition if stage.perceptual else None)
        schedule = keras.optimizers.schedules.CosineDecay(stage.learning_rate, stage.steps, alpha=0.1)
        # The rasterizer has dynamic shapes except under JAX, where only compiled steps are fast.
        fitter.compile(keras.optimizers.Adam(schedule), jit_compile=keras.backend.backend() == "jax")
        fitter.optimizer.build(fitter.trainable_variables)  # else the step is traced twice
        for _ in range(stage.steps):
            fitter.train_on_batch(nothing)
            if on_step:
                on_step()
        coefficients = Coefficients(*(ops.convert_to_numpy(value) for value in fitter.coefficients()))
    terms = FaceFitter(model, observation, coefficients, settings, recognition)(nothing)
    return Fit(coefficients, {name: ops.convert_to_numpy(value) for name, value in terms.items()})


def _landmark_targets(
    model: MorphableModel, observation: Observation, settings: FitSettings, start: Coefficients
) -> tuple[MorphableModel, np.ndarray, np.ndarray]:
    """The model with a landmark set "fit", its targets [B, L, 2] and their weights in the poses of `start`: [B, L], or
    [B, L, 2, 2] where the model knows how far a detector strays."""
    points = model.landmarks.get("mediapipe478")
    if settings.strays and observation.dense is not None and points is not None and points.moments is not None:
        still = np.ones(len(points.vertices), np.float32)
        still[IRISES] = 0
        weights = hybrid.precisions(points, still, start.angles)
        return replace(model, landmarks={"fit": points}), observation.dense.astype(np.float32), weights
    targets, dense = observation.landmarks, 0.0
    if observation.dense is not None and "mediapipe478" in model.landmarks and settings.dense > 0:
        targets, dense = np.concatenate([targets, observation.dense], axis=1), settings.dense
    joint, weights = hybrid.joint_landmarks(model, settings.emphasis, settings.jaw, dense)
    model = replace(model, landmarks={"fit": joint})
    trust = uncertainty.trust(pose.facing(model, "fit", start), settings.hidden)
    return model, targets.astype(np.float32), trust * weights / weights.mean()
