"""Prepared faces on disk: compressed TFRecord shards beside a `dataset.json` that says what each of them holds.

`SCHEMA` alone decides what a record is: `encode` writes by it, `parse` and `plain_records.parse` read by it. A shard is
a file with a count, a size and a SHA-256 in `dataset.json`; whatever is not listed there is never read. TensorFlow
writes records and reads them for `tf.data`; to open a folder it is not needed.

Pixels of a record: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5), origin at the corner of
the picture of `RECORD_SIZE` px; the network's picture of 224 px begins `MARGIN` px further in on either axis.
"""

import io
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.data import plain_records
from tf_deep3d.errors import InputError
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.io import files

SCHEMA_VERSION = 1
MARGIN = 48  # px of the photo kept around the network's picture on each side, room for augmentation
RECORD_SIZE = IMAGE_SIZE + 2 * MARGIN
QUALITY = 95  # of the JPEG pictures
SPLITS = ("train", "validation")
DATASET_FILE = "dataset.json"
_COMPRESSION_LEVEL = 1  # the pictures are compressed already
_READ_BUFFER = 256 * 1024  # bytes


class RecordsError(InputError):
    """The folder holds no usable records; the message says which file and what was received."""


class Field(NamedTuple):
    """One field of a record.

    Attributes:
      kind: "jpeg" (uint8 picture, stored as JPEG), "float32" or "string".
      shape: of the array; None is a length that differs from record to record.
      doc: what it holds, with unit and frame.
    """

    kind: str
    shape: tuple
    doc: str


SCHEMA = {
    "image": Field(
        "jpeg", (RECORD_SIZE, RECORD_SIZE, 3), "RGB, the aligned face with a margin; black beyond the photo"
    ),
    "skin": Field("jpeg", (RECORD_SIZE, RECORD_SIZE, 1), "P(skin) * 255 of skin.skin_probability"),
    "landmarks": Field("float32", (68, 2), "ibug landmarks, px of the record"),
    "dense": Field("float32", (478, 2), "MediaPipe landmarks, px of the record; NaN where unknown"),
    "person": Field("string", (), "name of the identity; the same in every photo of a person"),
    "source": Field("string", (), "photo and number of the face in it, as in folder/photo.jpg#1"),
    "transform": Field("float32", (4,), "scale, rotation (radians), tx, ty (px): geometry.Similarity, photo -> record"),
    "coefficients": Field("float32", (None,), "true ones of a rendered face, in Layout order; empty for a photo"),
}


class ShardInfo(NamedTuple):
    """What is known of a written shard: number of records, SHA-256 in hex, size of the file in bytes."""

    count: int
    sha256: str
    bytes: int


class Shard(NamedTuple):
    """A shard to read: its file, and how many records from its beginning are good."""

    path: Path
    count: int


class Damage(NamedTuple):
    """A shard that is not what was written.

    Attributes:
      file: path of the shard.
      record: index of the first bad record; the number of records where all of them can be read.
      offset: of that record in the uncompressed shard, bytes.
      lost: records that cannot be read.
    """

    file: Path
    record: int
    offset: int
    lost: int

    def __str__(self):
        loss = f"{self.lost} records are left out" if self.lost else "no record is lost"
        return f"{self.file} is damaged at record {self.record}, byte {self.offset} uncompressed: {loss}"


@dataclass(frozen=True)
class Records:
    """The readable records of one split.

    Attributes:
      shards: tuple of `Shard`, in order; those without a good record are left out.
      count: sum of their counts.
      schema: name -> `Field`, `SCHEMA`.
      info: the whole content of `dataset.json`.
      damage: tuple of `Damage`, to be shown to the user.
    """

    shards: tuple
    count: int
    schema: dict
    info: dict
    damage: tuple = ()


def encode(record):
    """Serializes one record.

    Args:
      record: dict with an array, text or number for every name of `SCHEMA`; pictures uint8 (a grey one may lack its
        last axis).

    Returns:
      Bytes of a `tf.train.Example`, the same for the same record.

    Raises:
      ValueError: names other than those of `SCHEMA`, or a value of another shape or type.
    """
    import tensorflow as tf

    if set(record) != set(SCHEMA):
        raise InputError(f"a record needs exactly the fields {sorted(SCHEMA)}. Received: {sorted(record)}")
    features = {}
    for name, field in SCHEMA.items():
        value = _stored(name, field, record[name])
        if isinstance(value, bytes):
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        else:
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse(serialized):
    """Reads one record; also inside `tf.data.Dataset.map`.

    Args:
      serialized: scalar string tensor, bytes of `encode`.

    Returns:
      Dict of name -> tensor as in `SCHEMA`: pictures uint8, numbers float32, text as string.

    Raises:
      tf.errors.InvalidArgumentError: if it is no record of this schema.
    """
    import tensorflow as tf

    def parser(field):
        if field.kind != "float32":
            return tf.io.FixedLenFeature((), tf.string)
        if None in field.shape:
            return tf.io.FixedLenSequenceFeature((), tf.float32, allow_missing=True)
        return tf.io.FixedLenFeature(field.shape, tf.float32)

    parsed = tf.io.parse_single_example(serialized, {name: parser(field) for name, field in SCHEMA.items()})
    for name, field in SCHEMA.items():
        if field.kind == "jpeg":
            size = tf.io.extract_jpeg_shape(parsed[name])[:2]  # before the picture takes the memory that it claims
            fits = tf.debugging.Assert(tf.reduce_all(size == field.shape[:2]), [f"{name} must be {field.shape}:", size])
            with tf.control_dependencies([fits]):
                picture = tf.io.decode_jpeg(parsed[name], channels=field.shape[-1], dct_method="INTEGER_ACCURATE")
            parsed[name] = tf.ensure_shape(picture, field.shape)
    return parsed


