"""Measures what the detector makes of ARKit's units: `python -m tf_deep3d.porting.open_face.responses OUT`.

`ACTORS` of the benchmark's kind of people (`evaluation.protocols.expressions`, with other numbers) show a neutral face
three times, and each unit at full and at half strength, in poses that sway as in a clip; `SITTERS` show neutral faces
twice. Every picture is mirrored too. What one person's neutral faces differ by, and what is left of the units' mean
responses from person to person, make the covariance of `face.responses`.

Letters: P pictures, J units, F features.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.evaluation.protocols.expressions import SWAY, Shown, picture
from tf_deep3d.face import expression, morphable_model, responses
from tf_deep3d.face.camera import Camera
from tf_deep3d.io import archive, files
from tf_deep3d.models.regression import Regressor, load_regressor
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.reconstruction.portraits import NoFaceError, portraits_of

ACTORS, SITTERS = range(100, 116), range(200, 350)  # numbers of people
FULL, HALF = 9000, 9500  # seeds of the poses, to which a person's number is added
STILL, SITTINGS = 3, 2  # neutral faces of an actor and of a sitter
UNSEEN = "tongueOut"  # no landmark sees it
BENT = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthClose")  # the bends of the others drown in noise
NOISE = 2e-3  # dm, by which every feature errs besides
OWN = 2.0  # share of the responses' spread between people that a person's own are taken to have


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
    """Renders everybody, and looks: some 1,700 pictures, .3 s of a core each."""
    model, regressor = morphable_model.load(level=1), load_regressor()
    everything = list(plan(model.blendshape_names))
    kept: list[tuple[int, np.ndarray, expression.Frame]] = []
    for shown in tqdm(everything, unit="picture"):
        try:
            kept.append((shown.person, _weights(shown, model.blendshape_names), _frame(shown, model, regressor)))
        except NoFaceError:
            continue
    return Seen(np.array([one[0] for one in kept]), np.array([one[1] for one in kept]), [one[2] for one in kept])


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
        shows: list[tuple[str, ...]] = [()] * neutral + (alone if strength else [])
        for number, together in enumerate(shows):
            name, angles = f"{number}-{strength}", np.radians([rng.normal(0, sway) for sway in SWAY])
            yield Shown(person, name, dict.fromkeys(together, strength), angles, "")


def _weights(shown: Shown, names: Sequence[str]) -> np.ndarray:
    return np.array([shown.weights.get(name, 0.0) for name in names])


def _frame(shown: Shown, model: morphable_model.MorphableModel, regressor: Regressor) -> expression.Frame:
    (portrait,) = portraits_of(picture(shown), model)
    found = regressor.regress(portrait.crop.image[None])[0]
    pixels = portrait.crop.transform.apply(portrait.detected.landmarks478[:, :2])
    return expression.Frame(pixels, found.angles[0], found.translation[0])


def arrays_of(seen: Seen, names: Sequence[str], points: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a file that `face.responses.load` reads.

    Args:
      seen: `Seen`.
      names: J units of its weights.
      points: [L, 3] dm, the mean neutral face.
    """
    places = landmarks.mirrored_points(points)
    points = (points + points[places] * [-1, 1, 1]) / 2
    across = np.array([names.index(other_side(name)) for name in names])
    straight = np.array([responses.features(points, frame, Camera()) for frame in seen.frames])
    everything = np.concatenate([straight, mirrored_features(straight, places)])
    people = np.concatenate([seen.people, -seen.people])  # somebody's mirror image is somebody else
    weights = np.concatenate([seen.weights, seen.weights[:, across]])
    neutral = ~weights.any(1)
    calm = {person: everything[neutral & (people == person)] for person in np.unique(people)}
    moods = np.concatenate(
        [(own - own.mean(0)) * np.sqrt(len(own) / (len(own) - 1)) for own in calm.values() if len(own) > 1]
    )
    moved = everything - np.array([calm[person].mean(0) for person in people])
    moved[:, -responses.POSES :] = 0
    used = [name for name in names if name != UNSEEN]
    full, half, own = [], [], []
    for name in used:
        at = weights[:, names.index(name)]
        only = (weights > 0).sum(1) == (2 if name == expression.CORRECTIVE[0] else 1)
        full.append(moved[(at == 1) & only].mean(0))
        half.append(moved[(at == 0.5) & only].mean(0) if name in BENT else full[-1] / 2)
        own.append(moved[(at == 1) & only] - full[-1])
    spread = np.concatenate(own)
    once = 1 + 1 / STILL  # what is compared with the mean of some neutral faces errs by more than one of them
    covariance = once * moods.T @ moods / len(moods) + OWN * spread.T @ spread / len(spread)
    precision = np.linalg.inv(covariance + NOISE**2 * np.eye(len(covariance)))
    moves = _symmetric(np.array(full), used, places)
    bends = _symmetric(np.array(half) - np.array(full) / 2, used, places)
    products = [_symmetric(each @ precision, used, places) for each in (moves, bends)]
    stored = dict(zip(("moves", "bends", "move_products", "bend_products"), (moves, bends, *products), strict=True))
    return {
        "schema": np.array(responses.SCHEMA),
        "names": np.array(used),
        "points": points.astype(np.float32),
        **{name: array.astype(np.float32) for name, array in stored.items()},
    }


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


def _symmetric(rows: np.ndarray, names: Sequence[str], places: np.ndarray) -> np.ndarray:
    """Rows [J, F] that are exactly those of the other side, mirrored."""
    across = [names.index(other_side(name)) for name in names]
    return (rows + mirrored_features(rows, places)[across]) / 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.responses", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help=".npz to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    model = morphable_model.load(level=1)
    seen = observe()
    arrays = arrays_of(seen, model.blendshape_names, expression.actor(model).points)
    archive.write_arrays(options.out, arrays, overwrite=options.overwrite)
    print(f"wrote {options.out}: {len(arrays['names'])} units, of {len(seen.frames)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
