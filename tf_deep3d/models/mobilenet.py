"""MobileNet 1.0 (Howard et al. 2017) without batch normalisation, and the weights it starts from.

The shipped weights come from FaceRes, a network that tells people apart; its batch normalisation is folded into the
convolutions. So a step of training depends on no other picture of its batch, replicas agree, and what is trained is
what a phone runs.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_deep3d import assets
from tf_deep3d.arrays import Array
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.io import archive

START = assets.find("faceres.npz")
SCHEMA = 1
BGR_MEAN = (103.939, 116.779, 123.68)  # subtracted from pixels in 0..255, as FaceRes was trained
# Filters and stride of each separable convolution, after a first convolution of 32 filters and stride 2.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)
STEM = 32
STAGE = "conv_pw_3"  # the last convolution at a quarter of the resolution


def features(images: Array, dtype: Any = None) -> tuple[Array, Array]:
    """The network's two features.

    Args:
      images: [B, H, W, 3] RGB in [0, 1], symbolic.
      dtype: policy of the layers.

    Returns:
      (stage [B, H/4, W/4, 128], pooled [B, 1024]).
    """
    scale = keras.layers.Rescaling(255.0, [-mean for mean in BGR_MEAN], dtype=dtype, name="normalize")
    x = scale(ops.flip(images, -1))
    x = _activated(keras.layers.Conv2D(STEM, 3, 2, "same", dtype=dtype, name="conv1"), x)
    stage = None
    for index, (filters, stride) in enumerate(BLOCKS, 1):
        depthwise = keras.layers.DepthwiseConv2D(3, stride, "same", dtype=dtype, name=f"conv_dw_{index}")
        x = _activated(depthwise, x)
        x = _activated(keras.layers.Conv2D(filters, 1, dtype=dtype, name=f"conv_pw_{index}"), x)
        if f"conv_pw_{index}" == STAGE:
            stage = x
    return stage, keras.layers.GlobalAveragePooling2D(dtype=dtype, name="pooled")(x)


def build_descriptor(path: str | Path | None = None) -> keras.Model:
    """FaceRes as it was trained, to judge by: aligned photos [B, 224, 224, 3], RGB in [0, 1] -> [B, 1024].

    No loss uses it. R-Net's MobileNet starts from its weights, though, and goes its own way from there.

    Args:
      path: see `load_start`.
    """
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="float32", name="images")
    network = keras.Model(images, features(images, "float32")[1], name="descriptor")
    load_start(network, path)
    network.trainable = False
    return network


def kernel_shapes() -> dict[str, tuple[int, int, int, int]]:
    """Layer -> shape of its kernel, in the order of the computation."""
    shapes, inputs = {"conv1": (3, 3, 3, STEM)}, STEM
    for index, (filters, _) in enumerate(BLOCKS, 1):
        shapes[f"conv_dw_{index}"] = (3, 3, inputs, 1)
        shapes[f"conv_pw_{index}"] = (1, 1, inputs, filters)
        inputs = filters
    return shapes


def load_start(network: keras.Model, path: str | Path | None = None) -> None:
    """Sets the convolutions of `network` to the weights of the file that `porting.faceres` writes.

    Args:
      network: `keras.Model` that contains the layers of `features`.
      path: the shipped file by default.

    Raises:
      FileNotFoundError: if there is no such file.
      archive.ArchiveError: if the file is damaged or does not fit.
    """
    arrays = archive.read_arrays(path or START, max_bytes=1 << 26)
    if int(arrays.get("schema", 0)) != SCHEMA:
        raise archive.ArchiveError(f"{path or START} must have schema {SCHEMA}. Received: {arrays.get('schema')}")
    for name, shape in kernel_shapes().items():
        pair = [arrays.get(f"{name}_{part}", np.zeros(0)).astype(np.float32) for part in ("kernel", "bias")]
        layer = network.get_layer(name)
        if [a.shape for a in pair] != [tuple(w.shape) for w in layer.weights]:
            raise archive.ArchiveError(f"{name} must have a kernel {shape}. Received: {[a.shape for a in pair]}")
        layer.set_weights(pair)


def _activated(layer: keras.layers.Layer, x: Array) -> Array:
    return ops.relu6(layer(x))
