"""How people's identities are distributed in the sculpted modes, and the face model's modes that follow from it.

`calibration` finds the figures; the build of the model and whatever depends on its coefficients reads them here.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d import assets
from tf_deep3d.errors import InputError
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import people

SCHEMA = 1
SHIPPED = assets.find("open_face_population.npz")
LENGTH_TOLERANCE = 1e-3  # relative, of the sculpted modes' lengths, which differ a little between machines


class PopulationError(InputError):
    """The file holds no usable population; the message says what was received."""


class Population(NamedTuple):
    """How people's coefficients in the sculpted modes are distributed: a ~ N(mean, covariance).

    Attributes:
      mean: [K], 0 at antisymmetric modes.
      covariance: [K, K], positive definite, 0 between symmetric and antisymmetric modes.
      lengths: [K] dm, the Euclidean length of each sculpted mode; the modes are orthogonal.
      symmetric: [K] bool.
    """

    mean: np.ndarray
    covariance: np.ndarray
    lengths: np.ndarray
    symmetric: np.ndarray


class Axes(NamedTuple):
    """The principal axes of a `Population`'s shapes, by falling variance; each is symmetric or antisymmetric.

    Attributes:
      mean: [K], sculpted coefficients of the mean shape.
      modes: [K, K], row k is one standard deviation along axis k, in sculpted coefficients.
      turn: [K, K] orthogonal: the sculpted person a and the person `turn` a of the axes have the same place among
        their likes. It takes N(0, I) to N(0, I) and moves every sculpted person the least, counted in coefficients.
    """

    mean: np.ndarray
    modes: np.ndarray
    turn: np.ndarray

    def coefficients(self, sculpted: np.ndarray) -> np.ndarray:
        """[n, K] on the axes of the shapes with `sculpted` coefficients [n, K]."""
        return np.linalg.solve(self.modes.T, (sculpted - self.mean).T).T

    def counterparts(self, coefficients: np.ndarray) -> np.ndarray:
        """[n, K] on the axes of the people who take the places of sculpted ones of `coefficients` [n, K] on the axes.

        The sculpted people are N(0, I) in sculpted coefficients, their counterparts are N(0, I) on the axes.
        """
        return (self.mean + coefficients @ self.modes) @ self.turn.T


def principal_axes(population: Population) -> Axes:
    """`Axes` of a `Population`: those of its shapes, not of its coefficients, so that the first moves the most."""
    rows = []
    for kind in (population.symmetric, ~population.symmetric):
        scale = population.lengths[kind]
        values, vectors = np.linalg.eigh(scale[:, None] * population.covariance[np.ix_(kind, kind)] * scale)
        vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(len(values))])
        modes = np.zeros((len(values), len(kind)))
        modes[:, kind] = (vectors * np.sqrt(values)).T / scale
        rows += list(zip(values, modes, strict=True))
    modes = np.stack([mode for _, mode in sorted(rows, key=lambda row: -row[0])])
    values, vectors = np.linalg.eigh(population.covariance)
    return Axes(population.mean, modes, np.linalg.solve(modes.T, (vectors * np.sqrt(values)) @ vectors.T))


def calibrated(shapes: people.Shapes, population: Population) -> people.Shapes:
    """`Shapes` whose identities are people's; centred as the sculpted ones were.

    Raises:
      PopulationError: if the population belongs to other modes.
    """
    lengths = np.linalg.norm(shapes.identity.reshape(len(shapes.identity), -1), axis=1)
    if len(lengths) != len(population.lengths) or not np.allclose(lengths, population.lengths, LENGTH_TOLERANCE):
        received = f"{len(population.lengths)}, the first {population.lengths[0]:.4f} dm long"
        raise PopulationError(
            f"the population must belong to these {len(lengths)} modes, the first {lengths[0]:.4f} dm long. "
            f"Received: {received}"
        )
    axes = principal_axes(population)
    mean = shapes.mean + np.tensordot(axes.mean, shapes.identity, 1)
    shift = people.five_points(shapes.face, mean).mean(0) - people.CENTER
    identity = np.tensordot(axes.modes, shapes.identity, 1)
    return shapes._replace(mean=mean - shift, identity=identity, origin=shapes.origin + shift)


def read_population(path: str | Path = SHIPPED) -> Population:
    """Reads and checks the file of a `Population`.

    Raises:
      FileNotFoundError: if there is no such file.
      PopulationError: if the file is something else, or its covariance is none of faces and their mirror images.
    """
    arrays = archive.read_arrays(path)
    try:
        schema = int(arrays["schema"])
        found = Population(*(arrays[name] for name in Population._fields))
    except (KeyError, TypeError, ValueError) as error:
        raise PopulationError(f"{path} must hold a population. Received: {error}") from error
    count = found.symmetric.size
    shapes = [values.shape for values in found]
    if schema != SCHEMA or shapes != [(count,), (count, count), (count,), (count,)]:
        raise PopulationError(f"{path} is no population of schema {SCHEMA}. Received: schema {schema}, {shapes}")
    kinds = "".join(values.dtype.kind for values in found)
    if kinds != "fffb":
        raise PopulationError(f"{path} must hold three arrays of floats and one of bools. Received: {kinds}")
    if not np.allclose(found.covariance, found.covariance.T):
        raise PopulationError(f"{path}: the covariance must be symmetric. Received: one that is not")
    least = np.linalg.eigvalsh(found.covariance)[0]
    if least <= 0 or found.lengths.min() <= 0:
        raise PopulationError(f"{path}: the covariance must be positive definite. Received: eigenvalue {least:.3g}")
    alike = found.symmetric[:, None] == found.symmetric
    if np.abs(found.covariance[~alike]).max(initial=0) > 0 or np.abs(found.mean[~found.symmetric]).max(initial=0) > 0:
        raise PopulationError(f"{path}: faces must be as likely as their mirror images. Received: others")
    return found
