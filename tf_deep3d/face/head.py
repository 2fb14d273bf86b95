"""The whole head of a face: ears, scalp, neck, teeth, tongue and eyeballs, from the face's own coefficients.

A head is linear in the coefficients but for its bones and its lids. The lower row of teeth and the eyeballs turn,
rigidly, by a rotation vector that is linear in the expression; a blink closes the eyes of every person, however far
apart the lids are. A head's first vertices are the face model's, so that head and face share their border for all
coefficients; the face's plug in the mouth is left out.

Letters: B batch, V vertices of the head, T triangles, C control points, N units, P pairs of a lid, Ki, Ke, Kt modes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tf_deep3d import assets
from tf_deep3d.arrays import Array, Namespace
from tf_deep3d.errors import first_line
from tf_deep3d.face import geometry, model_file
from tf_deep3d.face.model_file import ModelError
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.face.reconstruction import combine, neutral_shape
from tf_deep3d.io import archive

OPEN_HEAD = assets.find("open_head.npz")
SCHEMA = 2
LEVEL = 1  # of detail of the face model that the shipped head continues
PARTS = ("skin", "shoulders", "neck cap", "throat", "sockets", "tongue", "upper teeth", "lower teeth", "eyes")
_BORDER_TOLERANCE = 1e-3  # dm, between the face's border and that of the face the head was made for


@dataclass(frozen=True)
class Bone:
    """What turns as a whole.

    Attributes:
      name: "jaw" (the lower row of teeth), "eyeLeft" or "eyeRight", the person's own sides.
      vertices: [P] int, that turn.
      pivot: [Q] int, whose mean is the center.
      turns: [Ke, 3], rotation vector of each expression mode, radians.
      unit_turns: [N, 3], of each blendshape.
    """

    name: str
    vertices: Array
    pivot: Array
    turns: Array
    unit_turns: Array


@dataclass(frozen=True)
class Closing:
    """What a blink needs beyond its blendshape, so that the lids of a person meet.

    Attributes:
      unit: number of the blendshape.
      slots: [V] int, 0 for a vertex that stays, else 1 + n for the n-th that moves.
      weights: [n, P], how these move by the gaps between upper and lower rim.
      mean: [P, 3] dm, gaps of the mean face.
      identity: [Ki, P, 3] dm, for one standard deviation.
    """

    unit: int
    slots: Array
    weights: Array
    mean: Array
    identity: Array


@dataclass(frozen=True)
class Head:
    """A head around a face model.

    Attributes:
      whole: `MorphableModel` of the head without the turns of its bones. Its first vertices are the face's, its first
        triangles the face's but the plug, and it has texture coordinates for these only; landmarks and regions are the
        face's.
      face: number of its vertices that are the face's.
      parts: name of one of `PARTS` -> [T] bool, its triangles.
      bones: `Bone`s.
      closings: `Closing`s.
      complexions: [n, Kt], albedo coefficients of random people.
      scalp: [V] in [0, 1], where hair grows.
      clothes: [V] in [0, 1], what clothes cover.
    """

    whole: MorphableModel
    face: int
    parts: dict[str, Array]
    bones: tuple[Bone, ...]
    closings: tuple[Closing, ...]
    complexions: Array
    scalp: Array
    clothes: Array


def load(model: MorphableModel, path: str | Path | None = None, shoulders: bool = False) -> Head:
    """Puts a head around a face model.

    The file holds, besides `schema` = 2, `name`, `licence` and `source` (text):
      level, face_vertices, border_vertices and border_positions [L, 3] dm: of the face model it belongs to;
      mean_shape [C, 3], identity_basis [Ki, C, 3], expression_basis [Ke, C, 3], blendshapes [N, C, 3] and
      blendshape_names [N], on control points; own_units, names of those that the face model's own part is no part of;
      subdivision_0_indptr, _indices, _weights: a sparse matrix (CSR) from them to the vertices after the face's;
      mean_albedo, albedo_basis times albedo_scale, scalp and clothes (of 255), of these vertices;
      triangles [S, 3] in all vertices, parts [S], indices of part_names, and plug, triangles of the face to leave out;
      closing_units, names of units, and of each, closing_{u}_vertices [n], _weights [n, P], _mean [P, 3] and _identity
      [Ki, P, 3];
      bone_names, bone_{b}_vertices and _pivot, expression_turns [Ke, b, 3] and blendshape_turns [N, b, 3];
      complexions [n, Kt].

    Args:
      model: the face model at the level of detail that the head was made for.
      path: an .npz of `porting.open_face.head`, by default the shipped one.
      shoulders: with shoulders, open below, instead of a closed head that ends in the neck.

    Returns:
      `Head` of NumPy arrays.

    Raises:
      FileNotFoundError: if there is no such file.
      ModelError: if the file is no head, damaged, or belongs to another face model or level of detail.
    """
    path = Path(path or OPEN_HEAD)
    try:
        arrays = archive.read_arrays(path)
        if "border_vertices" not in arrays or int(arrays["schema"]) != SCHEMA:
            raise ModelError(f"no head of schema {SCHEMA}. Received: schema {arrays['schema']}")
        _check_border(model, arrays)
        return _join(model, arrays, shoulders)
    except archive.ArchiveError as error:
        raise ModelError(str(error)) from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except KeyError as error:
        raise ModelError(f"{path} is no usable head: array {error} is missing.") from error
    except (IndexError, TypeError, ValueError) as error:  # arrays that do not fit each other or the face
        raise ModelError(f"{path} is no usable head. Received: {first_line(error)}") from error


def unposed_shape(head: Head, identity: Array, expression: Array, xp: Namespace = np) -> Array:
    """The head [B, V, 3] in dm of identity [B, Ki] and expression [B, Ke], with its bones turned."""
    neutral = neutral_shape(head.whole, identity, xp)
    moved = combine(neutral, head.whole.expression_basis, expression, xp)
    return _turned(head, neutral, moved, [xp.matmul(expression, bone.turns) for bone in head.bones], xp)


def with_units(head: Head, identity: Array, weights: Array, xp: Namespace = np) -> Array:
    """The head [B, V, 3] in dm of identity [B, Ki] under ARKit's units with `weights` [B, N], with its bones turned."""
    neutral = neutral_shape(head.whole, identity, xp)
    moved = combine(neutral, head.whole.blendshapes, weights, xp)
    for closing in head.closings:
        gaps = combine(closing.mean, closing.identity, identity, xp)  # [B, P, 3]
        moves = weights[:, closing.unit, None, None] * xp.matmul(closing.weights, gaps)
        moved = moved + xp.take(xp.concatenate([0 * moves[:, :1], moves], axis=1), closing.slots, axis=1)
    return _turned(head, neutral, moved, [xp.matmul(weights, bone.unit_turns) for bone in head.bones], xp)


