"""Random people with exact coefficients: the full head around the open face model, faces, poses and light.

The first vertices of a head are those of the face model, so that the face that is rendered is the one that its
coefficients describe, vertex for vertex but for the eyeballs, which turn rigidly. Every person is drawn from a random
generator of its own.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from tf_deep3d import face as faces
from tf_deep3d.data.rendered import light as lights
from tf_deep3d.data.rendered.light import Light
from tf_deep3d.detection import alignment
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import head as heads
from tf_deep3d.face import lighting
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive

POINT_NOISE = 1.3  # px, standard deviation of the five points that the alignment goes by
HAIRLINE = 0.45  # dm, within which hair rises to its full thickness
ALIKE = 25  # complexions on either side, in the order of their tones, that one is mixed with
SCANNED, WIDER = 0.6, 1.2  # share of the people who are drawn from `Scanned`, and how many times as wide as those are
FARTHEST = 4.0  # of a coefficient of an identity
SCANNED_SCHEMA = 1
_STEPS, _TOLERANCE = 20, 1e-4  # of the alignment, px


class Scanned(NamedTuple):
    """A statistical model of scanned people in the identities of the face model: mean + z modes, z ~ N(0, I).

    Attributes:
      mean: [Ki].
      modes: [N, Ki].
    """

    mean: np.ndarray
    modes: np.ndarray


class Head(NamedTuple):
    """A head that plays random people.

    Attributes:
      anatomy: `face.head.Head` with shoulders.
      volume: [V] in [0, 1], share of its thickness that hair has, 0 at the hairline.
      units: name of an ARKit unit -> expression coefficients [Ke] that come nearest to it.
      five: (mean [5, 3], identity [Ki, 5, 3], expression [Ke, 5, 3]) of the alignment's five points, dm.
      complexions: [n, Kt], albedo coefficients of random people, from dark to light.
      tone: (mean, [Kt]), luminance of the skin by albedo coefficients.
      from_lips: [V] dm, distance from the lips of the mean head.
      teeth: [V] bool.
      scanned: `Scanned` people whom it plays, too, or None.
    """

    anatomy: heads.Head
    volume: np.ndarray
    units: dict[str, np.ndarray]
    five: tuple[np.ndarray, np.ndarray, np.ndarray]
    complexions: np.ndarray
    tone: tuple[float, np.ndarray]
    from_lips: np.ndarray
    teeth: np.ndarray
    scanned: Scanned | None = None

    @property
    def whole(self) -> MorphableModel:
        """`MorphableModel` of the head; its first vertices are the face's."""
        return self.anatomy.whole

    @property
    def face(self) -> int:
        """Number of its vertices that are the face's."""
        return self.anatomy.face


def load_head(model: MorphableModel, path: str | Path | None = None, scanned: str | Path | None = None) -> Head:
    """Puts a head with shoulders around the face model; it plays the people of the file `scanned`, too, if there is
    one. Arguments and errors as of `face.head.load` and `read_scanned`."""
    anatomy = heads.load(model, path, shoulders=True)
    flat = model.expression_basis.reshape(len(model.expression_basis), -1).astype(np.float64)
    nearest = np.linalg.solve(flat @ flat.T, flat @ model.blendshapes.reshape(len(model.blendshapes), -1).T).T
    five = tuple(
        faces.at_landmarks(model.landmarks["alignment5"], each)
        for each in (model.mean_shape[None], model.identity_basis, model.expression_basis)
    )
    units = dict(zip(model.blendshape_names, nearest, strict=True))
    place, scalp = anatomy.whole.mean_shape, anatomy.scalp
    share = np.clip(KDTree(place[scalp < 0.1]).query(place)[0] / HAIRLINE, 0, 1)
    volume = scalp * (share * share * (3 - 2 * share)).astype(np.float32)
    skin = model.regions["skin"]
    mean = float(model.mean_albedo[skin].mean(0) @ lighting.LUMINANCE)
    tone = mean, model.albedo_basis[:, skin].mean(1) @ lighting.LUMINANCE
    complexions = anatomy.complexions[np.argsort(anatomy.complexions @ tone[1])]
    from_lips = KDTree(place[anatomy.whole.regions["lips"]]).query(place)[0]
    teeth = np.zeros(len(place), bool)
    teeth[anatomy.whole.triangles[anatomy.parts["upper teeth"] | anatomy.parts["lower teeth"]]] = True
    others = None if scanned is None else read_scanned(scanned, len(model.identity_basis))
    return Head(anatomy, volume, units, (five[0][0], *five[1:]), complexions, tone, from_lips, teeth, others)


