"""ARKit's units as a face shows them: weights in [0, 1] from MediaPipe's 478 landmarks with irises.

The face model says how a unit moves a face, but not what a detector of landmarks makes of it, nor how the neutral
faces of people differ: that was measured, of rendered and of real people (`porting.open_face.responses`). The
features of a frame are the landmarks' offsets from the mean face in its best pose, and the pose. Their coordinates are

    y = n + r(w) + e,    r(w) = sum_j w_j m_j + 4 w_j (1 - w_j) b_j,    e ~ N(0, 1),    n ~ N(0, diag(s))

with what the units do, m, bends b, because a lid that is half closed is not half of a closed one, what the detector's
moods and the person's own way of moving do, e, and the person's neutral face n. One photo does not tell n, so it counts
as an error of variance s; of the many frames of a clip n is found (`neutral_of`): a photo and a clip differ in nothing
else. The weights of a frame are those that make

    sum_k (y - n - r(w))_k^2 / (1 + variance of n_k) / 2 + costs of many units

least, between 0 and 1. Many units look alike, and most faces show few: a unit costs its price times `SOFT` log(1 + w /
`SOFT`) (reweighted l1, Candes, Wakin, Boyd 2008), and the halves of a pair cost where they differ. Bends make several
minima: of two the deeper counts. What `mouthClose` corrects is an open jaw: its response has the jaw's in it.

Letters: L landmarks, J units, F = 2 L + 5 features, K coordinates, N frames.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d import assets
from tf_deep3d.errors import InputError
from tf_deep3d.face import geometry
from tf_deep3d.face.blendshapes import bounded_least_squares
from tf_deep3d.face.camera import Camera, projection_jacobian, to_pixels
from tf_deep3d.face.head import rotation_of
from tf_deep3d.face.landmarks import DENSE_COUNT, IRISES
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive

LANDMARKS = "mediapipe478"
SHIPPED = assets.find("expression_responses.npz")
SCHEMA = 2
POSES = 5  # features of the pose: pitch, yaw, roll, and the squares of the first two
POSE = 0.3  # of which a radian counts as so many dm
STEPS = 5  # of the pose, and of the weights
PRICE, SOFT = 4.0, 0.15  # of a unit, and the weight at which half of it is reached
START = 0.35  # share of the price that the first step takes for its slope
DOUBT = 2.0  # times the price of subtle units where the neutral face is not known
RIDGE, BOND = 0.05, 3.0  # of squared weights, and of squared differences of the halves of a pair
LOOSE = 1e-9  # of squared steps of the pose
FRAMES = (20, 40)  # of a clip at least, for them to tell the neutral face; looked at, at most
CALMEST = 0.5  # share of them that tells it
EVIDENT = 0.5  # weight from which a unit is no part of it
ROUNDS = 3  # in which weights and neutral face of a clip find each other

# Pressed, rolled or pursed lips: a neutral mouth of another person, or a smile, looks like them.
SUBTLE = ("mouthDimple", "mouthPress", "mouthPucker", "mouthRoll", "mouthStretch")
CORRECTIVE = ("mouthClose", "jawOpen")
_GAZE = (("eyeLookInLeft", "eyeLookOutRight"), ("eyeLookInRight", "eyeLookOutLeft"))  # eyes turn together
_TO_A_SIDE = ("mouthLeft", "jawLeft", "eyeLookInLeft", "eyeLookOutLeft")  # no halves of a pair


class Responses(NamedTuple):
    """What `load` reads, float64.

    Attributes:
      names: J names of units.
      points: [L, 3] dm, where a detector sees the mean neutral face, which has no irises to go by.
      rows: [K, F], T, from features to coordinates.
      mean: [K], of neutral faces, which the coordinates count from.
      spread: [K], s, variance of people's neutral faces.
      moves, bends: [J, K], m and b.
    """

    names: tuple[str, ...]
    points: np.ndarray
    rows: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    moves: np.ndarray
    bends: np.ndarray


class Neutral(NamedTuple):
    """What is known of a person's neutral face.

    Attributes:
      mean: [K].
      variance: [K].
      prices: [J], what each unit costs: more where the neutral face may look like it.
    """

    mean: np.ndarray
    variance: np.ndarray
    prices: np.ndarray


class Frame(NamedTuple):
    """What is known of one frame.

    Attributes:
      pixels: [L, 2], px of the camera, where the landmarks were found.
      angles: [3], about the head's pitch, yaw, roll in radians.
      translation: [3], about the head's, dm.
    """

    pixels: np.ndarray
    angles: np.ndarray
    translation: np.ndarray


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
        schema, size = int(arrays["schema"]), len(arrays["rows"])
        stored = [arrays[field].astype(np.float64) for field in Responses._fields[1:]]
    except KeyError as error:
        raise InputError(f"{path} must hold responses to units. Received: a file without {error}") from error
    features = 2 * DENSE_COUNT + POSES
    wanted = [(DENSE_COUNT, 3), (size, features), (size,), (size,), *[(len(names), size)] * 2]
    shapes = [array.shape for array in stored]
    if schema != SCHEMA or shapes != wanted:
        raise InputError(f"{path} must be of schema {SCHEMA}, of {features} features. Received: {schema}, {shapes}")
    return Responses(names, *stored)


def shows_units(model: MorphableModel) -> bool:
    """Whether a model has units that dense landmarks may show."""
    return LANDMARKS in model.landmarks and len(model.blendshapes) > 0


def features(points: np.ndarray, frame: Frame, camera: Camera) -> np.ndarray:
    """The features [F] of a frame.

    Args:
      points: `Responses.points`.
      frame: `Frame`.
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


