"""TFRecord files and `tf.train.Example`, read without TensorFlow: for machines that train with JAX alone.

A TFRecord file is a sequence of frames: length, its checksum, the bytes, their checksum (masked CRC-32C), here inside
GZIP. An Example is a protobuf: Example.features = 1, Features.feature = 1 (a map: key = 1, value = 2), and Feature is
bytes_list = 1 or float_list = 2, whose values are field 1. Files are untrusted: sizes have bounds.
"""

import gzip
import io
import struct
import zlib

import numpy as np
from PIL import Image

from tf_deep3d.errors import InputError

MAX_RECORD = 16 << 20  # bytes of one record
FRAME = 16  # bytes of length and checksums around each record
_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_BLOCK = 32  # bytes of a block; the blocks of a record are summed side by side
_MASK = 0xA282EAD8


class DamageError(InputError):
    """The bytes are not what a writer of records leaves."""


def read(path):
    """Yields the serialized records of a file in its order.

    Args:
      path: TFRecord file, GZIP.

    Raises:
      DamageError: at the first record that is not whole.
      OSError: if the file cannot be read.
    """
    with gzip.open(path) as file:
        while True:
            head = _take(file, 12)
            if not head:
                return
            length, check = struct.unpack("<QI", head.ljust(12, b"\0"))
            if len(head) < 12 or masked_crc32c(head[:8]) != check:
                raise DamageError(f"{path} has a damaged length")
            if length > MAX_RECORD:
                raise DamageError(f"{path} has a record above {MAX_RECORD} bytes. Received: {length}")
            body = _take(file, length + 4)
            if len(body) < length + 4 or masked_crc32c(body[:-4]) != struct.unpack("<I", body[-4:])[0]:
                raise DamageError(f"{path} has a damaged record")
            yield body[:-4]


def parse(serialized, schema):
    """Reads one record.

    Args:
      serialized: bytes of a `tf.train.Example`.
      schema: name -> `records.Field`.

    Returns:
      Dict of name -> value as in the schema: pictures uint8 and numbers float32 in NumPy, text as bytes.

    Raises:
      DamageError: if it is no record of this schema.
    """
    found = fields(serialized)
    return {name: _value(name, field, found.get(name, _NOTHING)) for name, field in schema.items()}


def fields(serialized):
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


def masked_crc32c(data):
    """The checksum of TFRecord files: CRC-32C, rotated and shifted so that it can itself lie in summed data."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def crc32c(data):
    """CRC-32C of bytes. The blocks of the data are summed side by side, then joined two by two.

    Leading zeros do not change the sum of a register that starts at zero, so the data is filled up in front. The
    register's start, all ones, is the same as inverting the first four bytes.
    """
    if len(data) < 4:
        register = 0xFFFFFFFF
        for byte in data:
            register = (register >> 8) ^ int(_TABLE[(register ^ byte) & 0xFF])
        return register ^ 0xFFFFFFFF
    levels = max(-(-len(data) // _BLOCK) - 1, 0).bit_length()
    padded = np.zeros(_BLOCK << levels, np.uint8)
    begin = len(padded) - len(data)
    padded[begin:] = np.frombuffer(data, np.uint8)
    padded[begin : begin + 4] ^= 0xFF
    columns = np.ascontiguousarray(padded.reshape(-1, _BLOCK).T)
    registers = np.zeros(1 << levels, np.uint32)
    for column in columns:
        registers = (registers >> np.uint32(8)) ^ _TABLE[(registers & np.uint32(0xFF)) ^ column]
    for level in range(levels):
        registers = _past_zeros(registers[::2], level) ^ registers[1::2]
    return int(registers[0]) ^ 0xFFFFFFFF


def _past_zeros(registers, level):
    """What `registers` [N] uint32 become after `_BLOCK` << `level` zero bytes."""
    tables = _zero_tables(level)
    result = tables[0][registers & np.uint32(0xFF)]
    for index in range(1, 4):
        result = result ^ tables[index][(registers >> np.uint32(8 * index)) & np.uint32(0xFF)]
    return result


def _zero_tables(level):
    """[4, 256]: what each byte of a register, the lowest first, becomes after `_BLOCK` << `level` zero bytes."""
    while len(_TABLES) <= level:
        if _TABLES:
            previous = len(_TABLES) - 1
            bits = _past_zeros(_past_zeros(_BITS, previous), previous)
        else:
            bits = _BITS
            for _ in range(_BLOCK):
                bits = (bits >> np.uint32(8)) ^ _TABLE[bits & np.uint32(0xFF)]
        chosen = (np.arange(256)[:, None] >> np.arange(8)) & 1  # [256, 8]
        parts = np.where(chosen[None] == 1, bits.reshape(4, 1, 8), np.uint32(0))
        _TABLES.append(np.bitwise_xor.reduce(parts, axis=-1))
    return _TABLES[level]


def _byte_table():
    """[256]: what the lowest byte of a register becomes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(_POLYNOMIAL), table >> np.uint32(1))
    return table


_TABLE = _byte_table()
_BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)
_NOTHING = np.zeros(0, np.float32)
_TABLES = []  # of `_zero_tables`, made when they are needed


def _take(file, count):
    """Up to `count` bytes; what GZIP finds wrong is damage."""
    try:
        return file.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamageError(f"damaged compression. Received: {error}") from error


def _value(name, field, feature):
    """The value of one `records.Field`."""
    if field.kind == "float32":
        if not isinstance(feature, np.ndarray) or (None not in field.shape and feature.size != np.prod(field.shape)):
            raise DamageError(f"{name} must be {field.shape} numbers. Received: {len(feature)} values")
        return feature.reshape([-1 if length is None else length for length in field.shape])
    if isinstance(feature, np.ndarray) or len(feature) != 1:
        raise DamageError(f"{name} must be one text. Received: {len(feature)} values")
    return feature[0] if field.kind == "string" else _picture(name, field, feature[0])


def _picture(name, field, data):
    height, width, channels = field.shape
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            if picture.size != (width, height):
                raise DamageError(f"{name} must be {field.shape}. Received: {picture.size}")
            pixels = np.array(picture.convert("RGB" if channels == 3 else "L"))
    except (OSError, Image.DecompressionBombError) as error:
        raise DamageError(f"{name} must be a JPEG picture. Received: {error}") from error
    return pixels.reshape(field.shape)


def _feature(entry):
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


def _messages(data, number):
    """The length-delimited fields `number` of a protobuf message, as memoryviews."""
    return _scan(data, number, 2)


def _scan(data, number, kind):
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


def _varint(data, place):
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
