"""Training of R-Net from photos alone (Deng et al. 2019, section 3): the step, its settings, and what a run leaves.

Letters: B batch, L landmarks, K coefficients.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.data.augmentation import Augmentation
from tf_deep3d.detection import skin
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.landmarks import COUNT, eye_distance, mean_distance
from tf_deep3d.losses import hybrid
from tf_deep3d.losses.hybrid import LossWeights
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.cnet import BOUND
from tf_deep3d.models.recognition import describe
from tf_deep3d.rendering import renderer
from tf_deep3d.training import config
from tf_deep3d.training.panels import face_panel

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("constant", "cosine", "steps")
MOST_PHOTOS = 32  # of a set


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes:
      backbone: name in `rnet.BACKBONES`.
      start: see `rnet.load_start`.
      lighting: "rgb" or "white".
      face_model: path of a face model, the open face model by default.
    """

    backbone: str = "mobilenet"
    start: str = "shipped"
    lighting: str = "rgb"
    face_model: str | None = None


@dataclass(frozen=True)
class DataSettings:
    """What to train on.

    Attributes:
      records: folders of `prepare` or `synthetic`.
      shares: how much of the training each folder gives; by default as many as it has records.
      batch: records of a step, over all replicas.
      augmentation: `Augmentation`.
      validation: at most so many records of the validation splits are looked at.
      strict: stop at damaged shards instead of going on without their bad records.
    """

    records: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    batch: int = 16
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: int = 256
    strict: bool = False

    def __post_init__(self):
        if self.batch < 1 or self.validation < 0:
            raise InputError(f"batch and validation must be positive. Received: {self.batch}, {self.validation}")
        if self.shares and min(self.shares) <= 0:
            raise InputError(f"shares must be above 0. Received: {self.shares}")


@dataclass(frozen=True)
class Optimization:
    """How the weights move: Adam.

    Attributes:
      learning_rate: after the warm-up.
      schedule: "constant", "cosine" (to `decay` times the rate at the last step), or "steps" (times `decay` after each
        of `decay_steps`).
      decay: see above.
      decay_steps: of "steps", rising.
      warmup: steps over which the rate rises from zero, before a cosine; all steps but the last of a training that is
        shorter.
      clip_norm: largest norm of the whole gradient; 0 does not clip.
      weight_decay: decoupled, as in AdamW.
      ema: momentum of the moving average of the weights, which is what the run keeps; 0 for none.
    """

    learning_rate: float = 1e-4
    schedule: str = "constant"
    decay: float = 0.2
    decay_steps: tuple[int, ...] = ()
    warmup: int = 0
    clip_norm: float = 0.0
    weight_decay: float = 0.0
    ema: float = 0.0

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule must be one of {SCHEDULES}. Received: {self.schedule!r}")
        if not (self.learning_rate > 0 and 0 <= self.decay <= 1 and 0 <= self.ema < 1 and self.warmup >= 0):
            raise InputError(f"learning_rate > 0, decay in [0, 1], ema in [0, 1), warmup >= 0. Received: {self}")
        rising = all(before < after for before, after in zip((0, *self.decay_steps), self.decay_steps, strict=False))
        if not rising or bool(self.decay_steps) != (self.schedule == "steps"):
            received = f"{self.schedule!r}, {list(self.decay_steps)}"
            raise InputError(f"decay_steps, rising and above 0, belong to the schedule steps. Received: {received}")
        if self.warmup and self.schedule != "cosine":
            raise InputError(f"a warmup needs the schedule cosine. Received: {self.schedule!r}, {self.warmup} steps")
        if min(self.clip_norm, self.weight_decay) < 0:
            raise InputError(f"clip_norm and weight_decay must not be negative. Received: {self}")


@dataclass(frozen=True)
class SetSettings:
    """The training of C-Net.

    Attributes:
      rnet: weights of the R-Net that it belongs to, which stay as they are: a file, the folder of a training, or
        "shipped".
      photos: M, of one person in a set.
      least: people with fewer photos are left out.
      scalar: one confidence for each photo instead of one for each coefficient (the paper's S1).
      bound: of the confidences, see `cnet.CNet`; null for the paper's plain sigmoid.
    """

    rnet: str = "shipped"
    photos: int = 5
    least: int = 2
    scalar: bool = False
    bound: float | None = BOUND

    def __post_init__(self):
        if self.bound is not None and self.bound <= 0:
            raise InputError(f"bound must be above 0, or null. Received: {self.bound}")
        if not 1 <= self.least <= self.photos <= MOST_PHOTOS:
            raise InputError(f"1 <= least <= photos <= {MOST_PHOTOS}. Received: {self.least}, {self.photos}")


