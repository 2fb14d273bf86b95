"""TFRecord files of `tf.train.Example`: written with TensorFlow, read with it and, by `read` and `parse`, without.

A TFRecord file is a sequence of frames: length, its checksum, the bytes, their checksum (masked CRC-32C), here inside
GZIP. An Example is a protobuf: Example.features = 1, Features.feature = 1 (a map: key = 1, value = 2), and Feature is
bytes_list = 1 or float_list = 2, whose values are field 1. Files are untrusted: sizes have bounds.
"""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError, extra
from tf_deep3d.io import files

QUALITY = 95  # of the JPEG pictures
MAX_RECORD = 16 << 20  # bytes of one record
FRAME = 16  # bytes of length and checksums around each record
COMPRESSION_LEVEL = 0  # none: 1 makes JPEG pictures 2 % smaller, and reading takes four times as long
_READ_BUFFER = 256 * 1024  # bytes
_MASK = 0xA282EAD8  # of checksums
_NOTHING = np.zeros(0, np.float32)


class DamageError(InputError):
    """The bytes are not what a writer of records leaves."""


class Field(NamedTuple):
    """One field of a record.

    Attributes:
      kind: "jpeg" (uint8 picture, stored as JPEG), "float32" or "string".
      shape: of the array; None is a length that differs from record to record.
      doc: what it holds, with unit and frame.
    """

    kind: str
    shape: tuple[int | None, ...]
    doc: str


@dataclass(frozen=True)
class ShardInfo:
    """What is known of a written shard: number of records, SHA-256 in hex, size of the file in bytes."""

    count: int
    sha256: str
    bytes: int


def encode(record: dict[str, Any], schema: dict[str, Field]) -> bytes:
    """Serializes one record.

    Args:
      record: dict with an array, text or number for every name of `schema`; pictures uint8 (a grey one may lack its
        last axis).
      schema: name -> `Field`.

    Returns:
      Bytes of a `tf.train.Example`, the same for the same record.

    Raises:
      ValueError: names other than those of `schema`, or a value of another shape or type.
    """
    import tensorflow as tf

    if set(record) != set(schema):
        raise ValueError(f"a record needs exactly the fields {sorted(schema)}. Received: {sorted(record)}")
    features = {}
    for name, field in schema.items():
        value = _stored(name, field, record[name])
        if isinstance(value, bytes):
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        else:
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse_tensors(serialized: Array, schema: dict[str, Field]) -> dict[str, Array]:
    """Reads one record; also inside `tf.data.Dataset.map`.

    Args:
      serialized: scalar string tensor, bytes of `encode`.
      schema: name -> `Field`.

    Returns:
      Dict of name -> tensor as in `schema`: pictures uint8, numbers float32, text as string.

    Raises:
      tf.errors.InvalidArgumentError: if it is no record of this schema.
    """
    import tensorflow as tf

    def parser(field: Field) -> Any:
        if field.kind != "float32":
            return tf.io.FixedLenFeature((), tf.string)
        if None in field.shape:
            return tf.io.FixedLenSequenceFeature((), tf.float32, allow_missing=True)
        return tf.io.FixedLenFeature(field.shape, tf.float32)

    parsed = tf.io.parse_single_example(serialized, {name: parser(field) for name, field in schema.items()})
    for name, field in schema.items():
        if field.kind == "jpeg":
            size = tf.io.extract_jpeg_shape(parsed[name])[:2]  # before the picture takes the memory that it claims
            fits = tf.debugging.Assert(tf.reduce_all(size == field.shape[:2]), [f"{name} must be {field.shape}:", size])
            with tf.control_dependencies([fits]):
                picture = tf.io.decode_jpeg(parsed[name], channels=field.shape[-1], dct_method="INTEGER_ACCURATE")
            parsed[name] = tf.ensure_shape(picture, field.shape)
    return parsed


