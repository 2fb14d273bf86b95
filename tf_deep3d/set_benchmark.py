"""Sets of photos of one person with known neutral shape, as in table 5 of Deng et al. 2019: twenty poses of a grid.

The people of the open benchmark who make no face, its scan, and members of the face model (`model_people`). Every
picture of a person has its own light; the scan keeps the light that it was scanned in.

Letters: M photos of a set.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d import archive, model_people, morphable_model, open_benchmark, pipeline, rendered_people
from tf_deep3d.files import writing
from tf_deep3d.photos import PhotoError

NAME = "open sets"
VERSION = 1  # of the subjects and pictures, besides those of the open benchmark
FIRST_MEMBER = 1000  # number of the first member of the face model, for the seeds
FIRST_SEED = 100  # of the pictures of a subject; those of the open benchmark are lower
PEOPLE, SCAN, MEMBERS = "people", "scan", "members of the model"


class Subject(NamedTuple):
    """Who is photographed: kind (`PEOPLE`, `SCAN` or `MEMBERS`), number for the seeds, `open_benchmark.Subject`."""

    kind: str
    number: int
    who: open_benchmark.Subject


class PhotoSet(NamedTuple):
    """The photos of a subject in which a face was found.

    Attributes:
      angles: [M, 3] pitch, yaw, roll in degrees, true.
      crops: [M, 224, 224, 3] float32, aligned, RGB in [0, 1].
      total: number of photos taken.
    """

    angles: np.ndarray
    crops: np.ndarray
    total: int


def load(members=0, path=None):
    """(name with version, list of `Subject`) with so many members of the face model.

    Raises:
      open_benchmark.BenchmarkError, ValueError, FileNotFoundError: see `open_benchmark.load`.
    """
    if members < 0:
        raise ValueError(f"the number of members must not be negative. Received: {members}")
    benchmark = open_benchmark.load(path=path)
    known = {view.subject.name: view.subject for view in benchmark.views}
    found = [
        Subject(SCAN if who.lit else PEOPLE, number, who)
        for number, who in enumerate(known.values())
        if not who.expressive
    ]
    if members:
        model = morphable_model.load(level=1)
        drawn = model_people.subjects(model, rendered_people.load_head(model), members)
        found += [Subject(MEMBERS, FIRST_MEMBER + number, who) for number, who in enumerate(drawn)]
    return f"{NAME} {VERSION}, {benchmark.name}", found


def photograph(name, subject, folder, model):
    """The `PhotoSet` of a `Subject`; pictures and crops are kept in `folder` and read from there the next time.

    Args:
      name: of `load`.
      subject: `Subject`.
      folder: path.
      model: `MorphableModel`, for the alignment.

    Raises:
      ValueError: if the folder holds pictures of another version.
    """
    path = Path(folder) / f"{subject.who.name}.npz"
    if path.is_file():
        arrays = archive.read_arrays(path)
        if str(arrays.get("benchmark")) != name:
            raise ValueError(f"{path} holds pictures of another version than {name!r}. Received: {arrays['benchmark']}")
    else:
        views = open_benchmark.views_at(
            subject.number, subject.who, open_benchmark.grid(subject.who.name), FIRST_SEED
        )
        found = [(view, _crop(view, Path(folder) / subject.who.name, model)) for view in views]
        found = [(view, crop) for view, crop in found if crop is not None]
        arrays = {
            "benchmark": np.array(name),
            "total": np.int64(len(views)),
            "angles": np.array([view.angles for view, _ in found]).reshape(-1, 3),
            "crops": np.array([crop for _, crop in found]).reshape(-1, *[pipeline.IMAGE_SIZE] * 2, 3),
        }
        archive.write_arrays(path, arrays)
    return PhotoSet(arrays["angles"], arrays["crops"].astype(np.float32) / np.float32(255), int(arrays["total"]))


def _crop(view, folder, model):
    """The aligned face [224, 224, 3] uint8 of a view; None where no face is found."""
    path = folder / f"{view.name}.png"
    if not path.is_file():
        with writing(path) as file:
            Image.fromarray(open_benchmark.picture(view)).save(file, "png")
    try:
        image = pipeline.portraits_of(path, model)[0].crop.image
    except (pipeline.NoFaceError, PhotoError):
        return None
    return np.rint(255 * image).astype(np.uint8)
