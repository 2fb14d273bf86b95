"""Who a clip's faces are: by face recognition where somebody else may have come before the camera.

A face that moves on from frame to frame stays the same person's. It is looked at anew after a cut, where it was lost,
and now and then, in case that somebody stepped in front.

Letters: D numbers of a descriptor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_deep3d.detection.detector import Detection
from tf_deep3d.face.landmarks import eye_distance, mean_distance
from tf_deep3d.reconstruction.album.sightings import LIKENESS
from tf_deep3d.reconstruction.portraits import Portrait

CHANGE = 0.1  # mean difference between a picture and the one before, of [0, 1], from which there may be a cut
JUMP = 0.5  # eye distances that the landmarks move from frame to frame, likewise
PERIOD = 1.0  # s after which a face is looked at again
KEPT = 16  # frames of a person at most whose portraits are kept, evenly spread
_COARSE = 32  # px of a picture's larger side that are compared

Describe = Callable[[np.ndarray, Detection], np.ndarray]  # (picture, face in it) -> descriptor [D] of unit length


@dataclass
class Person:
    """Somebody in a clip.

    Attributes:
      descriptor: [D], sum of unit descriptors.
      frames: numbers of the frames that show them.
      kept: numbers and `Portrait`s of some of these.
      stride: of that many frames one is kept.
    """

    descriptor: np.ndarray
    frames: list[int] = field(default_factory=list[int])
    kept: list[tuple[int, Portrait]] = field(default_factory=list[tuple[int, Portrait]])
    stride: int = 1

    def add(self, number: int, portrait: Callable[[], Portrait]) -> None:
        """Takes note of a frame; `portrait` is called if it is to be kept."""
        if len(self.frames) % self.stride == 0:
            self.kept.append((number, portrait()))
        self.frames.append(number)
        if len(self.kept) > KEPT:
            self.kept, self.stride = self.kept[::2], self.stride * 2

    def likeness(self, descriptor: np.ndarray) -> float:
        """Cosine to a descriptor [D]."""
        return float(
            self.descriptor @ descriptor / max(np.linalg.norm(self.descriptor) * np.linalg.norm(descriptor), 1e-9)
        )


class People:
    """Tells the people of a clip apart while it is read.

    Attributes:
      seen: `Person`s, in the order in which they appear.
    """

    def __init__(self, describe: Describe) -> None:
        """Knows nobody yet; `describe` is asked where a face may be another one's."""
        self.seen: list[Person] = []
        self._describe = describe
        self._now: Person | None = None  # the person of the frame before, if it shows one
        self._landmarks = self._picture = np.zeros(0)
        self._checked = 0.0

    def whose(self, time: float, image: np.ndarray, found: Detection | None) -> Person | None:
        """The `Person` of the face that was `found` in a frame; frames come in the order of their `time`, in s."""
        picture, before, now = _coarse(image), self._picture, self._now
        self._picture, self._now = picture, None
        if found is None:
            return None
        landmarks, last = found.landmarks68, self._landmarks
        self._landmarks = landmarks
        broken = now is None or np.abs(picture - before).mean() > CHANGE
        broken = broken or mean_distance(landmarks[None], last[None])[0] > JUMP * eye_distance(landmarks[None])[0]
        if broken or now is None or time - self._checked >= PERIOD:
            self._checked = time
            now = self._recognise(self._describe(image, found), None if broken else now)
        self._now = now
        return now

    def prefer(self, image: np.ndarray, found: Sequence[Detection]) -> Detection:
        """Which of several faces to follow: the one of who was seen most so far, else the first."""
        if len(found) == 1 or not self.seen:
            return found[0]
        wanted = max(self.seen, key=lambda person: len(person.frames))
        likeness = [wanted.likeness(self._describe(image, face)) for face in found]
        return found[int(np.argmax(likeness))] if max(likeness) >= LIKENESS else found[0]

    def followed(self) -> list[Person]:
        """The one who was seen most, with those that turn out to be the same."""
        most = max(self.seen, key=lambda person: len(person.frames))
        return [person for person in self.seen if person is most or most.likeness(person.descriptor) >= LIKENESS]

    def _recognise(self, descriptor: np.ndarray, now: Person | None) -> Person:
        """The person of a face; in doubt it is `now`, or somebody new."""
        best = max(self.seen, key=lambda person: person.likeness(descriptor), default=None)
        if best is not None and best.likeness(descriptor) >= LIKENESS:
            best.descriptor = best.descriptor + descriptor
            return best
        if now is not None:  # turned away, say
            return now
        self.seen.append(Person(descriptor))
        return self.seen[-1]


def spread(people: Sequence[Person], count: int = KEPT) -> list[tuple[int, Portrait]]:
    """At most `count` of what is kept of people, evenly, in the order of the frames."""
    kept = sorted((each for person in people for each in person.kept), key=lambda each: each[0])
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int))
    return [kept[index] for index in chosen]


def _coarse(image: np.ndarray) -> np.ndarray:
    """A few pixels [h, w] in [0, 1] of a picture [H, W, 3] uint8."""
    step = max(1, max(image.shape) // _COARSE)
    return image[step // 2 :: step, step // 2 :: step].mean(-1) / 255