def write_shard(path: Path, examples: Iterable[bytes], overwrite: bool = False) -> ShardInfo:
    """Writes a shard, which appears whole or not at all; the same examples give the same bytes.

    Args:
      path: file to write; its folder is created.
      examples: iterable of bytes of `encode`.
      overwrite: replace an existing file.

    Returns:
      `ShardInfo`.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
      OSError: if it cannot be written.
    """
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=COMPRESSION_LEVEL)
    count = 0
    with files.writing(path, overwrite) as file:
        try:
            with tf.io.TFRecordWriter(file.name, options) as writer:
                for example in examples:
                    writer.write(example)
                    count += 1
        except tf.errors.OpError as error:
            raise OSError(f"cannot write {path}: {error.message}") from error
        info = ShardInfo(count, files.sha256(file.name), Path(file.name).stat().st_size)
    return info


def open_shard(path: Array) -> Any:
    """The serialized records of one shard as a `tf.data.Dataset` of scalar strings; the path may be a tensor."""
    import tensorflow as tf

    return tf.data.TFRecordDataset(path, compression_type="GZIP", buffer_size=_READ_BUFFER)


def read(path: str | Path) -> Iterator[bytes]:
    """Yields the serialized records of a file in its order, without TensorFlow.

    Args:
      path: TFRecord file, GZIP.

    Raises:
      DamageError: at the first record that is not whole.
      ExtraError: without the package that sums, of the extra [train].
      OSError: if the file cannot be read.
    """
    with gzip.open(path) as file:
        while True:
            head = _take(file, 12)
            if not head:
                return
            length, check = struct.unpack("<QI", head.ljust(12, b"\0"))
            if len(head) < 12 or masked_checksum(head[:8]) != check:
                raise DamageError(f"{path} has a damaged length")
            if length > MAX_RECORD:
                raise DamageError(f"{path} has a record above {MAX_RECORD} bytes. Received: {length}")
            body = _take(file, length + 4)
            if len(body) < length + 4 or masked_checksum(body[:-4]) != struct.unpack("<I", body[-4:])[0]:
                raise DamageError(f"{path} has a damaged record")
            yield body[:-4]


