"""What the sources of batches, with TensorFlow and without, have in common: the folders, which of them gives the next
record, and the last step from augmented records to a batch.
"""

import numpy as np
from keras import ops

from tf_deep3d.data import records

SHUFFLE = 2048  # records drawn from at once, besides the shuffling of the shards
CYCLE = 4  # shards read in turn
TURNS = 1000  # records after which the folders take turns in the same order again
COEFFICIENTS = "a rendered face must have {} coefficients, as the face model. Received:"


def open_sources(settings, split="train"):
    """The `records.Records` of every folder in `settings`.

    Args:
      settings: `training.DataSettings`.
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


def schedule(settings, counts, seed, start):
    """Which folder gives each element of a training, from element number `start` on.

    Args:
      settings: `training.DataSettings`.
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


def finish_batch(batch, pictures):
    """A batch for `training.Reconstructor`.

    Args:
      batch: parsed records, of which coefficients [B, K] and known [B] count.
      pictures: what `augmentation` made of them.

    Returns:
      Dict of inputs, images, skin, landmarks, dense as of `augmentation.augment`, dense_known [B], coefficients [B, K]
      and known [B], 1 where they are exact.
    """
    dense_known = ops.all(ops.isfinite(pictures["dense"]), axis=(1, 2))
    # A mirrored face is another person: the shape modes are not all symmetric.
    known = batch["known"] * (1.0 - pictures.pop("flipped"))
    return {
        **pictures,
        "dense": ops.where(ops.reshape(dense_known, (-1, 1, 1)), pictures["dense"], 0.0),
        "dense_known": ops.cast(dense_known, "float32"),
        "coefficients": batch["coefficients"],
        "known": known,
    }
