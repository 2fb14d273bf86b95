"""What is exported: R-Net, its C-Net where there is one, and the one function of both that every format computes."""

from pathlib import Path
from typing import Any, NamedTuple

import keras

from tf_deep3d.camera import IMAGE_SIZE
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets

INPUT = "images"
CONFIDENCE = "confidence"


class Networks(NamedTuple):
    """R-Net, and C-Net or None."""

    rnet: Any
    cnet: Any = None


def load_networks(run=None, face_model=None):
    """Loads what a training left.

    Args:
      run: folder of a training, with its `rnet.keras` and perhaps a `cnet.keras`; or a `.keras` file of an R-Net; None
        for the shipped weights.
      face_model: path of the face model, None for the open face model.

    Returns:
      `Networks`.

    Raises:
      FileNotFoundError: if there is no such file.
      weights.WeightsError: if the weights are damaged, or belong to another face model or another R-Net.
      ValueError: if Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"the export needs KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()!r}")
    rnet = rnets.load_rnet(run or rnets.SHIPPED, rnets.fingerprint(face_model))
    path = Path(run) / cnets.WEIGHTS if run else cnets.SHIPPED
    return Networks(rnet, cnets.load_cnet(path, rnet) if path.is_file() else None)


def regress(networks, images):
    """Name -> what the networks say of aligned photos [B, 224, 224, 3] in [0, 1]: the groups of `Coefficients`, and
    `CONFIDENCE` [B, K] where there is a C-Net, which reads the features of R-Net's one run."""
    coefficients, features = networks.rnet.regress(images)
    confidence = {} if networks.cnet is None else {CONFIDENCE: networks.cnet(features)}
    return {**coefficients._asdict(), **confidence}


def input_shape(batch=None):
    """Shape of the input."""
    return (batch, IMAGE_SIZE, IMAGE_SIZE, 3)


def output_shapes(networks):
    """Name -> shape of one photo's output, in the order of `regress`."""
    confidence = {} if networks.cnet is None else {CONFIDENCE: (networks.cnet.confidences,)}
    return {**networks.rnet.layout.shapes._asdict(), **confidence}
