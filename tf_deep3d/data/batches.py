"""Batches for training: prepared records, shuffled, mixed, augmented, in an order that a seed decides.

Record number n of a training is always the same record with the same augmentation, whatever the batch size and
wherever the training was interrupted. So a position in the data is one number.
"""

import tensorflow as tf

from tf_deep3d.data import augmentation, records
from tf_deep3d.data.mixture import COEFFICIENTS, CYCLE, SHUFFLE, finish_batch, schedule


def training_batches(settings, sources, coefficients, dense_mirror, seed, start=0, part=(0, 1)):
    """Endless batches in the order that `seed` decides.

    Args:
      settings: `training.DataSettings`.
      sources: of `open_sources`.
      coefficients: K of the training; records of rendered faces must have as many.
      dense_mirror: see `augmentation.augment`.
      seed: whole number.
      start: number of the record to begin with.
      part: (i, n) for every n-th record from the i-th one on, where n workers share the records.

    Returns:
      `tf.data.Dataset` of dicts, see `mixture.finish_batch`.
    """
    numbered = _serialized(settings, sources, seed, start).shard(part[1], part[0])
    ready = numbered.map(lambda number, serialized: (number, parse(serialized, coefficients)), tf.data.AUTOTUNE)
    batched = ready.batch(settings.batch, drop_remainder=True)

    def finish(numbers, batch):
        dice = tf.map_fn(
            lambda number: tf.random.stateless_uniform([augmentation.DICE], tf.stack([seed, number])),
            numbers,
            fn_output_signature=tf.float32,
        )
        return finish_batch(batch, augmentation.augment(batch, dice, settings.augmentation, dense_mirror))

    return with_options(batched.map(finish, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def validation_batches(settings, sources, coefficients):
    """The first `settings.validation` records of the validation splits, unchanged, in batches as of
    `training_batches`; the folders take turns."""
    datasets = [shards(source).map(lambda s: parse(s, coefficients), tf.data.AUTOTUNE) for source in sources]
    batched = take_in_turns(datasets, [source.count for source in sources], settings)
    return with_options(batched.map(lambda batch: finish_batch(batch, augmentation.center(batch))).prefetch(2))


def take_in_turns(datasets, counts, settings):
    """Batches of the first `settings.validation` elements of finite datasets with `counts` elements, in turn."""
    turns = tf.data.Dataset.choose_from_datasets(datasets, tf.data.Dataset.range(len(datasets)).repeat(), False)
    batched = turns.take(settings.validation).batch(settings.batch)
    count = min(settings.validation, sum(counts))
    return batched.apply(tf.data.experimental.assert_cardinality(-(-count // settings.batch)))


def names_of(settings, sources, seed, start, count):
    """Sources of the records number `start` to `start + count` of a training, for messages."""
    chosen = _serialized(settings, sources, seed, start).take(count)
    return [_fields(serialized)["source"].numpy().decode() for _, serialized in chosen]


def _fields(serialized):
    return tf.io.parse_single_example(serialized, {"source": tf.io.FixedLenFeature((), tf.string)})


def _serialized(settings, sources, seed, start):
    """Endless (number, serialized record) from number `start` on."""

    def passes(source):
        return lambda order, seed: shards(source, order).shuffle(SHUFFLE, seed=seed)

    return mix(settings, [(source, source.count, passes(source)) for source in sources], seed, start)


def mix(settings, sources, seed, start):
    """Mixes folders by their shares, endlessly, in an order that a seed decides.

    Args:
      settings: `training.DataSettings`.
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


def _stream(source, count, make_pass, seed, start):
    """Endless elements of one folder from number `start` on, shuffled anew in each pass; see `mix`."""

    def one_pass(number):
        tf.random.set_seed(1)  # of this graph alone: the order must not depend on what the caller's global seed is
        key = tf.stack([tf.constant(seed, tf.int64), number])
        throw = tf.random.stateless_uniform([2], key, minval=None, maxval=None, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(source.shards)), seed=throw)
        return make_pass(order, throw[0])

    passes, part = divmod(start, count)
    return tf.data.Dataset.counter(passes).flat_map(one_pass).skip(part)


def shards(source, order=None, finish=lambda records: records):
    """The serialized records of one folder; shards in the given order, a few in turn, `finish` applied to each."""
    paths = tf.constant([str(shard.path) for shard in source.shards])
    counts = tf.constant([shard.count for shard in source.shards], tf.int64)
    order = tf.range(len(source.shards)) if order is None else order
    return tf.data.Dataset.from_tensor_slices((tf.gather(paths, order), tf.gather(counts, order))).interleave(
        lambda path, count: finish(records.read_shard(path).take(count)), cycle_length=CYCLE
    )


def parse(serialized, coefficients):
    """What training needs of one record; `coefficients` is their number K."""
    record = records.parse(serialized)
    given = record["coefficients"]
    missing = coefficients - tf.size(given)
    check = tf.debugging.Assert(
        (missing == 0) | (missing == coefficients),
        [COEFFICIENTS.format(coefficients), tf.size(given)],
    )
    with tf.control_dependencies([check]):
        padded = tf.pad(given, [[0, tf.maximum(missing, 0)]])
    known = tf.cast(missing == 0, tf.float32)
    fields = {name: record[name] for name in ("image", "skin", "landmarks", "dense")}
    return {**fields, "coefficients": tf.ensure_shape(padded, [coefficients]), "known": known}


def with_options(dataset):
    """Keeps the order of `dataset`, also when a distribution strategy divides it."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
