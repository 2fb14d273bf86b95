"""Measures what the detector makes of ARKit's units, and how neutral faces differ:
`python -m tf_deep3d.porting.open_face.responses OUT --photos FOLDER`.

`ACTORS` of the benchmark's kind of people (`evaluation.protocols.expressions`, with other numbers) show a neutral face
three times, and each unit at full strength, those that bend at half strength too, in poses that sway as in a clip;
`SITTERS` show neutral faces twice. Every picture is mirrored too. What one person's neutral faces differ by, and what
is left of the units' mean responses from person to person, make the covariance of the errors; what the neutral faces
of people differ by makes that of neutral faces. Real people differ otherwise than rendered ones, in brows, lids and
lips: of photos of many people those count that MediaPipe's network of blendshapes calls calm. Photos do not say where
a calm person looks: their irises lie, given the rest of the face, as on rendered people, who look ahead.

Letters: P pictures, J units, F features, K coordinates.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.detection.networks import BLENDSHAPES
from tf_deep3d.evaluation.protocols.expressions import SWAY, Shown, picture
from tf_deep3d.face import expression, morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.face.reconstruction import at_landmarks
from tf_deep3d.io import archive, files, photos
from tf_deep3d.models.regression import Regressor, load_regressor
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.reconstruction.portraits import NoFaceError, Portrait, portraits_of

ACTORS, SITTERS = range(100, 132), range(200, 350)  # numbers of people
FULL, HALF = 9000, 9500  # seeds of the poses, to which a person's number is added
STILL, SITTINGS = 3, 2  # neutral faces of an actor and of a sitter
UNSEEN = "tongueOut"  # no landmark sees it
BENT = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthClose")  # the bends of the others drown in noise
NOISE = 2e-3  # dm, by which every feature errs besides
OWN = 2.0  # share of the responses' spread between people that a person's own are taken to have
FOUND = 0.85  # share of a strength that the search finds, because another person's response is another
REAL = 0.85  # share of real people among those whose neutral faces are expected
LEVEL_UP, LEVEL_ACROSS = 0.3, 0.35  # rad, pitch and yaw up to which a photo is taken frontally
CALM, AWAKE = 0.15, 0.25  # blendshapes of a calm mouth, cheek and nose at most, and of lids
FLOOR = 3e-3  # dm, below which the rest of a face says nothing of its irises
COORDINATES = 200  # that say most of the units


class Seen(NamedTuple):
    """What the detector made of pictures.

    Attributes:
      people: [P] numbers.
      weights: [P, J].
      frames: P `expression.Frame`s.
    """

    people: np.ndarray
    weights: np.ndarray
    frames: list[expression.Frame]


def observe() -> Seen:
    """Renders everybody, and looks: some 2,600 pictures, .1 to .3 s of a core each."""
    model, regressor = morphable_model.load(level=1), load_regressor()
    everything = list(plan(model.blendshape_names))
    kept: list[tuple[int, np.ndarray, expression.Frame]] = []
    for shown in tqdm(everything, unit="picture"):
        try:
            (portrait,) = portraits_of(picture(shown), model)
        except NoFaceError:
            continue
        kept.append((shown.person, _weights(shown, model.blendshape_names), _frame(portrait, regressor)))
    return Seen(np.array([one[0] for one in kept]), np.array([one[1] for one in kept]), [one[2] for one in kept])


def observe_calm(folder: Path) -> list[expression.Frame]:
    """The frames of the calm frontal faces in the photos of a folder, some 20 ms of a core a photo."""
    model, regressor = morphable_model.load(level=0), load_regressor()
    kept: list[expression.Frame] = []
    for path in tqdm(photos.find_photos([folder]), unit="photo"):
        try:
            portrait = portraits_of(path, model)[0]
        except (NoFaceError, photos.PhotoError):
            continue
        frame = _frame(portrait, regressor)
        if is_calm(portrait.detected.blendshapes, frame.angles):
            kept.append(frame)
    return kept


def is_calm(blendshapes: np.ndarray, angles: np.ndarray) -> bool:
    """Whether a face is frontal and shows nothing but, perhaps, brows and gaze, which a neutral face may well have.

    Args:
      blendshapes: weights of `BLENDSHAPES`.
      angles: [3] pitch, yaw, roll in radians.
    """
    found = dict(zip(BLENDSHAPES, blendshapes.tolist(), strict=True))
    blinks = [found.pop(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    others = [weight for name, weight in found.items() if not name.startswith(("_", "brow", "eye"))]
    frontal = abs(angles[0]) < LEVEL_UP and abs(angles[1]) < LEVEL_ACROSS
    return bool(frontal and max(others) < CALM and max(blinks) < AWAKE)


def plan(names: Sequence[str]) -> Iterator[Shown]:
    """All pictures, for a model with units `names`."""
    units = [name for name in names if name not in (UNSEEN, expression.CORRECTIVE[0])]
    alone: list[tuple[str, ...]] = [*((name,) for name in units), expression.CORRECTIVE]
    for person, seed, strength, neutral in (
        *((person, FULL, 1.0, STILL) for person in ACTORS),
        *((person, HALF, 0.5, 0) for person in ACTORS),
        *((person, FULL, 0.0, SITTINGS) for person in SITTERS),
    ):
        rng = np.random.default_rng(seed + person)
        shows: list[tuple[str, ...]] = [()] * neutral
        if strength:
            shows += [each for each in alone if strength == 1 or each[0] in BENT]
        for number, together in enumerate(shows):
            name, angles = f"{number}-{strength}", np.radians([rng.normal(0, sway) for sway in SWAY])
            yield Shown(person, name, dict.fromkeys(together, strength), angles, "")


def _weights(shown: Shown, names: Sequence[str]) -> np.ndarray:
    return np.array([shown.weights.get(name, 0.0) for name in names])


def _frame(portrait: Portrait, regressor: Regressor) -> expression.Frame:
    found = regressor.regress(portrait.crop.image[None])[0]
    pixels = portrait.crop.transform.apply(portrait.detected.landmarks478[:, :2])
    return expression.Frame(pixels, found.angles[0], found.translation[0])


def arrays_of(
    seen: Seen,
    names: Sequence[str],
    points: np.ndarray,
    calm: Sequence[expression.Frame] = (),
    kept: int = COORDINATES,
) -> dict[str, np.ndarray]:
    """The arrays of a file that `face.expression.load` reads.

    Args:
      seen: `Seen`.
      names: J units of its weights.
      points: [L, 3] dm, the mean neutral face.
      calm: frames of calm real people; without them rendered people are all that is known.
      kept: K.
    """
    places = landmarks.mirrored_points(points)
    points = (points + points[places] * [-1, 1, 1]) / 2
    across = np.array([names.index(other_side(name)) for name in names])
    everything = _features(points, seen.frames, places)
    people = np.concatenate([seen.people, -seen.people])  # somebody's mirror image is somebody else
    weights = np.concatenate([seen.weights, seen.weights[:, across]])
    neutral = ~weights.any(1)
    resting = {person: everything[neutral & (people == person)] for person in np.unique(people)}
    moods = np.concatenate(
        [(own - own.mean(0)) * np.sqrt(len(own) / (len(own) - 1)) for own in resting.values() if len(own) > 1]
    )
    moods = moods.T @ moods / len(moods)
    moved = everything - np.array([resting[person].mean(0) for person in people])
    moved[:, -expression.POSES :] = 0
    used = [name for name in names if name != UNSEEN]
    full, half, own = [], [], []
    for name in used:
        at = weights[:, names.index(name)]
        only = (weights > 0).sum(1) == (2 if name == expression.CORRECTIVE[0] else 1)
        full.append(moved[(at == 1) & only].mean(0))
        half.append(moved[(at == 0.5) & only].mean(0) if name in BENT else full[-1] / 2)
        own.append(moved[(at == 1) & only] - full[-1])
    spread = np.concatenate(own)
    error = moods + OWN * spread.T @ spread / len(spread) + NOISE**2 * np.eye(len(moods))
    still = everything[neutral]
    mean, differ = still.mean(0), np.cov(still.T) - moods
    if len(calm):
        real = _features(points, calm, places)
        others, theirs = _looking_ahead(real.mean(0), np.cov(real.T), still.mean(0), np.cov(still.T))
        differ = (1 - REAL) * differ + REAL * theirs + REAL * (1 - REAL) * np.outer(others - mean, others - mean)
        mean = (1 - REAL) * mean + REAL * others
    rows, spreads = diagonal(error, differ, places)
    moves, bends = FOUND * np.array(full), FOUND * (np.array(half) - np.array(full) / 2)
    telling = np.sort(np.argsort(-np.sum((moves @ rows.T) ** 2, 0), kind="stable")[:kept])
    rows = rows[telling].astype(np.float16)
    straight = rows.astype(np.float64)
    arrays = {
        "mean": straight @ mean,
        "spread": spreads[telling],
        "moves": moves @ straight.T,
        "bends": bends @ straight.T,
    }
    return {
        "schema": np.array(expression.SCHEMA),
        "names": np.array(used),
        "points": points.astype(np.float32),
        "rows": rows,
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    }


def diagonal(error: np.ndarray, differ: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows T [F, F] with T error T' = 1 and T differ T' = diag(spread), and spread [F].

    Both covariances [F, F] are their own mirror images, and each row is its own or minus its own: coordinates are
    sought among symmetric and among crooked changes of a face apart.
    """
    partner = mirrored_features(np.eye(len(error)), places)
    rows, spreads = [], []
    for sign in (1, -1):
        basis = np.unique(np.eye(len(error)) + sign * partner, axis=0)
        basis = basis[np.array([row[np.flatnonzero(row)[0]] > 0 if row.any() else False for row in basis])]
        basis /= np.linalg.norm(basis, axis=1, keepdims=True)
        white = np.linalg.inv(np.linalg.cholesky(basis @ error @ basis.T))
        spread, axes = np.linalg.eigh(white @ (basis @ differ @ basis.T) @ white.T)
        rows.append((axes.T @ white)[::-1] @ basis)
        spreads.append(np.maximum(spread[::-1], 0))
    return np.concatenate(rows), np.concatenate(spreads)


