"""The training of R-Net from photos alone (Deng et al. 2019, section 3): its terms, its measures and its step.

Letters: B batch, L landmarks, K coefficients.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.detection import skin
from tf_deep3d.errors import InputError
from tf_deep3d.face import uncertainty
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import COUNT, eye_distance, mean_distance
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.losses import hybrid, supervised, weighing
from tf_deep3d.models.recognition import describe
from tf_deep3d.models.rnet import RNet
from tf_deep3d.rendering import renderer
from tf_deep3d.training.settings import TrainSettings


@dataclass(frozen=True)
class _Constants:
    """What the step reads and never changes; a dataclass, because Keras would track and save a container."""

    model: MorphableModel
    inner_face: Array
    skin: Array
    points: int
    point_weights: Array
    moments: np.ndarray | None
    identity_metric: Array
    expression_metric: Array
    albedo_metric: Array
    recognition: keras.Model | None


class Reconstructor(keras.Model):
    """R-Net with everything that turns its coefficients into losses.

    Called with a batch of `data`, it gives {"terms": name -> [B], "measures": name -> [B], "known": name -> [B]}: 1
    where a term or a measure that needs the truth has it; the others apply everywhere.
    """

    MEASURES: tuple[str, ...] = ("landmark_error", "nme")

    def __init__(
        self,
        rnet: RNet,
        model: MorphableModel,
        recognition: keras.Model | None,
        settings: TrainSettings,
        strategy: Any = None,
    ) -> None:
        """Prepares the step.

        Args:
          rnet: `RNet`, made in the scope of `strategy`.
          model: `MorphableModel` at the level to render.
          recognition: the perceptual network, or None where its term has no weight.
          settings: `TrainSettings`.
          strategy: `tf.distribute.Strategy` of the replicas whose gradients are summed, None for one device. This
            itself must be made outside its scope: inside, Keras would average the first batch over the workers to see
            its shapes, and fail because a batch is a dict (keras-team/keras, issue 20329).

        Raises:
          InputError: if dense landmarks shall count by the detector's strays, and do not count or have none.
        """
        super().__init__(name="reconstructor", dtype="float32")
        self.rnet = rnet
        self.settings = settings
        self.strategy = strategy
        joint, weights = weighing.joint_landmarks(model, settings.emphasis, settings.jaw, settings.dense)
        inner = renderer.triangles_within(model.regions["inner_face"], model.triangles)
        albedo_metric = supervised.albedo_metric(model.albedo_basis, model.regions["skin"])
        self.constants = _Constants(
            model=replace(model, landmarks={"joint": joint}).on_backend(ops.convert_to_tensor),
            inner_face=ops.convert_to_tensor(inner),
            skin=ops.convert_to_tensor(model.regions["skin"]),
            points=len(weights),
            point_weights=ops.convert_to_tensor(weights),
            moments=_moments(model, settings) if settings.strays else None,
            identity_metric=ops.convert_to_tensor(supervised.surface_metric(model)),
            expression_metric=ops.convert_to_tensor(supervised.shape_metric(model.expression_basis)),
            albedo_metric=ops.convert_to_tensor(albedo_metric),
            recognition=recognition,
        )
        with strategy.scope() if strategy else nullcontext():
            self.means = {name: keras.metrics.Mean(name) for name in ("loss", *self.term_names(), *self.MEASURES)}
        self.built = True  # R-Net has its weights, and there are no others

    @property
    def learner(self) -> keras.Model:
        """The network that is trained."""
        return self.rnet

    @property
    def distribute_strategy(self) -> Any:
        """Where Keras runs the steps."""
        return self.strategy or super().distribute_strategy

    @property
    def replicas(self) -> int:
        """Number of replicas whose gradients are summed."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def term_names(self) -> list[str]:
        """The terms that have a weight, in the order of `weighing.TERMS`."""
        return [name for name in weighing.TERMS if getattr(self.settings.loss, name) > 0]

    def call(self, batch: dict[str, Array], training: bool = False) -> dict[str, Any]:
        """Raw loss terms and measures of `batch`, see the class."""
        return self.judge(self.rnet(batch["inputs"], training=training), batch)

    def judge(self, coefficients: Coefficients, batch: dict[str, Array]) -> dict[str, Any]:
        """What `coefficients` of the photos of `batch` are worth, see the class."""
        known, settings = self.constants, self.settings
        face = faces.reconstruct(known.model, coefficients, xp=ops, landmarks="joint")
        rendering: Any = None
        if {"photometric", "perceptual"} & set(self.term_names()):  # the others look at no picture
            rendering = renderer.render(face, known.model.triangles, Camera(), known.inner_face)
        attention = skin.skin_attention(batch["skin"], settings.attention, xp=ops)
        targets, there = self._targets(batch)
        truth, exact = (self.rnet.layout.split(batch[name], ops) for name in ("coefficients", "known"))
        identity, expression, albedo = map(supervised.all_known, (exact.identity, exact.expression, exact.albedo))
        there_is = {"shape": ops.maximum(identity, expression), "albedo": albedo}
        terms = {
            "photometric": lambda: hybrid.photometric(
                batch["images"], rendering.image, rendering.inner_face, attention
            ),
            "landmark": lambda: hybrid.landmark(
                face.landmarks, targets, self._point_weights(coefficients.angles), there
            ),
            "perceptual": lambda: self._perceptual(batch["images"], rendering),
            "prior": lambda: hybrid.prior(coefficients, settings.loss),
            "albedo_flatness": lambda: hybrid.albedo_flatness(face.albedo, known.skin),
            "illumination_whiteness": lambda: hybrid.illumination_whiteness(coefficients.illumination),
            "exposure": lambda: hybrid.exposure(coefficients.illumination, face.normals, known.skin),
            "shape": lambda: supervised.shape(
                coefficients, truth, exact, known.identity_metric, known.expression_metric
            ),
            "albedo": lambda: supervised.albedo(coefficients, truth, there_is["albedo"], known.albedo_metric),
        }
        error = mean_distance(face.landmarks[:, :COUNT], batch["landmarks"], ops)
        eyes = eye_distance(batch["landmarks"], ops)
        return {
            "terms": {name: terms[name]() for name in self.term_names()},
            "measures": {"landmark_error": error, "nme": error / ops.maximum(eyes, 1.0)},
            "known": there_is,
        }

    def _targets(self, batch: dict[str, Array]) -> tuple[Array, Array | None]:
        """The landmarks [B, L, 2] of the photos, and where there are any [B, L], or None where nothing lacks."""
        targets = batch["landmarks"]
        if self.constants.points == COUNT:
            return targets, None
        dense = ops.ones_like(batch["dense"][..., 0]) * batch["dense_known"][:, None]
        there = ops.concatenate([ops.ones_like(targets[..., 0]), dense], axis=1)
        return ops.concatenate([targets, batch["dense"]], axis=1), there

    def _point_weights(self, angles: Array) -> Array:
        """Weights of the landmarks [L], or in the poses of `angles` [B, 3] as matrices [B, L, 2, 2]."""
        known = self.constants
        if known.moments is None:
            return known.point_weights
        strays = uncertainty.precision(known.moments, ops.stop_gradient(angles), ops)
        alike = ops.zeros_like(strays[:, :COUNT]) + ops.eye(2)
        return known.point_weights[:, None, None] * ops.concatenate([alike, strays], axis=1)

    def _perceptual(self, images: Array, rendering: renderer.Rendering) -> Array:
        recognition = self.constants.recognition
        target = ops.stop_gradient(describe(recognition, images))
        return hybrid.perceptual(describe(recognition, renderer.composite(rendering, images)), target)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Array:
        """The weighted total of this replica's terms."""
        return hybrid.total(y_pred["terms"], self.settings.loss, self.replicas)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Array]:
        """Running means of the loss, the raw terms and the measures; a term is averaged where it applies."""
        for name, values in {**y_pred["terms"], **y_pred["measures"]}.items():
            self.means[name].update_state(values, y_pred["known"].get(name))
        total = hybrid.total(y_pred["terms"], self.settings.loss)
        self.means["loss"].update_state(total, ops.shape(y_pred["measures"]["nme"])[0])
        return {name: mean.result() for name, mean in self.means.items()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What is reset at the start of each entry of the log."""
        return list(self.means.values())

    def train_step(self, *arguments: Any) -> Any:
        """One step of gradient descent.

        A gradient that is not finite leaves finite weights, in all replicas, and `loss` is NaN then. Under
        mixed_float16 the optimizer leaves the step out, and lowers its scale.
        """
        if keras.backend.backend() == "tensorflow":
            return self._replica_step(*arguments)
        logs, after = super().train_step(*arguments)
        before, fine = arguments[0], ops.all(ops.stack([ops.all(ops.isfinite(weight)) for weight in after[0]]))
        kept = [
            [ops.where(fine, new, old) for new, old in zip(*pair, strict=True)]
            for pair in zip(after[:3], before[:3], strict=True)
        ]
        return {**logs, "loss": ops.where(fine, logs["loss"], float("nan"))}, (*kept, after[3])

    def _replica_step(self, *arguments: Any) -> dict[str, Array]:
        """`train_step` with TensorFlow, in one of the replicas."""
        import tensorflow as tf

        batch = keras.utils.unpack_x_y_sample_weight(*arguments)[0]
        weights = self.learner.trainable_weights
        with tf.GradientTape() as tape:
            outputs = self(batch, training=True)
            loss = self.compute_loss(y_pred=outputs)
            scaled = self.optimizer.scale_loss(loss)
        found = tape.gradient(scaled, weights)  # None where no term of the loss looks
        gradients = [ops.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]
        if self.replicas > 1:  # the optimizer clips before it sums, see `build_optimizer`
            gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
        fine = True
        if self.settings.precision != "mixed_float16":
            fine = ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in gradients]))
            gradients = [ops.where(fine, gradient, ops.zeros_like(gradient)) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        results = self.compute_metrics(batch, None, outputs)
        return _for_workers({**results, "loss": ops.where(fine, results["loss"], float("nan"))})

    def test_step(self, *arguments: Any) -> Any:
        """Measures one batch."""
        if keras.backend.backend() != "tensorflow":
            return super().test_step(*arguments)
        batch = keras.utils.unpack_x_y_sample_weight(*arguments)[0]
        return _for_workers(self.compute_metrics(batch, None, self(batch, training=False)))


def _for_workers(results: dict[str, Array]) -> dict[str, Array]:
    """The results of a step; those of several workers Keras averages over their first axis, which numbers lack."""
    import tensorflow as tf

    resolver = tf.distribute.get_strategy().cluster_resolver
    several = resolver and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1
    return {name: value[None] for name, value in results.items()} if several else results


def _moments(model: MorphableModel, settings: TrainSettings) -> np.ndarray:
    """How far a detector strays from the dense landmarks, [Y, P, L, 3]."""
    moments = model.landmarks["mediapipe478"].moments if "mediapipe478" in model.landmarks else None
    if settings.dense <= 0 or moments is None:
        raise InputError(
            "strays need a weight of dense landmarks, and a face model that knows how far a detector strays from them. "
            f"Received: dense {settings.dense} and a model that {'does not know' if moments is None else 'knows'} it"
        )
    return moments
