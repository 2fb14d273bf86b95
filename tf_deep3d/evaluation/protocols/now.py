"""The NoW challenge (Sanyal et al. 2019): its measure on the validation people, and the folder to send in.

Layout, from github.com/soubhiksanyal/now_evaluation (facts alone; its code may not be used freely) and programs that
read the set: imagepathsvalidation.txt with a line SUBJECT/multiview_neutral/IMG_0041.jpg for each photo (the line's
last three parts count); the photos in iphone_pictures/ (also inside final_release_version/ and
NoW_Dataset/final_release_version/); scans/SUBJECT/*.obj in mm; scans_lmks_onlypp/SUBJECT/*.pp, seven points that
MeshLab picked. A submission is SUBJECT/CHALLENGE/IMG_0041.obj with IMG_0041.npy beside it, the seven landmarks [7, 3]
on that mesh, all meshes neutral.

Measured here as there: crop around the face, landmarks, then the surface, distances of all points pooled over all
photos. The refinement is our ICP with scale instead of the original's minimiser of the same distances, so the last
digit differs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.mesh_files import ANCHORS, read_text
from tf_deep3d.evaluation.protocols import Protocol, folder_of, found_at, whole
from tf_deep3d.evaluation.protocols.surfaces import ScanFile, challenge_region, scan_at, to_surface
from tf_deep3d.evaluation.result_files import result_folder
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io.files import writing
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.mesh.obj import write_obj

LISTS = {"validation": "imagepathsvalidation.txt", "test": "imagepathstest.txt"}
CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")
PLACES = ("", "final_release_version", "NoW_Dataset/final_release_version")
RADIUS = 1.4  # see `challenge_region`


def now(
    folder: str | Path, frame: np.ndarray, unit: float | None = None, part: str = "validation", submission: bool = False
) -> Protocol:
    """The NoW challenge.

    Args:
      folder: of the data set.
      frame: [68, 3] mm, the face model's landmarks.
      unit: see `scans.load_scan`.
      part: "validation", or "test", whose scans nobody has: nothing is measured then.
      submission: whether a submission is written, which belongs to what the results are.
    """
    folder = folder_of(folder, "the folder of the NoW challenge is")
    roots = [folder / place for place in PLACES]
    lists = [path for root in roots if (path := root / LISTS[part]).is_file()]
    if not lists:
        raise FileNotFoundError(f"expected {LISTS[part]} in {folder}. Received: {found_at(folder)}")
    entries, lacking = [], []
    for line in read_text(lists[0]).split():
        parts = line.split("/")[-3:]
        if len(parts) < 3 or ".." in parts:
            raise InputError(f"{lists[0]} must hold lines SUBJECT/CHALLENGE/PHOTO. Received: {line}")
        name = "/".join(parts)
        photo = _first(roots, f"iphone_pictures/{name}")
        scan, marks = (
            _first(roots, f"scans/{parts[0]}", "*.obj"),
            _first(roots, f"scans_lmks_onlypp/{parts[0]}", "*.pp"),
        )
        if photo and (part == "test" or (scan and marks)):
            entries.append((parts, photo, None if part == "test" else scan, marks))
            continue
        lacking += [] if photo else [f"iphone_pictures/{name}"]
        lacking += [] if scan or part == "test" else [f"scans/{parts[0]}/*.obj"]
        lacking += [] if marks or part == "test" else [f"scans_lmks_onlypp/{parts[0]}/*.pp"]
    layout = "iphone_pictures/SUBJECT/CHALLENGE/*.jpg, scans/SUBJECT/*.obj and scans_lmks_onlypp/SUBJECT/*.pp"
    remark = whole(entries, list(dict.fromkeys(lacking)), folder, layout)

    def make(entry: tuple[list[str], Path, Path | None, Path | None], folder: Path) -> Case:
        (subject, challenge, photo), path, scan, marks = entry

        def measure(prediction: Prediction) -> Measurement:
            if scan is None:
                return Measurement({}, np.zeros(0))  # the truth is secret
            truth = scan_at(ScanFile(scan, frame, marks, unit))
            return to_surface(prediction, truth, challenge_region(truth, RADIUS))

        title = f"{subject}_{challenge}_{photo.rsplit('.', 1)[0]}"
        return Case(title, subject, None, (path,), measure, (challenge,), True)

    name = f"NoW challenge, {part}{', submission' if submission else ''}, 1"
    return Protocol(name, entries, make, remark, pooled=part == "validation")


def submitting(out: Path) -> Callable[[str, Case, Prediction], None]:
    """A function for `evaluation.run` that writes predictions into `out`/submission/METHOD as the challenge asks."""

    def write(method: str, case: Case, prediction: Prediction) -> None:
        subject, challenge = case.photos[0].parts[-3:-1]
        folder = out / "submission" / result_folder(out, method).name / subject / challenge
        mesh = Mesh(prediction.vertices, prediction.triangles)
        write_obj(folder / f"{case.photos[0].stem}.obj", mesh, name="face", overwrite=True)
        with writing(folder / f"{case.photos[0].stem}.npy", overwrite=True) as file:
            np.save(file, seven(prediction) * MILLIMETRES, allow_pickle=False)

    return write


def seven(prediction: Prediction) -> np.ndarray:
    """The challenge's seven landmarks [7, 3] of a prediction, in its own unit.

    Raises:
      InputError: if the prediction has not all of them.
    """
    place = {int(index): row for row, index in enumerate(prediction.anchor_indices)}
    missing = [int(index) for index in ANCHORS[7] if int(index) not in place]
    if missing:
        raise InputError(
            f"a submission needs the landmarks {ANCHORS[7].tolist()} of ibug68. Received: none for {missing}"
        )
    return np.asarray(prediction.anchors, float)[[place[int(index)] for index in ANCHORS[7]]]


def _first(roots: Sequence[Path], place: str, pattern: str | None = None) -> Path | None:
    """The first file at `place`, or in it by `pattern`, or None."""
    for root in roots:
        found = sorted((root / place).glob(pattern)) if pattern else [root / place]
        if found and found[0].is_file():
            return found[0]
    return None
