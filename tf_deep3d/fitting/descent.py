"""Analysis by synthesis: coefficients by gradient descent on the hybrid loss, for a batch of aligned photos at once.

The pose starts from the landmarks, the rest from the mean face. The descent goes from coarse to fine levels of detail
with Adam; the faces of a batch share each step but do not influence each other, unless groups of coefficients are
shared: then they are photos of one person. Nothing is random.

Letters: B batch, L landmarks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import GROUPS, SCALES, Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import pose
from tf_deep3d.fitting.settings import Fit, FitSettings, Observation
from tf_deep3d.fitting.targets import landmark_targets
from tf_deep3d.losses import hybrid
from tf_deep3d.models.recognition import describe
from tf_deep3d.rendering import renderer


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
        model, points, weights = landmark_targets(model, observation, settings, start)
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
