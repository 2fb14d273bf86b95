"""Aligned faces to calibrate and to check exported models with.

Real photos are best: the ranges of the activations are chosen by them. Without any, rendered people serve.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.data import records, tfrecord
from tf_deep3d.data.records import MARGIN
from tf_deep3d.errors import InputError
from tf_deep3d.face import head, morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import photos

COUNT = 96  # crops that are enough
LEAST = 24  # crops without which int8 is guesswork
CHECKED = 3  # every third crop checks what the others calibrate
SEED = 20260


def rendered(count: int = COUNT) -> Iterator[np.ndarray]:
    """`count` crops of random rendered people, iterable of [224, 224, 3] uint8."""
    from tf_deep3d.data.rendered import people as rendered_people
    from tf_deep3d.data.rendered import pictures as rendered

    model = morphable_model.load(level=head.LEVEL)
    made = rendered.render_people(rendered.Settings(count, SEED), model, rendered_people.load_head(model), count)
    for record in tqdm(made, "rendering", count, disable=None):
        yield _center(record["image"])


def of_records(folder: Path, count: int = COUNT) -> Iterator[np.ndarray]:
    """The first `count` faces of a folder of records, in turns of its shards."""
    found = records.open_records(folder)
    opened = [tfrecord.open_shard(shard.path).take(shard.count) for shard in found.shards[:count]]  # none is empty
    serialized = [dataset.as_numpy_iterator() for dataset in opened]
    while serialized and count > 0:
        for shard in list(serialized):
            example = next(shard, None)
            if example is None:
                serialized.remove(shard)
            elif count > 0:
                count -= 1
                yield _center(records.parse(example)["image"].numpy())


def of_photos(paths: Sequence[Path], model: MorphableModel, count: int = COUNT) -> Iterator[np.ndarray]:
    """The largest face of each of `count` photos, evenly spread; those without one are named on standard error."""
    from tf_deep3d.reconstruction.portraits import NoFaceError, portraits_of

    for path in tqdm(paths[:: max(len(paths) // count, 1)][:count], "aligning", disable=None):
        try:
            with command_line.quiet():
                portrait = portraits_of(path, model)[0]
        except (photos.PhotoError, NoFaceError, OSError) as error:
            tqdm.write(f"{path}: {error}", file=sys.stderr)
            continue
        yield np.rint(255 * portrait.crop.image).astype(np.uint8)


def gather(source: Path | None, model: MorphableModel) -> tuple[np.ndarray, np.ndarray]:
    """Crops to calibrate with and crops to check with, no photo in both.

    Args:
      source: folder of records or of photos; None for rendered people.
      model: `MorphableModel`, by whose five points photos are aligned.

    Returns:
      (calibration [N, 224, 224, 3] uint8, check [M, 224, 224, 3] uint8).

    Raises:
      InputError: if there are fewer than `LEAST`.
      FileNotFoundError: if there is no such folder, or no photo in it.
    """
    if source is None:
        found = rendered()
    elif (source / records.DATASET_FILE).is_file():
        found = of_records(source)
    else:
        found = of_photos(photos.find_photos(source), model)
    return split(found, source)


def split(crops: Iterable[np.ndarray], source: str | Path | None = "an iterable") -> tuple[np.ndarray, np.ndarray]:
    """`gather` of an iterable of crops [224, 224, 3] uint8."""
    crops = np.stack([*crops, np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)])[:-1]
    if len(crops) < LEAST:
        raise InputError(
            f"at least {LEAST} faces are needed to calibrate and to check. Received: {len(crops)} of {source}"
        )
    check = np.arange(len(crops)) % CHECKED == 0
    return crops[~check], crops[check]


def _center(picture: np.ndarray) -> np.ndarray:
    return picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