def _looking_ahead(
    mean: np.ndarray, covariance: np.ndarray, ahead: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [F] and covariance [F, F] of people whose irises lie, given the rest, as on those of mean `ahead` and
    covariance `known`."""
    iris = np.arange(2 * IRISES.start, 2 * IRISES.stop)
    rest = np.setdiff1d(np.arange(len(mean)), iris)
    among, between = known[np.ix_(rest, rest)], known[np.ix_(rest, iris)]
    slope = np.linalg.solve(among + FLOOR**2 * np.eye(len(rest)), between).T
    alone = known[np.ix_(iris, iris)] - slope @ between
    mean, result = mean.copy(), covariance.copy()
    mean[iris] = ahead[iris] + slope @ (mean - ahead)[rest]
    result[np.ix_(iris, rest)] = slope @ covariance[np.ix_(rest, rest)]
    result[np.ix_(rest, iris)] = result[np.ix_(iris, rest)].T
    result[np.ix_(iris, iris)] = result[np.ix_(iris, rest)] @ slope.T + (alone + alone.T) / 2
    return mean, result


def _features(points: np.ndarray, frames: Sequence[expression.Frame], places: np.ndarray) -> np.ndarray:
    """Features [2 P, F] of frames, and of their mirror images."""
    straight = np.array([expression.features(points, frame, Camera()) for frame in frames])
    return np.concatenate([straight, mirrored_features(straight, places)])


def other_side(name: str) -> str:
    """The unit of the other side."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


def mirrored_features(features: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Features [P, F] of the mirrored pictures."""
    count = 2 * len(places)
    offsets = features[:, :count].reshape(len(features), -1, 2)[:, places] * [-1, 1]
    return np.concatenate([offsets.reshape(len(features), -1), features[:, count:] * [1, -1, -1, 1, 1]], 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.responses", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help=".npz to write")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="of many people, most of them calm and frontal")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    model = morphable_model.load(level=1)
    calm = [] if options.photos is None else observe_calm(options.photos)
    seen = observe()
    points = at_landmarks(model.landmarks[expression.LANDMARKS], model.mean_shape[None])[0]
    arrays = arrays_of(seen, model.blendshape_names, points.astype(np.float64), calm)
    archive.write_arrays(options.out, arrays, overwrite=options.overwrite)
    pictures = f"{len(seen.frames)} pictures and {len(calm)} calm photos"
    print(f"wrote {options.out}: {len(arrays['names'])} units, of {pictures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
