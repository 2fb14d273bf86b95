"""ARKit's units of a person whose neutral face is known: what a detector was seen to make of each unit.

The face model says how a unit moves a face, but not what a detector of landmarks makes of it: that was measured on
rendered people (`porting.open_face.responses`), whose units at full and at half strength moved the features x of a
frame away from those x0 of the neutral face by

    r(w) = sum_j w_j m_j + 4 w_j (1 - w_j) b_j,

with bends b_j, because a lid that is half closed is not half of a closed one. The features are the landmarks' offsets
from the mean face in its best pose, and the pose. How else they change, with the pose, with the detector's moods, with
the person's own way of moving, has the covariance P^-1, and the weights are those that make

    (x - x0 - r(w))' P (x - x0 - r(w)) / 2 + costs of many units

least, between 0 and 1. All that this needs of P are products with m and b, which are what the file holds.

Many units look alike, and most faces show few: a unit costs `RARE` `SOFT` log(1 + w / `SOFT`) (reweighted l1, Candes,
Wakin, Boyd 2008), and the halves of a pair cost where they differ. Bends make several minima: of two the deeper counts.

Letters: L landmarks, J units, F = 2 L + 5 features.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d import assets
from tf_deep3d.errors import InputError
from tf_deep3d.face import expression, geometry
from tf_deep3d.face.blendshapes import bounded_least_squares
from tf_deep3d.face.camera import Camera, projection_jacobian, to_pixels
from tf_deep3d.face.expression import CORRECTIVE, Actor, Frame, separate, squares
from tf_deep3d.face.head import rotation_of
from tf_deep3d.face.landmarks import DENSE_COUNT, IRISES
from tf_deep3d.io import archive

SHIPPED = assets.find("expression_responses.npz")
SCHEMA = 1
POSES = 5  # features of the pose: pitch, yaw, roll, and the squares of the first two
POSE = 0.3  # of which a radian counts as so many dm
STEPS = 5  # of the pose, and of the weights
RARE, SOFT = 1.5, 0.15  # cost of a unit, and the weight at which half of it is reached
RIDGE, BOND = 0.05, 5.0  # of squared weights, and of squared differences of the halves of a pair
LOOSE = 1e-9  # of squared steps of the pose
RESTING = 0.5  # weight up to which what the calmest frames show is the person's neutral face
CALM = 0.5  # share of the frames that are the calmest: the more, the less the detector's moods count


class Responses(NamedTuple):
    """What `load` reads, float64.

    Attributes:
      names: J names of units.
      points: [L, 3] dm, where a detector sees the mean neutral face, which has no irises to go by.
      moves, bends: [J, F], m and b.
      move_products, bend_products: [J, F], m P and b P.
      straight, across, bent: [J, J], m P m', m P b' and b P b'.
    """

    names: tuple[str, ...]
    points: np.ndarray
    moves: np.ndarray
    bends: np.ndarray
    move_products: np.ndarray
    bend_products: np.ndarray
    straight: np.ndarray
    across: np.ndarray
    bent: np.ndarray


_STORED = ("points", "moves", "bends", "move_products", "bend_products")


@cache
def load(path: Path = SHIPPED) -> Responses:
    """Reads the `Responses` of a file.

    Args:
      path: an .npz of `porting.open_face.responses`, by default the shipped one.

    Raises:
      FileNotFoundError: if there is no such file.
      archive.ArchiveError: if it is damaged.
      InputError: if it holds something else.
    """
    arrays = archive.read_arrays(path)
    try:
        names = tuple(map(str, arrays["names"]))
        stored = [arrays[field].astype(np.float64) for field in _STORED]
        schema = int(arrays["schema"])
    except KeyError as error:
        raise InputError(f"{path} must hold responses to units. Received: a file without {error}") from error
    wanted = (len(names), 2 * DENSE_COUNT + POSES)
    shapes = [array.shape for array in stored]
    if schema != SCHEMA or shapes != [(DENSE_COUNT, 3), *[wanted] * 4]:
        raise InputError(f"{path} must be of schema {SCHEMA}, of {wanted} products. Received: {schema}, {shapes}")
    points, moves, bends, move_products, bend_products = stored
    among = move_products @ moves.T, move_products @ bends.T, bend_products @ bends.T
    return Responses(names, points, moves, bends, move_products, bend_products, *among)


def features(points: np.ndarray, frame: Frame, camera: Camera) -> np.ndarray:
    """The features [F] of a frame.

    Args:
      points: `Responses.points`.
      frame: `expression.Frame`.
      camera: `Camera` that saw it.
    """
    rotation: np.ndarray = geometry.rotation_matrix(np.asarray(frame.angles, np.float64)[None])[0]
    translation: np.ndarray = np.asarray(frame.translation, np.float64)
    still = np.ones(len(points))
    still[IRISES] = 0.0
    for _ in range(STEPS):
        turned: np.ndarray = points @ rotation.T
        projected, depth = to_pixels(camera, (turned + translation)[None])
        moved = np.concatenate([-geometry.cross_matrices(turned), np.tile(np.eye(3), (len(points), 1, 1))], 2)
        jacobian: np.ndarray = projection_jacobian(turned + translation, depth[0], camera) @ moved
        pulled: np.ndarray = (jacobian * still[:, None, None]).reshape(-1, 6)
        normal: np.ndarray = pulled.T @ jacobian.reshape(-1, 6) + LOOSE * np.eye(6)
        pull: np.ndarray = pulled.T @ (frame.pixels - projected[0]).reshape(-1)
        step: np.ndarray = np.linalg.solve(normal, pull)
        rotation = rotation_of(step[None, :3])[0] @ rotation
        translation = np.add(translation, step[3:])
    projected, depth = to_pixels(camera, (points @ rotation.T + translation)[None])
    right, down = ((frame.pixels - projected[0]) * depth[0][:, None] / camera.focal).T
    offsets = np.stack([right, -down, np.zeros_like(right)], -1) @ rotation
    angles = geometry.angles_of(rotation[None])[0]
    return np.concatenate([offsets[:, :2].reshape(-1), POSE * angles, POSE * angles[:2] ** 2])


def solve(responses: Responses, change: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Weights in [0, 1] of units.

    Args:
      responses: `Responses`.
      change: [F], what the features of a frame are beyond those of the neutral face.
      names: of the units wanted; those that the responses do not know stay 0.

    Returns:
      Weights by `names`.
    """
    products = responses.move_products @ change, responses.bend_products @ change
    bent = 0.5 * (np.diag(responses.bent) > 0)
    starts = (_descend(responses, products, start) for start in (np.zeros_like(bent), bent))
    weights = min(starts, key=lambda found: _objective(responses, products, found))
    found = dict(zip(responses.names, separate(responses.names, weights), strict=True))
    return np.array([found.get(name, 0.0) for name in names])