def read_scanned(path: str | Path, size: int) -> Scanned:
    """Reads a file of `porting.open_face.scanned_people` for a face model of `size` identities.

    Raises:
      FileNotFoundError: if there is no such file.
      archive.ArchiveError: if it holds something else.
    """
    arrays = archive.read_arrays(path, max_bytes=1 << 24)
    found = Scanned(*(arrays.get(name, np.zeros(0)) for name in Scanned._fields))
    shapes = [values.shape for values in found]
    right = shapes == [(size,), (*shapes[1][:1], size)] and all(values.dtype.kind == "f" for values in found)
    if not right or arrays.get("schema") != SCANNED_SCHEMA:
        received = f"schema {arrays.get('schema')}, {shapes}"
        raise archive.ArchiveError(
            f"{path} must hold the mean and the modes of {size} identities. Received: {received}"
        )
    return found


def sample_identity(size: int, scanned: Scanned | None, rng: np.random.Generator) -> np.ndarray:
    """Identity coefficients [size] of a random person: N(0, I), or of `scanned` people, somewhat wider than they are,
    so that a network does not learn to answer with their mean."""
    if scanned is None or rng.uniform() >= SCANNED:
        return rng.normal(size=size)
    return scanned.mean + WIDER * rng.normal(size=len(scanned.modes)) @ scanned.modes


def skin_tone(head: Head, albedo: np.ndarray) -> float:
    """Mean luminance of the skin of albedo coefficients [Kt], encoded for display, at least 0.03."""
    mean, axis = head.tone
    return max(mean + float(albedo @ axis), 0.03)


def sample(
    model: MorphableModel, head: Head, seed: int, count: int, start: int = 0, point_noise: float = POINT_NOISE
) -> Coefficients:
    """Random faces where the alignment would put them.

    Args:
      model: `MorphableModel` of the face.
      head: `Head`.
      seed: of the random numbers; person n is the same whatever else is drawn.
      count: number of people.
      start: number of the first.
      point_noise: px, standard deviation of the five points' coordinates, as a detector's.

    Returns:
      `Coefficients` of `count` faces, coloured light, float32.
    """
    people = [sample_one(model, head, generator(seed, start + n), point_noise) for n in range(count)]
    return Coefficients(*(np.stack(group) for group in zip(*people, strict=True)))


def generator(seed: int, number: int, purpose: int = 0) -> np.random.Generator:
    """The random generator of one person for one purpose."""
    return np.random.default_rng([seed, number, purpose])


def sample_one(
    model: MorphableModel,
    head: Head,
    rng: np.random.Generator,
    point_noise: float = POINT_NOISE,
    person: Coefficients | None = None,
) -> Coefficients:
    """The `Coefficients` of `draw`, alone."""
    return draw(model, head, rng, point_noise, person)[0]


def draw(
    model: MorphableModel,
    head: Head,
    rng: np.random.Generator,
    point_noise: float = POINT_NOISE,
    person: Coefficients | None = None,
) -> tuple[Coefficients, Light]:
    """One face as `Coefficients` without the batch dimension, see `sample`; of the identity and the albedo of `person`,
    if they are given; and the `Light` that its illumination comes nearest to."""
    identity = np.clip(sample_identity(len(model.identity_basis), head.scanned, rng), -FARTHEST, FARTHEST)
    expression = sample_expression(head.units, rng)
    last = len(head.complexions) - 1
    place = rng.integers(0, last + 1)
    first, second = head.complexions[[place, np.clip(place + rng.integers(-ALIKE, ALIKE + 1), 0, last)]]
    share = rng.uniform(0, 0.4)
    albedo = (1 - share) * first + share * second + 0.1 * rng.normal(size=len(first))
    if person is not None:
        identity, albedo = person.identity, person.albedo
    angles = sample_angles(rng)
    light = lights.sample(rng, skin_tone(head, albedo))
    noise = point_noise * rng.normal(size=(5, 2))
    angles, translation = align(head.five, identity, expression, angles, noise)
    groups = (identity, expression, albedo, angles, lights.harmonics(light), translation)
    return Coefficients(*(np.asarray(group, np.float32) for group in groups)), light


