"""MediaPipe's face networks on LiteRT: BlazeFace proposes faces, the mesh finds 468 points quickly, the attention mesh
478 well, lids, lips and irises above all, and a last network reads facial units off these.

The .tflite files (Apache-2.0, `assets/mediapipe_NOTICE.md`) are assets of the package, or stand in a folder that the
caller names. Anchors, decoding and regions follow the published graphs of MediaPipe. Every network but the last sees a
square of the photo, given as a `Similarity` from photo pixels to the network's input pixels.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5). "Right" and "left" are the person's.
Letters: N candidates, A anchors.
"""

import math
from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from tf_deep3d import assets
from tf_deep3d.errors import InputError
from tf_deep3d.face.blendshapes import ARKIT
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.face.landmarks import DENSE_COUNT
from tf_deep3d.litert import open_interpreter

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
EYE_CORNERS = ((33, 133), (362, 263))  # image-left, image-right corner of the right and of the left eye
NOSE_TIP, MOUTH_CORNERS = 4, (61, 291)
MESH_POINTS = 468
# Points of the attention mesh that the network of the blendshapes sees, and ARKit's units in the order of its answers:
# all but `tongueOut`. (The attention mesh has a score of it, which sees tongues where there are none.)
# fmt: off
BLENDSHAPE_POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, *range(468, 478),
])
# fmt: on
BLENDSHAPES = tuple(name for name in ARKIT if name != "tongueOut")  # what the network answers

CANDIDATE_SCORE = 0.5  # BlazeFace's own threshold
ROI_FACTOR = 1.5  # crop side over box side, for boxes of BlazeFace and of the landmarks
MESH_FILE, MESH_SIZE = "face_landmark.tflite", 192
ATTENTION_FILE, ATTENTION_SIZE = "face_landmarks_detector.tflite", 256
BLENDSHAPES_FILE = "face_blendshapes.tflite"
SMALLEST_SIDE = 1e-3  # px of the photo; keeps regions of degenerate points usable
# Added to the mesh's x, y, in px of its input: it counts from pixel centres. x is measured: so a mirrored photo has
# mirrored points; the attention mesh needs nothing.
MESH_OFFSET = np.array([0.7, 0.5])

Folder: TypeAlias = str | PathLike[str] | None  # of the networks, see `model_file`
Picture: TypeAlias = np.ndarray | Image.Image  # a photo: [H, W, 3] uint8, or what `as_picture` made of it


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
# File -> shape of the input, lengths of the outputs, largest first.
NETWORKS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    FULL_RANGE.file: ((192, 192, 3), (36864, 2304)),
    SHORT_RANGE.file: ((128, 128, 3), (14336, 896)),
    MESH_FILE: ((192, 192, 3), (1404, 1)),
    ATTENTION_FILE: ((256, 256, 3), (1434, 1, 1)),
    BLENDSHAPES_FILE: ((146, 2), (52,)),
}


def model_file(name: str, folder: Folder = None) -> Path:
    """Path of the .tflite file `name` in `folder`, by default among the package's assets.

    Raises:
      FileNotFoundError: there is no such file.
      assets.AssetError: it is one of the package's, but not as it was shipped.
    """
    path = assets.find(name) if folder is None else Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} must hold MediaPipe's networks. Received: no {name}")
    return assets.checked(path)


# (file name, folder, threads) -> interpreters nobody uses now; append and pop are atomic
_idle: defaultdict[tuple[str, Folder, int], deque["_Network"]] = defaultdict(deque)


class _Network(NamedTuple):
    """An interpreter with the indices of its input and outputs, the largest first."""

    interpreter: Any
    takes: int
    gives: list[int]


@contextmanager
def _lend(name: str, folder: Folder, threads: int) -> Generator[_Network]:
    """Lends an interpreter to one thread at a time; kept for the life of the process."""
    try:
        lent = _idle[name, folder, threads].pop()
    except IndexError:
        lent = _open(model_file(name, folder), threads)
    try:
        yield lent
    finally:
        _idle[name, folder, threads].append(lent)


def _open(path: Path, threads: int) -> _Network:
    """The `_Network` in the file of one of `NETWORKS`; InputError if it is damaged or another network."""
    interpreter = open_interpreter(path, threads)
    takes = tuple(interpreter.get_input_details()[0]["shape"][1:].tolist())
    outputs = [(math.prod(output["shape"].tolist()), output["index"]) for output in interpreter.get_output_details()]
    outputs.sort(key=lambda output: -output[0])
    gives = tuple(length for length, _ in outputs)
    if (takes, gives) != NETWORKS[path.name]:
        raise InputError(f"{path} must take and give {NETWORKS[path.name]} numbers. Received: {(takes, gives)}")
    return _Network(interpreter, interpreter.get_input_details()[0]["index"], [index for _, index in outputs])


def run(name: str, values: np.ndarray, folder: Folder = None, threads: int = 1) -> list[np.ndarray]:
    """Runs network `name` of `NETWORKS` on float32 `values` of its input's shape; its outputs, flat, largest first.

    Only the attention mesh is large enough to gain by more than one of `threads`.

    Raises:
      FileNotFoundError: see `model_file`.
      InputError: the file is damaged, or another network.
    """
    with _lend(name, folder, threads) as network:
        network.interpreter.set_tensor(network.takes, np.asarray(values[None], np.float32))
        network.interpreter.invoke()
        return [network.interpreter.get_tensor(index).reshape(-1) for index in network.gives]


