"""Prepared records of synthetic faces: what `prepare` would write, without photos."""

from dataclasses import replace

import numpy as np
from keras import ops

from tf_deep3d import face
from tf_deep3d.data import records, tfrecord
from tf_deep3d.face.camera import Camera
from tf_deep3d.rendering import renderer

TRAINING = """
data: {batch: 2, validation: 2, augmentation: {shift: 4}}
loss: {perceptual: 0, shape: 0.02}
optimization: {learning_rate: 1e-4, ema: 0.9, schedule: cosine}
level: 0
steps: 6
log_every: 1
validate_every: 2
save_every: 2
"""


def synthetic_records(model, count, seed=0, known=False, photos_each=1):
    """Serialized records of random faces of `model`.

    Args:
      model: `MorphableModel`.
      count: number of records.
      seed: of the random numbers.
      known: store the true coefficients.
      photos_each: records of one person, side by side.
    """
    layout = model.layout()
    drawn = layout.split(np.random.default_rng(seed).normal(size=(count, layout.total)).astype("float32"))
    truth = drawn._replace(
        angles=drawn.angles * 0.2, translation=drawn.translation * 0.03, illumination=drawn.illumination * 0.05
    )
    owners = np.arange(count) // photos_each
    truth = truth._replace(identity=truth.identity[owners * photos_each])
    seen = face.reconstruct(model, truth)
    dense = face.reconstruct(model, truth, landmarks="mediapipe478").landmarks
    images = ops.convert_to_numpy(renderer.render(seen, model.triangles, Camera()).image)
    margin = records.MARGIN
    images = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    pictures = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
    rows = layout.join(truth)
    return [
        records.encode(
            {
                "image": pictures[i],
                "skin": np.where(pictures[i].sum(-1) > 0, 255, 0).astype(np.uint8),
                "landmarks": seen.landmarks[i] + margin,
                "dense": dense[i] + margin,
                "person": f"person {seed}-{owners[i]}",
                "source": f"face {seed}-{i}",
                "transform": np.array([1, 0, 0, 0], np.float32),
                "coefficients": rows[i] if known else rows[i, :0],
            }
        )
        for i in range(count)
    ]


def write_records(folder, model, train, validation=0, shard=4, seed=0, known=False, photos_each=1):
    """A folder of records as `prepare` leaves it; returns `folder`."""
    shards = {}
    for offset, (split, count) in enumerate((("train", train), ("validation", validation))):
        examples = synthetic_records(model, count, seed + offset, known, photos_each) if count else []
        names = {f"{split}-{start}": examples[start : start + shard] for start in range(0, count, shard)}
        shards[split] = {name: tfrecord.write_shard(folder / name, part) for name, part in names.items()}
    records.write_dataset_json(folder, shards, {})
    return folder


def without_records(folder, count=3):
    """A folder whose only shard has the right hash but none of the `count` records that are listed; returns it."""
    empty = tfrecord.write_shard(folder / "train-empty", [])
    records.write_dataset_json(folder, {"train": {"train-empty": replace(empty, count=count)}}, {})
    return folder