def write_shard(path, examples, overwrite=False):
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

    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=_COMPRESSION_LEVEL)
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


def read_shard(path):
    """The serialized records of one shard as a `tf.data.Dataset` of scalar strings; the path may be a tensor."""
    import tensorflow as tf

    return tf.data.TFRecordDataset(path, compression_type="GZIP", buffer_size=_READ_BUFFER)


def write_dataset_json(folder, shards, info, overwrite=False):
    """Writes `dataset.json`, last of all: without it a folder holds no records.

    Args:
      folder: of the shards.
      shards: dict of split -> dict of file name -> `ShardInfo`.
      info: dict of what else is to be known (parameters, rejected photos, ...), as JSON.
      overwrite: replace an existing file.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "schema": {name: field._asdict() for name, field in SCHEMA.items()},
        "counts": {split: sum(shard.count for shard in shards.get(split, {}).values()) for split in SPLITS},
        "shards": {
            split: [{"file": name, **shard._asdict()} for name, shard in shards.get(split, {}).items()]
            for split in SPLITS
        },
        **info,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    with files.writing(Path(folder) / DATASET_FILE, overwrite) as file:
        file.write(text.encode())


def open_records(folder, split="train", strict=False):
    """Checks the shards of a split and says what can be read of them.

    Every shard's size and SHA-256 are compared with `dataset.json`. A shard that differs is read once, up to its first
    bad record; the good ones before it are used.

    Args:
      folder: of `dataset.json`.
      split: one of `SPLITS`.
      strict: refuse damaged shards.

    Returns:
      `Records`.

    Raises:
      RecordsError: no `dataset.json` or not ours, another schema version, an unknown split, a missing shard, no
        record in the split, or with `strict` a damaged shard.
    """
    folder = Path(folder)
    info = _read_dataset_json(folder)
    if split not in SPLITS:
        raise RecordsError(f"split must be one of {SPLITS}. Received: {split!r}")
    shards, damage = [], []
    for listed in info["shards"][split]:
        shard, bad = _check_shard(folder, listed)
        if bad and strict:
            raise RecordsError(str(bad))
        damage += [bad] if bad else []
        shards += [shard] if shard.count else []
    count = sum(shard.count for shard in shards)
    if not count:
        lost = sum(bad.lost for bad in damage)
        raise RecordsError(f"the split {split!r} has no records. Received: {folder}, {lost} records damaged")
    return Records(tuple(shards), count, SCHEMA, info, tuple(damage))


def _stored(name, field, value):
    """What a record holds for a value: bytes, or float32 [N]."""
    if field.kind == "string":
        if not isinstance(value, str | bytes):
            raise InputError(f"{name} must be text. Received: {value!r}")
        return value.encode() if isinstance(value, str) else value
    array = np.asarray(value)
    if field.kind == "jpeg":
        picture = array[..., None] if array.ndim == 2 else array
        if picture.shape != field.shape or picture.dtype != np.uint8:
            raise InputError(f"{name} must be {field.shape} uint8. Received: {array.shape} {array.dtype}")
        return _jpeg(picture)
    if array.dtype.kind not in "fiu" or len(array.shape) != len(field.shape):
        raise InputError(f"{name} must be {field.shape} numbers. Received: {array.shape} {array.dtype}")
    if any(size not in (None, given) for size, given in zip(field.shape, array.shape, strict=True)):
        raise InputError(f"{name} must be {field.shape} numbers. Received: {array.shape} {array.dtype}")
    return array.astype(np.float32).reshape(-1)


def _jpeg(picture):
    stream = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _read_dataset_json(folder):
    path = folder / DATASET_FILE
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        version = info["schema_version"]
    except (FileNotFoundError, NotADirectoryError):
        raise RecordsError(
            f"no {DATASET_FILE}: make one with python -m tf_deep3d.prepare. Received: {folder}"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordsError(f"{DATASET_FILE} is not one of ours ({error}). Received: {path}") from error
    if version != SCHEMA_VERSION:
        raise RecordsError(f"records of schema version {SCHEMA_VERSION} are needed. Received: {path}, {version!r}")
    if not _is_listing(info):
        raise RecordsError(f"{DATASET_FILE} lists no shards as it should. Received: {path}")
    return info


def _is_listing(info):
    """Whether `info` lists shards by plain file names."""
    try:
        listed = [ShardInfo(shard["count"], shard["sha256"], shard["bytes"]) for split in SPLITS
                  for shard in info["shards"][split]]  # fmt: skip
        names = [shard["file"] for split in SPLITS for shard in info["shards"][split]]
    except (KeyError, TypeError):
        return False
    counts = all(isinstance(shard.count, int) and shard.count >= 0 for shard in listed)
    return counts and all(isinstance(name, str) and Path(name).name == name for name in names)


def _check_shard(folder, listed):
    """(`Shard`, `Damage` or None) of one entry of `dataset.json`."""
    path = folder / listed["file"]
    if not path.is_file():
        raise RecordsError(f"a shard that {DATASET_FILE} lists is missing. Received: {path}")
    if path.stat().st_size == listed["bytes"] and files.sha256(path) == listed["sha256"]:
        return Shard(path, listed["count"]), None
    good, offset = 0, 0
    try:
        for example in itertools.islice(plain_records.read(path), listed["count"]):
            good, offset = good + 1, offset + len(example) + plain_records.FRAME
    except plain_records.DamageError:
        pass  # this is where the good ones end
    return Shard(path, good), Damage(path, good, offset, listed["count"] - good)
