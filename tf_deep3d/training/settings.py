"""The settings of a training: the schema of `configs/`, and what of them travels with the weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_deep3d.data.mixture import DataSettings
from tf_deep3d.detection import skin
from tf_deep3d.errors import InputError
from tf_deep3d.losses import weighing
from tf_deep3d.losses.weighing import LossWeights
from tf_deep3d.models.cnet import BOUND
from tf_deep3d.training import config

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("constant", "cosine", "steps")
MAX_STEPS = 1_000_000_000
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

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule must be one of {SCHEDULES}. Received: {self.schedule!r}")
        if not (self.learning_rate > 0 and 0 <= self.decay <= 1 and 0 <= self.ema < 1):
            raise InputError(f"learning_rate > 0, decay in [0, 1], ema in [0, 1). Received: {self}")
        if max(self.warmup, *self.decay_steps, 0) > MAX_STEPS or self.warmup < 0:
            received = f"{self.warmup}, {self.decay_steps}"
            raise InputError(f"warmup and decay_steps must lie in 0 to {MAX_STEPS}. Received: {received}")
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

    def __post_init__(self) -> None:
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
      emphasis, jaw, dense: weights of landmarks, see `weighing.joint_landmarks`.
      strays: dense landmarks count by how far a detector strays from each in the pose found, see `uncertainty`.
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
    emphasis: float = weighing.EMPHASIS
    jaw: float = 1.0
    dense: float = 0.0
    strays: bool = False
    attention: str = "codes"
    steps: int = 200_000
    log_every: int = 50
    validate_every: int = 1000
    save_every: int = 1000
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {PRECISIONS}. Received: {self.precision!r}")
        if self.attention not in skin.ATTENTIONS:
            raise InputError(f"attention must be one of {skin.ATTENTIONS}. Received: {self.attention!r}")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed must lie in [0, 2^31). Received: {self.seed}")
        if min(self.steps, self.log_every) < 1:
            raise InputError(f"steps and log_every must be positive. Received: {self.steps} and {self.log_every}")
        for name in ("steps", "validate_every", "save_every"):
            if getattr(self, name) > MAX_STEPS:
                raise InputError(f"{name} must be at most {MAX_STEPS}. Received: {getattr(self, name)}")
            if getattr(self, name) < 1 or getattr(self, name) % self.log_every:
                received = getattr(self, name)
                raise InputError(f"{name} must be a multiple of log_every, {self.log_every}. Received: {received}")


def recipe_of(settings: TrainSettings) -> dict[str, Any]:
    """`TrainSettings` as the plain data that travels with weights: where things lay is nobody's business."""
    recipe = config.as_plain(settings)
    recipe["data"].pop("records")
    recipe["network"]["start"] = Path(settings.network.start).name
    return recipe
