"""Reads dlib's serialisation of its face recognition network. The bytes are not trusted: every field is checked.

An integer is one byte (low nibble: number of bytes, 0x80: negative) and that many little-endian bytes; a float is an
integer mantissa and an integer exponent of two; a tensor is the version 2, four sizes (count, channels, rows, columns)
and raw float32. A nested network stores the versions of all its layers, outermost first, and then their contents,
innermost first.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.models import recognition

MAX_VALUES = 1 << 22  # of one tensor
_PLAIN = {  # layers without weights: their name and integers
    "relu": ("relu_", ()),
    "add_prev": ("add_prev_", ()),
    "max_pool": ("max_pool_2", (3, 3, 2, 2, 0, 0)),
    "avg_pool": ("avg_pool_2", (2, 2, 2, 2, 0, 0)),
    "global_pool": ("avg_pool_2", (0, 0, 1, 1, 0, 0)),
}
_VERSIONS = {"input": 3, "tag": 1, "skip": 1}  # all other layers: 2


class FormatError(InputError):
    """The bytes are not the expected network; the message says what was received."""


def read_network(data: bytes) -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], np.ndarray]:
    """Reads dlib's serialised network.

    Args:
      data: bytes of the .dat.

    Returns:
      List of (filters [out, in, h, w], bias [out], gamma [out], beta [out]) float32 of each convolution and the affine
      layer after it, from input to output; and the last layer's matrix [256, 128].

    Raises:
      FormatError: if the bytes are something else.
    """
    stream = io.BytesIO(data)
    _expect(stream, _integer, 1, "version of the loss layer")
    _expect(stream, _text, "loss_metric_2", "loss layer")
    for _ in range(2):  # margin and distance threshold of training
        _float(stream)
    layers = list(_layers())
    for kind, _ in reversed(layers):
        _expect(stream, _integer, _VERSIONS.get(kind, 2), f"version of a {kind} layer")
    convolutions, source_channels = [], 3
    filters = bias = dense = np.zeros(0, np.float32)
    _input_layer(stream)
    for kind, options in layers:
        if kind in ("tag", "skip"):
            continue
        if kind in ("input", "con"):
            filters, bias = _convolution(stream, source_channels, *options)
            source_channels = len(filters)
        elif kind == "affine":
            gamma, beta = _affine(stream, source_channels)
            convolutions.append((filters, bias, gamma, beta))
        elif kind == "fc":
            dense = _dense(stream, source_channels)
        else:
            _plain_layer(stream, kind)
        _state(stream, kind)
    if stream.read(1):
        raise FormatError(f"bytes follow the network at {stream.tell() - 1}. Received: {len(data)} bytes in all")
    return convolutions, dense


def _layers() -> Iterator[tuple[str, tuple[int, ...]]]:
    """(kind, options) of every layer, from input to output; a convolution's options: filters, kernel, stride."""
    yield "input", recognition.STEM  # the innermost layer carries the input: it is a convolution
    yield from (("affine", ()), ("relu", ()), ("max_pool", ()))
    for filters, halve in recognition.BLOCKS:
        yield "tag", ()
        yield "con", (filters, 3, 2 if halve else 1)
        yield from (("affine", ()), ("relu", ()))
        yield "con", (filters, 3, 1)
        yield "affine", ()
        if halve:
            yield from (("tag", ()), ("skip", ()), ("avg_pool", ()))
        yield from (("add_prev", ()), ("relu", ()))
    yield from (("global_pool", ()), ("fc", ()))


