"""Sets of photos of one person, for C-Net: prepared records grouped by person, with spread yaw, padded to one size.

`prepare` and `synthetic` lay the records of a person side by side, so a shard is grouped while it is read. Set number
n of a training is always the same photos with the same augmentation, as with the records of `data`.

Letters: S sets of a batch, M photos of a set.
"""

from typing import NamedTuple

import tensorflow as tf

from tf_deep3d.data import augmentation, batches, records
from tf_deep3d.data.mixture import finish_batch
from tf_deep3d.data.mixture import open_sources as open_folders
from tf_deep3d.face.landmarks import NOSE_TIP, OUTER_EYE_CORNERS

GROUP = 32  # photos of a person that one set is chosen from, at most
SHUFFLE = 128  # sets drawn from at once


class Source(NamedTuple):
    """The sets of one folder.

    Attributes:
      records: `records.Records`.
      count: number of sets in one pass.
    """

    records: records.Records
    count: int

    @property
    def damage(self):
        """Of the folder's shards, see `records.Records`."""
        return self.records.damage


def open_sources(settings, sets, split="train"):
    """The `Source` of every folder that has sets.

    Args:
      settings: `training.DataSettings`.
      sets: `training.SetSettings`.
      split: "train" or "validation".

    Raises:
      records.RecordsError: if a folder cannot be used, or has no person with `sets.least` photos.
    """
    found = []
    for opened, folder in zip(open_folders(settings, split), settings.records, strict=True):
        count = sum(1 for _ in _groups(opened, sets).as_numpy_iterator())
        if not count:
            raise records.RecordsError(
                f"the split {split!r} has nobody with {sets.least} photos side by side; say who is who with "
                f"python -m tf_deep3d.prepare --identities. Received: {folder}"
            )
        found.append(Source(opened, count))
    return found


def training_batches(settings, sets, sources, coefficients, dense_mirror, seed, start=0, part=(0, 1)):
    """Endless batches of sets in the order that `seed` decides.

    Args:
      settings: `training.DataSettings`; its batch counts sets.
      sets: `training.SetSettings`.
      sources: of `open_sources`.
      coefficients: K of the training.
      dense_mirror: see `augmentation.augment`.
      seed: whole number.
      start: number of the set to begin with.
      part: see `batches.training_batches`.

    Returns:
      `tf.data.Dataset` of dicts of `batches.training_batches`, [S, M, ..] each, and present [S, M]: 0 where a set has
      fewer photos. A set is mirrored as a whole.
    """
    numbered = _numbered(settings, sets, sources, seed, start).shard(part[1], part[0])

    def ready(number, group):
        throws = tf.random.stateless_uniform([sets.photos, augmentation.DICE + 1], tf.stack([seed, number]))
        dice = tf.concat(
            [
                throws[:, : augmentation.FLIP],
                tf.repeat(throws[:1, augmentation.FLIP : augmentation.FLIP + 1], sets.photos, axis=0),
                throws[:, augmentation.FLIP + 1 : -1],
            ],
            axis=1,
        )
        return dice, _parse(choose(group, sets.photos, throws[:, -1]), coefficients)

    def finish(dice, batch):
        flat = _flat(batch)
        made = augmentation.augment(flat, _flat(dice), settings.augmentation, dense_mirror)
        return _finish(batch, flat, made, sets.photos)

    batched = numbered.map(ready, tf.data.AUTOTUNE).batch(settings.batch, drop_remainder=True)
    return batches.with_options(batched.map(finish, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def validation_batches(settings, sets, sources, coefficients):
    """The first `settings.validation` sets of the validation splits, unchanged, in batches as of
    `training_batches`; the folders take turns."""
    middle = tf.fill([sets.photos], 0.5)
    datasets = [
        _groups(source.records, sets).map(lambda group: _parse(choose(group, sets.photos, middle), coefficients))
        for source in sources
    ]

    def finish(batch):
        flat = _flat(batch)
        return _finish(batch, flat, augmentation.center(flat), sets.photos)

    batched = batches.take_in_turns(datasets, [source.count for source in sources], settings)
    return batches.with_options(batched.map(finish).prefetch(2))


def names_of(settings, sets, sources, seed, start, count):
    """Names of the people in the sets number `start` to `start + count` of a training, for messages."""
    chosen = _numbered(settings, sets, sources, seed, start).take(count)
    return [_field(group[0], "person").numpy().decode() for _, group in chosen]


def choose(group, photos, throws):
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


def _numbered(settings, sets, sources, seed, start):
    """Endless (number, serialized records of one person) from number `start` on."""

    def passes(source):
        return lambda order, seed: _groups(source.records, sets, order).shuffle(SHUFFLE, seed=seed)

    return batches.mix(settings, [(s.records, s.count, passes(s)) for s in sources], seed, start)


def _groups(source, sets, order=None):
    """The serialized records [n] of each person of one folder, `sets.least` to `GROUP` of them."""

    def group(shard):
        return shard.group_by_window(
            lambda serialized: tf.strings.to_hash_bucket_fast(_field(serialized, "person"), 2**62),
            lambda _, window: window.batch(GROUP),
            window_size=GROUP,
        )

    return batches.shards(source, order, group).filter(lambda group: tf.shape(group)[0] >= sets.least)


def _field(serialized, name):
    return tf.io.parse_single_example(serialized, {name: tf.io.FixedLenFeature((), tf.string)})[name]


def _landmarks(serialized):
    return tf.io.parse_single_example(serialized, {"landmarks": tf.io.FixedLenFeature((68, 2), tf.float32)})[
        "landmarks"
    ]


def _parse(chosen, coefficients):
    """One set as a dict of [M, ..]."""
    serialized, present = chosen
    photos = [batches.parse(each, coefficients) for each in tf.unstack(serialized, num=present.shape[0])]
    return {**{name: tf.stack([photo[name] for photo in photos]) for name in photos[0]}, "present": present}


def _flat(sets):
    """[S, M, ..] -> [S M, ..], of a tensor or a dict."""
    return tf.nest.map_structure(lambda values: tf.reshape(values, [-1, *values.shape[2:]]), sets)


def _finish(batch, flat, pictures, photos):
    made = finish_batch(flat, pictures)
    made = {name: tf.reshape(values, [-1, photos, *values.shape[1:]]) for name, values in made.items()}
    return {**made, "present": batch["present"]}