def coordinates(responses: Responses, frame: Frame, camera: Camera) -> np.ndarray:
    """The coordinates y [K] of a `Frame` that a `Camera` saw."""
    return responses.rows @ features(responses.points, frame, camera) - responses.mean


def of_photo(names: Sequence[str], frame: Frame, camera: Camera) -> np.ndarray:
    """Weights in [0, 1] of units `names` in one photo, whose person's neutral face nobody knows."""
    responses = load()
    return solve(responses, coordinates(responses, frame, camera), anybody(responses), names)


def anybody(responses: Responses) -> Neutral:
    """The `Neutral` of a person whom nobody knows."""
    prices = [PRICE * (DOUBT if name.startswith(SUBTLE) else 1.0) for name in responses.names]
    return Neutral(np.zeros_like(responses.spread), responses.spread, np.array(prices))


def neutral_of(responses: Responses, seen: np.ndarray) -> Neutral:
    """The `Neutral` of a person who is seen in many frames and shows many things.

    It is what the calmest frames have in common: their median, of what units above `EVIDENT` do not explain. Few
    frames may all show the same expression: they tell nothing.

    Args:
      responses: `Responses`.
      seen: [N, K] coordinates of the frames.
    """
    known, (least, most) = anybody(responses), FRAMES
    if len(seen) < least:
        return known
    seen = seen[np.linspace(0, len(seen) - 1, min(len(seen), most)).round().astype(int)]
    for _ in range(ROUNDS):
        weights = np.array([_weights(responses, each, known) for each in seen])
        calmest = np.argsort(weights.sum(1), kind="stable")[: round(CALMEST * len(seen))]
        rest = seen - _moved(responses, np.where(weights > EVIDENT, weights, 0.0))
        known = _told(responses, np.median(rest[calmest], 0), len(calmest))
    return known


def _told(responses: Responses, middle: np.ndarray, count: int) -> Neutral:
    """What `count` sightings of a neutral face, whose middle is [K], tell of it."""
    precise = 1 / (1 + count * responses.spread)
    prices = np.full(len(responses.names), PRICE)
    return Neutral(count * responses.spread * middle * precise, responses.spread * precise, prices)


def solve(responses: Responses, seen: np.ndarray, known: Neutral, names: Sequence[str]) -> np.ndarray:
    """Weights in [0, 1] of units.

    Args:
      responses: `Responses`.
      seen: [K], the coordinates of a frame.
      known: `Neutral` of the person.
      names: of the units wanted; those that the responses do not know stay 0.

    Returns:
      Weights by `names`.
    """
    found = dict(zip(responses.names, separate(responses.names, _weights(responses, seen, known)), strict=True))
    return np.array([found.get(name, 0.0) for name in names])


