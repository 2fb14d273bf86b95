"""Prepared faces on disk: TFRecord shards beside a `dataset.json` that says what each of them holds.

`SCHEMA` alone decides what a record is: `tfrecord` writes and reads by it. A shard is a file with a count, a size and a
SHA-256 in `dataset.json`; whatever is not listed there is never read. To open a folder, TensorFlow is not needed.

Pixels of a record: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5), origin at the corner of
the picture of `RECORD_SIZE` px; the network's picture of 224 px begins `MARGIN` px further in on either axis.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.arrays import Array
from tf_deep3d.command_line import counted
from tf_deep3d.data import tfrecord
from tf_deep3d.data.tfrecord import Field, ShardInfo
from tf_deep3d.errors import InputError, first_line
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.io import files

SCHEMA_VERSION = 1
MARGIN = 48  # px of the photo kept around the network's picture on each side, room for augmentation
RECORD_SIZE = IMAGE_SIZE + 2 * MARGIN
SPLITS = ("train", "validation")
DATASET_FILE = "dataset.json"


class RecordsError(InputError):
    """The folder holds no usable records; the message says which file and what was received."""


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
    "coefficients": Field(
        "float32", (None,), "true ones of a face, in Layout order, NaN where unknown; empty where nothing is known"
    ),
}


@dataclass(frozen=True)
class Shard:
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

    def __str__(self) -> str:
        verb = "is" if self.lost == 1 else "are"
        loss = f"{counted(self.lost, 'record')} {verb} left out" if self.lost else "no record is lost"
        return f"{self.file} is damaged at record {self.record}, byte {self.offset} uncompressed: {loss}"


@dataclass(frozen=True)
class Records:
    """The readable records of one split.

    Attributes:
      shards: tuple of `Shard`, in order; those without a good record are left out.
      count: sum of their counts.
      info: the whole content of `dataset.json`.
      damage: tuple of `Damage`, to be shown to the user.
    """

    shards: tuple[Shard, ...]
    count: int
    info: dict[str, Any]
    damage: tuple[Damage, ...] = ()


def encode(record: dict[str, Any]) -> bytes:
    """Serializes one record, see `tfrecord.encode`; with TensorFlow."""
    return tfrecord.encode(record, SCHEMA)


def parse(serialized: Array) -> dict[str, Array]:
    """Reads one record, also inside `tf.data.Dataset.map`, see `tfrecord.parse_tensors`; with TensorFlow."""
    return tfrecord.parse_tensors(serialized, SCHEMA)


def with_coefficients(serialized: bytes, coefficients: np.ndarray) -> bytes:
    """A serialized record with other coefficients [D], the rest as it is; with TensorFlow."""
    import tensorflow as tf

    example = tf.train.Example.FromString(serialized)
    example.features.feature["coefficients"].float_list.value[:] = coefficients.tolist()
    return example.SerializeToString(deterministic=True)


def write_dataset_json(
    folder: Path, shards: dict[str, dict[str, ShardInfo]], info: dict[str, Any], overwrite: bool = False
) -> None:
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
            split: [{"file": name, **asdict(shard)} for name, shard in shards.get(split, {}).items()]
            for split in SPLITS
        },
        **info,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    with files.writing(Path(folder) / DATASET_FILE, overwrite) as file:
        file.write(text.encode())


def open_records(folder: str | Path, split: str = "train", strict: bool = False) -> Records:
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
        raise RecordsError(f"the split {split!r} has no records. Received: {folder}, {counted(lost, 'record')} damaged")
    return Records(tuple(shards), count, info, tuple(damage))


def read_shard(shard: Shard) -> Iterator[bytes]:
    """Yields the serialized records of a shard, without TensorFlow.

    Raises:
      RecordsError: if it has fewer than its list says; who reads it over and over would else wait for ever.
    """
    count = 0
    for serialized in itertools.islice(tfrecord.read(shard.path), shard.count):
        yield serialized
        count += 1
    if count < shard.count:
        raise RecordsError(f"{shard.path} must have {shard.count} records. Received: {count}")


def read_json(path: Path, **kinds: type) -> dict[str, Any]:
    """A JSON object that an earlier command left.

    Args:
      path: file.
      **kinds: fields that it must have, and their Python types.

    Raises:
      FileNotFoundError, NotADirectoryError: if there is no such file.
      RecordsError: if it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecordsError(f"{path.name} is not one of ours ({first_line(error)}). Received: {path}") from error
    if not isinstance(content, dict):
        raise RecordsError(f"{path.name} is not one of ours, a JSON object. Received: {path}")
    if wrong := [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]:
        raise RecordsError(f"{path.name} is not one of ours, without {', '.join(wrong)}. Received: {path}")
    return content


def shard_info(content: Any) -> ShardInfo:
    """The `ShardInfo` that an earlier command left as a JSON object.

    Raises:
      RecordsError: if it is something else.
    """
    kinds = ShardInfo.__annotations__
    if not isinstance(content, dict) or {name: type(value) for name, value in content.items()} != kinds:
        raise RecordsError(f"what is known of a shard must be {', '.join(kinds)}. Received: {str(content)[:80]}")
    return ShardInfo(**content)


def _read_dataset_json(folder: Path) -> dict[str, Any]:
    path = folder / DATASET_FILE
    try:
        info = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise RecordsError(
            f"no {DATASET_FILE}: make one with python -m tf_deep3d.prepare. Received: {folder}"
        ) from None
    version = info.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RecordsError(f"records of schema version {SCHEMA_VERSION} are needed. Received: {path}, {version!r:.40}")
    if not _is_listing(info):
        raise RecordsError(f"{DATASET_FILE} lists no shards as it should. Received: {path}")
    return info


def _is_listing(info: dict[str, Any]) -> bool:
    """Whether `info` lists shards by plain file names."""
    try:
        listed = [ShardInfo(shard["count"], shard["sha256"], shard["bytes"]) for split in SPLITS
                  for shard in info["shards"][split]]  # fmt: skip
        names = [shard["file"] for split in SPLITS for shard in info["shards"][split]]
    except (KeyError, TypeError):
        return False
    counts = all(isinstance(shard.count, int) and shard.count >= 0 for shard in listed)
    return counts and all(isinstance(name, str) and Path(name).name == name for name in names)


def _check_shard(folder: Path, listed: dict[str, Any]) -> tuple[Shard, Damage | None]:
    """(`Shard`, `Damage` or None) of one entry of `dataset.json`."""
    path = folder / listed["file"]
    if not path.is_file():
        raise RecordsError(f"a shard that {DATASET_FILE} lists is missing. Received: {path}")
    if path.stat().st_size == listed["bytes"] and files.sha256(path) == listed["sha256"]:
        return Shard(path, listed["count"]), None
    good, offset = 0, 0
    try:
        for example in itertools.islice(tfrecord.read(path), listed["count"]):
            good, offset = good + 1, offset + len(example) + tfrecord.FRAME
    except tfrecord.DamageError:
        pass  # this is where the good ones end
    return Shard(path, good), Damage(path, good, offset, listed["count"] - good)
