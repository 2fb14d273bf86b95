"""Photos with 68 known landmarks: AFLW2000-3D and sets in the form of 300W.

- AFLW2000-3D (Zhu et al. 2016), 2,000 photos: image00002.jpg with image00002.mat beside it, which holds pt3d_68 [3,
  68], x and y in px counted from 1, and Pose_Para [1, 7], pitch, yaw and roll in radians first. The matrix of these
  angles is Rx Ry Rz with the opposite signs (`angle2matrix_3ddfa` in mesh/transform.py of github.com/yfeng95/face3d),
  in a frame like ours. NME over the box, in bins of yaw; the published mean is that of the three bins, and some tables
  take 696 balanced photos instead of all.
- 300W (Sagonas et al. 2013) and its like: NAME.pts beside each photo, a header (version, n_points), then rows x y in
  braces, counted from 1. NME over the distance of the outer corners of the eyes.

The jaw of 300W is the visible outline of the face, that of AFLW2000-3D the edge of the jaw in three dimensions; a
method that tells both is measured with the kind that a set has.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import io as matlab

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics
from tf_deep3d.evaluation.benchmark import Case, yaw_section
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.protocols import Protocol, folder_of, whole
from tf_deep3d.face import geometry
from tf_deep3d.face.landmarks import JAW
from tf_deep3d.io import photos
from tf_deep3d.rendering import pictures

YAW_BINS = ((0, 30), (30, 60), (60, 91))  # degrees
FIRST_PIXEL = -0.5  # added to coordinates that count pixel centres from 1
MAX_BYTES = 16 << 20  # of a .mat
MOST = 16  # numbers of a pose
SIZE = 384  # px, longer side of the stored pictures
TRUTH, PREDICTED = (0, 200, 60), (230, 40, 40)
_PHOTO = tuple(suffix for suffix in photos.SUFFIXES if suffix != ".gif")


def aflw2000(folder: str | Path) -> Protocol:
    """AFLW2000-3D."""
    folder = folder_of(folder, "the folder of AFLW2000-3D is")
    entries, lacking = _pairs(folder.glob("*.mat"), folder)
    remark = whole(entries, lacking, folder, "image00002.jpg and image00002.mat")

    def make(entry: tuple[Path, Path], folder: Path) -> Case:
        photo, path = entry
        truth, angles, yaw = read_mat(path)
        return _case(photo.stem, photo, truth, tuple(angles.tolist()), yaw_section(yaw, YAW_BINS), "box")

    return Protocol("AFLW2000-3D, 2", entries, make, remark)


def pts(folder: str | Path) -> Protocol:
    """Photos with .pts files beside them, at any depth; the first folder is the section."""
    folder = folder_of(folder, "the folder of photos with landmarks is")
    entries, lacking = _pairs(folder.rglob("*.pts"), folder)
    remark = whole(entries, lacking, folder, "NAME.pts with NAME.png or NAME.jpg beside it")

    def make(entry: tuple[Path, Path], _: Path) -> Case:
        photo, path = entry
        below = photo.relative_to(folder)
        section = below.parts[:-1][:1]
        title = "_".join(below.with_suffix("").parts)
        return _case(title, photo, read_pts(path), None, section, "eyes")

    return Protocol("300W landmarks, 2", entries, make, remark)


def read_mat(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """What a file of AFLW2000-3D says.

    Returns:
      Landmarks [68, 2] px; pitch, yaw, roll [3] in degrees, both in our conventions; the set's own yaw in degrees, by
      which its bins go.

    Raises:
      InputError: if the file is too large or something else.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} may have {MAX_BYTES} bytes at most. Received: {path.stat().st_size}")
    try:
        # Numbers alone are read; MATLAB's files hold no code that SciPy would run. Compressed ones can be large.
        shapes = {name: shape for name, shape, _ in matlab.whosmat(path, appendmat=False)}
        if shapes["pt3d_68"] != (3, 68) or math.prod(shapes["Pose_Para"]) > MOST:
            raise ValueError(f"{shapes['pt3d_68']} and {shapes['Pose_Para']}")
        arrays = matlab.loadmat(path, appendmat=False, variable_names=("pt3d_68", "Pose_Para"))
        points, pose = np.array(arrays["pt3d_68"], float), np.array(arrays["Pose_Para"], float).ravel()
    except Exception as error:  # untrusted: whatever SciPy finds wrong with it
        raise InputError(
            f"{path} must hold pt3d_68 and Pose_Para. Received: {type(error).__name__}: {error}"
        ) from error
    if points.shape != (3, 68) or len(pose) < 3 or not (np.isfinite(points).all() and np.isfinite(pose).all()):
        raise InputError(f"{path} must hold pt3d_68 [3, 68] and Pose_Para [7]. Received: {points.shape}, {pose.shape}")
    # Rx(-p) Ry(-y) Rz(-r) is the inverse of our Rz(r) Ry(y) Rx(p).
    rotation = geometry.rotation_matrix(pose[None, :3]).swapaxes(1, 2)
    return points[:2].T + FIRST_PIXEL, np.degrees(geometry.angles_of(rotation)[0]), float(np.degrees(pose[1]))


