"""Who is in the photos of an album: faces found, described, regressed and judged, without keeping the photos.

Photos are looked at in batches. Of each face only numbers and a thumbnail are kept, so that an album may be long; what
needs more pixels reads the photo again (`portrait_again`). The person is whoever appears in most photos; from each
photo comes the face that is most like theirs.

Letters: P photos, F faces, L landmarks, D numbers of a descriptor, K identity coefficients.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.detection import detector
from tf_deep3d.detection.alignment import Crop
from tf_deep3d.errors import InputError, readable
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io import photos
from tf_deep3d.io.files import folder_names
from tf_deep3d.io.photos import Photo, photo_name
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.models.likeness import describe
from tf_deep3d.reconstruction.parallel import in_order
from tf_deep3d.reconstruction.photo import Models, Options, solve
from tf_deep3d.reconstruction.portraits import BATCH, Portrait, in_batches, observe, portrait_of, portraits_of

# Cosine to the mean descriptor of the person's other photos, below which a face is another person's. In albums of 5
# photos of one LFW person and one of each of 2 others (200 people) it loses 1.6 % of the person's photos and lets 1.1 %
# of the others in; with 2 photos and 1 other, 4.1 % and 1.2 % (tests/benchmarks/sightings.py).
LIKENESS = 0.5
CANDIDATES = 512  # faces, evenly spread, among which the typical one is sought
FACES = 12  # of one photo that are looked at, the largest
THUMBNAIL = 112  # px, side of the picture that is kept
NOTHING = np.zeros((0, 0, 3), np.uint8)  # instead of a photo's pixels


class Sighting(NamedTuple):
    """A face in a photo, without the photo.

    Attributes:
      photo: where the photo is.
      file: name of the photo.
      name: of the photo among the results.
      detected: `detector.Detection`, px of the photo.
      scale: px of the aligned crop over px of the photo.
      thumbnail: [112, 112, 3] uint8, the aligned crop.
      descriptor: [D], of unit length.
      landmarks: [L, 2], the 68 and the dense ones, px of the aligned crop.
      coefficients: `Coefficients` of this one face, batch of 1.
      confidence: [K or 1], or None without a C-Net.
    """

    photo: Photo
    file: str
    name: str
    detected: detector.Detection
    scale: float
    thumbnail: np.ndarray
    descriptor: np.ndarray
    landmarks: np.ndarray
    coefficients: Coefficients
    confidence: np.ndarray | None


class Failure(NamedTuple):
    """A photo that gave no sighting.

    Attributes:
      file: name of the photo.
      name: of the photo among the results.
      reason: why.
    """

    file: str
    name: str
    reason: str


class _Place(NamedTuple):
    """A photo of the album and its names, see `Sighting`."""

    photo: Photo
    file: str
    name: str


def look_through(
    sources: Sequence[Photo],
    options: Options,
    models: Models,
    on_progress: Callable[[str, int, int], object] | None = None,
) -> tuple[list[Sighting], list[Failure]]:
    """Finds and describes the faces of photos, in batches.

    Args:
      sources: photos: paths, bytes of files, or arrays [H, W, 3].
      options: `photo.Options`.
      models: `photo.Models`.
      on_progress: called with (name of the stage, photos done, photos in all).

    Returns:
      The `Sighting`s of all faces, the largest of a photo first, and the `Failure`s of photos without one.
    """
    files = [photo_name(source, f"photo{number}") for number, source in enumerate(sources, 1)]
    places = [_Place(*each) for each in zip(sources, files, folder_names([Path(file) for file in files]), strict=True)]
    seen: list[Sighting] = []
    failures: list[Failure] = []
    waiting: list[tuple[_Place, Portrait]] = []

    def look(place: _Place) -> list[Portrait] | Failure:
        try:
            found = portraits_of(place.photo, models.levels[0], all_faces=True)[:FACES]
        except (InputError, OSError) as error:
            return Failure(place.file, place.name, readable(str(error)))
        return [portrait._replace(window=NOTHING) for portrait in found]

    for number, (place, found) in enumerate(zip(places, in_order(look, places), strict=True), 1):
        if isinstance(found, Failure):
            failures.append(found)
        else:
            waiting += [(place, portrait) for portrait in found]
        if len(waiting) >= BATCH or number == len(places):
            for part in in_batches(waiting):
                seen += _sight(part, options, models)
            waiting = []
        if on_progress:
            on_progress("looking", number, len(places))
    known = {each.name for each in (*seen, *failures)}
    lost = [place for place in places if place.name not in known]
    failures += [Failure(place.file, place.name, "the fit of its face diverged") for place in lost]
    return seen, failures


def find_person(descriptors: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who the album is about, and which face of each photo is theirs.

    The typical face is the one that is like a face of the most photos. The person is the mean of the descriptors that
    are like it, one from each photo.

    Args:
      descriptors: [F, D], of unit length.
      photo: [F] int, the photo that each face is in, 0 to P - 1.

    Returns:
      chosen [P], the face of each photo that is most like the person; its likeness [P], the cosine to the mean without
      itself, and 1 where nobody else is like the typical face.
    """
    count = int(photo.max()) + 1
    step = max(1, -(-len(descriptors) // CANDIDATES))
    cosines = descriptors[::step] @ descriptors.T  # [candidates, F]
    best = np.full((len(cosines), count), -1.0)
    np.maximum.at(best, (np.arange(len(best))[:, None], photo[None]), cosines)
    support = (best >= LIKENESS).sum(1) + best.mean(1) / 2  # the mean decides between equal numbers
    person = descriptors[::step][np.argmax(support)]
    order = np.lexsort((-(descriptors @ person), photo))
    chosen = order[np.unique(photo[order], return_index=True)[1]]
    mine = descriptors[chosen]
    members = (mine @ person >= LIKENESS)[:, None] * mine
    others = members.sum(0) - members
    length = np.linalg.norm(others, axis=1)
    likeness = np.einsum("pd,pd->p", mine, others) / np.maximum(length, 1e-9)
    return chosen, np.where(length > 1e-6, likeness, mine @ person)


def portrait_again(sighting: Sighting, models: Models) -> Portrait:
    """The `Portrait` of a `Sighting`, from its photo."""
    return portrait_of(sighting.photo, photos.as_pixels(sighting.photo), sighting.detected, models.levels[0])


def _sight(waiting: Sequence[tuple[_Place, Portrait]], options: Options, models: Models) -> list[Sighting]:
    """The `Sighting`s of a batch of portraits."""
    portraits = [portrait for _, portrait in waiting]
    images = np.stack([portrait.crop.image for portrait in portraits])
    descriptors = describe(images)
    descriptors = descriptors / np.maximum(np.linalg.norm(descriptors, axis=-1, keepdims=True), 1e-9)
    confidence = None
    if models.regressor is None:
        found = solve(observe(portraits), options, models)
    else:
        found, confidence = models.regressor.regress(images)
    return [
        Sighting(
            *place,
            detected=portrait.detected,
            scale=portrait.crop.transform.scale,
            thumbnail=_thumbnail(portrait.crop),
            descriptor=descriptors[index],
            landmarks=portrait.crop.transform.apply(
                np.concatenate([portrait.detected.landmarks68, portrait.detected.landmarks478[:, :2]])
            ),
            coefficients=Coefficients(*(group[index : index + 1] for group in found)),
            confidence=None if confidence is None else confidence[index],
        )
        for index, (place, portrait) in enumerate(waiting)
        if all(np.isfinite(group[index]).all() for group in found)
    ]


def _thumbnail(crop: Crop) -> np.ndarray:
    picture = Image.fromarray(to_uint8(crop.image))
    return np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))
