"""C-Net: how far to trust each identity coefficient that R-Net reads from one photo (Deng et al. 2019, section 4.2).

It looks at what R-Net saw, its features after the first stage and its pooled feature, and gives positive confidences
to `aggregation.aggregate`. Its last layer starts at zero, so that training starts at plain averaging. The paper never
released one. Only ratios of confidences matter. The paper's are a plain sigmoid; ours are bounded, because a network
that learns from rendered people without a bound trusts single photos too much where people are real (see the model
card).
"""

import math
from pathlib import Path
from typing import Any

import keras
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.models import presets, weights
from tf_deep3d.models.rnet import RNet
from tf_deep3d.models.weights import WeightsError

SHIPPED = presets.PRESETS[presets.DEFAULT].cnet.path
WEIGHTS = "cnet.keras"  # in the folder of a training, beside its R-Net
FILTERS, CONVOLUTIONS = 256, 3  # of 3 x 3, stride 2
HIDDEN = 512
MAX_FEATURES = 4096  # of each size that it reads and gives
BOUND = 2.0  # confidences lie between sigmoid(-2) and sigmoid(2): no photo counts more than 7.4 times another
PAPERS_WEIGHTS = 2.99e6  # on ResNet-50


@keras.saving.register_keras_serializable("tf_deep3d")
class CNet(keras.Model):
    """R-Net's features (stage [B, h, w, C], pooled [B, F]) -> confidences [B, K] in (0, 1), float32.

    Attributes:
      stage: (h, w, C).
      pooled: F.
      confidences: K, the number of identity coefficients; 1 for the paper's S1, one confidence for each photo.
      rnet: `RNet.signature` of the R-Net whose features it reads.
      separable: convolve each channel apart, for mobile backbones, where the paper's convolutions would cost as much as
        R-Net itself.
      bound: confidences lie in sigmoid([-bound, bound]); None for the paper's plain sigmoid.
      recipe: how the weights were made, as plain data; travels with them.
    """

    def __init__(
        self,
        stage: tuple[int, ...],
        pooled: int,
        confidences: int,
        rnet: str,
        separable: bool = False,
        bound: float | None = BOUND,
        recipe: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """An untrained network; see the class for the arguments. **options are those of `keras.Model`."""
        super().__init__(**{"name": "cnet", **options})
        sizes = [*stage, pooled, confidences]
        if len(sizes) != 5 or not all(isinstance(n, int) and 0 < n <= MAX_FEATURES for n in sizes):
            raise InputError(f"stage, pooled, confidences: 1 to {MAX_FEATURES}. Received: {sizes[:8]}")
        self.stage, self.pooled = tuple(stage), int(pooled)
        self.confidences = int(confidences)
        self.rnet = rnet
        self.separable = bool(separable)
        if bound is not None and not bound > 0:
            raise InputError(f"bound must be above 0, or None. Received: {bound}")
        self.bound = bound
        self.recipe = recipe or {}
        self.network = self._build()
        self.built = True  # with its weights

    @classmethod
    def from_preset(cls, preset: str | Path = presets.DEFAULT, rnet: RNet | None = None) -> "CNet":
        """A C-Net with its weights, in single precision whatever they are stored in.

        Args:
          preset: name in `presets.PRESETS`, a `.keras` file, or the folder of a training.
          rnet: `RNet` to be used with it; None to accept any.

        Raises:
          FileNotFoundError: if there is no such file or preset.
          WeightsError: if the file is damaged, is something else, or belongs to another R-Net.
        """
        return load_cnet(presets.find_weights(preset, "cnet"), rnet)

    def call(self, features: tuple[Array, Array], training: bool = False) -> Array:
        """Confidences of the photos with these features, of `RNet.regress`."""
        return self.network(list(features), training=training)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        own = ("stage", "pooled", "confidences", "rnet", "separable", "bound", "recipe")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def _build(self) -> keras.Model:
        policy = self.dtype_policy
        stage = keras.Input(self.stage, dtype="float32", name="stage")
        pooled = keras.Input((self.pooled,), dtype="float32", name="pooled")
        kind = keras.layers.SeparableConv2D if self.separable else keras.layers.Conv2D
        x = stage
        for number in range(1, CONVOLUTIONS + 1):
            x = kind(FILTERS, 3, 2, "same", activation="relu", dtype=policy, name=f"convolution_{number}")(x)
        x = keras.layers.GlobalAveragePooling2D(dtype=policy, name="pool")(x)
        x = ops.concatenate([ops.cast(x, "float32"), pooled], axis=-1)
        x = keras.layers.Dense(HIDDEN, activation="relu", dtype=policy, name="hidden")(x)
        last = policy if policy.name == "float16" else "float32"  # half precision is for storing only
        x = keras.layers.Dense(self.confidences, kernel_initializer="zeros", dtype=last, name="confidence")(x)
        x = ops.cast(x, "float32")
        x = x if self.bound is None else self.bound * ops.tanh(x)
        return keras.Model([stage, pooled], ops.sigmoid(x), name="network")


def build_cnet(
    rnet: RNet,
    scalar: bool = False,
    bound: float | None = BOUND,
    recipe: dict[str, Any] | None = None,
    dtype: Any = None,
) -> CNet:
    """An untrained `CNet` for an `RNet`.

    Args:
      rnet: `RNet`, at the weights that it will keep.
      scalar: one confidence for each photo, not one for each coefficient (the paper's S1).
      bound, recipe: see `CNet`.
      dtype: policy of its layers.
    """
    outputs = rnet.network.output
    return CNet(
        outputs["stage"].shape[1:],
        outputs["pooled"].shape[1],
        1 if scalar else rnet.layout.identity,
        rnet.signature(),
        separable=rnet.backbone != "resnet50",
        bound=bound,
        recipe=recipe,
        dtype=dtype,
    )


def save_cnet(cnet: CNet, path: str | Path, overwrite: bool = False, half: bool = False) -> None:
    """Writes a `.keras` file; see `weights.save`."""
    weights.save(cnet, path, overwrite, half)


def load_cnet(path: str | Path, rnet: RNet | None = None) -> CNet:
    """Reads a `.keras` file, in single precision whatever it is stored in.

    Args:
      path: file written by `save_cnet`, or the folder of a training.
      rnet: `RNet` to be used with it; None to accept any.

    Returns:
      `CNet`.

    Raises:
      FileNotFoundError: if there is no such file.
      WeightsError: if the file is damaged, is something else, or belongs to another R-Net.
    """
    path = Path(path)
    cnet = weights.load(path / WEIGHTS if path.is_dir() else path, CNet)
    if rnet is not None and cnet.rnet != rnet.signature():
        raise WeightsError(
            f"{path} was trained with another R-Net than this one ({rnet.signature()}). Received: {cnet.rnet}"
        )
    return cnet


def cost(rnet: RNet, cnet: CNet) -> str:
    """Size and work of C-Net beside R-Net's and the paper's, as text for people.

    Args:
      rnet: `RNet`.
      cnet: its `CNet`.
    """
    mine, whole = cnet.count_params(), rnet.count_params()
    work = _multiplications(cnet.network) / _multiplications(rnet.network)
    return (
        f"C-Net: {mine / 1e6:.2f} M weights, 1/{whole / mine:.1f} of R-Net's {whole / 1e6:.2f} M, and 1/{1 / work:.1f} "
        f"of its multiplications (the paper's, on ResNet-50: {PAPERS_WEIGHTS / 1e6:.2f} M, about 1/8)"
    )


def _multiplications(network: keras.Model) -> int:
    """Multiplications of the convolutions and dense layers for one photo."""
    count = 0
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            count += _multiplications(layer)
        else:
            places = math.prod(layer.output.shape[1:-1]) if layer.weights else 0
            count += sum(places * math.prod(kernel.shape) for kernel in layer.weights if len(kernel.shape) > 1)
    return count
