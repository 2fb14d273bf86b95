"""What is exported: R-Net, its C-Net where there is one, and the one function of both that every format computes."""

from pathlib import Path
from typing import Any, NamedTuple

import keras
from keras import ops

from export.device_bundle import CONFIDENCE
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets

INPUT = "images"


class Networks(NamedTuple):
    """R-Net, and C-Net or None."""

    rnet: Any
    cnet: Any = None


def load_networks(run: str | Path | None = None, face_model: str | Path | None = None) -> Networks:
    """Loads what a training left, with its own C-Net, or else the shipped one where that belongs to the same R-Net.

    Args:
      run: folder of a training, with its `rnet.keras` and perhaps a `cnet.keras`; or a `.keras` file of an R-Net; None
        for the shipped weights.
      face_model: path of the face model, None for the open face model.

    Returns:
      `Networks`.

    Raises:
      FileNotFoundError: if there is no such file.
      weights.WeightsError: if the weights are damaged, or belong to another face model or another R-Net.
      InputError: if Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"the export needs KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()!r}")
    rnet = rnets.load_rnet(run or rnets.SHIPPED, rnets.fingerprint(face_model))
    if run and Path(run, cnets.WEIGHTS).is_file():
        return Networks(rnet, cnets.load_cnet(run, rnet))
    shipped = cnets.load_cnet(cnets.SHIPPED) if cnets.SHIPPED.is_file() else None
    return Networks(rnet, shipped if shipped is not None and shipped.rnet == rnet.signature() else None)


def regress(networks: Networks, images: Array) -> dict[str, Array]:
    """What the networks say of aligned photos.

    C-Net reads the features of R-Net's one run. Where it has one confidence for each photo, that is said Ki times, so
    that all aggregate alike.

    Args:
      networks: `Networks`.
      images: [B, 224, 224, 3] RGB in [0, 1].

    Returns:
      Name -> tensor: the groups of `Coefficients`, and `CONFIDENCE` [B, Ki] where there is a C-Net.
    """
    coefficients, features = networks.rnet.regress(images)
    found = coefficients._asdict()
    if networks.cnet is not None:
        confidence = networks.cnet(features)
        if networks.cnet.confidences == 1:
            confidence = ops.repeat(confidence, networks.rnet.layout.identity, axis=-1)
        found[CONFIDENCE] = confidence
    return found


def input_shape(batch: int | None = None) -> tuple[int | None, int, int, int]:
    """Shape of the input."""
    return (batch, IMAGE_SIZE, IMAGE_SIZE, 3)


def output_shapes(networks: Networks) -> dict[str, tuple[int, ...]]:
    """Name -> shape of one photo's output, in the order of `regress`."""
    layout = networks.rnet.layout
    confidence = {} if networks.cnet is None else {CONFIDENCE: (layout.identity,)}
    return {**layout.shapes._asdict(), **confidence}