def _convolution(
    stream: io.BytesIO, channels: int, filters: int, kernel: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    _expect(stream, _text, "con_4", "convolution")
    values = _tensor(stream)
    padding = kernel // 2 if stride == 1 else 0
    _integers(stream, (filters, kernel, kernel, stride, stride, padding, padding), "convolution")
    _integers(stream, (1, filters, channels, kernel, kernel), "shape of the filters")  # 1: version, here and below
    _integers(stream, (1, 1, filters, 1, 1), "shape of the bias")
    _rates(stream)
    shape = (filters, channels, kernel, kernel)
    _size(values, int(np.prod(shape)) + filters, "convolution")
    return values[:-filters].reshape(shape), values[-filters:]


def _affine(stream: io.BytesIO, channels: int) -> tuple[np.ndarray, np.ndarray]:
    _expect(stream, _text, "affine_", "affine layer")
    values = _tensor(stream)
    for name in ("gamma", "beta"):
        _integers(stream, (1, 1, channels, 1, 1), f"shape of {name}")
    _integers(stream, (0,), "mode of an affine layer")  # one factor for each channel
    _size(values, 2 * channels, "affine layer")
    return values[:channels], values[channels:]


def _dense(stream: io.BytesIO, channels: int) -> np.ndarray:
    outputs = recognition.DESCRIPTOR
    _expect(stream, _text, "fc_2", "dense layer")
    _integers(stream, (outputs, channels), "dense layer")
    values = _tensor(stream)
    _integers(stream, (1, channels, outputs, 1, 1), "shape of the matrix")
    _integers(stream, (1, 0, 0, 0, 0, 1), "bias of the dense layer")  # none
    _rates(stream)
    _size(values, channels * outputs, "dense layer")
    return values.reshape(channels, outputs)


def _input_layer(stream: io.BytesIO) -> None:
    """The picture's mean and size. They are constants of `models.recognition`, so they must agree."""
    _expect(stream, _text, "input_rgb_image_sized", "input layer")
    for mean in recognition.PIXEL_MEAN:
        _expect(stream, _float, float(np.float32(mean)), "pixel mean")
    _integers(stream, (recognition.INPUT_SIZE,) * 2, "picture size")


def _plain_layer(stream: io.BytesIO, kind: str) -> None:
    """A layer without weights. Pools store window, stride and padding; a window of 0 is the whole picture."""
    name, content = _PLAIN[kind]
    _expect(stream, _text, name, "layer")
    _integers(stream, content, kind)


def _state(stream: io.BytesIO, kind: str) -> None:
    """What every layer ends with: three flags and three tensors of training (empty), the first layer one integer."""
    flags = _bytes(stream, 3)
    if set(flags) - set(b"01"):
        raise FormatError(f"flags of a layer must be 0 or 1. Received: {flags!r}")
    for _ in range(3):
        _size(_tensor(stream), 0, "training state")
    if kind == "input":
        _expect(stream, _integer, 1, "sample expansion")


def _rates(stream: io.BytesIO) -> None:
    """Four multipliers of the learning rate and weight decay, which mean nothing here."""
    for _ in range(4):
        _float(stream)


def _tensor(stream: io.BytesIO) -> np.ndarray:
    _expect(stream, _integer, 2, "version of a tensor")
    shape = [_integer(stream) for _ in range(4)]
    count = int(np.prod(shape, dtype=object))
    if min(shape) < 0 or count > MAX_VALUES:
        raise FormatError(f"a tensor must have at most {MAX_VALUES} values. Received: shape {shape}")
    values = np.frombuffer(_bytes(stream, 4 * count), "<f4")
    if not np.isfinite(values).all():
        raise FormatError("a tensor must be finite. Received: NaN or infinity")
    return values


def _integer(stream: io.BytesIO) -> int:
    header = _bytes(stream, 1)[0]
    count = header & 0x0F
    if not 1 <= count <= 8 or header & 0x70:
        raise FormatError(f"not the first byte of an integer at {stream.tell() - 1}. Received: {header:#04x}")
    value = int.from_bytes(_bytes(stream, count), "little")
    return -value if header & 0x80 else value


def _float(stream: io.BytesIO) -> float:
    mantissa, exponent = _integer(stream), _integer(stream)
    if abs(mantissa) >= 1 << 53 or abs(exponent) > 1000:
        raise FormatError(f"a float is out of range. Received: {mantissa} * 2^{exponent}")
    return float(mantissa) * 2.0**exponent


def _text(stream: io.BytesIO) -> str:
    count = _integer(stream)
    if not 0 <= count <= 64:
        raise FormatError(f"a name must have at most 64 bytes. Received: {count}")
    return _bytes(stream, count).decode("ascii", "replace")


def _bytes(stream: io.BytesIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise FormatError(f"the file ends early: {count} bytes wanted at its end. Received: {len(data)}")
    return data


def _integers(stream: io.BytesIO, want: tuple[int, ...], what: str) -> None:
    _expect(stream, lambda source: tuple(_integer(source) for _ in want), want, what)


def _expect(stream: io.BytesIO, read: Callable[[io.BytesIO], Any], want: Any, what: str) -> None:
    position = stream.tell()
    value = read(stream)
    if value != want:
        raise FormatError(f"{what} at byte {position} must be {want!r}. Received: {value!r}")


def _size(values: np.ndarray, count: int, what: str) -> None:
    if values.size != count:
        raise FormatError(f"a {what} must hold {count} values. Received: {values.size}")
