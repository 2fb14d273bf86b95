"""Who is in the photos of an album: faces found, described, regressed and judged, without keeping the photos.

Photos are looked at in batches. Of each face only numbers and a thumbnail are kept, so that an album may be long; what
needs more pixels reads the photo again (`portrait_again`). The person is whoever appears in most photos; from each
photo comes the face that is most like theirs.

Letters: P photos, F faces, L landmarks, D numbers of a descriptor, K identity coefficients.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from PIL import Image

from tf_deep3d.detection import detector
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io import photos
from tf_deep3d.io.files import folder_names
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.models.recognition import describe
from tf_deep3d.reconstruction import photo as pipeline

# Cosine to the mean descriptor of the person's other photos, below which a face is another person's. In albums of 5
# photos of one LFW person and one of each of 2 others (200 people) it loses 1.6 % of the person's photos and lets 1.1 %
# of the others in; with 2 photos and 1 other, 4.1 % and 1.2 % (tests/benchmarks/sightings.py).
LIKENESS = 0.5
CANDIDATES = 512  # faces, evenly spread, among which the typical one is sought
FACES = 12  # of one photo that are looked at, the largest
THUMBNAIL = 112  # px, side of the picture that is kept


class Sighting(NamedTuple):
    """A face in a photo, without the photo.

    Attributes:
      photo: path of the photo.
      name: of the photo among the results.
      detected: `detector.Detection`, px of the photo.
      scale: px of the aligned crop over px of the photo.
      thumbnail: [112, 112, 3] uint8, the aligned crop.
      descriptor: [D], of unit length.
      landmarks: [L, 2], the 68 and the dense ones, px of the aligned crop.
      coefficients: `Coefficients` of this one face, batch of 1.
      confidence: [K or 1], or None without a C-Net.
    """

    photo: Path
    name: str
    detected: detector.Detection
    scale: float
    thumbnail: Any
    descriptor: Any
    landmarks: Any
    coefficients: Coefficients
    confidence: Any


def look_through(paths, options, models, cnet=None, on_progress=None):
    """Finds and describes the faces of photos, in batches.

    Args:
      paths: photos.
      options: `pipeline.Options`.
      models: `pipeline.Models`.
      cnet: `CNet` of the R-Net in `models`, or None.
      on_progress: called with (name of the stage, photos done, photos in all).

    Returns:
      The `Sighting`s of all faces, the largest of a photo first, and the `pipeline.Failure`s of photos without one.
    """
    seen, failures, waiting = [], [], []
    for number, (path, name) in enumerate(zip(paths, folder_names(paths), strict=True), 1):
        try:
            found = pipeline.portraits_of(path, models.levels[-1], all_faces=True)[:FACES]
            waiting += [portrait._replace(folder=name, window=None) for portrait in found]
        except (photos.PhotoError, pipeline.NoFaceError, OSError) as error:
            failures.append(pipeline.Failure(path, str(error)))
        if len(waiting) >= pipeline.BATCH or number == len(paths):
            for part in in_batches(waiting):
                seen += _sight(part, options, models, cnet)
            waiting = []
        if on_progress:
            on_progress("looking", number, len(paths))
    known = {each.photo for each in seen} | {failure.photo for failure in failures}
    failures += [pipeline.Failure(path, "the fit of its face diverged") for path in paths if path not in known]
    return seen, failures


def find_person(descriptors, photo):
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
    np.maximum.at(best, (slice(None), photo), cosines)
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


def portrait_again(sighting, models):
    """The `pipeline.Portrait` of a `Sighting`, from its photo."""
    photo = photos.read_photo(sighting.photo)
    return pipeline.portrait_of(sighting.photo, photo, sighting.detected, models.levels[-1])


def in_batches(sequence):
    """A list or array in slices of a batch."""
    return [sequence[start : start + pipeline.BATCH] for start in range(0, len(sequence), pipeline.BATCH)]


def _sight(portraits, options, models, cnet):
    """The `Sighting`s of a batch of portraits."""
    images = np.stack([portrait.crop.image for portrait in portraits])
    descriptors = ops.convert_to_numpy(describe(models.recognition, images))
    descriptors = descriptors / np.maximum(np.linalg.norm(descriptors, axis=-1, keepdims=True), 1e-9)
    confidence = [None] * len(images)
    if models.rnet is None:
        found = pipeline.solve(pipeline.observe(portraits), options, models).coefficients
    else:
        found, features = models.rnet.regress(images)
        found = Coefficients(*map(ops.convert_to_numpy, found))
        confidence = confidence if cnet is None else ops.convert_to_numpy(cnet(features))
    return [
        Sighting(
            photo=portrait.photo,
            name=portrait.folder,
            detected=portrait.detected,
            scale=portrait.crop.transform.scale,
            thumbnail=_thumbnail(portrait.crop),
            descriptor=descriptors[index],
            landmarks=portrait.crop.transform.apply(
                np.concatenate([portrait.detected.landmarks68, portrait.detected.landmarks478[:, :2]])
            ),
            coefficients=Coefficients(*(group[index : index + 1] for group in found)),
            confidence=confidence[index],
        )
        for index, portrait in enumerate(portraits)
        if all(np.isfinite(group[index]).all() for group in found)
    ]


def _thumbnail(crop):
    picture = Image.fromarray(to_uint8(crop.image))
    return np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))
