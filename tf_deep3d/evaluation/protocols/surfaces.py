"""Measures predictions against scans: what the protocols with geometry have in common.

Letters: V vertices, P points.
"""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics
from tf_deep3d.evaluation.measuring import Measurement, Prediction, align, mean, pictures
from tf_deep3d.evaluation.point_to_surface import surface_distances
from tf_deep3d.evaluation.scans import Scan, load_scan, nose_tip
from tf_deep3d.face.landmarks import COUNT, INNER_EYE_CORNERS, NOSE_BASE, eye_distance

KEPT = 2  # scans in memory


class ScanFile(NamedTuple):
    """Where a scan lies, and how it is read.

    Attributes:
      path: of the mesh.
      frame: [68, 3] mm, the face model's landmarks.
      landmarks: file, or None: see `scans.load_scan`.
      unit: mm, or None: see there.
    """

    path: Path
    frame: np.ndarray
    landmarks: Path | None = None
    unit: float | None = None


def scan_at(file: ScanFile) -> Scan:
    """`scans.load_scan`, which keeps the last few."""
    return _kept(*_key(file))


def face_region(file: ScanFile, radius: float = metrics.CROP_RADIUS) -> np.ndarray:
    """[V] bool: the scan's vertices within `radius` mm of the nose tip that are seen from the front or the sides."""
    scan = scan_at(file)
    return metrics.within(scan.vertices, nose_tip(scan), radius) & _seen(*_key(file))


def _key(file: ScanFile) -> tuple[Path, bytes, Path | None, float | None]:
    """The same as something that can be looked up."""
    return file.path, np.ascontiguousarray(file.frame, np.float64).tobytes(), file.landmarks, file.unit


@lru_cache(maxsize=KEPT)
def _kept(path: Path, frame: bytes, landmarks: Path | None, unit: float | None) -> Scan:
    return load_scan(path, np.frombuffer(frame).reshape(COUNT, 3), landmarks, unit)


@lru_cache(maxsize=KEPT)
def _seen(path: Path, frame: bytes, landmarks: Path | None, unit: float | None) -> np.ndarray:
    scan = _kept(path, frame, landmarks, unit)
    return metrics.visible(scan.vertices, scan.triangles)


def challenge_region(scan: Scan, factor: float) -> np.ndarray:
    """[V] bool: the round face region of the FG 2018 and NoW challenges.

    Around a point three tenths of the way from the nose's base up to between the inner corners of the eyes; the radius
    is `factor` times the mean of that length and the distance of the outer corners.
    """
    bridge = scan.landmarks[list(INNER_EYE_CORNERS)].mean(0)
    base = scan.landmarks[NOSE_BASE]
    apart = eye_distance(scan.landmarks)
    radius = factor * (apart + np.linalg.norm(bridge - base)) / 2
    return metrics.within(scan.vertices, base + 0.3 * (bridge - base), radius)


def to_plane(prediction: Prediction, scan: Scan, region: np.ndarray) -> Measurement:
    """Deng et al. 2019: ICP with scale on the region, then point-to-plane RMSE; `Measurement`."""
    far, aligned, normals = plane_distances(prediction, scan, region)
    numbers = {
        "plane_rmse": metrics.root_mean_square(far.plane),
        "point_mean": mean(far.point[np.isfinite(far.plane)]),
        "coverage": far.coverage,
    }
    return Measurement(numbers, far.plane, partial(shown, prediction, aligned, normals, scan, region, far.plane))


def plane_distances(
    prediction: Prediction, scan: Scan, region: np.ndarray
) -> tuple[metrics.Distances, np.ndarray, np.ndarray]:
    """`metrics.Distances` of the region's points from the aligned prediction, its vertices [V, 3] and their normals."""
    points = scan.vertices[region]
    aligned, normals = align(prediction, points, scan.normals[region], scan.landmarks)
    return metrics.distances(aligned, prediction.triangles, normals, points), aligned, normals


def to_surface(prediction: Prediction, scan: Scan, region: np.ndarray, refine: bool = True) -> Measurement:
    """Distances of the region's points from the surface, as the two challenges measure them; `Measurement`.

    Args:
      prediction: `Prediction`.
      scan: `Scan`.
      region: [V] bool.
      refine: move the prediction by ICP after the landmarks.
    """
    points = scan.vertices[region]
    if not len(points):
        raise InputError("the scan has no points around its landmarks. Received: an empty region")
    steps: dict[str, Any] = {} if refine else {"steps": 0}
    aligned, normals = align(prediction, points, scan.normals[region], scan.landmarks, **steps)
    far = surface_distances(aligned, prediction.triangles, points)
    numbers = {
        "surface_median": float(np.median(far)),
        "surface_mean": mean(far),
        "surface_rmse": metrics.root_mean_square(far),
    }
    return Measurement(numbers, far, partial(shown, prediction, aligned, normals, scan, region, far))


def shown(
    prediction: Prediction, aligned: np.ndarray, normals: np.ndarray, scan: Scan, region: np.ndarray, errors: np.ndarray
) -> np.ndarray:
    """The picture of a `Measurement`; `errors` are those of the region's points."""
    everywhere = np.full(len(scan.vertices), np.nan)
    everywhere[region] = errors
    return pictures((aligned, prediction.triangles, normals), (scan.vertices, scan.triangles, scan.normals), everywhere)