@lru_cache
def _anchors(detector: BlazeFace) -> np.ndarray:
    """Anchor centres [A, 2] in the detector's input pixels, row by row, map by map."""
    centres = []
    for cells, per_cell in detector.grids:
        ticks = (np.arange(cells) + 0.5) * detector.size / cells
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres).astype(np.float32)


def as_picture(image: Picture) -> Image.Image:
    """Pillow's form of a photo, of which views are cut quickly: who needs several converts it once."""
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def view(image: Picture, transform: Similarity, size: int, border: str = "zeros") -> np.ndarray:
    """What a network sees of the photo: box means over whole pixels, then bilinear samples; quick rather than fine.

    Args:
      image: `Picture`.
      transform: `Similarity`, photo px -> input px.
      size: S, side of the input in pixels.
      border: "zeros" leaves what lies outside the photo black, "edge" repeats its last pixels, up to 2 S.

    Returns:
      [S, S, 3] float32 in [0, 1].
    """
    image = as_picture(image)
    extent = np.array(image.size)
    back = transform.inverse()
    corners = back.apply(np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64))
    reach = 2.0 * max(back.scale, 1.0) + 1.0
    low = np.clip(np.floor(corners.min(axis=0) - reach), 0, extent - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + reach), low + 1, extent).astype(int)
    box = (*low.tolist(), *high.tolist())
    step = max(min(int(back.scale), *(high - low).tolist()), 1)
    part = image.reduce(step, box) if step > 1 else image.crop(box)
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


def propose(image: Picture, detector: BlazeFace, region: Similarity, folder: Folder = None) -> Candidates:
    """Runs one BlazeFace on one region of the photo.

    Args:
      image: `Picture`.
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


def square_region(centre: np.ndarray, side: float, angle: float, size: int) -> Similarity:
    """Similarity that maps a square of the photo, turned by `angle` radians about its `centre`, onto `size` px."""
    turn = Similarity(size / side, -angle)
    x, y = size / 2 - turn.apply(centre)
    return Similarity(turn.scale, turn.rotation, (float(x), float(y)))


def _angle(start: Sequence[float] | np.ndarray, end: Sequence[float] | np.ndarray) -> float:
    return math.atan2(end[1] - start[1], end[0] - start[0])


def mesh(image: Picture, region: Similarity, folder: Folder = None) -> tuple[np.ndarray, float]:
    """The quick face mesh of one region; its lids never close.

    Args:
      image: `Picture`.
      region: `Similarity`, photo px -> `MESH_SIZE` px.
      folder: of the networks, see `model_file`.

    Returns:
      (points [468, 3] in photo px, logit that the region shows an upright face).
    """
    values, logit = run(MESH_FILE, view(image, region, MESH_SIZE, border="edge"), folder)
    points = values.reshape(MESH_POINTS, 3)
    back = region.inverse()
    points = np.concatenate([back.apply(points[:, :2] + MESH_OFFSET), points[:, 2:] * back.scale], axis=1)
    return points, float(logit[0])


def attention_mesh(
    image: Picture, region: Similarity, folder: Folder = None, threads: int = 1
) -> tuple[np.ndarray, float]:
    """The fine face mesh of one region, with irises, and lids and lips that close (Grishchenko et al. 2020).

    Args:
      image: `Picture`.
      region: `Similarity`, photo px -> `ATTENTION_SIZE` px.
      folder: of the networks, see `model_file`.
      threads: of the network.

    Returns:
      (points [478, 3] in photo px, logit that the region shows a face).
    """
    seen = view(image, region, ATTENTION_SIZE, border="edge")
    values, logit, _tongue = run(ATTENTION_FILE, seen, folder, threads)
    points = values.reshape(DENSE_COUNT, 3)
    back = region.inverse()
    points = np.concatenate([back.apply(points[:, :2]), points[:, 2:] * back.scale], axis=1)
    return points, float(logit[0])


def blendshapes(points: np.ndarray, folder: Folder = None) -> np.ndarray:
    """Weights [51] float32 in [0, 1] of the `BLENDSHAPES`.

    Args:
      points: [478, 2+] px of the attention mesh; their size and place in the photo do not matter, their turn a little.
      folder: of the networks, see `model_file`.
    """
    return run(BLENDSHAPES_FILE, points[BLENDSHAPE_POINTS, :2], folder)[0][1:]  # the first one is unused


def region_of_box(box: np.ndarray, keypoints: np.ndarray, size: int) -> Similarity:
    """The region of `size` px for a box [4] and key points [6, 2] of BlazeFace."""
    side = max(ROI_FACTOR * (box[2:] - box[:2]).max(), SMALLEST_SIDE)
    return square_region((box[:2] + box[2:]) / 2, side, _angle(*keypoints[:2]), size)


def region_of_landmarks(points: np.ndarray, size: int) -> Similarity:
    """The region of `size` px for points [468+, 2+] of an earlier pass: their box, turned like the line of the eyes."""
    points = points[:MESH_POINTS, :2]
    angle = _angle(points[EYE_CORNERS[0][0]], points[EYE_CORNERS[1][1]])
    upright = Similarity(1.0, -angle)
    turned = upright.apply(points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = upright.inverse().apply((low + high) / 2)
    return square_region(centre, max(ROI_FACTOR * (high - low).max(), SMALLEST_SIDE), angle, size)


def turned_region(region: Similarity, angle: float) -> Similarity:
    """A region of the mesh turned by `angle` radians about its centre."""
    centre = region.inverse().apply(np.array([MESH_SIZE / 2, MESH_SIZE / 2]))
    return square_region(centre, MESH_SIZE / region.scale, angle - region.rotation, MESH_SIZE)


def sigmoid(logits: Any) -> Any:
    """Probability of a logit."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))
