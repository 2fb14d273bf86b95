"""R-Net: one aligned photo -> the coefficients of its face (Deng et al. 2019, section 3).

A backbone, global pooling, and one linear head for each group of coefficients. The heads start at zero, so the first
render is the mean face, frontal and centred: from elsewhere the training diverges. A head's output counts in units of
`coefficients.SCALES`; the paper's heads have no units, so that its pose moves ten times as fast as its shape.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError, WeightsError
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import GROUPS, SCALES, Coefficients, Layout
from tf_deep3d.models import mobilenet, presets, weights
from tf_deep3d.models.presets import fingerprint as fingerprint

BACKBONES = ("resnet50", "mobilenet", "mobilenet_small")
SHIPPED = presets.PRESETS[presets.DEFAULT].rnet.path
WEIGHTS = "rnet.keras"  # in the folder of a training


@keras.saving.register_keras_serializable("tf_deep3d")
class RNet(keras.Model):
    """Aligned photos [B, 224, 224, 3], RGB in [0, 1] -> `Coefficients`, float32 under every policy.

    Attributes:
      backbone: name in `BACKBONES`.
      layout: `Layout` of the coefficients.
      face_model: fingerprint of the face model that the coefficients belong to.
      recipe: how the weights were made, as plain data; travels with them.
      network: the functional model, images -> {"stage", "pooled", and the groups}.
    """

    def __init__(
        self,
        backbone: str,
        layout: Layout | dict[str, Any],
        face_model: str,
        recipe: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """An untrained network.

        Args:
          backbone: name in `BACKBONES`.
          layout: `Layout`, or its fields as a dict.
          face_model: see `fingerprint`.
          recipe: plain data, see above.
          **options: of `keras.Model`; `dtype` is the policy of the backbone.

        Raises:
          InputError: if the backbone is unknown.
        """
        super().__init__(**{"name": "rnet", **options})
        if backbone not in BACKBONES:
            raise InputError(f"backbone must be one of {BACKBONES}. Received: {backbone!r}")
        self.backbone = backbone
        self.layout = layout if isinstance(layout, Layout) else Layout(**layout)
        self.face_model = face_model
        self.recipe = recipe or {}
        self.network = _network(backbone, self.layout, self.dtype_policy)
        self.built = True  # with its weights

    @classmethod
    def from_preset(cls, preset: str | Path = presets.DEFAULT, face_model: str | None = None) -> "RNet":
        """An R-Net with its weights, in single precision whatever they are stored in.

        Args:
          preset: name in `presets.PRESETS`, a `.keras` file, or the folder of a training.
          face_model: `fingerprint` of the model to be used with it; None to accept any.

        Raises:
          FileNotFoundError: if there is no such file or preset.
          WeightsError: if the file is damaged, is something else, or belongs to another face model.
        """
        return load_rnet(presets.find_weights(preset, "rnet"), face_model)

    def call(self, images: Array, training: bool = False) -> Coefficients:
        """`Coefficients` of `images`."""
        return self.regress(images, training)[0]

    def regress(self, images: Array, training: bool = False) -> tuple[Coefficients, tuple[Array, Array]]:
        """`Coefficients`, and the features of the photo: stage [B, h, w, C] and pooled [B, F], for C-Net."""
        outputs = self.network(images, training=training)
        return Coefficients(*(outputs[group] for group in GROUPS)), (outputs["stage"], outputs["pooled"])

    def signature(self) -> str:
        """16 hexadecimal digits that name its weights, the same in single and half precision."""
        digest = hashlib.sha256()
        for values in self.get_weights():
            digest.update(np.asarray(values, "<f2").tobytes())
        return digest.hexdigest()[:16]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        fields = {"backbone": self.backbone, "layout": dict(vars(self.layout)), "face_model": self.face_model}
        return {**super().get_config(), **fields, "recipe": self.recipe}


def load_start(rnet: RNet, start: str) -> None:
    """Gives the backbone the weights that training starts from; the heads stay zero.

    Args:
      rnet: `RNet`.
      start: "shipped" (mobilenet), "imagenet" (the others; Keras downloads them), "random", or the path of a weights
        file of the same backbone.

    Raises:
      WeightsError: if the weights cannot be had or do not fit.
    """
    if start == "random":
        return
    if start == "shipped" and rnet.backbone == "mobilenet":
        mobilenet.load_start(rnet.network)
    elif start == "imagenet" and rnet.backbone != "mobilenet":
        try:
            rnet.network.get_layer("backbone").set_weights(_application(rnet.backbone, "imagenet", None).get_weights())
        except Exception as error:  # Keras raises whatever its downloader meets
            raise WeightsError(
                f"the ImageNet weights of {rnet.backbone} could not be downloaded; start from 'random', or a file. "
                f"Received: {error}"
            ) from error
    elif Path(start).suffix == ".keras":
        other = load_rnet(start)
        if other.backbone != rnet.backbone:
            raise WeightsError(f"{start} must be of backbone {rnet.backbone}. Received: {other.backbone}")
        if other.layout == rnet.layout and other.face_model == rnet.face_model:
            rnet.set_weights(other.get_weights())
        else:  # another face model: its coefficients mean something else
            heads = {id(weight) for group in GROUPS for weight in rnet.network.get_layer(group).weights}
            for mine, theirs in zip(rnet.weights, other.weights, strict=True):
                if id(mine) not in heads:
                    mine.assign(theirs)
    else:
        raise WeightsError(
            "start must be 'shipped' (mobilenet), 'imagenet' (resnet50, mobilenet_small), 'random' or a .keras file. "
            f"Received: {start!r} for {rnet.backbone}"
        )


def save_rnet(rnet: RNet, path: str | Path, overwrite: bool = False, half: bool = False) -> None:
    """Writes a `.keras` file; see `weights.save`."""
    weights.save(rnet, path, overwrite, half)


def load_rnet(path: str | Path, face_model: str | None = None) -> RNet:
    """Reads a `.keras` file, in single precision whatever it is stored in.

    Args:
      path: file written by `save_rnet`, or the folder of a training.
      face_model: `fingerprint` of the model to be used with it; None to accept any.

    Returns:
      `RNet`.

    Raises:
      FileNotFoundError: if there is no such file.
      WeightsError: if the file is damaged, is something else, or belongs to another face model.
    """
    path = Path(path)
    rnet = weights.load(path / WEIGHTS if path.is_dir() else path, RNet)
    if face_model is not None:
        presets.check_face_model(path, rnet.face_model, face_model)
    return rnet


def _network(backbone: str, layout: Layout, policy: Any) -> keras.Model:
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="float32", name="images")
    if backbone == "mobilenet":
        stage, pooled = mobilenet.features(images, policy)
    else:
        stage, pooled = _application(backbone, None, policy)(images)
    pooled = keras.layers.Activation("linear", dtype="float32", name="features")(pooled)
    heads = {}
    for group, shape in layout.shapes._asdict().items():
        head = keras.layers.Dense(
            layout.sizes._asdict()[group], kernel_initializer="zeros", dtype=_head_dtype(policy), name=group
        )
        heads[group] = ops.reshape(head(pooled), (-1, *shape)) * getattr(SCALES, group)
    return keras.Model(images, {"stage": stage, "pooled": pooled, **heads}, name="network")


def _head_dtype(policy: Any) -> Any:
    """Heads compute in single precision; only a network that is stored in half precision keeps half weights."""
    return policy if policy.name == "float16" else "float32"


def _application(backbone: str, weights: str | None, policy: Any) -> keras.Model:
    """A network of `keras.applications`, images in [0, 1] -> (stage, pooled), with its own normalisation inside."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    with _policy(policy):
        if backbone == "resnet50":
            scaled = keras.layers.Rescaling(255.0, [-mean for mean in mobilenet.BGR_MEAN])(ops.flip(images, -1))
            network = keras.applications.ResNet50(include_top=False, weights=weights, input_tensor=scaled)
            stage = "conv2_block3_out"
        else:
            scaled = keras.layers.Rescaling(2.0, -1.0)(images)
            network = keras.applications.MobileNetV3Small(
                include_top=False, weights=weights, input_tensor=scaled, minimalistic=True, include_preprocessing=False
            )
            stage = "expanded_conv_project_bn"
        pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(network.output)
    return keras.Model(images, (network.get_layer(stage).output, pooled), name="backbone")


@contextmanager
def _policy(policy: Any) -> Iterator[None]:
    """Sets the global dtype policy for the layers that are built inside; None leaves it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before if policy is None else policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
