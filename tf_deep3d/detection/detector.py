"""Finds the faces of a photo and their landmarks, with MediaPipe's networks (`networks`).

photo -views-> BlazeFace -weighted NMS-> candidates -> turned crop -> quick mesh (468 points) -> crop again from these
points -> attention mesh (478 points with irises) -> `Detection`.

BlazeFace sees a face well when it fills a tenth to a half of its input, so a photo is searched in views: the whole
photo, then overlapping tiles of half, a quarter, ... of its side, and turned views where upright ones hold nothing.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5). "Right" and "left" are the person's.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d.detection import networks
from tf_deep3d.detection.networks import (
    EYE_CORNERS,
    FULL_RANGE,
    IBUG68,
    MESH_POINTS,
    MOUTH_CORNERS,
    NOSE_TIP,
    SHORT_RANGE,
    BlazeFace,
    Candidates,
    Folder,
    Picture,
)
from tf_deep3d.errors import InputError
from tf_deep3d.face.geometry import Similarity

PRESENCE = 2.0  # logit of the quick mesh from which its crop shows a face
SURE = 14.0  # logit of the attention mesh of a good crop: it has 94 % of portraits, turned ones reach 13.4
UPRIGHT = 24.0  # logit of the quick mesh from which the face is surely upright: 96 % of portraits, no turned one
TURN_GAIN = 6.0  # by which a turned region's logit must be higher: it is by 10 or more where the first one was wrong
SETTLED = math.radians(10)  # turn between two passes of the mesh from which a further pass follows
OVERLAP = 0.3  # intersection over union from which two boxes are one face
INSIDE = 0.7  # share of the smaller box inside the larger from which they are one face
TILE_STEP = 2 / 3  # step over tile side
TILE_FACES = 10  # tile side over the smallest face that is found in it
EASY_FACE = 0.12  # of a tile: where every face is larger, the photo is not searched in smaller tiles
QUICK_LEVELS = 3  # halvings of the tiles at most, unless thorough
SMALLEST_FACE = 24  # px

Proposer: TypeAlias = Callable[[Picture, BlazeFace, Similarity], Candidates]


class Detection(NamedTuple):
    """One face.

    Attributes:
      score: BlazeFace's probability times the mesh's, in [0, 1].
      box: [4] float32 x0, y0, x1, y1, the upright bounding box of the 468 mesh points, px.
      landmarks478: [478, 3] float32: x, y in px; z in px, smaller towards the camera, zero near the head's centre.
        0..467 the mesh, 468..472 the right iris, 473..477 the left one: centre, then the rim's image-right, top,
        image-left and bottom point.
      landmarks68: [68, 2] float32 px, the ibug points as far as the mesh has them: jaw points are
        three-dimensional and do not slide along the visible contour.
      points5: [5, 2] float32 px: right eye, left eye (half way between their corners, which stay where they are in a
        blink), nose tip, right and left mouth corner.
      folder: of the networks' files, None for the package's assets.
    """

    score: float
    box: np.ndarray
    landmarks478: np.ndarray
    landmarks68: np.ndarray
    points5: np.ndarray
    folder: Folder = None

    @property
    def blendshapes(self) -> np.ndarray:
        """Weights [51] float32 in [0, 1] of ARKit's units `networks.BLENDSHAPES`, read off the landmarks by a network
        when they are asked for: a witness beside the weights of the reconstructed expression."""
        return networks.blendshapes(self.landmarks478, self.folder)


def detect(
    image: np.ndarray,
    thorough: bool = False,
    smallest: float = SMALLEST_FACE,
    backend: str = "litert",
    folder: Folder = None,
) -> list[Detection]:
    """Finds the faces of a photo.

    The whole photo is searched first. Tiles of half its side follow if a face is small or none was found; then, only
    as long as none is found, views for faces that fill the photo, and views turned by 90, 180 and 270 degrees. Tiles
    of a quarter and an eighth follow as long as a face is small in the last ones, or none was found.

    Args:
      image: [H, W, 3] RGB, uint8 or float in [0, 1].
      thorough: search tiles down to `smallest` and all other views always: for groups and crowds.
      smallest: side in px of the smallest face box sought in tiles.
      backend: what proposes faces: "litert", or "mediapipe" for the same network run by the package mediapipe
        (`mediapipe_proposals`). The landmarks come from the same networks on LiteRT either way.
      folder: of the networks' files, by default the package's assets.

    Returns:
      list of `Detection`, largest box first, in px of `image`; empty if there is no face.

    Raises:
      InputError: on an image of another shape or type, an unknown backend, or a damaged network.
      FileNotFoundError: a network's file is missing.
      ExtraError: mediapipe, for its backend, is not installed.
    """
    image = _as_bytes(image)
    if not smallest > 0:
        raise InputError(f"smallest must be a positive number of pixels. Received: {smallest!r}")
    propose = _proposer(backend, folder)
    height, width = image.shape[:2]
    picture = networks.as_picture(image)
    found: list[Detection] = []
    for tile, regions in _stages(width, height, thorough, smallest):
        if found and not thorough:
            if tile is None:
                continue
            if min(_side(face.box) for face in found) > EASY_FACE * 2 * tile:  # all were large enough in larger tiles
                break
        proposals = [propose(picture, detector, region) for detector, region in regions]
        candidates = merge(Candidates(*(np.concatenate(column) for column in zip(*proposals, strict=True))))
        for score, box, keypoints in zip(*candidates, strict=True):
            if any(_same(box, face.box) for face in found):
                continue
            face = _landmark(picture, score, box, keypoints, folder)
            if face is not None:
                found = _add(found, face)
    return sorted(found, key=lambda face: _side(face.box), reverse=True)


def nearest(image: np.ndarray, folder: Folder = None, threads: int = 1) -> Detection | None:
    """The largest face of a photo, quicker than `detect` where it is a portrait, as before a phone's camera.

    The short-range network looks at the whole photo once, and the attention mesh at its largest face. Where that crop
    was not good enough the quick mesh comes first, as in `detect`, which follows itself only where no face fills
    `EASY_FACE` of the longer side. The landmarks differ from those of `detect` by 1 % of the eyes' distance.

    Args:
      image, folder: as of `detect`; so are the errors.
      threads: of the attention mesh, where it alone finds the face.

    Returns:
      `Detection`, or None if there is no face.
    """
    image = _as_bytes(image)
    height, width = image.shape[:2]
    region = whole_region(width, height, SHORT_RANGE.size)
    picture = networks.as_picture(image)
    candidates = merge(networks.propose(picture, SHORT_RANGE, region, folder))
    for score, box, keypoints in sorted(zip(*candidates, strict=True), key=lambda seen: -_side(seen[1])):
        if _side(box) < EASY_FACE * max(width, height):
            break
        sight = (picture, score, box, keypoints, folder)
        face = _glance(*sight, threads) or _landmark(*sight)
        if face is not None:
            return face
    return next(iter(detect(image, folder=folder)), None)


def refine(image: Picture, score: float, points: np.ndarray, folder: Folder = None) -> Detection:
    """What the attention mesh sees of a face.

    Its own logit is not asked: it doubts profiles (-13 at a yaw of 80 degrees) but shows them better than the quick
    mesh.

    Args:
      image: `Picture`.
      score: of the `Detection`.
      points: [468+, 2+] px, the mesh as an earlier pass found it.
      folder: as of `detect`.

    Returns:
      `Detection`.
    """
    region = networks.region_of_landmarks(points, networks.ATTENTION_SIZE)
    return describe(score, networks.attention_mesh(image, region, folder)[0], folder)


def describe(score: float, landmarks478: np.ndarray, folder: Folder = None) -> Detection:
    """`Detection` of its score, landmarks [478, 3] px and the networks' folder."""
    points = landmarks478[:, :2]
    eyes = [points[list(corners)].mean(axis=0) for corners in EYE_CORNERS]
    points5 = np.stack([*eyes, points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])
    box = np.concatenate([points[:MESH_POINTS].min(axis=0), points[:MESH_POINTS].max(axis=0)])
    box, dense, sparse, five = (np.asarray(a, np.float32) for a in (box, landmarks478, points[IBUG68], points5))
    return Detection(float(score), box, dense, sparse, five, folder)


