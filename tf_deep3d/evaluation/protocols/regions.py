"""Errors by region of the face: FaceWarehouse and REALY.

- FaceWarehouse (Cao et al. 2014): Tester_1/TrainingPose/pose_0.obj to pose_19.obj, one expression each, with pose_0.png
  beside it; 150 people. From public readers of the set. Published figures are of 9 people and two regions, S and L
  (Tewari et al. 2017, Deng et al. 2019); neither which people nor which vertices was to be found. So all people are
  taken unless some are chosen, and the regions are those of regions_S.txt and regions_L.txt in the set's folder
  (indices of vertices, which all its meshes share), or else what lies within `SMALL` and `LARGE` mm of the nose tip.
  The landmarks may lie in landmarks.txt in the set's folder, for all meshes.
- REALY (Chai et al. 2022), 100 people: REALY_image/crop_image_frontal_512x512/1.png, the photo of person 1 (or 1_2.png,
  another view), REALY_HIFI3D_keypoints/1.obj, 85 points of which the first 68 are ibug68, and
  REALY_scan_region/1/nose.obj, mouth.obj, forehead.obj, cheek.obj; metrical_scale.txt, a row for each person, comes
  with the code. From github.com/czh-98/REALY and programs that read the set. Here all regions together find the scale,
  then each is aligned rigidly by itself, and its points are measured to the surface. The published measure then deforms
  the region onto the mesh to find better correspondences; that step is left out here, so the figures do not compare
  with published ones.
"""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, registration
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.measuring import ICP_POINTS, Measurement, Prediction, align, mean, pictures
from tf_deep3d.evaluation.mesh_files import read_indices, read_mesh, read_numbers, read_points
from tf_deep3d.evaluation.point_to_surface import surface_distances
from tf_deep3d.evaluation.protocols import Protocol, folder_of, joined, whole
from tf_deep3d.evaluation.protocols.surfaces import ScanFile, face_region, plane_distances, scan_at, shown
from tf_deep3d.evaluation.scans import guessed_unit
from tf_deep3d.face import geometry
from tf_deep3d.face.landmarks import COUNT, INNER_FACE
from tf_deep3d.io.photos import SUFFIXES

SMALL, LARGE = 70.0, metrics.CROP_RADIUS  # mm around the nose tip
POSES = 20
REGIONS = ("nose", "mouth", "forehead", "cheek")
FRONTAL = "crop_image_frontal_512x512"
KEYPOINTS = 85


def facewarehouse(
    folder: str | Path, frame: np.ndarray, unit: float | None = None, people: Sequence[int] | None = None
) -> Protocol:
    """FaceWarehouse; `people` are the numbers of the chosen ones."""
    folder = folder_of(folder, "the folder of FaceWarehouse is")
    there = {int(m[1]): entry for entry in folder.iterdir() if (m := re.fullmatch(r"Tester_(\d+)", entry.name))}
    entries, lacking = [], []
    for person in sorted(there) if people is None else people:
        if person not in there:
            lacking.append(f"Tester_{person}")
            continue
        for number in range(POSES):
            scan = there[person] / "TrainingPose" / f"pose_{number}.obj"
            photo = next((each for end in (".png", ".jpg", ".bmp") if (each := scan.with_suffix(end)).is_file()), None)
            if scan.is_file() and photo:
                entries.append((person, number, photo, scan))
            else:
                lacking.append(f"Tester_{person}/TrainingPose/pose_{number}.{'png' if scan.is_file() else 'obj'}")
    remark = whole(entries, lacking, folder, "Tester_N/TrainingPose/pose_0.obj and pose_0.png to pose_19")
    files = [folder / f"regions_{letter}.txt" for letter in "SL"]
    own = [path.is_file() for path in files]
    if not all(own):
        remark = joined(
            remark, f"Regions S and L are within {SMALL:g} and {LARGE:g} mm of the nose tip, not the published ones."
        )
    shared = folder / "landmarks.txt"
    shared = shared if shared.is_file() else None

    def make(entry: tuple[int, int, Path, Path], pictures: Path) -> Case:
        person, number, photo, scan = entry

        def measure(prediction: Prediction) -> Measurement:
            file = ScanFile(scan, frame, shared, unit)
            truth = scan_at(file)
            regions = []
            for path, there, radius in zip(files, own, (SMALL, LARGE), strict=True):
                near = face_region(file, radius)
                regions.append(read_indices(path, len(near)) if there else near)
            small, *_ = plane_distances(prediction, truth, regions[0])
            large, aligned, normals = plane_distances(prediction, truth, regions[1])
            picture = partial(shown, prediction, aligned, normals, truth, regions[1], large.point)
            numbers = {"point_small": mean(small.point), "point_large": mean(large.point), "coverage": large.coverage}
            return Measurement(numbers, large.point, picture)

        title = f"Tester_{person}_pose_{number}"
        return Case(title, f"Tester_{person}", None, (photo,), measure, ("neutral" if number == 0 else "expressive",))

    return Protocol(f"FaceWarehouse, {'own' if all(own) else 'round'} regions, 1", entries, make, remark)


