"""Whether different photos of a person give the same shape: one half of a person's photos against the other half.

Real photos, without a truth. A shape that says nothing of the person is consistent too, so the same distance is
measured to the shapes of other people: a method is better where the own other half is near and the others are far.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tf_deep3d.data.preparation import split_of
from tf_deep3d.data.rendered.people import generator
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.protocols import Protocol, folder_of, whole
from tf_deep3d.evaluation.report import Results
from tf_deep3d.evaluation.result_files import read_details, result_folder
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io import photos
from tf_deep3d.io.tables import read_csv
from tf_deep3d.rendering import clay

VERSION = 1
SEED = 3307
PHOTOS = 20  # of a person, at most
HELD_OUT = 0.1  # share of the people whom trainings keep for validation (`preparation.split_of`)


def consistency(folder: str | Path, list: str | Path | None = None, held_out: float = HELD_OUT) -> Protocol:
    """The protocol.

    Args:
      folder: with a folder of photos for each person.
      list: .csv with the columns identity and file (relative to `folder`), instead of what lies there.
      held_out: share of the people, by name, as of `prepare --validation`; 1 for all.

    Returns:
      `Protocol`; a case is a half of a person's photos.

    Raises:
      FileNotFoundError: if the folder or the list is missing, or nobody has two photos.
      InputError: for a list without the columns or a share that is none.
    """
    folder = folder_of(folder, "the folder of people is")
    if not 0 < held_out <= 1:
        raise InputError(f"the share of the people must be in (0, 1]. Received: {held_out}")
    found = _listed(list, folder) if list else _in_folders(folder)
    listed = {name: shown for name, shown in found.items() if split_of(name, held_out) == "validation" or held_out == 1}
    chosen = {name: [photo for photo in shown if photo.is_file()] for name, shown in listed.items()}
    lacking = [f"a second photo of {name}" for name, shown in chosen.items() if len(shown) < 2]
    lacking += [str(photo) for name, shown in listed.items() for photo in shown if photo not in chosen[name]]
    entries = [(name, half, _half(shown, half)) for name, shown in chosen.items() if len(shown) > 1 for half in (0, 1)]
    layout = "NAME/*.jpg for each person, or a --list with such files"
    remark = whole(entries, lacking, folder, layout)

    def make(entry: tuple[str, int, tuple[Path, ...]], pictures: Path) -> Case:
        name, half, shown = entry
        return Case(f"{name}_{'ab'[half]}", name, None, shown, _measure, (), True)

    return Protocol(
        f"consistency {VERSION}, {PHOTOS} photos", entries, make, remark, detail=1, recognition=False,
        brief=("same_person", "other_people", "halves_ratio", "recognized"), finish=compare,
    )  # fmt: skip


def _half(shown: Sequence[Path], half: int) -> tuple[Path, ...]:
    order = generator(SEED, len(shown)).permutation(len(shown))[:PHOTOS]
    return tuple(shown[i] for i in sorted(order[half::2]))


def _listed(path: str | Path, folder: Path) -> dict[str, list[Path]]:
    """Name -> photos, of a list."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"the list is a .csv file with the columns identity and file. Received: {path}")
    rows = [(row["identity"], folder / row["file"]) for row in read_csv(path, ["identity", "file"])[1]]
    found = {}
    for name, photo in sorted(rows):
        found.setdefault(name, []).append(photo)
    return found


def _in_folders(folder: Path) -> dict[str, list[Path]]:
    return {
        each.name: sorted(path for path in each.iterdir() if path.suffix.lower() in photos.SUFFIXES)
        for each in sorted(folder.iterdir())
        if each.is_dir()
    }


def _measure(prediction: Prediction) -> Measurement:
    """Nothing but a picture: there is no truth."""
    if prediction.neutral is None:
        raise InputError("the method gives no neutral shape. Received: a mesh only")
    return Measurement({}, np.zeros(0), partial(_drawn, prediction))


def _drawn(prediction: Prediction) -> np.ndarray:
    vertices, triangles = np.asarray(prediction.neutral) / MILLIMETRES, prediction.triangles
    around = geometry.corners_around(triangles, len(vertices))
    return clay.picture(vertices, triangles, geometry.vertex_normals(vertices[None], triangles, around)[0])


def compare(folder: Path, results: Results) -> None:
    """Adds to every result how far its shape is from the person's other half and from those of other people.

    Distances in mm (the mean over other people), their ratio, and whether the own half is the nearest of all.
    """
    for method, rows in results.items():
        rows = [row for row in rows if row["numbers"]]
        details = [read_details(result_folder(folder, method), row["picture"]) for row in rows]
        kept = [each.neutral for each in details if each.neutral is not None]
        people = np.array([row["group"] for row in rows])
        far = metrics.shape_distances(np.stack(kept)) if kept else np.zeros((0, 0))
        for i, row in enumerate(rows):
            same = (people == people[i]) & (np.arange(len(rows)) != i)
            others = people != people[i]
            if same.any() and others.any():
                near, away = far[i, same].mean(), far[i, others].mean()
                row["numbers"] |= {
                    "same_person": float(near),
                    "other_people": float(away),
                    "halves_ratio": float(near / max(away, 1e-12)),
                    "recognized": float(far[i, same].min() < far[i, others].min()),
                }