def merge(candidates: Candidates, overlap: float = OVERLAP) -> Candidates:
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


def intersection_over_union(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Overlap in [0, 1] of `box` [4] with each of `boxes` [N, 4], x0 y0 x1 y1."""
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(-1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
    return shared / np.maximum(areas + np.clip(box[2:] - box[:2], 0, None).prod() - shared, 1e-12)


def whole_region(width: int, height: int, size: int, zoom: float = 1.0, turn: float = 0.0) -> Similarity:
    """Similarity that puts the whole photo, `turn` radians clockwise, in the middle of `size` x `size` pixels."""
    return networks.square_region(np.array([width / 2, height / 2]), max(width, height) / zoom, -turn, size)


def tile_regions(width: int, height: int, level: int, size: int) -> list[Similarity]:
    """Similarities of overlapping square tiles of the photo's longer side / 2^level, each onto `size` px."""
    side = max(width, height) / 2**level
    starts = []
    for length in (width, height):
        count = max(math.ceil((length - side) / (TILE_STEP * side)), 0) + 1
        starts.append(np.linspace(0, length - side, count) if count > 1 else [(length - side) / 2])
    return [networks.square_region(np.array([x, y]) + side / 2, side, 0.0, size) for y in starts[1] for x in starts[0]]


def _stages(
    width: int, height: int, thorough: bool, smallest: float
) -> Iterator[tuple[float | None, list[tuple[BlazeFace, Similarity]]]]:
    """Yields (tile side or None, [(detector, region)]): tiles ever smaller, and between them what is tried on nothing
    found (None): views for a face that fills the photo, and for faces that lie or hang."""
    full, short, longer = FULL_RANGE.size, SHORT_RANGE.size, max(width, height)
    levels = int(math.log2(max(longer / (TILE_FACES * smallest), 2)))
    for level in range((levels if thorough else min(levels, QUICK_LEVELS)) + 1):
        tiles = tile_regions(width, height, level, full) if level else [whole_region(width, height, full)]
        yield longer / 2**level, [(FULL_RANGE, tile) for tile in tiles]
        if level == 1:
            yield None, [(SHORT_RANGE, whole_region(width, height, short, zoom)) for zoom in (1.0, 0.6)]
            turns = [math.pi * quarter / 2 for quarter in (1, 2, 3)]
            yield None, [(FULL_RANGE, whole_region(width, height, full, turn=turn)) for turn in turns]


def _as_bytes(image: ArrayLike) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"image must be [H, W, 3] with at least one pixel. Received: {list(image.shape)}")
    if image.dtype == np.uint8:
        return image
    if np.issubdtype(image.dtype, np.floating):
        return np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    raise InputError(f"image must be uint8 or float in [0, 1]. Received: {image.dtype}")


