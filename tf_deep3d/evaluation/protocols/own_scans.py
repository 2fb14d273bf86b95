"""A folder of scans of one's own: rendered at known poses and lights, and photos that lie beside them.

    FOLDER/anna.obj                 a scan; the person is called anna
    FOLDER/ben/head.ply             a scan of the person ben
    FOLDER/ben/photos/office.jpg    a photo of ben; of anna they would lie in FOLDER/anna/photos/

Scans are .obj with a texture or coloured vertices, or .ply with coloured vertices. Landmarks may lie beside a scan
(`scans.LANDMARK_SUFFIXES`, e.g. head.txt), or they are looked for on a rendering; and the indices of the vertices
where it may be measured, e.g. without hair (head_measured.txt). People whose names differ in a number
at the end, as scan01 and scan02, are one kind in the tables.

A scan that is coloured is shown as it is, in the light of its colours; with `albedo`, and without colours, in the grey
of clay tinted as skin, it is lit by one of `lights.LIGHTS` after the other. What is measured at is the surface that is
seen from the front and the sides, within 95 mm of the nose tip, without eyes and the inside of the mouth.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import face_areas, metrics, open_benchmark, registration
from tf_deep3d.evaluation.benchmark import Case, kind_section, view_picture, yaw_section
from tf_deep3d.evaluation.lights import LIGHTS
from tf_deep3d.evaluation.measuring import Measurement, Prediction, Truth, align, mean, remembering
from tf_deep3d.evaluation.protocols import Protocol, folder_of, found_at
from tf_deep3d.evaluation.protocols.surfaces import plane_distances, shown
from tf_deep3d.evaluation.scans import SKIN_TONE, Scan, guessed_unit, load_scan, nose_tip
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import COUNT
from tf_deep3d.io import photos
from tf_deep3d.io.files import folder_names, sha256

VERSION = 1
SUFFIXES = (".obj", ".ply")
PHOTOS = "photos"  # folder of a person's photos
YAWS, PITCHES = (-60, -30, 0, 30, 60), (0,)  # degrees
FIRST, FIRST_SEED = 3000, 500  # number of the first person, of a person's first picture, for the seeds


class Entry(NamedTuple):
    """A picture that is made of a scan, at `angles`, or a photo beside it.

    Attributes:
      name: of the case.
      person: whom it shows.
      scan: path.
      number: of the scan, from 0.
      angles: pitch, yaw, roll in degrees, or None for a photo.
      light: in `lights.LIGHTS`, for a scan that is lit.
      photo: path, or None for a picture that is made.
    """

    name: str
    person: str
    scan: Path
    number: int
    angles: tuple[float, float, float] | None = None
    light: str = ""
    photo: Path | None = None


class Subject(NamedTuple):
    """A scan that is ready: the `Scan`, [V] bool where it is measured, and what is rendered."""

    scan: Scan
    region: np.ndarray
    who: open_benchmark.Subject


def scans(
    folder: str | Path,
    frame: np.ndarray,
    unit: float | None = None,
    yaws: Sequence[float] = YAWS,
    pitches: Sequence[float] = PITCHES,
    albedo: bool = False,
) -> Protocol:
    """The protocol.

    Args:
      folder: see above.
      frame: [68, 3] mm, the face model's landmarks.
      unit: of the scans in mm, see `scans.load_scan`.
      yaws, pitches: degrees of the pictures: each with each.
      albedo: the scans' colours are albedo: light them.

    Raises:
      FileNotFoundError: if there is no such folder, or no scan in it.
      InputError: for angles from which no face is seen.
    """
    folder = folder_of(folder, "the folder of scans is")
    if not yaws or not pitches or not all(abs(angle) <= 90 for angle in (*yaws, *pitches)):
        raise InputError(f"yaws and pitches must lie in [-90, 90] degrees. Received: {list(yaws)}, {list(pitches)}")
    found = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if _is_scan(path))
    if not found:
        expected = f"NAME{SUFFIXES[0]} or NAME{SUFFIXES[1]}, or folders with them,"
        raise FileNotFoundError(f"{expected} expected in {folder}. Received: {found_at(folder)}")
    entries = [
        entry
        for number, (path, name) in enumerate(zip(found, _names(found, folder), strict=True))
        for entry in _entries(path, name, number, folder, [(p, y, 0.0) for p in pitches for y in yaws])
    ]
    beside = sum(entry.photo is not None for entry in entries)
    measured = remembering()
    subject = lru_cache(maxsize=2)(lambda path: _subject(path, frame, unit, albedo))

    def make(entry: Entry, pictures: Path) -> Case:
        ready = subject(entry.scan)
        path, sections = entry.photo, ("photos",)
        if path is None:
            assert entry.angles is not None, "what is no photo is rendered at a pose"
            pose = {entry.name: entry.angles}
            (view,) = open_benchmark.views_at(FIRST + entry.number, ready.who, pose, FIRST_SEED)
            view = view._replace(light="" if ready.who.lit else entry.light)
            path = view_picture(view, pictures)
            sections = ("rendered", *yaw_section(entry.angles[1]))
        points, normals = ready.scan.vertices[ready.region], ready.scan.normals[ready.region]

        def measure(prediction: Prediction) -> Measurement:
            return measured(str(entry.scan), prediction, lambda: measure_scan(prediction, ready))

        return Case(
            entry.name, entry.person, entry.angles, (path,), measure, (kind_section(entry.person), *sections),
            neutral=entry.photo is not None, truth=partial(Truth, points, normals, ready.scan.landmarks),
        )  # fmt: skip

    people = len({entry.person for entry in entries})
    lit = "; those whose colours are albedo, or that have none," if albedo else "; those without colours"
    remark = (
        f"{len(found)} scans of {people} people at pitch {_listed(pitches)} x yaw {_listed(yaws)} degrees{lit} are lit "
        f"by turns by {', '.join(LIGHTS)}; {beside} photos. Eyes and the inside of the mouth are left out. Signed "
        "errors are positive where the reconstruction stands out."
    )
    name = f"own scans {VERSION}.{open_benchmark.RENDERING}, {folder.resolve().name} {_fingerprint(folder)[:8]}"
    options = f"pitch {_listed(pitches)}, yaw {_listed(yaws)}{', albedo' * albedo}"
    brief = ("plane_rmse", "rigid_rmse", "vertex_rmse", *(f"{name}_signed" for name in face_areas.AREAS))
    return Protocol(f"{name}, {options}", entries, make, remark, brief=brief)


def _is_scan(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.parent.name != PHOTOS and path.is_file()


def _names(found: Sequence[Path], folder: Path) -> list[str]:
    """A name for each scan, of which files may be made: ben_head of ben/head.ply."""
    flat = [Path("_".join(path.relative_to(folder).parts)) for path in found]
    return [_clean(name) for name in folder_names(flat)]


def _clean(name: str) -> str:
    return re.sub(r"[^\w.+-]", "-", name)


def _entries(
    path: Path, name: str, number: int, folder: Path, poses: Sequence[tuple[float, float, float]]
) -> list[Entry]:
    """The pictures of a scan, and the photos beside it."""
    person = path.stem if path.parent == folder else path.parent.name
    kinds = list(LIGHTS)
    made = [
        Entry(
            f"{name}_pitch{pose[0]:+03g}_yaw{pose[1]:+03g}", person, path, number, pose,
            kinds[(number + i) % len(kinds)],
        )
        for i, pose in enumerate(poses)
    ]  # fmt: skip
    beside = folder / person / PHOTOS
    shown = sorted(photos.photos_in(beside)) if beside.is_dir() else []
    made += [
        Entry(f"{name}_{_clean(title)}", person, path, number, photo=photo)
        for title, photo in zip(folder_names(shown), shown, strict=True)
    ]
    return made


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _fingerprint(folder: Path) -> str:
    """Changes with any file of the folder: results of other scans are not these."""
    known = sorted(path for path in folder.rglob("*") if path.is_file())
    text = "\n".join(f"{path.relative_to(folder)} {sha256(path)}" for path in known)
    return hashlib.sha256(text.encode()).hexdigest()


def _subject(path: Path, frame: np.ndarray, unit: float | None, albedo: bool) -> Subject:
    """Reads a scan; `InputError` if it is unusable."""
    scan = load_scan(path, frame, unit=unit, colored=True)
    near = metrics.within(scan.vertices, nose_tip(scan)) & metrics.visible(scan.vertices, scan.triangles)
    region = near & scan.measured & face_areas.outside_eyes_and_mouth(scan.vertices, scan.landmarks)
    if not region.any():
        raise InputError(f"{path} must have a surface around the nose that is seen from the front. Received: none")
    colors = np.full(scan.vertices.shape, SKIN_TONE) if scan.colors is None else scan.colors
    who = open_benchmark.subject(
        path.stem, scan.vertices / MILLIMETRES, scan.triangles, region, 255 * colors, scan.landmarks / MILLIMETRES,
        lit=scan.colors is not None and not albedo,
    )  # fmt: skip
    return Subject(scan, region, who)


def measure_scan(prediction: Prediction, truth: Subject) -> Measurement:
    """`Measurement` of a prediction: as `surfaces.to_plane`, the same without scale, vertex to vertex, signed errors.

    Vertices are compared where the prediction has the scan's own triangles.
    """
    scan, region, _ = truth
    points, normals = scan.vertices[region], scan.normals[region]
    far, aligned, turned = plane_distances(prediction, scan, region)
    marks = np.full((COUNT, 3), np.nan)
    marks[prediction.anchor_indices] = prediction.anchors
    unit = guessed_unit(marks)
    sized = prediction._replace(vertices=unit * prediction.vertices, anchors=unit * prediction.anchors)
    rigid, facing = align(sized, points, normals, scan.landmarks, scale=False)
    numbers = {
        "plane_rmse": metrics.root_mean_square(far.plane),
        "rigid_rmse": metrics.root_mean_square(metrics.distances(rigid, prediction.triangles, facing, points).plane),
        "point_mean": mean(far.point[np.isfinite(far.plane)]),
        "coverage": far.coverage,
    }
    if np.array_equal(prediction.triangles, scan.triangles):
        own = np.asarray(prediction.vertices, np.float64)[region]
        moved = registration.similarity_from_landmarks(own, points).apply(own)
        numbers["vertex_rmse"] = float(np.sqrt(((moved - points) ** 2).sum(1).mean()))
    for name, inside in face_areas.areas(points, scan.landmarks).items():
        numbers[f"{name}_signed"] = mean(far.signed[inside & np.isfinite(far.signed)])
    return Measurement(numbers, far.plane, partial(shown, prediction, aligned, turned, scan, region, far.plane))
