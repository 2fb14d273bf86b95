"""Scans of people with photos or videos: MICC Florence, BU-3DFE, Stirling, and a list of one's own.

Layouts were learnt from programs that read the sets:

- MICC Florence (Bagdanov et al. 2011), 53 people: subject_01/Model/frontal1/obj/110920150452.obj (also frontal2) and
  subject_01/Video/Indoor-Cooperative.mjpg, PTZ-Indoor.mjpeg, PTZ-Outdoor.mjpeg; frames that ffmpeg took out lie in a
  folder of the video's name. From public readers of the set, and the README in data/micc of
  github.com/eduardramon/hyperparams-free-3D-losses. The scans have no landmarks.
- BU-3DFE (Yin et al. 2006), 100 people: F0001/F0001_NE00WH_F3D.wrl and F0001_NE00WH_F2D.bmp; NE00 is neutral, WH says
  the ethnicity. From public readers of the set. The 83 points of the .bnd files are not used: what they mean is not
  written anywhere that we found.
- Stirling ESRC as in the FG 2018 challenge (Feng et al. 2018): F_3D_N/F1001_N.obj and M_3D_N/..., the seven landmarks
  in annotations/F_3D_N/F1001_N.lnd of github.com/patrikhuber/fg2018-competition, from which the measure is known too.
  How the photos are named was not to be found: any photos in HQ/ and LQ/ are taken whose names begin with a scan's
  letter and number.

Where a scan has no landmarks they are looked for on a rendering, or read from a file beside it (`scans.load_scan`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, open_benchmark
from tf_deep3d.evaluation.benchmark import Case, view_picture, yaw_section
from tf_deep3d.evaluation.measuring import Measurement, Prediction, measure_view
from tf_deep3d.evaluation.protocols import Protocol, folder_of, whole
from tf_deep3d.evaluation.protocols.surfaces import (
    ScanFile,
    challenge_region,
    face_region,
    scan_at,
    to_plane,
    to_surface,
)
from tf_deep3d.evaluation.scans import load_scan, nose_tip
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io import photos
from tf_deep3d.io.files import writing
from tf_deep3d.io.tables import read_csv
from tf_deep3d.reconstruction.clip import video
from tf_deep3d.rendering import clay

SEQUENCES = ("Indoor-Cooperative", "PTZ-Indoor", "PTZ-Outdoor")
FRONTAL = ("frontal1", "frontal2")
VIDEO_SUFFIXES = (".mjpg", ".mjpeg", ".avi", ".mp4", ".mov", ".mkv")
FRAMES = 20  # of a video, evenly spread
STIRLING_RADIUS = 1.2  # see `challenge_region`
COLUMNS = ("photos", "scan", "landmarks", "group", "section")
_PHOTO = tuple(suffix for suffix in photos.SUFFIXES if suffix != ".gif")


def micc(folder: str | Path, frame: np.ndarray, unit: float | None = None, frames: int = FRAMES) -> Protocol:
    """MICC Florence: one case for each person and video; the shapes of the frames are averaged."""
    entries, lacking = [], []
    for subject in _subjects(folder):
        scan = _scan_of(subject)
        clips = {name: clip for name in SEQUENCES if (clip := _clip(subject / "Video", name))}
        if not scan:
            lacking.append(f"{subject.name}/Model/frontal1/obj/*.obj")
            continue
        lacking += [f"{subject.name}/Video/{name}.*" for name in SEQUENCES if name not in clips]
        entries += [(subject.name, name, scan, clip) for name, clip in clips.items()]
    layout = (
        "subject_NN/Model/frontal1/obj/*.obj and subject_NN/Video/Indoor-Cooperative.*, PTZ-Indoor.*, PTZ-Outdoor.*"
    )

    def make(entry: tuple[str, str, Path, Path], pictures: Path) -> Case:
        subject, name, scan, clip = entry
        title = f"{subject}_{name}"
        found = _frames(clip, pictures / title, frames)
        return _case(title, subject, found, ScanFile(scan, frame, unit=unit), (name,))

    remark = whole(entries, lacking, folder, layout)
    return Protocol(f"MICC Florence, videos, {frames} frames, 1", entries, make, remark)


def micc_rendered(folder: str | Path, frame: np.ndarray, unit: float | None = None, together: bool = False) -> Protocol:
    """MICC Florence's scans, each rendered in 20 poses; `together`, one case of 20 pictures for each person."""
    scans = [(subject.name, scan) for subject in _subjects(folder) if (scan := _scan_of(subject))]
    layout = "subject_NN/Model/frontal1/obj/*.obj with its texture"
    remark = whole(scans, [], folder, layout)
    poses = len(open_benchmark.GRID_PITCHES) * len(open_benchmark.GRID_YAWS)
    entries = [(i, *scan, view) for i, scan in enumerate(scans) for view in ([None] if together else range(poses))]

    def make(entry: tuple[int, str, Path, int | None], pictures: Path) -> Case:
        number, name, path, view = entry
        views = _views(number, name, path, frame, unit)
        chosen = views if view is None else views[view : view + 1]
        found = tuple(view_picture(each, pictures) for each in chosen)
        if view is None:
            return Case(name, name, None, found, lambda given: measure_view(chosen[0], given), neutral=True)
        angles = tuple(chosen[0].angles.tolist())
        title, section = chosen[0].name, yaw_section(angles[1])
        return Case(title, name, angles, found, lambda given: measure_view(chosen[0], given), section, True)

    kind = "sets of 20" if together else "20 poses"
    return Protocol(f"MICC Florence, rendered, {kind}, 1.{open_benchmark.RENDERING}", entries, make, remark)


