"""Sets of photos of one person, for C-Net: prepared records grouped by person, with spread yaw, padded to one size.

`prepare` and `synthetic` lay the records of a person side by side, so a shard is grouped while it is read.

Letters: S sets of a batch, M photos of a set.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deep3d.arrays import Array
from tf_deep3d.data import augmentation, batches, records
from tf_deep3d.data.augmentation import Mirror
from tf_deep3d.data.mixture import Batches, DataSettings, finish_batch, open_sources, schedule
from tf_deep3d.data.records import Records
from tf_deep3d.errors import first_line
from tf_deep3d.face.landmarks import NOSE_TIP, OUTER_EYE_CORNERS

GROUP = 32  # photos of a person that one set is chosen from, at most
SHUFFLE = 128  # sets drawn from at once


def open_batches(
    settings: DataSettings, coefficients: int, mirror: Mirror, seed: int, photos: int, least: int
) -> Batches:
    """The `Batches` of sets, each a `tf.data.Dataset` of dicts of `mixture.finish_batch`, [S, M, ..] each, and present
    [S, M]: 0 where a set has fewer photos. A set is mirrored as a whole.

    Args:
      settings: `DataSettings`; its batch and its validation count sets.
      coefficients, mirror, seed: as of `batches.open_batches`.
      photos: M.
      least: people with fewer photos are left out.

    Raises:
      records.RecordsError: if a folder cannot be used, or has no person with `least` photos.
    """
    sources = _open(settings, "train", least)

    def numbered(start: int) -> tf.data.Dataset:
        """Endless (number, serialized records of one person) from number `start` on."""

        def passes(source: Records) -> Callable[[Any, Any], tf.data.Dataset]:
            return lambda order, seed: _groups(source, least, order).shuffle(SHUFFLE, seed=seed)

        return batches.mix(settings, [(source, count, passes(source)) for source, count in sources], seed, start)

    def ready(number: Any, group: Array) -> tuple[Array, dict[str, Array]]:
        throws = tf.random.stateless_uniform([photos, augmentation.DICE + 1], tf.stack([seed, number]))
        dice = tf.concat(
            [
                throws[:, : augmentation.FLIP],
                tf.repeat(throws[:1, augmentation.FLIP : augmentation.FLIP + 1], photos, axis=0),
                throws[:, augmentation.FLIP + 1 : -1],
            ],
            axis=1,
        )
        return dice, _parse(choose(group, photos, throws[:, -1]), coefficients)

    def augmented(dice: Array, batch: dict[str, Array]) -> dict[str, Array]:
        flat = _flat(batch)
        pictures = augmentation.augment(flat, _flat(dice), settings.augmentation, mirror.dense)
        return _finish(batch, flat, pictures, mirror.signs)

    def centered(batch: dict[str, Array]) -> dict[str, Array]:
        flat = _flat(batch)
        return _finish(batch, flat, augmentation.center(flat), mirror.signs)

    def training(start: int = 0, size: int = settings.batch, part: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        chosen = numbered(start).shard(part[1], part[0])
        batched = chosen.map(ready, tf.data.AUTOTUNE).batch(size, drop_remainder=True)
        return batches.with_options(batched.map(augmented, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))

    def validation() -> tf.data.Dataset:
        held_out, middle = _open(settings, "validation", least), tf.fill([photos], 0.5)
        datasets = [
            _groups(source, least).map(lambda group: _parse(choose(group, photos, middle), coefficients))
            for source, _ in held_out
        ]
        batched = batches.take_in_turns(datasets, [count for _, count in held_out], settings)
        return batches.with_options(batched.map(centered).prefetch(2))

    def names(number: int, count: int) -> list[str]:
        """Of the people."""
        return [batches.field(group[0], "person").numpy().decode() for _, group in numbered(number).take(count)]

    damage = tuple(bad for source, _ in sources for bad in source.damage)
    schedule(settings, [count for _, count in sources], seed, 0)  # raises what `training` would
    return Batches(sum(count for _, count in sources), damage, training, validation, names)


def choose(group: Array, photos: int, throws: Array) -> tuple[Array, Array]:
    """Photos of one person, spread over yaw: one from each of equally large parts of the photos in the order of yaw.

    Args:
      group: [n] serialized records of a person.
      photos: M.
      throws: [M] in [0, 1), which photo of each part.

    Returns:
      ([M] serialized records, present [M] float32). Of fewer than M, all; the first fills the places that are left.
    """
    landmarks = tf.map_fn(_landmarks, group, fn_output_signature=tf.float32)
    x = landmarks[..., 0]
    right, left = OUTER_EYE_CORNERS
    width = tf.maximum(x[:, left] - x[:, right], 1.0)
    order = tf.argsort((x[:, NOSE_TIP] - (x[:, left] + x[:, right]) / 2) / width, stable=True)
    count = tf.shape(group)[0]
    parts = tf.maximum(tf.minimum(count, photos), 1)
    number = tf.range(photos)
    low, high = number * count // parts, (number + 1) * count // parts
    places = low + tf.cast(throws * tf.cast(high - low, tf.float32), tf.int32)
    present = number < count
    picked = tf.gather(group, tf.gather(order, tf.where(present, places, 0)))
    return picked, tf.cast(present, tf.float32)


def _open(settings: DataSettings, split: str, least: int) -> list[tuple[Records, int]]:
    """(`Records`, number of sets in one pass) of every folder."""
    found = []
    for opened, folder in zip(open_sources(settings, split), settings.records, strict=True):
        try:
            count = sum(1 for _ in _groups(opened, least).as_numpy_iterator())
        except tf.errors.OpError as error:
            raise records.RecordsError(f"{folder} holds no usable records. Received: {first_line(error)}") from error
        if not count:
            raise records.RecordsError(
                f"the split {split!r} has nobody with {least} photos side by side; say who is who with "
                f"python -m tf_deep3d.prepare --identities. Received: {folder}"
            )
        found.append((opened, count))
    return found


def _groups(source: Records, least: int, order: Any = None) -> tf.data.Dataset:
    """The serialized records [n] of each person of one folder, `least` to `GROUP` of them."""

    def group(shard: tf.data.Dataset) -> tf.data.Dataset:
        return shard.group_by_window(
            lambda serialized: tf.strings.to_hash_bucket_fast(batches.field(serialized, "person"), 2**62),
            lambda _, window: window.batch(GROUP),
            window_size=GROUP,
        )

    return batches.shards(source, order, group).filter(lambda group: tf.shape(group)[0] >= least)


def _landmarks(serialized: Array) -> Array:
    return tf.io.parse_single_example(serialized, {"landmarks": tf.io.FixedLenFeature((68, 2), tf.float32)})[
        "landmarks"
    ]


def _parse(chosen: tuple[Array, Array], coefficients: int) -> dict[str, Array]:
    """One set as a dict of [M, ..]."""
    serialized, present = chosen
    photos = [batches.parse(each, coefficients) for each in tf.unstack(serialized, num=present.shape[0])]
    return {**{name: tf.stack([photo[name] for photo in photos]) for name in photos[0]}, "present": present}


def _flat(sets: Any) -> Any:
    """[S, M, ..] -> [S M, ..], of a tensor or a dict."""
    return tf.nest.map_structure(lambda values: tf.reshape(values, [-1, *values.shape[2:]]), sets)


def _finish(
    batch: dict[str, Array], flat: dict[str, Array], pictures: dict[str, Array], signs: np.ndarray
) -> dict[str, Array]:
    """The finished batch [S, M, ..] of `flat` records and their pictures."""
    photos = batch["present"].shape[1]
    made = finish_batch(flat, pictures, signs)
    made = {name: tf.reshape(values, [-1, photos, *values.shape[1:]]) for name, values in made.items()}
    return {**made, "present": batch["present"]}