def masked_checksum(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C (Castagnoli), rotated and shifted so that it can lie in summed data."""
    with extra("train"):
        import google_crc32c
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def parse(serialized: bytes, schema: dict[str, Field]) -> dict[str, Any]:
    """Reads one record, without TensorFlow.

    Args:
      serialized: bytes of a `tf.train.Example`.
      schema: name -> `Field`.

    Returns:
      Dict of name -> value as in the schema: pictures uint8 and numbers float32 in NumPy, text as bytes.

    Raises:
      DamageError: if it is no record of this schema.
    """
    found = fields(serialized)
    return {name: _value(name, field, found.get(name, _NOTHING)) for name, field in schema.items()}


def fields(serialized: bytes) -> dict[str, np.ndarray | list[bytes]]:
    """The features of a `tf.train.Example`: name -> float32 array, or list of bytes.

    Raises:
      DamageError: if it is none.
    """
    result = {}
    for features in _messages(memoryview(serialized), 1):
        for entry in _messages(features, 1):
            name = b"".join(_messages(entry, 1))
            try:
                result[name.decode()] = _feature(entry)
            except UnicodeDecodeError as error:
                raise DamageError(f"the name of a feature must be text. Received: {name[:40]!r}") from error
    return result


def _stored(name: str, field: Field, value: Any) -> bytes | np.ndarray:
    """What a record holds for a value: bytes, or float32 [N]."""
    if field.kind == "string":
        if not isinstance(value, str | bytes):
            raise ValueError(f"{name} must be text. Received: {value!r}")
        return value.encode() if isinstance(value, str) else value
    array = np.asarray(value)
    if field.kind == "jpeg":
        picture = array[..., None] if array.ndim == 2 else array
        if picture.shape != field.shape or picture.dtype != np.uint8:
            raise ValueError(f"{name} must be {field.shape} uint8. Received: {array.shape} {array.dtype}")
        return _jpeg(picture)
    if array.dtype.kind not in "fiu" or len(array.shape) != len(field.shape):
        raise ValueError(f"{name} must be {field.shape} numbers. Received: {array.shape} {array.dtype}")
    if any(size not in (None, given) for size, given in zip(field.shape, array.shape, strict=True)):
        raise ValueError(f"{name} must be {field.shape} numbers. Received: {array.shape} {array.dtype}")
    return array.astype(np.float32).reshape(-1)


def _jpeg(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _take(file: gzip.GzipFile, count: int) -> bytes:
    """Up to `count` bytes; what GZIP finds wrong is damage."""
    try:
        return file.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamageError(f"damaged compression. Received: {error}") from error


def _value(name: str, field: Field, feature: np.ndarray | list[bytes]) -> np.ndarray | bytes:
    """The value of one `Field`."""
    if field.kind == "float32":
        known = [length for length in field.shape if length is not None]
        fits = isinstance(feature, np.ndarray) and (known != list(field.shape) or feature.size == math.prod(known))
        if not isinstance(feature, np.ndarray) or not fits:
            raise DamageError(f"{name} must be {field.shape} numbers. Received: {len(feature)} values")
        return feature.reshape([-1 if length is None else length for length in field.shape])
    if isinstance(feature, np.ndarray) or len(feature) != 1:
        raise DamageError(f"{name} must be one text. Received: {len(feature)} values")
    return feature[0] if field.kind == "string" else _picture(name, field, feature[0])


def _picture(name: str, field: Field, data: bytes) -> np.ndarray:
    height, width, channels = field.shape
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            if picture.size != (width, height):
                raise DamageError(f"{name} must be {field.shape}. Received: {picture.size}")
            pixels = np.array(picture.convert("RGB" if channels == 3 else "L"))
    except (OSError, Image.DecompressionBombError) as error:
        raise DamageError(f"{name} must be a JPEG picture. Received: {error}") from error
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _feature(entry: memoryview) -> np.ndarray | list[bytes]:
    """The value of one entry of the map of features."""
    for value in _messages(entry, 2):
        for numbers in _messages(value, 2):
            packed = b"".join(_messages(numbers, 1)) or b"".join(_scan(numbers, 1, 5))
            if len(packed) % 4:
                raise DamageError(f"floats need four bytes each. Received: {len(packed)} bytes")
            return np.frombuffer(packed, "<f4").astype(np.float32)
        for texts in _messages(value, 1):
            return [bytes(text) for text in _messages(texts, 1)]
    return _NOTHING  # a list without values is not even named


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The length-delimited fields `number` of a protobuf message, as memoryviews."""
    return _scan(data, number, 2)


def _scan(data: memoryview, number: int, kind: int) -> Iterator[memoryview]:
    """The fields of a protobuf message with a number and a wire type (0 varint, 1 64 bits, 2 bytes, 5 32 bits)."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if key & 7 == 0:
            _, end = _varint(data, place)
        elif key & 7 in (1, 5):
            end = place + (8 if key & 7 == 1 else 4)
        elif key & 7 == 2:
            length, place = _varint(data, place)
            end = place + length
        else:
            raise DamageError(f"a protobuf has no wire type like this. Received: {key & 7}")
        if end > len(data):
            raise DamageError(f"a protobuf must end where its parts do. Received: {end} of {len(data)} bytes")
        if key == number << 3 | kind:
            yield data[place:end]
        place = end


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A variable-length number and the place after it."""
    result = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            raise DamageError("a protobuf ends within a number")
        byte = data[place]
        result, place = result | (byte & 0x7F) << shift, place + 1
        if byte < 0x80:
            return result, place
    raise DamageError("a number in a protobuf has too many bytes")