_LAST = {}  # the subject whose views were made last


def _views(number: int, name: str, path: Path, frame: np.ndarray, unit: float | None) -> list[open_benchmark.View]:
    key = (name, str(path), unit)
    if key not in _LAST:
        scan = load_scan(path, frame, unit=unit, colored=True)
        region = metrics.within(scan.vertices, nose_tip(scan)) & metrics.visible(scan.vertices, scan.triangles)
        colors = np.full(scan.vertices.shape, clay.COLOR) if scan.colors is None else scan.colors
        points = np.where(np.isfinite(scan.landmarks), scan.landmarks, np.nan) / MILLIMETRES
        who = open_benchmark.subject(
            name, scan.vertices / MILLIMETRES, scan.triangles, region, 255 * colors, points, lit=True
        )
        _LAST.clear()
        _LAST[key] = open_benchmark.views_of(number, who)
    return _LAST[key]


def bu3dfe(folder: str | Path, frame: np.ndarray, unit: float | None = None) -> Protocol:
    """BU-3DFE: the neutral frontal photo of each person against the neutral scan."""
    folder = folder_of(folder, "the folder of BU-3DFE is")
    scans = sorted(folder.glob("[FM][0-9]*/*_NE00??_F3D.wrl"))
    entries, lacking = [], []
    for scan in scans:
        stem = scan.name.replace("_F3D.wrl", "_F2D")
        photo = next((each for end in _PHOTO if (each := scan.with_name(stem + end)).is_file()), None)
        if photo:
            entries.append((scan.parent.name, photo, scan))
        else:
            lacking.append(f"{scan.parent.name}/{stem}.bmp")
    remark = whole(entries, lacking, folder, "F0001/F0001_NE00WH_F3D.wrl and F0001/F0001_NE00WH_F2D.bmp")

    def make(entry: tuple[str, Path, Path], pictures: Path) -> Case:
        person, photo, scan = entry
        sections = (f"sex: {'female' if person.startswith('F') else 'male'}", f"group: {scan.name[-10:-8]}")
        return _case(person, person, (photo,), ScanFile(scan, frame, unit=unit), sections)

    return Protocol("BU-3DFE, neutral frontal, 1", entries, make, remark)


def stirling(folder: str | Path, frame: np.ndarray, unit: float | None = None) -> Protocol:
    """Stirling ESRC: landmarks alone align, the distances are those to the surface, the main number is their RMSE."""
    folder = folder_of(folder, "the folder of Stirling's set is")
    scans = {_number(path): path for path in sorted(folder.glob("[FM]_3D_N/*.obj"))}
    entries, lacking = [], []
    for kind in ("HQ", "LQ"):
        shown = sorted(p for p in (folder / kind).rglob("*") if p.suffix.lower() in _PHOTO)
        if not shown:
            lacking.append(f"photos in {kind}/")
        for photo in shown:
            scan = scans.get(_number(photo))
            if scan is None:
                lacking.append(f"[FM]_3D_N/{_number(photo) or photo.stem}*.obj")
                continue
            marks = folder / "annotations" / scan.parent.name / f"{scan.stem}.lnd"
            if marks.is_file():
                entries.append((kind, photo, scan, marks))
            else:
                lacking.append(str(marks.relative_to(folder)))
    layout = "F_3D_N/F1001_N.obj, annotations/F_3D_N/F1001_N.lnd, and photos F1001*.jpg in HQ/ and LQ/"
    remark = whole(entries, list(dict.fromkeys(lacking)), folder, layout)

    def make(entry: tuple[str, Path, Path, Path], pictures: Path) -> Case:
        kind, photo, scan, marks = entry

        def measure(prediction: Prediction) -> Measurement:
            truth = scan_at(ScanFile(scan, frame, marks, unit))
            return to_surface(prediction, truth, challenge_region(truth, STIRLING_RADIUS), refine=False)

        title = "_".join(photo.relative_to(folder).with_suffix("").parts)
        return Case(title, _number(photo), None, (photo,), measure, (kind,), True)

    return Protocol("Stirling, FG 2018, 1", entries, make, remark)


