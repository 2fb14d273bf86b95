"""The perceptual network: dlib's face recognition ResNet (D. King 2017, CC0), frozen, and differentiable.

29 convolutions (He et al. 2016 with half the filters), 150x150 RGB -> a descriptor of 128 numbers that is close for
two photos of one person. The affine layers of the original are folded into its convolutions. Three peculiarities:

- Convolutions and pools with a stride have no padding.
- The two branches of a block may differ in height, width and channels. The smaller one is padded with zeros at the
  bottom, at the right, and behind its last channel.
- The descriptor is not normalised. A mean descriptor is subtracted: without that any two pictures, even a face and a
  black square, have a cosine of .8 or more.
"""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from tf_deep3d import assets
from tf_deep3d.arrays import Array
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.io import archive

RECOGNITION = assets.find("recognition.npz")
SCHEMA = 1
INPUT_SIZE = 150  # px
DESCRIPTOR = 128
PIXEL_MEAN = (122.782, 117.001, 104.298)  # RGB in 0..255, subtracted before the division by PIXEL_SCALE
PIXEL_SCALE = 256.0
STEM = (32, 7, 2)  # filters, kernel, stride
# Filters of each residual block, and whether it halves the resolution.
BLOCKS = (
    *((32, False), (32, False), (32, False)),
    *((64, True), (64, False), (64, False), (64, False)),
    *((128, True), (128, False), (128, False)),
    *((256, True), (256, False), (256, False)),
    (256, True),
)
CONVOLUTIONS = 1 + 2 * len(BLOCKS)
CROP_CORNER = (23.4, 30.4)  # x, y in px of the aligned 224 px photo
CROP_SIDE = 177.0  # px: what the recogniser was trained to see of a face


def build_recognition(path: str | Path | None = None, centered: bool = True, dtype: str = "float32") -> keras.Model:
    """Builds the network with its weights.

    Args:
      path: file written by `porting.dlib_recognition`; the shipped one by default.
      centered: subtract the stored mean descriptor (what losses want). Without it the output is dlib's own.
      dtype: of the whole computation. Single precision even under a mixed policy: the loss needs small angles.

    Returns:
      A frozen `keras.Model`, [B, 150, 150, 3] RGB in [0, 1] -> [B, 128]. Frozen weights, differentiable input.

    Raises:
      FileNotFoundError: if there is no such file.
      archive.ArchiveError: if the file is damaged, of another schema, or does not fit the network.
    """
    return from_arrays(archive.read_arrays(path or RECOGNITION, max_bytes=1 << 28), centered, dtype)


def from_arrays(arrays: dict[str, np.ndarray], centered: bool = True, dtype: str = "float32") -> keras.Model:
    """`build_recognition` from the arrays of its file, name -> array."""
    schema = arrays.get("schema")
    if schema is None or schema.shape != () or int(schema) != SCHEMA:
        raise archive.ArchiveError(f"The recognition network must have schema {SCHEMA}. Received: {schema}")
    network = _network(dtype)
    network.trainable = False
    for layer in network.layers:
        if layer.name == "descriptor":
            mean = _array(arrays, "mean_descriptor", (DESCRIPTOR,))
            bias = -mean if centered else np.zeros_like(mean)
        elif layer.weights:
            bias = _array(arrays, f"{layer.name}_bias", layer.bias.shape)
        else:
            continue
        layer.set_weights([_array(arrays, f"{layer.name}_kernel", layer.kernel.shape), bias])
    return network


def crop(images: Array) -> Array:
    """Cuts from aligned photos what the network wants to see: a bilinear, differentiable, constant crop.

    Args:
      images: [B, 224, 224, 3], any range.

    Returns:
      [B, 150, 150, 3], same range.

    Raises:
      ValueError: if the pictures have another size.
    """
    if tuple(images.shape[1:3]) != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"images must be [B, {IMAGE_SIZE}, {IMAGE_SIZE}, 3]. Received: shape {tuple(images.shape)}")
    dtype = keras.backend.standardize_dtype(images.dtype)
    columns, rows = (_crop_matrix(start).T.astype(dtype) for start in CROP_CORNER)
    cropped = ops.tensordot(images, columns, axes=[[2], [0]])  # [B, 224, 3, 150 columns]
    cropped = ops.tensordot(cropped, rows, axes=[[1], [0]])  # [B, 3, 150 columns, 150 rows]
    return ops.transpose(cropped, (0, 3, 2, 1))


def describe(network: keras.Model, images: Array) -> Array:
    """Descriptors of aligned photos or renders.

    Args:
      network: of `build_recognition`.
      images: [B, 224, 224, 3] RGB in [0, 1]; a render must be composited over a background.

    Returns:
      [B, 128], not normalised.
    """
    return network(crop(images), training=False)


def _crop_matrix(start: float) -> np.ndarray:
    """[150, 224]: linear interpolation at the pixel centres of 150 equal parts of [start, start + CROP_SIDE]."""
    centers = start + (np.arange(INPUT_SIZE) + 0.5) * (CROP_SIDE / INPUT_SIZE) - 0.5
    return np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(IMAGE_SIZE)))


def _network(dtype: str) -> keras.Model:
    names = iter(range(CONVOLUTIONS))

    def convolution(x: Array, filters: int, kernel: int = 3, stride: int = 1, activation: str | None = "relu") -> Array:
        return keras.layers.Conv2D(
            filters,
            kernel,
            stride,
            padding="valid" if stride > 1 else "same",
            activation=activation,
            kernel_initializer="zeros",
            data_format="channels_last",
            dtype=dtype,
            name=f"convolution_{next(names)}",
        )(x)

    def block(x: Array, filters: int, halve: bool) -> Array:
        residual = convolution(x, filters, stride=2 if halve else 1)
        residual = convolution(residual, filters, activation=None)
        if halve:
            x = keras.layers.AveragePooling2D(2, 2, "valid", data_format="channels_last", dtype=dtype)(x)
        size = [max(pair) for pair in zip(x.shape[1:], residual.shape[1:], strict=True)]
        return ops.relu(_pad_to(x, size) + _pad_to(residual, size))

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), dtype=dtype, name="image")
    x = (image * 255.0 - np.asarray(PIXEL_MEAN, dtype)) / PIXEL_SCALE
    x = convolution(x, *STEM)
    x = keras.layers.MaxPooling2D(3, 2, "valid", data_format="channels_last", dtype=dtype)(x)
    for filters, halve in BLOCKS:
        x = block(x, filters, halve)
    x = ops.mean(x, axis=(1, 2))
    descriptor = keras.layers.Dense(DESCRIPTOR, kernel_initializer="zeros", dtype=dtype, name="descriptor")(x)
    return keras.Model(image, descriptor, name="recognition")


def _pad_to(x: Array, size: list[int]) -> Array:
    """Zeros at the bottom, right and last channels until x [B, ...] has the given size."""
    missing = [wanted - there for wanted, there in zip(size, x.shape[1:], strict=True)]
    return ops.pad(x, [(0, 0), *((0, n) for n in missing)]) if any(missing) else x


def _array(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.shape != tuple(shape) or array.dtype.kind != "f":
        received = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise archive.ArchiveError(f"Array {name!r} must be floats of shape {tuple(shape)}. Received: {received}")
    return array.astype(np.float32)
