"""Batches for training without TensorFlow, for machines that have JAX alone: threads read, NumPy decides the order.

The promise is that of `data`: record number n of a training is always the same record with the same augmentation,
whatever the batch size and wherever the training was interrupted. The order itself is another one than TensorFlow's.
"""

import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from keras import ops

from tf_deep3d.data import augmentation, plain_records, records
from tf_deep3d.data.mixture import COEFFICIENTS, CYCLE, SHUFFLE, finish_batch, schedule

THREADS = min(os.cpu_count() or 1, 16)  # that decode pictures
AHEAD = 3  # batches made before they are asked for


def training_batches(settings, sources, coefficients, dense_mirror, seed, start=0):
    """Endless batches in the order that `seed` decides.

    Args:
      settings: `training.DataSettings`.
      sources: of `mixture.open_sources`.
      coefficients: K of the training; records of rendered faces must have as many.
      dense_mirror: see `augmentation.augment`.
      seed: whole number, not negative.
      start: number of the record to begin with.

    Yields:
      What Keras wants of a generator: tuples of one dict, see `mixture.finish_batch`.
    """

    @_compiled
    def finish(batch, dice):
        return finish_batch(batch, augmentation.augment(batch, dice, settings.augmentation, dense_mirror))

    def batches(pool):
        numbered = _serialized(settings, sources, seed, start)
        ready = _ahead(lambda pair: (pair[0], _parse(pair[1], coefficients)), numbered, pool, 2 * settings.batch)
        while True:
            numbers, parsed = zip(*itertools.islice(ready, settings.batch), strict=True)
            dice = np.stack([np.random.default_rng([seed, n]).random(augmentation.DICE, np.float32) for n in numbers])
            yield (finish(_stack(parsed), ops.convert_to_tensor(dice)),)

    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(1) as maker:
        made = batches(readers)
        yield from _ahead(lambda _: next(made), itertools.count(), maker, AHEAD)


def validation_batches(settings, sources, coefficients):
    """The first `settings.validation` records of the validation splits, unchanged, as a `keras.utils.PyDataset` of
    what `training_batches` gives; the folders take turns."""
    return _HeldOut(settings, sources, coefficients)


def names_of(settings, sources, seed, start, count):
    """Sources of the records number `start` to `start + count` of a training, for messages."""
    chosen = itertools.islice(_serialized(settings, sources, seed, start), count)
    return [plain_records.fields(serialized)["source"][0].decode() for _, serialized in chosen]


class _HeldOut(keras.utils.PyDataset):
    """Held-out batches, which Keras reads as often as it likes; the records stay in memory as JPEG files."""

    def __init__(self, settings, sources, coefficients):
        super().__init__()
        streams = [_in_turn(source.shards) for source in sources]
        turns = (record for together in itertools.zip_longest(*streams) for record in together if record is not None)
        self.records = list(itertools.islice(turns, settings.validation))
        self.batch = settings.batch
        self.coefficients = coefficients

    def __len__(self):
        return -(-len(self.records) // self.batch)

    def __getitem__(self, index):
        chosen = self.records[index * self.batch : (index + 1) * self.batch]
        if not chosen:
            raise IndexError(index)
        batch = _stack([_parse(serialized, self.coefficients) for serialized in chosen])
        return (finish_batch(batch, augmentation.center(batch)),)


def _serialized(settings, sources, seed, start):
    """Endless (number, serialized record) from number `start` on."""
    turns, before = schedule(settings, [source.count for source in sources], seed, start)
    streams = [_stream(source, [seed, index], before[index]) for index, source in enumerate(sources)]
    for number, index in zip(itertools.count(start), itertools.cycle(turns), strict=False):
        yield number, next(streams[index])


def _stream(source, seed, start):
    """Endless serialized records of one folder from number `start` on, shuffled anew in each pass."""
    first, part = divmod(start, source.count)
    passes = (_one_pass(source, np.random.default_rng([*seed, number])) for number in itertools.count(first))
    return itertools.islice(itertools.chain.from_iterable(passes), part, None)


def _one_pass(source, rng):
    """The serialized records of one folder: the shards in random order, and within them as `tf.data` shuffles."""
    waiting = []
    for serialized in _in_turn([source.shards[index] for index in rng.permutation(len(source.shards))]):
        if len(waiting) < SHUFFLE:
            waiting.append(serialized)
            continue
        place = rng.integers(SHUFFLE)
        yield waiting[place]
        waiting[place] = serialized
    yield from (waiting[place] for place in rng.permutation(len(waiting)))


def _in_turn(shards):
    """The serialized records of shards, a few of which are read in turn."""
    closed = iter(shards)
    opened = deque()
    while True:
        fresh = itertools.islice(closed, CYCLE - len(opened))
        opened.extend(itertools.islice(plain_records.read(shard.path), shard.count) for shard in fresh)
        if not opened:
            return
        reader = opened.popleft()
        serialized = next(reader, None)
        if serialized is not None:
            opened.append(reader)
            yield serialized


def _parse(serialized, coefficients):
    """What training needs of one record."""
    record = plain_records.parse(serialized, records.SCHEMA)
    given = record["coefficients"]
    if len(given) not in (0, coefficients):
        raise records.RecordsError(f"{COEFFICIENTS.format(coefficients)} {len(given)}")
    known = np.float32(len(given) > 0)
    fields = {name: record[name] for name in ("image", "skin", "landmarks", "dense")}
    return {**fields, "coefficients": given if known else np.zeros(coefficients, np.float32), "known": known}


def _compiled(function):
    """`function`, compiled under JAX, whose single operations are slow."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def _stack(parsed):
    """A batch, as tensors, of parsed records."""
    return {name: ops.convert_to_tensor(np.stack([record[name] for record in parsed])) for name in parsed[0]}


def _ahead(function, items, pool, count):
    """`function` of each of `items`, in their order; a pool is `count` of them ahead of who asks."""
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()
