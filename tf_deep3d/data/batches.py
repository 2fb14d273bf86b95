"""Batches for training with TensorFlow: prepared records, shuffled, mixed, augmented, in an order that a seed decides.

A position in the data is one number, see `mixture.Batches`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

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
from tf_deep3d.data.records import Records


def open_batches(settings: DataSettings, coefficients: int, mirror: Mirror, seed: int) -> Batches:
    """The `Batches` of records, each a `tf.data.Dataset` of dicts, see `mixture.finish_batch`.

    Args:
      settings: `DataSettings`.
      coefficients: K of the training; records of rendered faces must have as many.
      mirror: of `augmentation.mirror`.
      seed: whole number.

    Raises:
      records.RecordsError: see `mixture.open_sources` and `mixture.schedule`.
    """
    sources = open_sources(settings)

    def numbered(start: int) -> tf.data.Dataset:
        """Endless (number, serialized record) from number `start` on."""

        def passes(source: Records) -> Callable[[Any, Any], tf.data.Dataset]:
            return lambda order, seed: shards(source, order).shuffle(SHUFFLE, seed=seed)

        return mix(settings, [(source, source.count, passes(source)) for source in sources], seed, start)

    def finish(numbers: Any, batch: dict[str, Array]) -> dict[str, Array]:
        dice = tf.map_fn(
            lambda number: tf.random.stateless_uniform([augmentation.DICE], tf.stack([seed, number])),
            numbers,
            fn_output_signature=tf.float32,
        )
        pictures = augmentation.augment(batch, dice, settings.augmentation, mirror.dense)
        return finish_batch(batch, pictures, mirror.signs)

    def training(start: int = 0, size: int = settings.batch, part: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        chosen = numbered(start).shard(part[1], part[0])
        ready = chosen.map(lambda number, serialized: (number, parse(serialized, coefficients)), tf.data.AUTOTUNE)
        batched = ready.batch(size, drop_remainder=True).map(finish, tf.data.AUTOTUNE)
        return with_options(batched.prefetch(tf.data.AUTOTUNE))

    def validation() -> tf.data.Dataset:
        held_out = open_sources(settings, "validation")
        datasets = [shards(source).map(lambda s: parse(s, coefficients), tf.data.AUTOTUNE) for source in held_out]
        batched = take_in_turns(datasets, [source.count for source in held_out], settings)
        centered = batched.map(lambda batch: finish_batch(batch, augmentation.center(batch), mirror.signs))
        return with_options(centered.prefetch(2))

    def names(number: int, count: int) -> list[str]:
        return [field(serialized, "source").numpy().decode() for _, serialized in numbered(number).take(count)]

    damage = tuple(bad for source in sources for bad in source.damage)
    schedule(settings, [source.count for source in sources], seed, 0)  # raises what `training` would
    return Batches(sum(source.count for source in sources), damage, training, validation, names)


def take_in_turns(datasets: list[tf.data.Dataset], counts: list[int], settings: DataSettings) -> tf.data.Dataset:
    """Batches of the first `settings.validation` elements of finite datasets with `counts` elements, in turn."""
    turns = tf.data.Dataset.choose_from_datasets(datasets, tf.data.Dataset.range(len(datasets)).repeat(), False)
    batched = turns.take(settings.validation).batch(settings.batch)
    count = min(settings.validation, sum(counts))
    return batched.apply(tf.data.experimental.assert_cardinality(-(-count // settings.batch)))


def field(serialized: Array, name: str) -> Array:
    """One text of a serialized record."""
    return tf.io.parse_single_example(serialized, {name: tf.io.FixedLenFeature((), tf.string)})[name]


def mix(
    settings: DataSettings,
    sources: list[tuple[Records, int, Callable[[Any, Any], tf.data.Dataset]]],
    seed: int,
    start: int,
) -> tf.data.Dataset:
    """Mixes folders by their shares, endlessly, in an order that a seed decides.

    Args:
      settings: `DataSettings`.
      sources: list of (`records.Records`, number of elements of one pass, function (order of its shards, seed) -> one
        pass as a `tf.data.Dataset`).
      seed: whole number.
      start: number of the element to begin with.

    Returns:
      `tf.data.Dataset` of (number, element).
    """
    turns, before = schedule(settings, [count for _, count, _ in sources], seed, start)
    streams = [_stream(*source, seed + 7919 * index, before[index]) for index, source in enumerate(sources)]
    choices = tf.data.Dataset.from_tensor_slices(turns).repeat()
    chosen = tf.data.Dataset.choose_from_datasets(streams, choices, stop_on_empty_dataset=True)
    return chosen.enumerate(start)


def _stream(
    source: Records, count: int, make_pass: Callable[[Any, Any], tf.data.Dataset], seed: int, start: int
) -> tf.data.Dataset:
    """Endless elements of one folder from number `start` on, shuffled anew in each pass; see `mix`."""

    def one_pass(number: Any) -> tf.data.Dataset:
        tf.random.set_seed(1)  # of this graph alone: the order must not depend on what the caller's global seed is
        key = tf.stack([tf.constant(seed, tf.int64), number])
        random: Any = tf.random  # of which type checkers know less than there is
        throw = random.stateless_uniform([2], key, minval=None, maxval=None, dtype=tf.int64)
        order = random.experimental.stateless_shuffle(tf.range(len(source.shards)), seed=throw)
        return make_pass(order, throw[0])

    passes, part = divmod(start, count)
    return tf.data.Dataset.counter(passes).flat_map(one_pass).skip(part)


def shards(
    source: Records, order: Any = None, finish: Callable[[tf.data.Dataset], tf.data.Dataset] = lambda records: records
) -> tf.data.Dataset:
    """The serialized records of one folder; shards in the given order, a few in turn, `finish` applied to each."""
    paths = tf.constant([str(shard.path) for shard in source.shards])
    counts = tf.constant([shard.count for shard in source.shards], tf.int64)
    order = tf.range(len(source.shards)) if order is None else order

    def opened(*shard: Any) -> tf.data.Dataset:
        # Of a shard without records, endless passes would be endless waiting.
        whole = tf.data.experimental.assert_cardinality(shard[1])
        return finish(tfrecord.open_shard(shard[0]).take(shard[1]).apply(whole))

    listed = tf.data.Dataset.from_tensor_slices((tf.gather(paths, order), tf.gather(counts, order)))
    return listed.interleave(opened, cycle_length=CYCLE)


def parse(serialized: Array, coefficients: int) -> dict[str, Array]:
    """What training needs of one record; `coefficients` is their number K."""
    record = records.parse(serialized)
    given = record["coefficients"]
    missing = coefficients - tf.size(given)
    check = tf.debugging.Assert(
        (missing == 0) | (missing == coefficients),
        [COEFFICIENTS.format(coefficients), tf.size(given)],
    )
    with tf.control_dependencies([check]):
        padded = tf.pad(given, [[0, tf.maximum(missing, 0)]], constant_values=float("nan"))
    fields = {name: record[name] for name in ("image", "skin", "landmarks", "dense")}
    return {**fields, "coefficients": tf.ensure_shape(padded, [coefficients])}


def with_options(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps the order of `dataset`, also when a distribution strategy divides it."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
