"""People whose faces are members of the face model, as subjects of a benchmark, with exact geometry and skin.

Unlike the people of `open_benchmark` they lie in the model's own space, so that they are easier for every method that
fits this model, and they show what a method loses for other reasons than the model's limits. There are random ones, as
many as one likes, and a crowd of known sex, race and age (`porting.open_people`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d import assets
from tf_deep3d import face as faces
from tf_deep3d.data.rendered.people import Head, generator, sample_one
from tf_deep3d.evaluation import metrics, open_benchmark
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import NOSE_TIP
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive

SEED = 7411  # of no training
KIND, FIRST = "member", 1000  # name of the random ones; number of the first, for the seeds of its pictures
CROWD = assets.find("open_people.npz")
SCHEMA = 1
# Individual typology angle in degrees from which a skin is called so (Chardon, Cretois, Hourseau 1991).
SKIN_TONES = {"very light": 55, "light": 41, "intermediate": 28, "tan": 10, "brown": -30, "dark": -90}


class Known(NamedTuple):
    """A person of the crowd: the `open_benchmark.Subject`, and "female" or "male"."""

    who: open_benchmark.Subject
    sex: str


def subjects(model: MorphableModel, head: Head, count: int, seed: int = SEED) -> Iterator[open_benchmark.Subject]:
    """Neutral, bald people of random identity and albedo.

    Args:
      model: `MorphableModel` of the face, at the head's level of detail.
      head: `rendered.people.Head`.
      count: number of people; person n of a seed is always the same.
      seed: of the random numbers.

    Yields:
      `open_benchmark.Subject`s, named `KIND` and their number.
    """
    for number in range(count):
        person = sample_one(model, head, generator(seed, number))
        yield _subject(head, f"{KIND}{number:03d}", person.identity, person.albedo)


def crowd(model: MorphableModel, head: Head, count: int, path: Path = CROWD) -> Iterator[Known]:
    """The crowd of known sex, women and men by turns; their skins are random.

    Args:
      model, head: as of `subjects`.
      count: number of people.
      path: file of `porting.open_people`.

    Yields:
      `Known`.

    Raises:
      open_benchmark.BenchmarkError: if the file is no crowd, or has fewer people.
    """
    try:
        arrays = archive.read_arrays(path)
        identities, male = arrays["people_identity"].astype(np.float32), arrays["people_male"] > 0.5
        schema = int(arrays["schema"])
    except (archive.ArchiveError, KeyError) as error:
        raise open_benchmark.BenchmarkError(f"{path} is no crowd. Received: {error}") from error
    if schema != SCHEMA or identities.shape[1:] != (len(model.identity_basis),):
        raise open_benchmark.BenchmarkError(
            f"{path} is no crowd of schema {SCHEMA} for this model. Received: {schema}, {identities.shape}"
        )
    turns = np.argsort(np.concatenate([np.arange((~male).sum()), np.arange(male.sum())]), kind="stable")
    turns = np.concatenate([np.flatnonzero(~male), np.flatnonzero(male)])[turns]
    if not 1 <= count <= len(turns):
        raise open_benchmark.BenchmarkError(f"{path} has {len(turns)} people. Received: {count}")
    for number in turns[:count]:
        skin = sample_one(model, head, generator(SEED, FIRST + int(number))).albedo
        who = _subject(head, f"known{number:03d}", identities[number], skin)
        yield Known(who, "male" if male[number] else "female")


def _subject(head: Head, name: str, identity: np.ndarray, albedo: np.ndarray) -> open_benchmark.Subject:
    """The `open_benchmark.Subject` of identity [Ki] and albedo [Kt] coefficients."""
    whole = head.whole
    shape = faces.neutral_shape(whole, identity[None])[0]
    colors = np.rint(255 * np.clip(faces.albedo(whole, albedo[None])[0], 0, 1)).astype(np.uint8)
    points = faces.at_landmarks(whole.landmarks["ibug68"], shape[None])[0]
    millimetres = shape * MILLIMETRES
    near = metrics.within(millimetres, points[NOSE_TIP] * MILLIMETRES)
    region = near & metrics.visible(millimetres, whole.triangles)
    return open_benchmark.subject(name, shape, whole.triangles, region, colors, points, exact=True)


def skin_tone(who: open_benchmark.Subject) -> str:
    """Name in `SKIN_TONES` of a `Subject`'s skin, by its median albedo."""
    return tone_of(np.median(who.colors[who.region], axis=0))


def tone_of(srgb: np.ndarray) -> str:
    """Name in `SKIN_TONES` of a skin's colour [3], sRGB in [0, 1]."""
    angle = typology_angle(srgb)
    return next(name for name, least in SKIN_TONES.items() if angle >= least)


def typology_angle(srgb: np.ndarray) -> float:
    """Individual typology angle of a skin's colour [3] in degrees: atan((L* - 50) / b*), of sRGB in [0, 1].

    It lies in [-90, 90]; a bluish skin counts as grey.
    """
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    _, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])  # skin is brighter than where the cube root becomes a line
    return float(np.degrees(np.arctan2(116 * y - 16 - 50, max(200 * (y - z), 0.0))))