def _proposer(backend: str, folder: Folder) -> Proposer:
    if backend == "litert":
        return partial(networks.propose, folder=folder)
    if backend == "mediapipe":
        from tf_deep3d.detection import mediapipe_proposals

        return mediapipe_proposals.propose
    raise InputError(f"backend must be 'litert' or 'mediapipe'. Received: {backend!r}")


def _glance(
    image: Picture, score: float, box: np.ndarray, keypoints: np.ndarray, folder: Folder, threads: int
) -> Detection | None:
    """The `Detection` of one candidate by the attention mesh alone; None where it is not sure, or turns the crop."""
    region = networks.region_of_box(box, keypoints, networks.ATTENTION_SIZE)
    landmarks478, presence = networks.attention_mesh(image, region, folder, threads)
    if presence < SURE or _turn(region, landmarks478) >= SETTLED:
        return None
    return describe(score * networks.sigmoid(presence), landmarks478, folder)


def _landmark(image: Picture, score: float, box: np.ndarray, keypoints: np.ndarray, folder: Folder) -> Detection | None:
    """The `Detection` of one candidate, turned if need be; None where the meshes see no face."""
    region = networks.region_of_box(box, keypoints, networks.MESH_SIZE)
    points, presence = _settled(image, region, networks.mesh(image, region, folder), folder)
    if presence < UPRIGHT:  # BlazeFace's eyes may be another thing on a face that lies or hangs
        turns = [networks.turned_region(region, eighth * math.pi / 4) for eighth in range(1, 8)]
        seen = [networks.mesh(image, turned, folder) for turned in turns]
        likeliest = max(range(len(turns)), key=lambda index: seen[index][1])
        turned = _settled(image, turns[likeliest], seen[likeliest], folder)
        points, presence = turned if turned[1] > presence + TURN_GAIN else (points, presence)
    return refine(image, score * networks.sigmoid(presence), points, folder) if presence >= PRESENCE else None


def _settled(
    image: Picture, region: Similarity, seen: tuple[np.ndarray, float], folder: Folder
) -> tuple[np.ndarray, float]:
    """What the quick mesh has `seen` of a region; of the region of its own points as long as that turns, and once where
    it is not surely upright; four times at most."""
    points, presence = seen
    for again in range(3):
        settled = presence < PRESENCE or _turn(region, points) < SETTLED
        if settled and (again or presence >= UPRIGHT):
            break
        region = networks.region_of_landmarks(points, networks.MESH_SIZE)
        points, presence = networks.mesh(image, region, folder)
    return points, presence


def _turn(region: Similarity, points: np.ndarray) -> float:
    """Radians, not negative, from a region to that of the points [468+, 2+] which were found in it."""
    refined = networks.region_of_landmarks(points, networks.MESH_SIZE)
    return abs(math.remainder(refined.rotation - region.rotation, 2 * math.pi))


def _side(box: np.ndarray) -> float:
    return float(np.sqrt(np.prod(box[2:] - box[:2])))


def _same(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether two boxes are one face: they overlap, or one lies in the other."""
    shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None).prod()
    smaller = max(min(np.prod(box[2:] - box[:2]), np.prod(other[2:] - other[:2])), 1e-12)
    return shared / smaller > INSIDE or intersection_over_union(box, other[None])[0] > OVERLAP


def _add(found: list[Detection], face: Detection) -> list[Detection]:
    """`found` with `face`, less those that are the same face with a lower score."""
    rivals = [index for index, other in enumerate(found) if _same(face.box, other.box)]
    if any(found[index].score >= face.score for index in rivals):
        return found
    return [other for index, other in enumerate(found) if index not in rivals] + [face]