def realy(folder: str | Path, frame: np.ndarray, unit: float | None = None, images: str = FRONTAL) -> Protocol:
    """REALY; `images` is the folder of photos within REALY_image."""
    folder = folder_of(folder, "the folder of REALY is")
    shown = folder_of(folder / "REALY_image" / images, "the photos of REALY are")
    names = {path.stem: path for path in sorted(shown.iterdir()) if path.suffix.lower() in SUFFIXES}
    names = {stem: path for stem, path in names.items() if re.fullmatch(r"\d+(_\w+)?", stem)}
    entries, lacking = [], []
    for stem, photo in sorted(names.items(), key=lambda item: (int(item[0].split("_")[0]), item[0])):
        person = stem.split("_")[0]
        files = [folder / "REALY_HIFI3D_keypoints" / f"{person}.obj"]
        files += [folder / "REALY_scan_region" / person / f"{name}.obj" for name in REGIONS]
        missing = [str(path.relative_to(folder)) for path in files if not path.is_file()]
        if missing:
            lacking += missing
        else:
            entries.append((stem, person, photo, files))
    layout = (
        f"REALY_image/{images}/1.png, REALY_HIFI3D_keypoints/1.obj and REALY_scan_region/1/nose.obj, mouth.obj, ..."
    )
    remark = whole(entries, list(dict.fromkeys(lacking)), folder, layout)
    scales = folder / "metrical_scale.txt"
    known = read_numbers(scales, float) if scales.is_file() else None
    remark = joined(
        remark, "Regions are aligned rigidly, without REALY's deformation: not comparable with published figures."
    )

    def make(entry: tuple[str, str, Path, list[Path]], pictures: Path) -> Case:
        stem, person, photo, files = entry

        def measure(prediction: Prediction) -> Measurement:
            scale = unit
            if scale is None and known is not None and int(person) <= len(known):
                scale = float(known[int(person) - 1])
            return by_region(prediction, files[0], files[1:], frame, scale)

        return Case(stem, person, None, (photo,), measure, neutral=True)

    return Protocol("REALY, rigid regions, 1", entries, make, remark)


def by_region(
    prediction: Prediction, keypoints: Path, regions: Sequence[Path], frame: np.ndarray, unit: float | None = None
) -> Measurement:
    """`Measurement` of a prediction against the regions of a scan of REALY.

    Args:
      prediction: `Prediction`.
      keypoints: file of the scan's 85 points.
      regions: files of the `REGIONS`.
      frame: [68, 3] mm, the face model's landmarks.
      unit: of the scan in mm, see `scans.load_scan`.
    """
    points = read_points(keypoints)
    if len(points) != KEYPOINTS:
        raise InputError(f"{keypoints} must hold {KEYPOINTS} points. Received: {len(points)}")
    landmarks = points[:COUNT]
    scale = guessed_unit(landmarks) if unit is None else unit
    move = registration.similarity_from_landmarks(scale * landmarks[INNER_FACE], frame[INNER_FACE], scale=False)
    landmarks = move.apply(scale * landmarks)
    parts, count = [], 0
    for path in regions:
        vertices, triangles = read_mesh(path)
        vertices = move.apply(scale * vertices)
        around = geometry.corners_around(triangles, len(vertices))
        parts.append((vertices, triangles + count, geometry.vertex_normals(vertices[None], triangles, around)[0]))
        count += len(vertices)
    everything, triangles, facing = (np.concatenate(each) for each in zip(*parts, strict=True))
    truth = (everything, triangles, facing)
    aligned, turned = align(prediction, everything, facing, landmarks)
    numbers, errors = {}, []
    for name, (vertices, _, normals) in zip(REGIONS, parts, strict=True):
        pick = np.linspace(0, len(vertices) - 1, min(ICP_POINTS, len(vertices))).round().astype(int)
        stay = registration.Similarity3D(1.0, np.eye(3), np.zeros(3))
        own = registration.icp(aligned, turned, vertices[pick], normals[pick], stay, scale=False)
        errors.append(surface_distances(own.apply(aligned), prediction.triangles, vertices))
        numbers[name] = mean(errors[-1])
    numbers["regions"] = math.fsum(numbers.values()) / len(REGIONS)
    errors = np.concatenate(errors)
    return Measurement(numbers, errors, partial(pictures, (aligned, prediction.triangles, turned), truth, errors))