def read_pts(path: Path) -> np.ndarray:
    """Landmarks [68, 2] px, in our convention, of a .pts file.

    Raises:
      InputError: if the file is something else.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} may have {MAX_BYTES} bytes at most. Received: {path.stat().st_size}")
    inside = re.search(r"\{([^}]*)\}", path.read_text(encoding="utf-8", errors="replace"))
    try:
        points = np.array(inside[1].split() if inside else [], float).reshape(-1, 2)
    except ValueError as error:
        raise InputError(f"{path} must hold rows x y in braces. Received: {error}") from error
    if len(points) != 68 or not np.isfinite(points).all():
        raise InputError(f"{path} must hold 68 rows x y in braces. Received: {len(points)}")
    return points + FIRST_PIXEL


def _pairs(files: Iterable[Path], folder: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Photos that lie beside `files`, and what lacks."""
    entries, lacking = [], []
    for path in sorted(files):
        photo = next((each for end in _PHOTO if (each := path.with_suffix(end)).is_file()), None)
        if photo:
            entries.append((photo, path))
        else:
            lacking.append(f"the photo of {path.relative_to(folder)}")
    return entries, lacking


def _case(
    title: str,
    photo: Path,
    truth: np.ndarray,
    angles: tuple[float, ...] | None,
    sections: tuple[str, ...],
    normalization: str,
) -> Case:
    def measure(prediction: Prediction) -> Measurement:
        predicted = prediction.landmarks
        if predicted is None:
            raise InputError("the method gives no landmarks. Received: a shape only")
        if normalization == "box" and prediction.jaw_line is not None:
            predicted = np.concatenate([prediction.jaw_line, predicted[JAW.stop :]])
        found = metrics.landmark_nme(predicted[None], truth[None], normalization)[0]
        numbers = {f"nme_{normalization}": float(found)}
        if angles is not None and prediction.angles is not None:
            numbers["pose"] = float(metrics.pose_errors(prediction.angles, angles).mean())
        return Measurement(numbers, np.zeros(0), lambda: _dots(photos.read_photo(photo), truth, predicted))

    face = tuple(truth.mean(0).tolist())  # others may be in the photo
    return Case(title, title, angles, (photo,), measure, sections, face=face)


def _dots(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The photo around the face with both sets of landmarks."""
    middle, reach = truth.mean(0), 0.9 * float(np.ptp(truth, axis=0).max())
    low = np.clip(np.floor(middle - reach), 0, np.array(image.shape[1::-1]) - 1).astype(int)
    high = np.clip(np.ceil(middle + reach), low + 1, image.shape[1::-1]).astype(int)
    part = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    factor = SIZE / max(part.size)
    part = np.asarray(part.resize([max(1, round(n * factor)) for n in part.size], Image.Resampling.BICUBIC))
    return pictures.draw_points(
        part, [((each - low) * factor, color) for each, color in ((truth, TRUTH), (predicted, PREDICTED))]
    )