@dataclass(frozen=True)
class TrainSettings:
    """A whole training; the defaults are those of the authors' PyTorch code where they have one.

    Attributes:
      network, data, loss, optimization: see there.
      sets: train C-Net on sets of photos, see there; None trains R-Net. Then `data.batch` and `data.validation` count
        sets, and of `network` only the face model matters.
      level: level of detail of the rendered face, from the coarsest, 0; -1 is the finest.
      emphasis, jaw, dense: weights of landmarks, see `hybrid.joint_landmarks`.
      attention: "codes" or "paper", see `skin.skin_attention`.
      steps: of the whole training.
      log_every, validate_every, save_every: steps between entries of the log, validations and checkpoints; the last
        two are multiples of the first.
      precision: of the network, in `PRECISIONS`; everything after it is single precision.
      seed: of the order of the records and their augmentation, in [0, 2^31).
    """

    network: Network = field(default_factory=Network)
    data: DataSettings = field(default_factory=DataSettings)
    loss: LossWeights = field(default_factory=LossWeights)
    optimization: Optimization = field(default_factory=Optimization)
    sets: SetSettings | None = None
    level: int = 1
    emphasis: float = hybrid.EMPHASIS
    jaw: float = 1.0
    dense: float = 0.0
    attention: str = "codes"
    steps: int = 200_000
    log_every: int = 50
    validate_every: int = 1000
    save_every: int = 1000
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {PRECISIONS}. Received: {self.precision!r}")
        if self.attention not in skin.ATTENTIONS:
            raise InputError(f"attention must be one of {skin.ATTENTIONS}. Received: {self.attention!r}")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed must lie in [0, 2^31). Received: {self.seed}")
        if min(self.steps, self.log_every) < 1:
            raise InputError(f"steps and log_every must be positive. Received: {self.steps} and {self.log_every}")
        for name in ("steps", "validate_every", "save_every"):
            if getattr(self, name) < 1 or getattr(self, name) % self.log_every:
                received = getattr(self, name)
                raise InputError(f"{name} must be a multiple of log_every, {self.log_every}. Received: {received}")


@dataclass(frozen=True)
class _Constants:
    """What the step reads and never changes; a dataclass, because Keras would track and save a container."""

    model: Any
    inner_face: Any
    skin: Any
    points: int
    point_weights: Any
    identity_metric: Any
    expression_metric: Any
    albedo_metric: Any
    recognition: Any


