"""Batches for training without TensorFlow, for machines that have JAX alone: threads read, NumPy decides the order.

The promise is that of `mixture.Batches`; the order itself is another one than TensorFlow's.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.data import augmentation, records, tfrecord
from tf_deep3d.data.augmentation import Mirror
from tf_deep3d.data.mixture import (
    COEFFICIENTS,
    CYCLE,
    SHUFFLE,
    Batches,
    DataSettings,
    finish_batch,
    open_sources,
    schedule,
)
from tf_deep3d.data.records import Records, Shard

THREADS = min(os.cpu_count() or 1, 16)  # that decode pictures
AHEAD = 3  # batches made before they are asked for


def open_batches(settings: DataSettings, coefficients: int, mirror: Mirror, seed: int) -> Batches:
    """The `Batches` of records; arguments and errors as of `batches.open_batches`. The endless ones are a generator of
    what Keras wants of one, tuples of one dict of `mixture.finish_batch`; the held-out ones a `keras.utils.PyDataset`.
    """
    sources = open_sources(settings)
    turns = [source.count for source in sources]

    @_compiled
    def finish(batch: dict[str, Array], dice: Array) -> dict[str, Array]:
        pictures = augmentation.augment(batch, dice, settings.augmentation, mirror.dense)
        return finish_batch(batch, pictures, mirror.signs)

    def numbered(start: int) -> Iterator[tuple[int, bytes]]:
        """Endless (number, serialized record) from number `start` on."""
        order, before = schedule(settings, turns, seed, start)
        streams = [_stream(source, [seed, index], before[index]) for index, source in enumerate(sources)]
        for number, index in zip(itertools.count(start), itertools.cycle(order), strict=False):
            yield number, next(streams[index])

    def training(start: int = 0, size: int = settings.batch, part: tuple[int, int] = (0, 1)) -> Iterator[tuple[Any]]:
        chosen = itertools.islice(numbered(start), part[0], None, part[1])

        def made(pool: ThreadPoolExecutor) -> Iterator[tuple[Any]]:
            ready = _ahead(lambda pair: (pair[0], _parse(pair[1], coefficients)), chosen, pool, 2 * size)
            while True:
                numbers, parsed = zip(*itertools.islice(ready, size), strict=True)
                throws = [np.random.default_rng([seed, n]).random(augmentation.DICE, np.float32) for n in numbers]
                yield (finish(_stack(parsed), ops.convert_to_tensor(np.stack(throws))),)

        with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(1) as maker:
            endless = made(readers)
            yield from _ahead(lambda _: next(endless), itertools.count(), maker, AHEAD)

    def names(number: int, count: int) -> list[str]:
        chosen = itertools.islice(numbered(number), count)
        return [tfrecord.fields(serialized)["source"][0].decode() for _, serialized in chosen]

    def validation() -> keras.utils.PyDataset:
        return _HeldOut(settings, open_sources(settings, "validation"), coefficients, mirror.signs)

    damage = tuple(bad for source in sources for bad in source.damage)
    schedule(settings, turns, seed, 0)  # raises what `training` would
    return Batches(sum(turns), damage, training, validation, names)


class _HeldOut(keras.utils.PyDataset):
    """Held-out batches, which Keras reads as often as it likes; the records stay in memory as JPEG files."""

    def __init__(self, settings: DataSettings, sources: list[Records], coefficients: int, signs: np.ndarray) -> None:
        super().__init__()
        streams = [_in_turn(source.shards) for source in sources]
        turns = (record for together in itertools.zip_longest(*streams) for record in together if record is not None)
        self.records = list(itertools.islice(turns, settings.validation))
        self.batch = settings.batch
        self.coefficients = coefficients
        self.signs = signs

    def __len__(self) -> int:
        return -(-len(self.records) // self.batch)

    def __getitem__(self, index: int) -> tuple[dict[str, Array]]:
        chosen = self.records[index * self.batch : (index + 1) * self.batch]
        if not chosen:
            raise IndexError(index)
        batch = _stack([_parse(serialized, self.coefficients) for serialized in chosen])
        return (finish_batch(batch, augmentation.center(batch), self.signs),)


def _stream(source: Records, seed: list[int], start: int) -> Iterator[bytes]:
    """Endless serialized records of one folder from number `start` on, shuffled anew in each pass."""
    first, part = divmod(start, source.count)
    passes = (_one_pass(source, np.random.default_rng([*seed, number])) for number in itertools.count(first))
    return itertools.islice(itertools.chain.from_iterable(passes), part, None)


def _one_pass(source: Records, rng: np.random.Generator) -> Iterator[bytes]:
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


def _in_turn(shards: Iterable[Shard]) -> Iterator[bytes]:
    """The serialized records of shards, a few of which are read in turn."""
    closed = iter(shards)
    opened = deque()
    while True:
        fresh = itertools.islice(closed, CYCLE - len(opened))
        opened.extend(map(records.read_shard, fresh))
        if not opened:
            return
        reader = opened.popleft()
        serialized = next(reader, None)
        if serialized is not None:
            opened.append(reader)
            yield serialized


def _parse(serialized: bytes, coefficients: int) -> dict[str, Any]:
    """What training needs of one record."""
    record = tfrecord.parse(serialized, records.SCHEMA)
    given = record["coefficients"]
    if len(given) not in (0, coefficients):
        raise records.RecordsError(f"{COEFFICIENTS.format(coefficients)} {len(given)}")
    fields = {name: record[name] for name in ("image", "skin", "landmarks", "dense")}
    return {**fields, "coefficients": given if len(given) else np.full(coefficients, np.nan, np.float32)}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled under JAX, whose single operations are slow."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def _stack(parsed: Iterable[dict[str, Any]]) -> dict[str, Array]:
    """A batch, as tensors, of parsed records."""
    parsed = list(parsed)
    return {name: ops.convert_to_tensor(np.stack([record[name] for record in parsed])) for name in parsed[0]}


def _ahead(function: Callable[[Any], Any], items: Iterable[Any], pool: ThreadPoolExecutor, count: int) -> Iterator[Any]:
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
