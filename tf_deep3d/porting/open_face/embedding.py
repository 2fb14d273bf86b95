"""Puts the landmarks of the open face model where a detector sees them on people: `python -m
tf_deep3d.porting.open_face.embedding OUT`, the last step of its build.

The build of the model finds its landmarks on sculpted heads. This step finds them anew on heads of the finished model,
whose identities are distributed as people's (`open_head.npz`): random people with more or less open mouths are
rendered in several poses, the detected points are carried back to the mean face, and their robust mean, made
symmetric, replaces the landmark sets at all levels of detail. Nothing else in the file changes.

Letters: T triangles, V vertices, L landmarks.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.data.rendered.people import generator
from tf_deep3d.face import albedo, head, morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive, files
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.porting.open_face.surface import EYE, FACE

SEED = 478
PEOPLE = 24
POSES = (*landmarks.POSES, (0.2, 0.0))  # pitch, yaw in radians
JAW = (0.1, 0.4)  # of the unit jawOpen, from the first person to the last: the lips are apart
OPEN = 0.5  # of jawOpen on the mean face on which the points are found
OTHER = -1  # part of the surface that carries no landmark


class Observed(NamedTuple):
    """What the detector sees on renders.

    Attributes:
      places: [pictures, 478, 3] dm on the mean face with its mouth open, NaN where a point misses the face.
      frontal: [people, 478, 3] px, of the frontal pictures.
    """

    places: np.ndarray
    frontal: np.ndarray


def opened(model: MorphableModel) -> np.ndarray:
    """The mean face [V, 3] dm with its jaw half open, where upper and lower lip are apart."""
    return model.mean_shape + OPEN * model.blendshapes[model.blendshape_names.index("jawOpen")]


def parts_of(model: MorphableModel) -> np.ndarray:
    """Part of the surface of each triangle [T]: `surface.FACE`, `surface.EYE` or `OTHER`."""
    eyes, inside = (model.regions[name][model.triangles].all(1) for name in ("eyes", "inner_mouth"))
    return np.where(eyes, EYE, np.where(inside, OTHER, FACE))


def observe(model: MorphableModel, anatomy: head.Head, numbers: Sequence[int], step: Callable[[], object]) -> Observed:
    """Renders random people of the model and carries the detected points back.

    Args:
      model: at the level of detail of the head.
      anatomy: `Head` of it.
      numbers: of the people; each is the same whoever else is drawn.
      step: called after each person.
    """
    parts, mean, jaw = parts_of(model), opened(model), model.blendshape_names.index("jawOpen")
    places, frontal = [], []
    for order, number in enumerate(numbers):
        rng = generator(SEED, number)
        identity = np.clip(rng.normal(size=(1, len(model.identity_basis))), -3, 3).astype(np.float32)
        weights = np.zeros((1, len(model.blendshapes)), np.float32)
        weights[0, jaw] = JAW[0] + (JAW[1] - JAW[0]) * order / max(len(numbers) - 1, 1)
        complexion = anatomy.complexions[rng.integers(len(anatomy.complexions))]
        vertices = head.with_units(anatomy, identity, weights)[0]
        colors = np.clip(albedo(anatomy.whole, complexion[None])[0], 0, 1)
        for angles in POSES:
            image = landmarks.picture(vertices, colors, anatomy.whole.triangles, angles)
            found = landmarks.observe(image, vertices[: anatomy.face], model.triangles, parts, mean, angles)
            places.append(found[0])
            if angles == POSES[0]:
                frontal.append(found[1])
        step()
    return Observed(np.stack(places), np.stack(frontal))


def embed(observed: Observed) -> tuple[np.ndarray, np.ndarray]:
    """The 478 points [478, 3] dm on the mean face with its mouth open, symmetric, and their spread [478] dm."""
    found, spread = landmarks.robust_mean(observed.places)
    pairs = landmarks.mirrored_points(np.nanmean(observed.frontal, 0), tolerance=2 * landmarks.REACH)
    return (found + found[pairs] * [-1, 1, 1]) / 2, spread


def landmark_arrays(levels: Sequence[MorphableModel], points: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the landmark sets of a model file, from the 478 points on the opened mean face."""
    arrays = {}
    for level, model in enumerate(levels):
        parts, surface = parts_of(model), opened(model)
        for name, places in landmarks.landmark_sets(points).items():
            vertices, weights = landmarks.snap_set(name, places, surface, model.triangles, parts)
            arrays[f"level{level}_landmarks_{name}_vertices"] = vertices
            arrays[f"level{level}_landmarks_{name}_weights"] = weights
    return arrays


def bias(model: MorphableModel, observed: Observed) -> np.ndarray:
    """Distances [478] in mm of the mean observed point from the model's own, on the mean face with its mouth open."""
    points = model.landmarks["mediapipe478"]
    own = (opened(model)[points.vertices] * points.weights[..., None]).sum(1)
    return MILLIMETRES * np.linalg.norm(np.nanmean(observed.places, 0) - own, axis=-1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.embedding", __doc__)
    parser.add_argument("--face", help="model file of .open_face (default: the shipped one)")
    parser.add_argument("--head", help="its head, of .open_face.head (default: the shipped one)")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"random people to look at (default: {PEOPLE})")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="model file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    levels = morphable_model.load_levels(options.face)
    model = levels[1]
    anatomy = head.load(model, options.head, shoulders=True)
    with tqdm(total=2 * options.people, desc="landmarks", unit="person", disable=None) as bar:
        seen = observe(model, anatomy, range(options.people), bar.update)
        held_out = observe(model, anatomy, range(options.people, 2 * options.people), bar.update)
    points, spread = embed(seen)
    arrays = archive.read_arrays(options.face or morphable_model.OPEN_FACE)
    archive.write_arrays(options.out, {**arrays, **landmark_arrays(levels, points)}, options.overwrite)
    before, after = (bias(each, held_out) for each in (model, morphable_model.load(options.out, 1)))
    print(f"faces found in {np.isfinite(seen.places).any((1, 2)).sum()} of {len(seen.places)} pictures")
    print(f"median distance of a point from its median {MILLIMETRES * np.median(spread):.2f} mm")
    print(f"bias on {options.people} other people: {before.mean():.2f} mm before, {after.mean():.2f} mm after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