def blendshapes(head: Head, identity: np.ndarray) -> np.ndarray:
    """ARKit's units as displacements [N, V, 3] in dm of one person's head, identity [Ki]; exact at full strength."""
    count = len(head.whole.blendshapes)
    shapes = with_units(head, np.repeat(identity[None], count, 0), np.eye(count, dtype=np.float32))
    return shapes - neutral_shape(head.whole, identity[None])


def rotation_of(vectors: Array, xp: Namespace = np) -> Array:
    """Rotation matrices [B, 3, 3] of rotation vectors [B, 3] in radians (Rodrigues)."""
    squared = xp.sum(vectors * vectors, axis=-1)[:, None, None]
    angle = xp.sqrt(squared + geometry.EPSILON)
    x, y, z = (vectors[:, i] for i in range(3))
    zero = xp.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    across = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    twice = xp.matmul(across, across)
    return xp.eye(3) + xp.sin(angle) / angle * across + (1 - xp.cos(angle)) / (angle * angle) * twice


def _turned(head: Head, neutral: Array, moved: Array, vectors: list[Array], xp: Namespace) -> Array:
    """`moved` [B, V, 3] with each bone turned by a rotation vector [B, 3] about its center in `neutral`."""
    count: int = neutral.shape[1]
    order = np.arange(count)
    parts: list[Array] = [moved]
    for bone, vector in zip(head.bones, vectors, strict=True):
        center = xp.mean(xp.take(neutral, bone.pivot, axis=1), axis=1, keepdims=True)
        arms = xp.take(neutral, bone.vertices, axis=1) - center
        turned = xp.matmul(arms, xp.swapaxes(rotation_of(vector, xp), 1, 2))
        order[bone.vertices] = sum(part.shape[1] for part in parts) + np.arange(len(bone.vertices))
        parts.append(xp.take(moved, bone.vertices, axis=1) + turned - arms)
    return xp.take(xp.concatenate(parts, axis=1), order, axis=1)