class Reconstructor(keras.Model):
    """R-Net with everything that turns its coefficients into losses.

    Called with a batch of `data`, it gives {"terms": name -> [B], "measures": name -> [B], "known": [B]}.
    """

    MEASURES = ("landmark_error", "nme")
    EXACT = ("shape", "albedo")  # terms and measures that apply where the truth is known

    def __init__(self, rnet, model, recognition, settings, strategy=None):
        """Prepares the step.

        Args:
          rnet: `RNet`, made in the scope of `strategy`.
          model: `MorphableModel` at the level to render.
          recognition: the perceptual network, or None where its term has no weight.
          settings: `TrainSettings`.
          strategy: `tf.distribute.Strategy` of the replicas whose gradients are summed, None for one device. This
            itself must be made outside its scope: inside, Keras would average the first batch over the workers to see
            its shapes, and fail because a batch is a dict (keras-team/keras, issue 20329).
        """
        super().__init__(name="reconstructor", dtype="float32")
        self.rnet = rnet
        self.settings = settings
        self.strategy = strategy
        joint, weights = hybrid.joint_landmarks(model, settings.emphasis, settings.jaw, settings.dense)
        inner = renderer.triangles_within(model.regions["inner_face"], model.triangles)
        self.constants = _Constants(
            model=replace(model, landmarks={"joint": joint}).on_backend(ops.convert_to_tensor),
            inner_face=ops.convert_to_tensor(inner),
            skin=ops.convert_to_tensor(model.regions["skin"]),
            points=len(weights),
            point_weights=ops.convert_to_tensor(weights),
            identity_metric=ops.convert_to_tensor(hybrid.shape_metric(model.identity_basis, model.mean_shape)),
            expression_metric=ops.convert_to_tensor(hybrid.shape_metric(model.expression_basis)),
            albedo_metric=ops.convert_to_tensor(hybrid.albedo_metric(model.albedo_basis, model.regions["skin"])),
            recognition=recognition,
        )
        with strategy.scope() if strategy else nullcontext():
            self.means = {name: keras.metrics.Mean(name) for name in ("loss", *self.term_names(), *self.MEASURES)}
        self.built = True  # R-Net has its weights, and there are no others

    @property
    def learner(self):
        """The network that is trained."""
        return self.rnet

    def save_learner(self, folder):
        """Writes its weights into the folder of a run; returns the file's path."""
        path = Path(folder, rnets.WEIGHTS)
        rnets.save_rnet(self.rnet, path, overwrite=True)
        return path

    def panel(self, model, batch):
        """A picture of `batch`, see `training_panels`."""
        return face_panel(self.rnet, model, batch)

    @property
    def distribute_strategy(self):
        """Where Keras runs the steps."""
        return self.strategy or super().distribute_strategy

    @property
    def replicas(self):
        """Number of replicas whose gradients are summed."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def term_names(self):
        """The terms that have a weight, in the order of `hybrid.TERMS`."""
        return [name for name in hybrid.TERMS if getattr(self.settings.loss, name) > 0]

    def call(self, batch, training=False):
        """Raw loss terms and measures of `batch`, see the class."""
        return self.judge(self.rnet(batch["inputs"], training=training), batch)

    def judge(self, coefficients, batch):
        """What `coefficients` of the photos of `batch` are worth, see the class."""
        known, settings = self.constants, self.settings
        face = faces.reconstruct(known.model, coefficients, xp=ops, landmarks="joint")
        rendering = renderer.render(face, known.model.triangles, Camera(), known.inner_face)
        attention = skin.skin_attention(batch["skin"], settings.attention, xp=ops)
        targets, there = batch["landmarks"], None
        if known.points > targets.shape[1]:
            targets = ops.concatenate([targets, batch["dense"]], axis=1)
            every, dense = ops.ones_like(targets[:, :COUNT, 0]), ops.ones_like(batch["dense"][..., 0])
            there = ops.concatenate([every, dense * batch["dense_known"][:, None]], axis=1)
        truth = self.rnet.layout.split(batch["coefficients"], ops)
        terms = {
            "photometric": lambda: hybrid.photometric(
                batch["images"], rendering.image, rendering.inner_face, attention
            ),
            "landmark": lambda: hybrid.landmark(face.landmarks, targets, known.point_weights, there),
            "perceptual": lambda: self._perceptual(batch["images"], rendering),
            "prior": lambda: hybrid.prior(coefficients, settings.loss),
            "albedo_flatness": lambda: hybrid.albedo_flatness(face.albedo, known.skin),
            "illumination_whiteness": lambda: hybrid.illumination_whiteness(coefficients.illumination),
            "shape": lambda: hybrid.shape(
                coefficients, truth, batch["known"], known.identity_metric, known.expression_metric
            ),
            "albedo": lambda: hybrid.albedo(coefficients, truth, batch["known"], known.albedo_metric),
        }
        error = mean_distance(face.landmarks[:, :COUNT], batch["landmarks"], ops)
        eyes = eye_distance(batch["landmarks"], ops)
        return {
            "terms": {name: terms[name]() for name in self.term_names()},
            "measures": {"landmark_error": error, "nme": error / ops.maximum(eyes, 1.0)},
            "known": batch["known"],
        }

    def _perceptual(self, images, rendering):
        recognition = self.constants.recognition
        target = ops.stop_gradient(describe(recognition, images))
        return hybrid.perceptual(describe(recognition, renderer.composite(rendering, images)), target)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted total of this replica's terms."""
        return hybrid.total(y_pred["terms"], self.settings.loss, self.replicas)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Running means of the loss, the raw terms and the measures; a term is averaged where it applies."""
        for name, values in {**y_pred["terms"], **y_pred["measures"]}.items():
            self.means[name].update_state(values, y_pred["known"] if name in self.EXACT else None)
        total = hybrid.total(y_pred["terms"], self.settings.loss)
        self.means["loss"].update_state(total, ops.shape(y_pred["known"])[0])
        return {name: mean.result() for name, mean in self.means.items()}

    @property
    def metrics(self):
        """What is reset at the start of each entry of the log."""
        return list(self.means.values())

    def train_step(self, *arguments):
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

    def _replica_step(self, *arguments):
        """`train_step` with TensorFlow, in one of the replicas."""
        import tensorflow as tf

        batch = keras.utils.unpack_x_y_sample_weight(*arguments)[0]
        weights = self.learner.trainable_weights
        with tf.GradientTape() as tape:
            outputs = self(batch, training=True)
            loss = self.compute_loss(y_pred=outputs)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        if self.replicas > 1:  # the optimizer clips before it sums, see `optimizer`
            gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
        fine = True
        if self.settings.precision != "mixed_float16":
            fine = ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in gradients]))
            gradients = [ops.where(fine, gradient, ops.zeros_like(gradient)) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        results = self.compute_metrics(batch, None, outputs)
        return _for_workers({**results, "loss": ops.where(fine, results["loss"], float("nan"))})

    def test_step(self, *arguments):
        """Measures one batch."""
        if keras.backend.backend() != "tensorflow":
            return super().test_step(*arguments)
        batch = keras.utils.unpack_x_y_sample_weight(*arguments)[0]
        return _for_workers(self.compute_metrics(batch, None, self(batch, training=False)))


def _for_workers(results):
    """The results of a step; those of several workers Keras averages over their first axis, which numbers lack."""
    import tensorflow as tf

    resolver = tf.distribute.get_strategy().cluster_resolver
    several = resolver and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1
    return {name: value[None] for name, value in results.items()} if several else results


def warmup_steps(settings):
    """Steps of `TrainSettings` over which the rate rises: a trial may be shorter than the warm-up of its preset."""
    return min(settings.optimization.warmup, settings.steps - 1)


def optimizer(settings, replicas=1):
    """The Keras optimizer of `TrainSettings`.

    Keras clips the gradient of each replica, then sums the replicas'. Where each of them brings the mean over all of
    them, clipped to its share of the norm, the sum is the clipped gradient of the whole batch.

    Args:
      settings: `TrainSettings`.
      replicas: number of replicas that each bring the mean of all gradients.
    """
    how, warmup = settings.optimization, warmup_steps(settings)
    rate = how.learning_rate
    if how.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            settings.steps - warmup,
            alpha=how.decay,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    elif how.schedule == "steps":
        rates = [rate * how.decay**index for index in range(len(how.decay_steps) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(list(how.decay_steps), rates)
    adam = keras.optimizers.AdamW(
        rate,
        weight_decay=how.weight_decay,
        global_clipnorm=how.clip_norm / replicas or None,
        use_ema=how.ema > 0,
        ema_momentum=how.ema,
    )
    return keras.optimizers.LossScaleOptimizer(adam) if settings.precision == "mixed_float16" else adam


def dense_mirror(model):
    """Where each dense landmark of a left-right symmetric model goes when its sides change places: [478], or None.

    Args:
      model: `MorphableModel`.
    """
    points = model.landmarks.get("mediapipe478")
    if points is None:
        return None
    places = faces.at_landmarks(points, model.mean_shape[None])[0]
    distance = np.linalg.norm((places * [-1, 1, 1])[:, None] - places[None], axis=-1)
    return np.argmin(distance, axis=1)


def recipe_of(settings):
    """`TrainSettings` as the plain data that travels with weights: where things lay is nobody's business."""
    recipe = config.as_plain(settings)
    recipe["data"].pop("records")
    recipe["network"]["start"] = Path(settings.network.start).name
    return recipe


def build_rnet(settings):
    """The `RNet` of `TrainSettings`, at its start.

    Raises:
      morphable_model.ModelError, FileNotFoundError: see `morphable_model.load`.
      rnet.WeightsError: see `rnet.load_start`.
    """
    wanted = settings.network
    layout = morphable_model.load(wanted.face_model, level=0).layout(wanted.lighting)
    policy = keras.DTypePolicy(settings.precision)
    rnet = rnets.RNet(wanted.backbone, layout, rnets.fingerprint(wanted.face_model), recipe_of(settings), dtype=policy)
    rnets.load_start(rnet, wanted.start)
    return rnet