def listed(path: str | Path, frame: np.ndarray, unit: float | None = None, neutral: bool = False) -> Protocol:
    """Scans of one's own: a .csv with the columns photos (several separated by ;) and scan.

    And, where wanted, landmarks (of the scan), group (the person, by default whose scan it is) and section. Paths count
    from the .csv.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the list is a .csv file with the columns {', '.join(COLUMNS)}. Received: {path}")
    columns, rows = read_csv(path)
    if not {"photos", "scan"} <= set(columns) <= set(COLUMNS):
        raise InputError(
            f"{path} must have the columns photos and scan, and may have {', '.join(COLUMNS[2:])}. Received: {columns}"
        )
    entries, lacking = [], []
    for number, row in enumerate(rows, 2):
        shown = tuple(path.parent / name.strip() for name in row["photos"].split(";") if name.strip())
        files = [*shown, path.parent / row["scan"]]
        files += [path.parent / row["landmarks"]] if row.get("landmarks") else []
        missing = [str(each) for each in files if not each.is_file()]
        if missing or not shown:
            lacking.append(f"line {number}: {', '.join(missing) or 'no photo'}")
        else:
            marks = path.parent / row["landmarks"] if row.get("landmarks") else None
            entries.append((number, shown, path.parent / row["scan"], marks, row.get("group"), row.get("section")))
    remark = whole(entries, lacking, path, "rows whose files exist")

    def make(entry: tuple[Any, ...], pictures: Path) -> Case:
        number, shown, scan, marks, group, section = entry
        title = f"{number:05d}_{shown[0].stem}"
        sections = (section,) if section else ()
        return _case(title, group or str(scan), shown, ScanFile(scan, frame, marks, unit), sections, neutral)

    return Protocol(f"list {path.name}, 1", entries, make, remark)


def _case(
    name: str,
    group: str,
    shown: Sequence[Path],
    scan: ScanFile,
    sections: tuple[str, ...] = (),
    neutral: bool = True,
) -> Case:
    """A case that is measured as the paper does."""

    def measure(prediction: Prediction) -> Measurement:
        return to_plane(prediction, scan_at(scan), face_region(scan))

    return Case(name, group, None, tuple(shown), measure, sections, neutral)


def _subjects(folder: str | Path) -> list[Path]:
    folder = folder_of(folder, "the folder of MICC Florence is")
    return sorted(entry for entry in folder.glob("subject_*") if entry.is_dir())


def _scan_of(subject: Path) -> Path | None:
    """The first frontal scan of a person of MICC Florence, or None."""
    return next((path for kind in FRONTAL for path in sorted((subject / "Model" / kind).rglob("*.obj"))), None)


def _clip(folder: Path, name: str) -> Path | None:
    """A video, or a folder of its frames, or None."""
    if (folder / name).is_dir():
        return folder / name
    return next((path for end in VIDEO_SUFFIXES if (path := folder / f"{name}{end}").is_file()), None)


def _frames(clip: Path, folder: Path, count: int) -> list[Path]:
    """Paths of `count` evenly spread frames; those of a video are written into `folder` unless they are there."""
    if clip.is_dir():
        found = sorted(photos.photos_in(clip), key=video.natural_order)
        return [found[i] for i in _spread(len(found), count)]
    if not (folder / "whole").is_file():
        # The number of frames that a video claims is not to be relied on: it is read twice.
        total = sum(1 for _ in video.read_frames(clip))
        wanted = set(_spread(total, count))
        for number, each in enumerate(video.read_frames(clip)):
            if number in wanted:
                with writing(folder / f"{number:06d}.png", overwrite=True) as file:
                    Image.fromarray(each.image).save(file, "png")
        with writing(folder / "whole", overwrite=True):
            pass
    return sorted(folder.glob("*.png"))


def _spread(total: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def _number(path: Path) -> str:
    """F1001 of f1001b_N.obj; empty text if a name begins otherwise."""
    match = re.match(r"([FM]\d+)", path.name.upper())
    return match[1] if match else ""
