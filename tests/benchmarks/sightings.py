"""Who belongs to an album: photos of a person that are lost, and of other people that are let in, by threshold.

    python -m tests.benchmarks.sightings RECORDS [--people 200] [--prefix lfw/]

RECORDS is a folder that `prepare` wrote from photos with several of each person, such as LFW. Every row says how many
photos of a person are mixed with one photo of each of how many others, and for each threshold the share of the person's
photos lost / of the others' let in.
"""

import argparse
import io
from collections import defaultdict

import numpy as np
from keras import ops
from PIL import Image

from tf_deep3d.data import records, tfrecord
from tf_deep3d.models.recognition import build_recognition, describe
from tf_deep3d.reconstruction.album import sightings

THRESHOLDS = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
MIXTURES = ((2, 1), (3, 1), (3, 2), (5, 2), (8, 2), (8, 6))  # photos of the person, photos of others
PHOTOS = 8  # of each person at most
DRAWS = 5  # albums of each person and mixture


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--prefix", default="", help="of the people's names")
    options = parser.parse_args()
    people = read_people(options.records, options.people, options.prefix)
    photos = sum(map(len, people.values()))
    print(f"{len(people)} people, {photos} photos; lost / let in, % of photos")
    print(f"{'person + others':18}" + "".join(f"{threshold:>14}" for threshold in THRESHOLDS))
    for mixture in MIXTURES:
        cells = []
        for threshold in THRESHOLDS:
            sightings.LIKENESS = threshold
            lost, entered = errors(list(people.values()), *mixture)
            cells.append(f"{100 * lost:.1f} / {100 * entered:.1f}")
        print(f"{mixture[0]:>6} + {mixture[1]:<9}" + "".join(f"{cell:>14}" for cell in cells))


def read_people(folder, count, prefix):
    """Descriptors [P, 128] of unit length by name, of `count` people with at least five photos, evenly chosen."""
    stored = defaultdict(list)
    splits = (records.open_records(folder, split) for split in records.SPLITS)
    for shard in (shard for found in splits for shard in found.shards):
        for serialized in tfrecord.open_shard(str(shard.path)):
            fields = tfrecord.fields(serialized.numpy())
            person = fields["person"][0].decode()
            if person.startswith(prefix) and len(stored[person]) < PHOTOS:
                stored[person].append(fields["image"][0])
    names = sorted(name for name, pictures in stored.items() if len(pictures) >= 5)
    names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).astype(int))]
    network = build_recognition()
    return {name: _describe(network, stored[name]) for name in names}


def _describe(network, pictures):
    margin = records.MARGIN
    images = [np.asarray(Image.open(io.BytesIO(picture)), np.float32) / 255 for picture in pictures]
    images = np.stack([image[margin:-margin, margin:-margin] for image in images])
    found = ops.convert_to_numpy(describe(network, images))
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def errors(people, own, others):
    """Shares (lost, let in) of albums with `own` photos of a person and `others` of as many other people."""
    rng = np.random.default_rng(0)
    lost = entered = albums = 0
    for index, photos in enumerate(people):
        if len(photos) < own:
            continue
        for _ in range(DRAWS):
            mine = photos[rng.choice(len(photos), own, replace=False)]
            strangers = rng.choice(np.delete(np.arange(len(people)), index), others, replace=False)
            theirs = np.stack([people[k][rng.integers(len(people[k]))] for k in strangers])
            likeness = sightings.find_person(np.concatenate([mine, theirs]), np.arange(own + others))[1]
            lost += (likeness[:own] < sightings.LIKENESS).sum()
            entered += (likeness[own:] >= sightings.LIKENESS).sum()
            albums += 1
    return lost / (albums * own), entered / (albums * others)


if __name__ == "__main__":
    main()
