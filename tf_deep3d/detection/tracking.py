"""Follows one face through the frames of a clip.

A frame's face is sought where the last one was: the mesh network runs on the region of the last landmarks, which is
many times quicker than a detection. Where it sees no face there, or one that is not where the last one was, the whole
frame is searched: within `MEMORY` seconds only for a face near the last one, after that for the largest.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from tf_deep3d.detection import detector, networks
from tf_deep3d.detection.detector import Detection

MEMORY = 0.5  # s for which a lost face is expected near its last place
OVERLAP = 0.3  # intersection over union from which a face is the last frame's
NEAR = 1.5  # sides of the last box that a face may have moved while it was lost


class Frame(Protocol):
    """A picture of a clip."""

    @property
    def image(self) -> np.ndarray:
        """[H, W, 3] uint8."""
        ...

    @property
    def time(self) -> float:
        """When it is shown, s."""
        ...


AnyFrame = TypeVar("AnyFrame", bound=Frame)


def _largest(_: np.ndarray, found: Sequence[Detection]) -> Detection:
    return found[0]


def find_face(
    image: np.ndarray,
    last: Detection | None = None,
    strict: bool = True,
    prefer: Callable[[np.ndarray, Sequence[Detection]], Detection] = _largest,
) -> Detection | None:
    """The face of a frame.

    Args:
      image: [H, W, 3] uint8.
      last: `Detection` of an earlier frame, or None.
      strict: with `last`, accept only a face near it.
      prefer: which of the faces of an image, the largest first, where none is near the last one.

    Returns:
      `Detection`, or None.
    """
    if last is not None:
        followed = follow(image, last)
        if followed is not None:
            return followed
    found = detector.detect(image)
    if last is not None:
        reach = NEAR * _side(last.box)
        near = [face for face in found if math.dist(_centre(face.box), _centre(last.box)) < reach]
        near.sort(key=lambda face: math.dist(_centre(face.box), _centre(last.box)))
        if near or strict:
            return near[0] if near else None
    return prefer(image, found) if found else None


def follow(image: np.ndarray, last: Detection) -> Detection | None:
    """The face `last` (`Detection`) in the next frame, or None where it is lost."""
    picture = networks.as_picture(image)
    region = networks.region_of_landmarks(last.landmarks478, networks.MESH_SIZE)
    points, presence = networks.mesh(picture, region)
    if presence < detector.PRESENCE:
        return None
    found = detector.refine(picture, networks.sigmoid(presence), points)
    return found if detector.intersection_over_union(last.box, found.box[None])[0] >= OVERLAP else None


def track(
    frames: Iterable[AnyFrame], prefer: Callable[[np.ndarray, Sequence[Detection]], Detection] = _largest
) -> Iterator[tuple[AnyFrame, Detection | None]]:
    """Follows a face through frames.

    Args:
      frames: `Frame`s, times rising.
      prefer: see `find_face`.

    Yields:
      (`Frame`, `Detection` or None) for each.
    """
    last, seen = None, 0.0
    for frame in frames:
        found = find_face(frame.image, last, strict=frame.time - seen <= MEMORY, prefer=prefer)
        if found is not None:
            last, seen = found, frame.time
        elif frame.time - seen > MEMORY:
            last = None
        yield frame, found


def _side(box: np.ndarray) -> float:
    return float(np.sqrt(np.prod(box[2:] - box[:2])))


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2