def _check_border(model: MorphableModel, arrays: dict[str, Array]) -> None:
    border = arrays["border_vertices"]
    fits = len(model.mean_shape) == int(arrays["face_vertices"]) and model.level == int(arrays["level"])
    if fits:
        fits = np.abs(model.mean_shape[border] - arrays["border_positions"]).max() < _BORDER_TOLERANCE
    if not fits or len(model.identity_basis) != len(arrays["identity_basis"]):
        received = f"{model.name}, level {model.level}, {len(model.mean_shape)} vertices"
        raise ModelError(f"the head belongs to another face model or level of detail. Received: {received}")


def _join(model: MorphableModel, arrays: dict[str, Array], shoulders: bool) -> Head:
    count, control = len(arrays["mean_albedo"]), len(arrays["mean_shape"])
    steps = model_file.read_steps(arrays, control, count)

    def around(name: str) -> np.ndarray:
        values = arrays[name].astype(np.float32).reshape(-1, control, 3)
        rest = model_file.subdivide(steps, values, np.arange(count))
        return np.concatenate([getattr(model, name).reshape(len(values), -1, 3), rest], 1)

    names = tuple(map(str, arrays["blendshape_names"]))
    if names != tuple(model.blendshape_names):
        raise ModelError(f"the face model must have the units of the head. Received: {model.blendshape_names}")
    face, total = len(model.mean_shape), len(model.mean_shape) + count
    rest_albedo = arrays["albedo_basis"] * arrays["albedo_scale"][:, None, None]
    expression, units = around("expression_basis"), around("blendshapes")
    bones: list[Bone] = []
    for index, name in enumerate(map(str, arrays["bone_names"])):
        vertices, pivot = (arrays[f"bone_{index}_{field}"].astype(np.int32) for field in ("vertices", "pivot"))
        turns, unit_turns = (
            arrays[f"{field}_turns"][:, index].astype(np.float32) for field in ("expression", "blendshape")
        )
        bones.append(Bone(name, vertices, pivot, turns, unit_turns))
        still = vertices[vertices < face]  # what the face model bends, the bone turns
        expression[:, still], units[:, still] = 0, 0
    units[np.isin(names, arrays["own_units"]), :face] = 0
    closings = tuple(
        _closing(arrays, index, names.index(name), total) for index, name in enumerate(arrays["closing_units"])
    )

    part_names = [str(name) for name in arrays["part_names"]]
    own_parts = arrays["parts"].astype(int)
    dropped = part_names.index("neck cap" if shoulders else "shoulders")
    kept = np.delete(np.arange(len(model.triangles)), arrays["plug"])
    triangles = np.concatenate([model.triangles[kept], arrays["triangles"][own_parts != dropped].astype(np.int32)])
    eyes, inside = (model.regions[name][model.triangles[kept]].all(1) for name in ("eyes", "inner_mouth"))
    face_parts = np.where(eyes, part_names.index("eyes"), np.where(inside, part_names.index("throat"), 0))
    own_parts = np.concatenate([face_parts, own_parts[own_parts != dropped]])
    whole = replace(
        model,
        mean_shape=around("mean_shape")[0],
        identity_basis=around("identity_basis"),
        expression_basis=expression,
        mean_albedo=np.concatenate([model.mean_albedo, arrays["mean_albedo"].astype(np.float32)]),
        albedo_basis=np.concatenate([model.albedo_basis, rest_albedo.astype(np.float32)], 1),
        triangles=triangles,
        vertex_corners=geometry.corners_around(triangles, total),
        uv_triangles=model.uv_triangles[kept],
        regions={name: np.pad(region, (0, count)) for name, region in model.regions.items()},
        blendshapes=units,
    )
    scalp, clothes = (np.pad(arrays[name] / np.float32(255), (face, 0)) for name in ("scalp", "clothes"))
    parts = {name: own_parts == index for index, name in enumerate(part_names)}
    return Head(whole, face, parts, tuple(bones), closings, arrays["complexions"].astype(np.float32), scalp, clothes)


def _closing(arrays: dict[str, Array], index: int, unit: int, total: int) -> Closing:
    vertices, weights, mean, identity = (
        arrays[f"closing_{index}_{field}"] for field in ("vertices", "weights", "mean", "identity")
    )
    slots = np.zeros(total, np.int32)
    slots[vertices] = 1 + np.arange(len(vertices))
    return Closing(unit, slots, *(field.astype(np.float32) for field in (weights, mean, identity)))
