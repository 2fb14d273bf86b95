"""ARKit's units as a face shows them: weights in [0, 1] from MediaPipe's 478 landmarks with irises.

A detected point q lies at

    q = project(R (s + B a + g sum_j w_j u_j) + t) + smooth error + noise,

with the person's neutral landmarks s, what the identity may be wrong by (a ~ N(0, 1) in the model's modes B, times
`DOUBT`), units u_j of which the detector follows the share g, and pose R, t. The detector's mesh errs smoothly: as
quadratic polynomials of the place on the face, which explain 61 % of its error on rendered clips. A few Gauss-Newton
steps find pose, identity, error and weights together. All but the weights are eliminated (Schur complement), so that
the bounds cost a system of J unknowns (`blendshapes.bounded_least_squares`).

Many units look alike, and most faces show few. A unit costs `RARE` w / (w + `SOFT`), as its slope at the last step
(reweighted l1, Candes, Wakin, Boyd 2008), which leaves strong units as strong as they are; the halves of a pair cost
where they differ. What `mouthClose` corrects is an open jaw: it opens the jaw as far as it closes the lips.

Letters: L landmarks, J units, Ki identity modes, N frames.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.face import geometry, uncertainty
from tf_deep3d.face.blendshapes import bounded_least_squares
from tf_deep3d.face.camera import Camera, projection_jacobian, to_pixels
from tf_deep3d.face.head import rotation_of
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.face.reconstruction import at_landmarks, neutral_shape

LANDMARKS = "mediapipe478"
STEPS = 5  # of Gauss-Newton; three leave half-found blinks
MODES = 40  # of the identity: all 80 say the same
STRAY = 4.5  # px of a middling landmark that neighbours err by together
IRIS = 2.0  # px, the same of an iris's five points, which share their error with nobody
SMOOTH = 0.7  # px, standard deviation of each smooth error
OUTLIER = 2.5  # px from which a landmark's pull grows no more (Huber)
DOUBT = 0.6  # standard deviations of the identity
SEEN = 0.8  # share of a unit's displacement that the detector follows: .5 to .94 on renders
RARE, SOFT = 3.0, 0.15  # cost of a unit, and the weight at which half of it is reached
RIDGE, BOND = 0.1, 0.3  # of squared weights, and of squared differences of the halves of a pair
LOOSE = 1e-9  # of squared steps of the pose
CLOSED, OPEN = 0.05, 0.2  # gap of the lids over the eye's width between which its iris becomes visible

# For either eye: its iris, the corners, and the upper and lower points of its lids.
EYES = (
    (slice(468, 473), (33, 133), (160, 158), (144, 153)),
    (slice(473, 478), (263, 362), (387, 385), (373, 380)),
)
CORRECTIVE = ("mouthClose", "jawOpen")
_GAZE = (("eyeLookInLeft", "eyeLookOutRight"), ("eyeLookInRight", "eyeLookOutLeft"))  # eyes turn together
_TO_A_SIDE = ("mouthLeft", "jawLeft", "eyeLookInLeft", "eyeLookOutLeft")  # no halves of a pair


class Actor(NamedTuple):
    """The landmarks of one person, float64.

    Attributes:
      names: J names of the units.
      points: [L, 3], neutral, unposed, dm.
      units: [J, L, 3], dm at full strength.
      modes: [Ki, L, 3], dm for one standard deviation of the identity, its first `MODES`.
      normals: [L, 3], unit, neutral, unposed.
      moments: `Landmarks.moments`, or None.
    """

    names: tuple[str, ...]
    points: np.ndarray
    units: np.ndarray
    modes: np.ndarray
    normals: np.ndarray
    moments: np.ndarray | None


class Performance(NamedTuple):
    """What one frame shows.

    Attributes:
      weights: [J] in [0, 1].
      rotation: [3, 3].
      translation: [3], dm.
    """

    weights: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


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


def actor(model: MorphableModel, identity: np.ndarray | None = None) -> Actor:
    """The `Actor` of a model with dense landmarks and units.

    Args:
      model: `MorphableModel`.
      identity: coefficients [Ki] that many frames agree on; by default the mean face. What R-Net reads off one photo is
        no help: it takes closed lids for narrow eyes. (Of 9 closed and 15 open pairs of eyes 6 and 13 were right with
        it, 7 and 14 without.)

    Raises:
      InputError: if the model has no such landmarks or units.
    """
    if not shows_units(model):
        raise InputError(f"the face model must have units and the landmarks {LANDMARKS}. Received: {model.name}")
    landmarks = model.landmarks[LANDMARKS]
    if identity is None:
        identity = np.zeros(len(model.identity_basis))
    neutral = neutral_shape(model, np.asarray(identity, np.float32)[None])
    normals = geometry.vertex_normals(neutral, model.triangles, model.vertex_corners)
    points, units, modes, normals = (
        at_landmarks(landmarks, each).astype(np.float64)
        for each in (neutral, model.blendshapes, model.identity_basis[:MODES], normals)
    )
    return Actor(model.blendshape_names, points[0], units, modes, geometry.normalize(normals[0]), landmarks.moments)


def shows_units(model: MorphableModel) -> bool:
    """Whether a model has what `actor` needs."""
    return LANDMARKS in model.landmarks and len(model.blendshapes) > 0


def solve(known: Actor, frame: Frame, camera: Camera) -> Performance:
    """The `Performance` of an actor in a frame, which is seen at about the scale of an aligned crop."""
    count, size = len(known.units), len(known.points)
    base, errors = bases(known)
    shapes = np.concatenate([base, DOUBT * known.modes]).transpose(1, 2, 0)  # [L, 3, J + Ki]
    columns = 6 + shapes.shape[2]
    bonds = squares(known.names)
    prior = np.concatenate([np.full(6, LOOSE), np.zeros(count), np.ones(columns - 6 - count + errors.shape[2])])
    wanted = np.arange(6, 6 + count)
    others = np.delete(np.arange(len(prior)), wanted)
    rotation: np.ndarray = geometry.rotation_matrix(np.asarray(frame.angles, np.float64)[None])[0]
    translation: np.ndarray = np.asarray(frame.translation, np.float64)
    found = np.zeros(len(prior) - 6)  # weights, identity, smooth errors
    trust = _trust(known, frame, rotation, translation, camera)
    jacobian = np.empty((size, 2, len(prior)))
    jacobian[..., columns:] = errors
    for step in range(STEPS):
        turned = (known.points + shapes @ found[: columns - 6]) @ rotation.T
        projected, depth = to_pixels(camera, (turned + translation)[None])
        residual = frame.pixels - projected[0] - errors @ found[columns - 6 :]
        moved = np.concatenate(
            [-geometry.cross_matrices(turned), np.tile(np.eye(3), (size, 1, 1)), rotation @ shapes], 2
        )
        jacobian[..., :columns] = projection_jacobian(turned + translation, depth[0], camera) @ moved
        distance = np.sqrt(np.maximum(np.einsum("li,lij,lj->l", residual, trust, residual), 0)) * STRAY
        distance[IRISES] = 0  # only the gaze moves them, and they are far off before it is found
        pull = trust * np.minimum(1.0, OUTLIER / np.maximum(distance, 1e-9))[:, None, None]
        pulled: np.ndarray = (pull @ jacobian).reshape(-1, len(prior))
        normal: np.ndarray = pulled.T @ jacobian.reshape(pulled.shape)
        target: np.ndarray = pulled.T @ residual.reshape(-1) + normal[:, 6:] @ found
        normal += np.diag(prior)
        normal[6 : 6 + count, 6 : 6 + count] += bonds
        target[wanted] -= RARE * (1.0 if not step else SOFT / (found[:count] + SOFT))
        right = np.concatenate([normal[np.ix_(others, wanted)], target[others, None]], 1)
        solution: np.ndarray = np.linalg.solve(normal[np.ix_(others, others)], right)
        across = normal[np.ix_(wanted, others)]
        reduced = normal[np.ix_(wanted, wanted)] - across @ solution[:, :-1]
        weights = bounded_least_squares((reduced + reduced.T) / 2, target[wanted] - across @ solution[:, -1])
        rest = solution[:, -1] - solution[:, :-1] @ weights
        rotation, translation = rotation_of(rest[None, :3])[0] @ rotation, translation + rest[3:6]
        found = np.concatenate([weights, rest[6:]])
    return Performance(separate(known.names, found[:count]), rotation, translation)


def bases(known: Actor) -> tuple[np.ndarray, np.ndarray]:
    """Units [J, L, 3] as the detector follows them, and smooth errors [L, 2, 18] px, right first, then down."""
    units = SEEN * known.units
    corrective, base = (known.names.index(name) if name in known.names else -1 for name in CORRECTIVE)
    if min(corrective, base) >= 0:
        units[corrective] += units[base]
    x, y, z = (known.points - known.points.mean(0)).T
    powers = np.stack([np.ones_like(x), x, y, z, x * x, x * y, y * y, x * z, y * z, z * z], 1)
    smooth = np.linalg.qr(powers)[0][:, 1:] * (SMOOTH * np.sqrt(len(x)))  # the constant is the translation's
    zero = np.zeros_like(smooth)
    return units, np.stack([np.concatenate([smooth, zero], 1), np.concatenate([zero, smooth], 1)], 1)


def separate(names: tuple[str, ...], weights: np.ndarray) -> np.ndarray:
    """Weights [J] of the units themselves, where a corrective one had its base in it."""
    if all(name in names for name in CORRECTIVE):
        corrective, base = map(names.index, CORRECTIVE)
        weights[base] = min(weights[base] + weights[corrective], 1.0)
    return weights


def squares(names: tuple[str, ...], ridge: float = RIDGE, bond: float = BOND) -> np.ndarray:
    """[J, J], whose quadratic form is what squared weights cost, and squared differences of the halves of pairs."""
    pairs = [(name, name[:-4] + "Right") for name in names if name.endswith("Left") and name not in _TO_A_SIDE]
    costs = ridge * np.eye(len(names))
    for one, other in (*pairs, *_GAZE):
        if one in names and other in names:
            ends = [names.index(one), names.index(other)]
            costs[np.ix_(ends, ends)] += bond * np.array([[1, -1], [-1, 1]])
    return costs


def _trust(known: Actor, frame: Frame, rotation: np.ndarray, translation: np.ndarray, camera: Camera) -> np.ndarray:
    """Weights [L, 2, 2] of the squared distances: by how far the detector strays from each landmark in this pose,
    which landmarks face the camera, and whether lids hide the irises."""
    angles = geometry.angles_of(rotation[None])
    toward = geometry.normalize(np.array([0, 0, camera.distance]) - known.points @ rotation.T - translation)
    cosine = np.sum(known.normals @ rotation.T * toward, axis=-1)
    factor = uncertainty.trust(cosine) / STRAY**2
    for iris, corners, upper, lower in EYES:
        at = frame.pixels
        gap = np.linalg.norm(at[list(upper)] - at[list(lower)], axis=-1).mean()
        width = np.linalg.norm(at[corners[0]] - at[corners[1]])
        visible = np.clip((gap / max(width, 1e-9) - CLOSED) / (OPEN - CLOSED), 0, 1)
        factor[iris] *= visible * (STRAY / IRIS) ** 2
    if known.moments is None:
        return factor[:, None, None] * np.eye(2)
    return factor[:, None, None] * uncertainty.precision(known.moments, angles)[0].astype(np.float64)
