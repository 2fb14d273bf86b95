"""What the sources of batches, with TensorFlow and without, have in common: the folders, which of them gives the next
record, and the last step from augmented records to a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.data import records
from tf_deep3d.data.augmentation import Augmentation
from tf_deep3d.data.records import Damage, Records
from tf_deep3d.errors import InputError

SHUFFLE = 2048  # records drawn from at once, besides the shuffling of the shards
CYCLE = 4  # shards read in turn
MAX_BATCH = 65_536  # 40 GB of pictures
MAX_VALIDATION = 1_000_000
MAX_SHARE = 1e9
TURNS = 1000  # records after which the folders take turns in the same order again
COEFFICIENTS = "a rendered face must have {} coefficients, as the face model. Received:"


@dataclass(frozen=True)
class DataSettings:
    """What to train on.

    Attributes:
      records: folders of `prepare` or `synthetic`.
      shares: how much of the training each folder gives; by default as many as it has records.
      batch: records of a step, over all replicas.
      augmentation: `Augmentation`.
      validation: at most so many records of the validation splits are looked at.
      strict: stop at damaged shards instead of going on without their bad records.
    """

    records: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    batch: int = 16
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: int = 256
    strict: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MAX_BATCH or not 0 <= self.validation <= MAX_VALIDATION:
            received = f"{self.batch}, {self.validation}"
            raise InputError(f"batch in 1 to {MAX_BATCH}, validation in 0 to {MAX_VALIDATION}. Received: {received}")
        if not all(0 < share <= MAX_SHARE for share in self.shares):
            raise InputError(f"shares must be above 0, at most {MAX_SHARE:g}. Received: {self.shares}")


@dataclass(frozen=True)
class Batches:
    """What a training reads. Element number n, a record or a set, is always the same one with the same augmentation,
    whatever the batch size and wherever the training was interrupted.

    Attributes:
      count: elements of one pass through all folders.
      damage: of the folders' shards.
      training: function (number of the element to begin with, by default 0; elements of a batch, by default those of
        the settings; (i, n) for every n-th element from the i-th one on, where n workers share them) -> endless
        batches of `finish_batch` in the order that the seed decides.
      validation: function () -> batches of the first `DataSettings.validation` elements of the validation splits,
        unchanged; the folders take turns. It raises `records.RecordsError` where there is no such split.
      names: function (number of an element, count) -> what `count` elements from that one on are called.
    """

    count: int
    damage: tuple[Damage, ...]
    training: Callable[..., Any]
    validation: Callable[[], Any]
    names: Callable[[int, int], list[str]]


def open_sources(settings: DataSettings, split: str = "train") -> list[Records]:
    """The `records.Records` of every folder in `settings`.

    Args:
      settings: `DataSettings`.
      split: "train" or "validation".

    Raises:
      records.RecordsError: if there are none, a folder cannot be used, or the shares do not fit.
    """
    if not settings.records:
        raise records.RecordsError("name the folders of records, e.g. --set data.records=[records]. Received: none")
    if settings.shares and len(settings.shares) != len(settings.records):
        raise records.RecordsError(
            f"data.shares must have one number for each of {len(settings.records)} folders. Received: {settings.shares}"
        )
    return [records.open_records(folder, split, settings.strict) for folder in settings.records]


def schedule(settings: DataSettings, counts: list[int], seed: int, start: int) -> tuple[np.ndarray, list[int]]:
    """Which folder gives each element of a training, from element number `start` on.

    Args:
      settings: `DataSettings`.
      counts: elements of one pass through each folder.
      seed: whole number.
      start: number of the element to begin with.

    Returns:
      ([TURNS] int64 indices of folders, to be repeated for ever, each folder as often as its share asks for; for each
      folder how many of its elements came before).

    Raises:
      records.RecordsError: if a folder's share is too small for a turn.
    """
    shares = np.asarray(settings.shares or counts, np.float64)
    edges = np.round(np.cumsum(shares) / shares.sum() * TURNS).astype(int)
    if not np.diff(edges, prepend=0).all():
        received = ", ".join(f"{share:g}" for share in shares)
        raise records.RecordsError(f"data.shares must give each folder a turn of {TURNS}. Received: {received}")
    turns = np.searchsorted(edges, np.arange(TURNS), side="right")
    turns = np.random.default_rng(seed).permutation(turns).astype(np.int64)
    rounds, part = divmod(start, TURNS)
    before = [int(rounds * np.sum(turns == i) + np.sum(turns[:part] == i)) for i in range(len(counts))]
    return np.roll(turns, -part), before


def finish_batch(batch: dict[str, Array], pictures: dict[str, Array], signs: np.ndarray) -> dict[str, Array]:
    """A batch for `training.objective.Reconstructor`.

    Args:
      batch: parsed records, of which coefficients [B, K] count, NaN where they are not known.
      pictures: what `augmentation` made of them.
      signs: [K], of the coefficients of a mirrored face, see `augmentation.Mirror`.

    Returns:
      Dict of inputs, images, skin, landmarks, dense as of `augmentation.augment`, dense_known [B], coefficients [B, K]
      and known [B, K], 1 where they are exact.
    """
    dense_known = ops.all(ops.isfinite(pictures["dense"]), axis=(1, 2))
    flipped = ops.expand_dims(pictures.pop("flipped"), -1)
    coefficients = ops.where(flipped > 0, batch["coefficients"] * signs, batch["coefficients"])
    known = ops.isfinite(coefficients)
    return {
        **pictures,
        "dense": ops.where(ops.reshape(dense_known, (-1, 1, 1)), pictures["dense"], 0.0),
        "dense_known": ops.cast(dense_known, "float32"),
        "coefficients": ops.where(known, coefficients, 0.0),
        "known": ops.cast(known, "float32"),
    }