def sample_angles(rng: np.random.Generator) -> np.ndarray:
    """Pitch, yaw, roll [3] in radians: mostly frontal, yaw up to 90 degrees, pitch up to 30, roll up to 25."""
    kind = rng.uniform()
    yaw = rng.normal(0, 22) if kind < 0.6 else rng.uniform(-60, 60)
    if kind > 0.94:
        yaw = rng.choice([-1, 1]) * rng.uniform(60, 90)
    pitch = rng.normal(0, 9) if rng.uniform() < 0.8 else rng.uniform(-30, 30)
    return np.radians([np.clip(pitch, -30, 30), np.clip(yaw, -90, 90), np.clip(rng.normal(0, 6), -25, 25)])


def sample_expression(units: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Expression coefficients [Ke]: a sparse mix of facial units, with frequent smiles, open mouths and gazes."""
    weights = dict.fromkeys(units, 0.0)

    def put(name: str, value: float, even: float = 0.85) -> None:
        for side in ("Left", "Right"):
            own = value if rng.uniform() < even else value * rng.uniform(0.2, 1)
            weights[f"{name}{side}"] = max(weights[f"{name}{side}"], own)

    if rng.uniform() < 0.42:
        smile = rng.uniform(0.15, 1)
        put("mouthSmile", smile)
        put("cheekSquint", smile * rng.uniform(0, 0.8))
        put("eyeSquint", smile * rng.uniform(0, 0.5))
        put("mouthUpperUp", smile * rng.uniform(0, 0.5))
        put("mouthLowerDown", smile * rng.uniform(0, 0.4))
    if rng.uniform() < 0.45:
        weights["jawOpen"] = rng.uniform(0.03, 0.75) ** 1.3
    if rng.uniform() < 0.35:
        put("eyeBlink", rng.uniform(0.05, 1) ** 1.5, 0.95)
    if rng.uniform() < 0.35:
        put(rng.choice(["browDown", "browOuterUp"]), rng.uniform(0.1, 0.9))
        weights["browInnerUp"] = rng.uniform(0, 0.8) * (rng.uniform() < 0.5)
    across, up = rng.uniform(-0.7, 0.7, 2) * (rng.uniform() < 0.6)
    right, left = max(across, 0), max(-across, 0)
    weights |= {"eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookOutRight": right, "eyeLookInLeft": right}
    put("eyeLookUp", max(up, 0), 1)
    put("eyeLookDown", max(-up, 0), 1)
    for name in units:
        if name.startswith("eyeLook") or name in ("tongueOut", "mouthClose", "jawOpen") or rng.uniform() > 0.06:
            continue
        value = rng.uniform(0, 0.6)
        stem = name.removesuffix("Left").removesuffix("Right")
        if stem == name or stem in ("mouth", "jaw"):
            weights[name] = max(weights[name], value)
        else:
            put(stem, value)
    weights["mouthClose"] = weights["jawOpen"] * rng.uniform(0, 1) * (rng.uniform() < 0.12)
    return np.asarray(sum(weights[name] * units[name] for name in units))


def align(
    five: tuple[np.ndarray, np.ndarray, np.ndarray],
    identity: np.ndarray,
    expression: np.ndarray,
    angles: np.ndarray,
    noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves a face to where `alignment.align` puts it, so that the aligning transform is the identity.

    Args:
      five: see `Head`.
      identity: [Ki].
      expression: [Ke].
      angles: [3] radians.
      noise: [5, 2] px, added to the projected points.

    Returns:
      (angles [3], set upright where the alignment would turn the picture; translation [3] dm).
    """
    points = five[0] + np.tensordot(identity, five[1], 1) + np.tensordot(expression, five[2], 1)
    angles, translation = np.array(angles, float), np.zeros(3)
    camera = cameras.Camera()
    center = np.array(camera.center)
    for _ in range(_STEPS):
        pixels, _ = cameras.to_pixels(camera, faces.pose(points[None], angles[None], translation[None]))
        transform, _ = alignment.alignment_transform(pixels[0] + noise, five[0])
        shift = transform.apply(center) - center
        if abs(transform.scale - 1) * camera.width < _TOLERANCE and np.abs(shift).max() < _TOLERANCE:
            break
        angles[2] -= transform.rotation
        depth = (camera.distance - translation[2]) / transform.scale
        translation += [shift[0] * depth / camera.focal, -shift[1] * depth / camera.focal, 0]
        translation[2] = camera.distance - depth
    return angles, translation