def _descend(responses: Responses, products: tuple[np.ndarray, np.ndarray], start: np.ndarray) -> np.ndarray:
    """Weights [J] where Gauss-Newton steps lead that begin with the bends as they are at `start`, without their slopes,
    of the products [J] of m P and b P with the change of the features."""
    straight, across, bent = responses[-3:]
    costs = squares(responses.names, RIDGE, BOND)
    curve, slope, chord = 4 * start * (1 - start), np.zeros_like(start), True
    weights = np.zeros_like(start)
    for _ in range(STEPS):
        normal = straight + across * slope + (across * slope).T + np.outer(slope, slope) * bent
        target = products[0] - across @ (curve - slope * weights)
        target = target + slope * (products[1] - bent @ (curve - slope * weights))
        target = target - RARE * (1.0 if chord else SOFT / (weights + SOFT))
        normal = normal + costs
        weights, chord = bounded_least_squares((normal + normal.T) / 2, target), False
        curve, slope = 4 * weights * (1 - weights), 4 * (1 - 2 * weights)
    return weights


def _objective(responses: Responses, products: tuple[np.ndarray, np.ndarray], weights: np.ndarray) -> float:
    """Half of what `solve` makes least, less what no weights change."""
    straight, across, bent = responses[-3:]
    curve = 4 * weights * (1 - weights)
    fit = weights @ straight @ weights / 2 + weights @ across @ curve + curve @ bent @ curve / 2
    fit -= products[0] @ weights + products[1] @ curve
    costs = weights @ squares(responses.names, RIDGE, BOND) @ weights / 2
    return float(fit + costs + RARE * SOFT * np.log1p(weights / SOFT).sum())


def predicted(responses: Responses, weights: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """How far weights of units `names` move the features, [F]."""
    chosen = dict(zip(names, weights, strict=True))
    known = np.array([chosen.get(name, 0.0) for name in responses.names])
    if all(name in responses.names for name in CORRECTIVE):  # whose response has the base's in it
        corrective, base = map(responses.names.index, CORRECTIVE)
        known[base] = max(known[base] - known[corrective], 0.0)
    return known @ responses.moves + 4 * (known * (1 - known)) @ responses.bends


def at_rest(
    responses: Responses,
    known: Actor,
    frames: Sequence[Frame],
    camera: Camera,
    over: Callable[[Callable[[Frame], np.ndarray], Sequence[Frame]], Iterable[np.ndarray]] = map,
) -> np.ndarray:
    """The features [F] of the neutral face of a person whom a set or clip shows.

    A detector sees each person's neutral face a little off the model's, the same in all frames. The calmest frames,
    a share `CALM` of them, tell how: what their units above `RESTING` do not explain is the person's own.

    Args:
      responses: `Responses`.
      known: `expression.Actor` of the person.
      frames: of this person, at least one.
      camera: `Camera` of all.
      over: as `map`, which applies a function to each frame; another may use all cores.
    """
    found = list(over(lambda frame: expression.solve(known, frame, camera).weights, frames))
    calmest = sorted(range(len(frames)), key=lambda index: float(found[index].sum()))
    resting: list[np.ndarray] = []
    for index in calmest[: max(1, round(CALM * len(frames)))]:
        shown = np.where(found[index] > RESTING, found[index], 0.0)
        resting.append(features(responses.points, frames[index], camera) - predicted(responses, shown, known.names))
    return np.mean(resting, 0)
