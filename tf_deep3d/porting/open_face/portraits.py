"""What the skins of portraits show beyond the painted ones: `python -m tf_deep3d.porting.open_face.portraits PHOTOS`.

The face model is fitted to frontal portraits. What its albedo and its light leave unexplained of a face is taken as
optical density at the vertices, less whatever a light of three bands could do, and less the mean over all portraits,
which is shading that every face has. Principal components of three portraits in four are tried on the fourth, beside
the model's own modes.

Letters: B portraits, V vertices of the model's second level of detail, K components.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.face import geometry as face_geometry
from tf_deep3d.face import lighting, morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import descent
from tf_deep3d.fitting.settings import FitSettings, Observation, Stage
from tf_deep3d.io import photos
from tf_deep3d.porting.open_face import geometry
from tf_deep3d.reconstruction.portraits import BATCH, NoFaceError, Portrait, in_batches, observe, portraits_of
from tf_deep3d.texture import fields

LEVEL = 1  # of detail of the vertices that are compared
COMPONENTS = 12
STAGES = (Stage(level=0, steps=60, learning_rate=0.1, perceptual=False),)
HELD_OUT = 4  # every so many portraits one measures what the components add
LARGEST = 0.7  # density; what differs more is hair or a shadow
COSINES = (0.3, 0.6)  # of the angle to the viewing direction, between which a vertex begins to count
FADE = 0.15  # dm, from the face's border, eyes and mouth inwards, over which a vertex begins to count
RIDGE = 0.01  # share of the mean weight with which light is held back where a portrait shows little
DARKEST = 0.02  # colour, below which nothing is compared


class Lifted(NamedTuple):
    """What the model leaves unexplained of faces.

    Attributes:
      density: [B, V, 3], optical density beyond the model's albedo and light; 0 where nothing is known.
      weight: [B, V] in [0, 1], how well a portrait shows each vertex.
    """

    density: np.ndarray
    weight: np.ndarray


def lift(observation: Observation, model: MorphableModel, coefficients: Coefficients) -> Lifted:
    """Compares photos with faces that were fitted to them.

    Args:
      observation: `Observation` of B portraits.
      model: `MorphableModel`.
      coefficients: `Coefficients` of the faces.
    """
    face = faces.reconstruct(model, coefficients)
    toward = face_geometry.normalize(np.array([0, 0, Camera().distance], np.float32) - face.vertices)
    cosine = np.sum(face.normals * toward, -1)
    shown = np.clip((cosine - COSINES[0]) / (COSINES[1] - COSINES[0]), 0, 1) * inside(model)
    density, weight = [], []
    for image, attention, pixels, colors, normals, share in zip(
        observation.images, observation.attention, face.pixels, face.colors, face.normals, shown, strict=True
    ):
        seen = fields.bilinear(np.concatenate([image, attention], -1), pixels)
        own = share * np.clip(seen[:, 3], 0, 1)
        beyond = np.log(np.maximum(colors, DARKEST)) - np.log(np.maximum(seen[:, :3], DARKEST))
        own = own * (np.abs(beyond).max(-1) < LARGEST)
        density.append(own[:, None] * without_light(beyond, own, normals))
        weight.append(own)
    return Lifted(np.stack(density).astype(np.float32), np.stack(weight).astype(np.float32))


def inside(model: MorphableModel) -> np.ndarray:
    """[V] in [0, 1]: 1 on the skin of the inner face, 0 at its border and in eyes and mouth."""
    kept = model.regions["inner_face"] & ~model.regions["eyes"] & ~model.regions["inner_mouth"]
    left = ~model.regions["inner_face"]
    holes = model.regions["eyes"] | model.regions["inner_mouth"]
    place = model.mean_shape
    near = [KDTree(place[away]).query(place)[0] / reach for away, reach in ((left, FADE), (holes, FADE / 5))]
    return kept * np.clip(np.minimum(*near), 0, 1)


def without_light(density: np.ndarray, weight: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """`density` [V, 3] less the best combination of the harmonics at `normals` [V, 3], `weight` [V] counting."""
    basis = lighting.sh_basis(normals).astype(np.float64)
    pulled = basis * weight[:, None]
    ridge = (RIDGE * weight.mean() + 1e-9) * len(basis) * np.eye(lighting.HARMONICS)
    return density - basis @ np.linalg.solve(pulled.T @ basis + ridge, pulled.T @ density)


def components(lifted: Lifted, mirror: np.ndarray, count: int) -> np.ndarray:
    """Principal components [count, V, 3] of lifted densities and their mirror images, one standard deviation each.

    Args:
      lifted: `Lifted`.
      mirror: [V] int.
      count: number of components.

    Raises:
      InputError: if there are too few portraits.
    """
    if 2 * len(lifted.density) <= count:
        raise InputError(f"{count} components need more than {count // 2} portraits. Received: {len(lifted.density)}")
    density = np.concatenate([lifted.density, lifted.density[:, mirror]])
    weight = np.concatenate([lifted.weight, lifted.weight[:, mirror]])[..., None]
    mean = density.sum(0) / np.maximum(weight.sum(0), 1)
    flat = (density - weight * mean).reshape(len(density), -1).astype(np.float64)
    vectors = np.linalg.eigh(flat @ flat.T / len(flat))[1][:, ::-1][:, :count] / np.sqrt(len(flat))
    return (vectors.T @ flat).reshape(count, *density.shape[1:])


def unexplained(lifted: Lifted, mean: np.ndarray, modes: np.ndarray, prior: float) -> float:
    """Root mean square density that `modes` leave of lifted densities.

    Args:
      lifted: `Lifted`.
      mean: [V, 3], the mean of others.
      modes: [K, V, 3], density of one standard deviation.
      prior: variance of a density that is no sign of any mode; holds the coefficients back.
    """
    left, total = 0.0, 0.0
    flat = modes.reshape(len(modes), mean.size)
    for density, weight in zip(lifted.density, lifted.weight, strict=True):
        root = np.sqrt(weight)[:, None]
        wanted = (density / np.maximum(root, 1e-6) - root * mean).ravel()
        system = flat * np.broadcast_to(root, mean.shape).ravel()
        # A skin's density is smooth: a vertex says as much as one in fifty independent ones would.
        solved = np.linalg.solve(system @ system.T / 50 + prior * np.eye(len(flat)), system @ wanted / 50)
        left += np.square(wanted - solved @ system).sum()
        total += 3 * weight.sum()
    return float(np.sqrt(left / total))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.portraits", __doc__)
    parser.add_argument("photos", type=Path, help="folder of frontal portraits that may be used so")
    parser.add_argument("--face", type=Path, help="face model, by default the shipped one")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    paths = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in photos.SUFFIXES)
    levels = morphable_model.load_levels(options.face)
    model = levels[LEVEL]
    parts = [lift(*each) for each in _fitted(paths, levels)]
    if not parts:
        raise InputError(f"{options.photos} must hold portraits. Received: {len(paths)} pictures, no face")
    lifted = Lifted(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    mirror = geometry.match_mirrored(model.mean_shape + 10 * np.eye(3)[1] * model.regions["eyes"][:, None], 1e-3)
    _report(lifted, mirror, model)
    return 0


def _fitted(
    paths: Sequence[Path], levels: Sequence[MorphableModel]
) -> Iterator[tuple[Observation, MorphableModel, Coefficients]]:
    """Batches of portraits and the faces fitted to them."""
    settings = FitSettings(stages=STAGES)
    with tqdm(total=len(paths), desc="portraits", unit="photo") as bar:
        for several in in_batches(list(paths)):
            found: list[Portrait] = []
            for path in several:
                try:
                    found += portraits_of(path, levels[-1])
                except NoFaceError:
                    continue
            if found:
                observation = observe(found)
                yield observation, levels[LEVEL], descent.fit(levels, observation, settings).coefficients
            bar.update(min(BATCH, len(several)))


def _report(lifted: Lifted, mirror: np.ndarray, model: MorphableModel) -> None:
    """Prints what the components add to the painted modes on portraits that they were not made from."""
    number = np.arange(len(lifted.density))
    known, new = (
        Lifted(*(part[chosen] for part in lifted)) for chosen in (number % HELD_OUT > 0, number % HELD_OUT == 0)
    )
    mean = known.density.sum(0) / np.maximum(known.weight.sum(0)[:, None], 1)
    painted = -model.albedo_basis / np.maximum(model.mean_albedo, 0.02)
    own = components(known, mirror, COMPONENTS)
    prior = float(np.square(known.density).sum() / (3 * known.weight.sum()))
    print(f"{len(number)} portraits; density unexplained on {len(new.density)} held out, root mean square:")
    kinds = {
        "no modes": painted[:0],
        "painted": painted,
        f"painted and {COMPONENTS} of portraits": np.concatenate([painted, own]),
        f"{len(painted) - COMPONENTS} painted and {COMPONENTS} of portraits": np.concatenate(
            [painted[:-COMPONENTS], own]
        ),
    }
    for name, modes in kinds.items():
        print(f"  {name}: {unexplained(new, mean, modes, prior):.4f}")


if __name__ == "__main__":
    sys.exit(main())
