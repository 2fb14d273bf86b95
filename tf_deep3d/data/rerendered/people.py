"""Whom a fitted photo is to show instead: another identity, expression, pose and light that its pixels can follow.

What a photo does not show must not be asked for: its eyes stay as open as they are, an open mouth stays open, and a
head turns no further back than the photo saw it.
"""

from typing import NamedTuple, Protocol

import numpy as np

from tf_deep3d.data.rendered import light as lights
from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.data.rendered.people import FARTHEST, POINT_NOISE, Head, Scanned
from tf_deep3d.face import blendshapes, geometry, landmarks, lighting
from tf_deep3d.face.coefficients import Coefficients

OPEN_MOUTH = (
    0.06  # gap of the inner lips, in distances of the outer eye corners, from which a photo shows what is inside
)
TURN_BACK = np.radians(10)  # towards the camera, of what the photo did not see
TURN_AWAY = np.radians([9, 18])  # standard deviations of pitch and yaw, from the photo's, and at most twice as far
ROLL = np.radians(6)  # standard deviation, from the photo's
STEEPEST = np.radians([28, 55])  # pitch and yaw of a picture
SAME_LIGHT = 0.35  # share of the pictures that keep the photo's light
EXPOSURE = (0.65, 1.5)  # least and greatest brightness of a face over that of its photo
DARKEST = 0.05  # irradiance, below which a face counts as this bright
_FRONT = geometry.normalize(np.array([[[0, 0, 1], [1, 1, 1.4], [-1, 1, 1.4], [1, -0.8, 1.5], [-1, -0.8, 1.5]]]))


class Repertoire(NamedTuple):
    """What a head can be asked for.

    Attributes:
      head: `Head`.
      solver: `blendshapes.Units` that turn expressions to weights of ARKit's units.
      units: [J, Ke], the expression coefficients of each of them, in the order of `solver.names`.
      eyes: [J] bool, those that move lids and eyeballs.
      jaw: [J] bool, those that open and close the jaw.
    """

    head: Head
    solver: blendshapes.Units
    units: np.ndarray
    eyes: np.ndarray
    jaw: np.ndarray


class FittedPhoto(Protocol):
    """A photo whose coefficients were fitted."""

    @property
    def coefficients(self) -> Coefficients:
        """`Coefficients` without the batch dimension, coloured light."""
        ...

    @property
    def mouth_open(self) -> bool:
        """Of `mouth_is_open`."""
        ...


def repertoire(head: Head) -> Repertoire:
    """The `Repertoire` of a `Head`."""
    solver = blendshapes.units(head.whole)
    names = solver.names
    return Repertoire(
        head,
        solver,
        np.stack([head.units[name] for name in names]),
        np.array([name.startswith("eye") for name in names]),
        np.array([name in ("jawOpen", "mouthClose") for name in names]),
    )


def mouth_is_open(points: np.ndarray) -> bool:
    """Whether a photo with the landmarks `points` [68, 2] shows the inside of the mouth."""
    return bool(lip_gap(points) > OPEN_MOUTH * landmarks.eye_distance(points))


def lip_gap(points: np.ndarray) -> float:
    """The widest gap between the inner lips of the landmarks `points` [68, 2], in their unit."""
    lips = points[landmarks.INNER_LIPS]
    return float(np.linalg.norm(lips[1:4] - lips[[7, 6, 5]], axis=-1).max())


def sample_identity(fitted: np.ndarray, scanned: Scanned | None, rng: np.random.Generator) -> np.ndarray:
    """Identity coefficients [Ki] between those of the photo's person, `fitted` [Ki], and anybody's, of
    `rendered.people.sample_identity`."""
    share = rng.uniform(0, 1)
    other = rendered_people.sample_identity(len(fitted), scanned, rng)
    return np.clip(share * fitted + np.sqrt(1 - share**2) * other, -FARTHEST, FARTHEST)


def sample_one(known: Repertoire, photo: FittedPhoto, identity: np.ndarray, rng: np.random.Generator) -> Coefficients:
    """Another look of a fitted photo, where the alignment would put it.

    Args:
      known: `Repertoire`.
      photo: `FittedPhoto`.
      identity: [Ki], the new one.
      rng: random generator.

    Returns:
      `Coefficients` without the batch dimension, float32; the albedo is the fitted one.
    """
    fitted = photo.coefficients
    expression = sample_expression(known, fitted.expression, photo.mouth_open, rng)
    angles = sample_angles(fitted.angles, rng)
    illumination = sample_light(known, fitted, rng)
    noise = POINT_NOISE * rng.normal(size=(5, 2))
    angles, translation = rendered_people.align(known.head.five, identity, expression, angles, noise)
    groups = (identity, expression, fitted.albedo, angles, illumination, translation)
    return Coefficients(*(np.asarray(group, np.float32) for group in groups))


def sample_expression(known: Repertoire, fitted: np.ndarray, mouth_open: bool, rng: np.random.Generator) -> np.ndarray:
    """Expression coefficients [Ke] between the `fitted` ones [Ke] and random ones; the eyes are left alone, and an open
    mouth stays open."""
    weights = blendshapes.weights(known.solver, fitted[None])[0][0]
    names = known.solver.names
    drawn = rendered_people.sample_expression(dict(zip(names, np.eye(len(names)), strict=True)), rng)
    share = rng.uniform(0, 0.9)
    changed = share * weights + (1 - share) * drawn
    if mouth_open:
        changed = np.where(known.jaw, weights * rng.uniform(0.6, 1.3), changed)
    changed = np.where(known.eyes, weights, changed)
    return fitted + (changed - weights) @ known.units


def sample_angles(fitted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pitch, yaw, roll [3] in radians around the `fitted` ones [3], further turned away rather than turned back."""
    turns = TURN_AWAY * np.clip(rng.normal(size=2), -2, 2)
    angles = np.array([*(fitted[:2] + turns), fitted[2] + rng.normal(0, ROLL)], float)
    for axis, limit in enumerate(STEEPEST):
        seen = max(abs(fitted[axis]) - TURN_BACK, 0.0) * np.sign(fitted[axis])
        low, high = (seen, limit) if fitted[axis] > 0 else (-limit, seen)
        if abs(fitted[axis]) <= TURN_BACK:
            low, high = -limit, limit
        angles[axis] = np.clip(angles[axis], low, max(high, low))
    return angles


def sample_light(known: Repertoire, fitted: Coefficients, rng: np.random.Generator) -> np.ndarray:
    """Illumination [3, 9]: the fitted one at another exposure, or another one that leaves the face about as bright."""
    if rng.uniform() < SAME_LIGHT:
        light = fitted.illumination.astype(float)
    else:
        light = lights.harmonics(lights.sample(rng, rendered_people.skin_tone(known.head, fitted.albedo)))
    before, after = (
        max(float(lighting.irradiance(_FRONT, one[None]).mean()), DARKEST) for one in (fitted.illumination, light)
    )
    wanted = np.clip(after / before * rng.lognormal(0, 0.1), *EXPOSURE)
    light = light.copy()
    light[:, 0] += lighting.AMBIENT
    light *= wanted * before / after
    light[:, 0] -= lighting.AMBIENT
    return light