def expected(responses: Responses, weights: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """How far weights of units `names` move the coordinates, r(w), [K]."""
    chosen = dict(zip(names, weights, strict=True))
    own = np.array([chosen.get(name, 0.0) for name in responses.names])
    if all(name in responses.names for name in CORRECTIVE):  # whose response has the base's in it
        corrective, base = map(responses.names.index, CORRECTIVE)
        own[base] = max(own[base] - own[corrective], 0.0)
    return _moved(responses, own)


def _moved(responses: Responses, weights: np.ndarray) -> np.ndarray:
    """r(w) [.., K] of weights [.., J], the corrective one's with its base in it."""
    return weights @ responses.moves + 4 * (weights * (1 - weights)) @ responses.bends


def _weights(responses: Responses, seen: np.ndarray, known: Neutral) -> np.ndarray:
    """Weights [J] of a frame, the corrective one's with its base in it."""
    sure = 1 / (1 + known.variance)
    moves, bends = responses.moves, responses.bends
    among = (moves * sure) @ moves.T, (moves * sure) @ bends.T, (bends * sure) @ bends.T
    change = sure * (seen - known.mean)
    products = moves @ change, bends @ change
    costs = squares(responses.names)
    bent = 0.5 * (np.diag(among[2]) > 0)
    both = [_descend(among, products, costs, known.prices, start) for start in (np.zeros_like(bent), bent)]

    def height(weights: np.ndarray) -> float:
        """Half of what is made least, less what no weights change."""
        straight, across, twice = among
        curve = 4 * weights * (1 - weights)
        fit = weights @ straight @ weights / 2 + weights @ across @ curve + curve @ twice @ curve / 2
        fit -= products[0] @ weights + products[1] @ curve
        return float(fit + weights @ costs @ weights / 2 + known.prices @ np.log1p(weights / SOFT) * SOFT)

    return min(both, key=height)


def _descend(
    among: tuple[np.ndarray, np.ndarray, np.ndarray],
    products: tuple[np.ndarray, np.ndarray],
    costs: np.ndarray,
    prices: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """Weights [J] where Gauss-Newton steps lead that begin with the bends as they are at `start`, without their slopes,
    of products [J, J] of moves and bends and [J] of either with the change."""
    straight, across, bent = among
    curve, slope, chord = 4 * start * (1 - start), np.zeros_like(start), True
    weights = np.zeros_like(start)
    for _ in range(STEPS):
        normal = straight + across * slope + (across * slope).T + np.outer(slope, slope) * bent
        rest = curve - slope * weights
        target = products[0] - across @ rest + slope * (products[1] - bent @ rest)
        target = target - prices * (START if chord else SOFT / (weights + SOFT))
        normal = normal + costs
        weights, chord = bounded_least_squares((normal + normal.T) / 2, target), False
        curve, slope = 4 * weights * (1 - weights), 4 * (1 - 2 * weights)
    return weights


@cache
def squares(names: tuple[str, ...]) -> np.ndarray:
    """[J, J], whose quadratic form is what squared weights cost, and squared differences of the halves of pairs."""
    pairs = [(name, name[:-4] + "Right") for name in names if name.endswith("Left") and name not in _TO_A_SIDE]
    costs = RIDGE * np.eye(len(names))
    for one, other in (*pairs, *_GAZE):
        if one in names and other in names:
            ends = [names.index(one), names.index(other)]
            costs[np.ix_(ends, ends)] += BOND * np.array([[1, -1], [-1, 1]])
    return costs


def separate(names: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """Weights [J] of the units themselves, where a corrective one had its base in it."""
    if all(name in names for name in CORRECTIVE):
        corrective, base = map(names.index, CORRECTIVE)
        weights = weights.copy()
        weights[base] = min(weights[base] + weights[corrective], 1.0)
    return weights
