"""Identities and expressions of the open face model: random people from the sources' targets, and their modes.

A person is the base mesh plus a weighted sum of targets: population (race, gender, age), build (muscle, weight), local
features (nose, eyes, mouth, ..) and asymmetry. The weights are drawn at random; principal component analysis of many
people, each moved rigidly onto the mean, gives the identity modes. Expressions are sparse random mixes of face units.
"""

import re
from collections.abc import Sequence

import numpy as np
import scipy.linalg

from tf_deep3d.porting.open_face.sources import Sources
from tf_deep3d.porting.open_face.surface import CAP, FACE, MOUTH, Surface

_RACES, _GENDERS, _AGES = ("african", "asian", "caucasian"), ("female", "male"), ("child", "young", "old")
_LEVELS: tuple[str, ...] = ("min", "average", "max")
_OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"),
)  # fmt: skip
_LOCAL = ("cheek", "chin", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
_POSE = ("head/head-trans", "head/head-angle", "mouth/mouth-trans-in", "mouth/mouth-trans-out", "nose/nose-trans-in",
         "nose/nose-trans-out")  # fmt: skip
_LOCAL_SIGMA, _ASYMMETRY_SIGMA = 0.20, 0.15
_UNITS = "expression/units/"


def identity_targets(sources: Sources) -> tuple[str, ...]:
    """Names of the targets that make a person."""
    macro = [f"macrodetails/{race}-{gender}-{age}" for race in _RACES for gender in _GENDERS for age in _AGES]
    build = [
        f"macrodetails/universal-{gender}-{age}-{muscle}muscle-{weight}weight"
        for gender in _GENDERS for age in _AGES for muscle in _LEVELS for weight in _LEVELS
    ]  # fmt: skip
    local = [name for name in sources.targets if name.startswith(tuple(f"{part}/" for part in _LOCAL))]
    local = [name for name in local if not name.startswith(_POSE)] + ["neck/neck-double-decr", "neck/neck-double-incr"]
    asymmetry = [name for name in sources.targets if name.startswith("asym/asym-")]
    return tuple(macro + build + local + asymmetry)


def expression_targets(sources: Sources) -> tuple[str, ...]:
    """Names of the targets that make an expression: ARKit's units but the tongue, and the base mesh's own units."""
    units = [name for name in sources.targets if name.startswith("faceunits/") and "tongue" not in name]
    return tuple(units + [name for name in sources.targets if name.startswith(f"{_UNITS}caucasian/")])


def displacements(sources: Sources, surface: Surface, names: Sequence[str]) -> np.ndarray:
    """Displacements of a surface's control points by targets: [K, C, 3] dm."""
    return np.stack([surface.points @ _moved(sources, name) for name in names])


def vertex_displacements(sources: Sources, vertices: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Displacements of `vertices` [P] of the base mesh by targets: [K, P, 3] dm."""
    return np.stack([_moved(sources, name)[vertices] for name in names])


def _moved(sources: Sources, name: str) -> np.ndarray:
    """Displacements [N, 3] by one target; expression units exist once per race, and their mean is taken."""
    variants = [name.replace("/caucasian/", f"/{race}/") for race in _RACES] if name.startswith(_UNITS) else [name]
    moved = np.zeros_like(sources.vertices)
    for variant in variants:
        vertices, offsets = sources.target(variant)
        np.add.at(moved, vertices, offsets / len(variants))
    return moved


def sample_people(names: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random weights of `identity_targets`: [count, K].

    Gender is drawn from Beta(0.4, 0.4), the mix of races from Dirichlet(0.4), age uniformly in [0.46, 0.90] (0.1875
    child, 0.5 young, 1 old), muscle and weight from normal distributions around the average, every local feature from
    N(0, 0.2^2) and every asymmetry from N(0, 0.15^2).
    """
    column = {name: index for index, name in enumerate(names)}
    weights = np.zeros((count, len(names)))
    race = dict(zip(_RACES, rng.dirichlet([0.4] * 3, count).T, strict=True))
    male = rng.beta(0.4, 0.4, count)
    gender = {"female": 1 - male, "male": male}
    age = dict(zip(_AGES, _tents(rng.uniform(0.46, 0.90, count), (0.1875, 0.5, 1)), strict=True))
    muscle, weight = (
        dict(zip(_LEVELS, _tents(np.clip(rng.normal(0.5, sigma, count), 0, 1), (0, 0.5, 1)), strict=True))
        for sigma in (0.15, 0.17)
    )
    for name in names:
        if name.startswith("macrodetails/universal-"):
            _, g, a, m, w = name.split("-")
            weights[:, column[name]] = gender[g] * age[a] * muscle[m[:-6]] * weight[w[:-6]]
        elif name.startswith("macrodetails/"):
            r, g, a = name.split("/")[1].split("-")
            weights[:, column[name]] = race[r] * gender[g] * age[a]
    for low, high, sigma in _modifiers(names):
        value = np.clip(rng.normal(0, sigma, count), -1, 1)
        for name in high:
            weights[:, column[name]] = np.maximum(value, 0)
        for name in low:
            weights[:, column[name]] = np.maximum(-value, 0)
    return weights


def _tents(values: np.ndarray, knots: Sequence[float]) -> list[np.ndarray]:
    """Weights of three knots for `values` by linear interpolation: three arrays."""
    return [np.interp(values, knots, unit) for unit in np.eye(3)]


def _modifiers(names: Sequence[str]) -> list[tuple[list[str], list[str], float]]:
    """Groups the local and asymmetry targets: (targets of negative values, of positive values, sigma), sorted."""
    groups = {}
    for name in names:
        if name.startswith("macrodetails/"):
            continue
        folder, stem = name.split("/")
        if folder == "asym":
            group, end = groups.setdefault(name[:-2], ([], [], _ASYMMETRY_SIGMA)), name.endswith("-r")
        else:
            key, end = re.sub(r"^[lr]-", "", stem), True  # left and right together
            for low, high in _OPPOSITES:
                if key.endswith((f"-{low}", f"-{high}")):
                    key, end = key.rsplit("-", 1)[0] + f"-{low}", key.endswith(f"-{high}")
            group = groups.setdefault(f"{folder}/{key}", ([], [], _LOCAL_SIGMA))
        group[int(end)].append(name)
    return [groups[key] for key in sorted(groups)]


def sample_expressions(names: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random weights of `expression_targets`: [count, K], sparse mixes, left and right often alike."""
    column = {name: index for index, name in enumerate(names)}
    weights = np.zeros((count, len(names)))
    for name in names:
        ours = name.startswith("faceunits/")
        other = name.replace("Right", "Left") if ours else name.replace("-right-", "-left-")
        active = rng.uniform(size=count) < (0.4 if name.endswith("/jawOpen") else 0.12 if ours else 0.06)
        value = active * rng.uniform(0, 1 if ours else 0.7, count)
        if other != name:
            value = np.where(rng.uniform(size=count) < 0.7, weights[:, column[other]], value)
        weights[:, column[name]] = value
    close, jaw = column["faceunits/mouthClose"], column["faceunits/jawOpen"]
    weights[:, close] = weights[:, jaw] * (weights[:, close] > 0) * rng.uniform(0.3, 1, count)
    return weights


def rigid_motion(shapes: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [n, 3, 3] and shifts [n, 3] with `shapes @ rotation + shift` nearest to the reference (Kabsch).

    Args:
      shapes: [n, P, 3].
      reference: [P, 3].
    """
    centers = shapes.mean(1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("nki,kj->nij", shapes - centers, reference - reference.mean(0)))
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    rotation = u @ vt
    return rotation, reference.mean(0) - (centers @ rotation)[:, 0]


def people(
    base: np.ndarray,
    moves: np.ndarray,
    weights: np.ndarray,
    points: np.ndarray,
    reference: np.ndarray | None = None,
    block: int = 1000,
) -> np.ndarray:
    """Control points of people: [n, C, 3] float32, aligned with `reference` (by default their symmetric mean's start).

    Args:
      base: [C, 3] dm, the control points of the base mesh.
      moves: [K, C, 3] dm, displacements of the targets.
      weights: [n, K].
      points: [P] int, the points to align by.
      reference: [C, 3] dm.
      block: people at a time.
    """
    flat = moves.reshape(len(moves), -1)
    goal = base + (weights.mean(0) @ flat).reshape(base.shape) if reference is None else reference
    result = np.empty((len(weights), *base.shape), np.float32)
    for start in range(0, len(weights), block):
        shapes = base + (weights[start : start + block] @ flat).reshape(-1, *base.shape)
        rotation, shift = rigid_motion(shapes[:, points], goal[points])
        result[start : start + block] = shapes @ rotation + shift[:, None]
    return result


def tongue_out(face: Surface, mean: np.ndarray) -> np.ndarray:
    """A stand-in for the tongue, which the model lacks: the floor of the mouth pushed out between the lips [C, 3]."""
    floor = np.unique(face.quads[np.isin(face.parts, (MOUTH, CAP))])
    rim = np.unique(face.quads[face.parts == CAP])
    shared = np.intersect1d(floor, face.quads[face.parts == FACE])
    slit, front = mean[shared, 1].mean(), mean[shared, 2].max()
    move = np.zeros_like(mean)
    lower = rim[mean[rim, 1] < mean[rim, 1].mean()]
    weight = np.cos(np.clip(mean[lower, 0] / 0.2, -1, 1) * np.pi / 2)[:, None] ** 2
    goal = np.stack([mean[lower, 0], np.full(len(lower), slit - 0.03), np.full(len(lower), front + 0.15)], 1)
    move[lower] = weight * (goal - mean[lower])
    return move


def symmetric_modes(
    samples: np.ndarray, mirror: np.ndarray, count: int, center: bool = True
) -> tuple[np.ndarray, np.ndarray, float]:
    """Principal modes of samples and their mirror images, each either symmetric or antisymmetric.

    Args:
      samples: [n, C, 3].
      mirror: [C] int.
      count: number of modes.
      center: whether to subtract the mean; else the modes are those of the second moment about zero.

    Returns:
      (mean [C, 3], symmetric; modes [count, C, 3] times their standard deviations, largest first; variance share they
      hold, in [0, 1]).
    """
    size = samples.shape[1]
    side, middle = np.flatnonzero(np.arange(size) < mirror), np.flatnonzero(np.arange(size) == mirror)
    flip = np.array([-1, 1, 1], samples.dtype)
    mean = np.zeros((size, 3))
    if center:
        mean = samples.mean(0, dtype=np.float64)
        mean = (mean + mean[mirror] * flip) / 2
    values, vectors, total = [], [], 0.0
    for sign in (1, -1):
        half = samples[:, side] + sign * samples[:, mirror[side]] * flip
        axis = (samples[:, middle] + sign * samples[:, middle] * flip) / 2
        features = np.concatenate([(half / np.sqrt(2)).reshape(len(samples), -1), axis.reshape(len(samples), -1)], 1)
        if sign > 0:
            features -= np.concatenate([(mean[side] * np.sqrt(2)).ravel(), mean[middle].ravel()]).astype(samples.dtype)
        covariance = (features.T @ features).astype(np.float64) / len(samples)
        total += np.trace(covariance)
        length = len(covariance)
        value, vector = scipy.linalg.eigh(covariance, subset_by_index=(max(0, length - count), length - 1))
        mode = np.zeros((len(value), size, 3))
        split = 3 * len(side)
        mode[:, side] = vector.T[:, :split].reshape(len(value), -1, 3) / np.sqrt(2)
        mode[:, mirror[side]] = sign * mode[:, side] * flip
        mode[:, middle] = vector.T[:, split:].reshape(len(value), -1, 3)
        values.append(value)
        vectors.append(mode)
    values, vectors = np.concatenate(values), np.concatenate(vectors)
    best = np.argsort(-values, kind="stable")[:count]
    largest = np.abs(vectors[best].reshape(count, -1)).argmax(1)
    signs = np.sign(vectors[best].reshape(count, -1)[np.arange(count), largest])
    modes = vectors[best] * (signs * np.sqrt(np.maximum(values[best], 0)))[:, None, None]
    return mean, modes, values[best].sum() / total
