"""The photos that are rendered anew: records of `prepare`, photos as they are, or photos that were fitted before."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tf_deep3d.data import preparation, records, tfrecord
from tf_deep3d.data.preparation import split_of
from tf_deep3d.errors import InputError
from tf_deep3d.io import files

FITTED = "fitted"  # kind of the records of photos whose coefficients were fitted
Record: TypeAlias = dict[str, Any]  # see `records.SCHEMA`
_ONE = preparation.Settings()  # the largest face of each photo
_Stream: TypeAlias = Iterator[tuple[bool, Callable[[], Record]]]


@dataclass(frozen=True)
class Photos:
    """Which photos to use.

    Attributes:
      paths: folders of records, or folders and files of photos.
      identities: of `preparation.list_photos`, for photos.
      most: at most so many of them, evenly out of all; None for all.
      held_out: share of the people, by name, who are kept for validation, besides those of the records' own validation.

    Raises:
      InputError: for numbers out of range.
    """

    paths: tuple[str, ...]
    identities: tuple[str, ...]
    most: int | None
    held_out: float

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1 or (self.most is not None and self.most < 1):
            received = f"{self.most}, {self.held_out}"
            raise InputError(f"sources must be positive and the share held out in [0, 1). Received: {received}")

    def split(self, person: str, held: bool) -> str:
        """The split of a person, whom records may hold out themselves."""
        return "validation" if held else split_of(person, self.held_out)


class Origin(NamedTuple):
    """Where photos come from.

    Attributes:
      number: of the photos.
      digest: of what was found, by which a later run knows it again.
      stream: function () -> for each photo (whether its records hold it out, function () -> its record). The record has
        coefficients if it was fitted before. The function raises `preparation.RejectedError` or `tfrecord.DamageError`
        for a photo that cannot be used.
    """

    number: int
    digest: str
    stream: Callable[[], _Stream]


def find(photos: Photos, face_model: str) -> list[Origin]:
    """The `Origin`s of `Photos`.

    Args:
      photos: `Photos`.
      face_model: fingerprint of the one that photos which were fitted before must have been fitted with.

    Raises:
      FileNotFoundError: for a path without photos.
      InputError: for records that cannot be used.
    """
    prepared = [path for path in photos.paths if (Path(path) / records.DATASET_FILE).is_file()]
    plain = [path for path in photos.paths if path not in prepared]
    found = [_prepared(path, face_model) for path in prepared]
    return found + ([_plain(preparation.list_photos(plain, photos.identities))] if plain else [])


def parse(serialized: bytes) -> Record:
    """Reads one record, with its texts as text."""
    record = tfrecord.parse(serialized, records.SCHEMA)
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in record.items()}


def _prepared(path: str, face_model: str) -> Origin:
    opened: dict[str, records.Records] = {}
    for split in records.SPLITS:
        try:
            opened[split] = records.open_records(path, split)
        except records.RecordsError:
            if split == records.SPLITS[-1] and not opened:
                raise
    info = next(iter(opened.values())).info
    kind = info.get("kind")
    if kind not in (None, FITTED):
        raise InputError(f"only records of photos can be rendered anew. Received: {path}, of the kind {kind}")
    if kind == FITTED and info.get("face_model") != face_model:
        raise InputError(f"the photos were fitted with another face model, take their records. Received: {path}")

    def stream() -> _Stream:
        for split, found in opened.items():
            for shard in found.shards:
                for serialized in itertools.islice(tfrecord.read(shard.path), shard.count):
                    yield split == "validation", lambda serialized=serialized: _unfitted(serialized, kind)

    digest = files.sha256(Path(path) / records.DATASET_FILE)
    return Origin(sum(found.count for found in opened.values()), digest, stream)


def _unfitted(serialized: bytes, kind: str | None) -> Record:
    record = parse(serialized)
    return record if kind == FITTED else {**record, "coefficients": np.zeros(0, np.float32)}


def _plain(listed: list[preparation.Photo]) -> Origin:
    def stream() -> _Stream:
        for photo in listed:
            yield False, lambda photo=photo: preparation.prepare_photo(photo.path, _ONE, photo.source, photo.person)[0]

    return Origin(len(listed), preparation.parameters(listed, _ONE)["listing"], stream)
