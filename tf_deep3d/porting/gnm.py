"""GNM Head 3 (Apache-2.0, Google 2026): gnm_head.npz, plain arrays by name; nothing in it is unpickled.

template_vertex_positions [V, 3] in metres, x to the person's left, y up, z forward, as ours; triangles [T, 3] from 0;
vertex_identity_basis [I, V, 3] and expression_basis [E, V, 3] for one standard deviation; identity_names [I],
"head_..", then those of eyeballs and teeth; triangle_uvs [T, 3, 2]; vertex_groups [G, V] in [0, 1] and
vertex_group_names [G]. variant must be "head" where the file says it. The joints, their weights and corrections are not
read: the jaw moves within the expressions, and neck and eyes stay still.

Identity modes are those of the head, in the file's order: 170. Expression modes are in the file's order too, by regions
(eyes, lower face, tongue, pupils: 383), so that fewer of them are the largest ones, by what they move in all.

Landmarks lie in a file beside the model, head_sparse_68.txt; any other of `landmarks.FILE_FORMAT` will do. Its first
edition had the jaw's points 2 to 6 backwards: they are turned where this shortens the jaw line.

What is kept goes by the vertex groups: the skin with the mouth behind the lips, the teeth, gums and tongue, and the
eyeballs without the cornea, an outer shell that only glass could show. The back of the head is cut off by
`assemble.crop_face`. Each part gets a texture tile of its own, since theirs lie over each other. There is no albedo:
the colours are `assemble.PLAIN`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tf_deep3d.face.camera import METRES
from tf_deep3d.face.landmarks import JAW
from tf_deep3d.face.morphable_model import Landmarks
from tf_deep3d.io import archive
from tf_deep3d.porting import PortingError, landmarks
from tf_deep3d.porting.assemble import Source, crop, crop_face
from tf_deep3d.porting.containers import checked_file, indices, numbers

VARIANT = "head"
HEAD = "head"  # how the names of the head's identity modes begin
# Vertex groups, one texture tile each after the skin's.
EYES = ("left_eye", "right_eye")
MOUTH = ("upper_teeth_and_gums", "lower_teeth_and_gums", "tongue")
SKIN, MOUTH_LINING, CORNEA = "skin", "mouth_sock", "eye_exteriors"
NEEDED = (SKIN, MOUTH_LINING, *EYES, CORNEA, *MOUTH)
MEMBER = 0.5  # weight in a group from which a vertex belongs to it
BACKWARDS = slice(2, 7)  # the jaw's points in the wrong order
MAX_BYTES = 2 << 30  # unpacked; the published file has 0.2 GiB
LANDMARKS_FILE = "head_sparse_68.txt"


def read(
    path: str | Path,
    landmark_file: str | Path | None = None,
    identity: int = 170,
    expression: int = 383,
    whole_head: bool = False,
) -> Source:
    """Reads GNM Head.

    Args:
      path: gnm_head.npz.
      landmark_file: see `landmarks.FILE_FORMAT`; without it nothing can be read.
      identity, expression: how many modes to take, at most as many as there are.
      whole_head: keep the back of the head.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if a file is missing.
      ArchiveError: if the file is no .npz of plain arrays.
      PortingError: if it is not what it should be, or there are no landmarks.
    """
    path = checked_file(path)
    if landmark_file is None:
        raise PortingError(
            f"{path.name} has no landmarks: pass --landmarks FILE, {LANDMARKS_FILE} of the same release, or "
            f"{landmarks.FILE_FORMAT}. Received: no landmarks"
        )
    arrays = archive.read_arrays(path, MAX_BYTES)
    variant = str(arrays.get("variant", VARIANT))
    if variant != VARIANT:
        raise PortingError(f"{path.name} must be the variant {VARIANT!r}. Received: {variant!r}")
    vertices = _field(arrays, "template_vertex_positions", (None, 3)) / METRES
    count = len(vertices)
    triangles = indices(_field(arrays, "triangles", (None, 3)), "triangles", (None, 3), count)
    points = landmarks.read_landmarks(landmark_file, vertices * METRES, triangles)
    shapes = _field(arrays, "vertex_identity_basis", (None, count, 3))
    names = _names(arrays, "identity_names", len(shapes))
    head = [k for k, name in enumerate(names) if name.startswith(HEAD)][:identity]
    if not head:
        raise PortingError(f"identity_names must hold names that begin with {HEAD!r}. Received: {', '.join(names)}")
    expressions = _field(arrays, "expression_basis", (None, count, 3))
    parts = _parts(arrays, count)
    uv, uv_triangles = _texture_map(_field(arrays, "triangle_uvs", (len(triangles), 3, 2)), triangles, parts)
    source = Source(
        name="GNM Head",
        licence="Apache-2.0",
        origin=f"{path.name} (GNM Head {arrays.get('version', 3)}, Google)",
        vertices=vertices,
        triangles=triangles,
        identity=shapes[head] / METRES,
        expression=expressions[_largest(expressions, expression)] / METRES,
        landmarks=_jaw_in_order(points, vertices),
        uv=uv,
        uv_triangles=uv_triangles,
        regions={"eyes": _any(parts, EYES), "inner_mouth": _any(parts, (MOUTH_LINING, *MOUTH))},
    )
    source = crop(source, _any(parts, (SKIN, MOUTH_LINING, *EYES, *MOUTH)) & ~parts[CORNEA])
    return source if whole_head else crop_face(source)


def _field(arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    return numbers(_present(arrays, key), key, shape)


def _names(arrays: Mapping[str, np.ndarray], key: str, count: int) -> list[str]:
    found = _present(arrays, key)
    if found.shape != (count,) or found.dtype.kind != "U":
        raise PortingError(f"{key} must be {count} names. Received: {found.dtype} {found.shape}")
    return [str(name) for name in found]


def _present(arrays: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise PortingError(f"the model must hold {key!r}. Received: {', '.join(sorted(arrays))}")
    return arrays[key]


def _parts(arrays: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The vertices of the groups `NEEDED`: name -> bool [V]."""
    members = _field(arrays, "vertex_groups", (None, count)) > MEMBER
    names = _names(arrays, "vertex_group_names", len(members))
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise PortingError(f"vertex_group_names must hold {', '.join(missing)}. Received: {', '.join(names)}")
    return {name: members[names.index(name)] for name in NEEDED}


def _any(parts: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """The vertices of any of `parts` with these names: bool [V]."""
    return np.any([parts[name] for name in names], axis=0)


def _largest(modes: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` modes [K, V, 3] of the greatest Euclidean length, in the order of the file."""
    lengths = np.linalg.norm(modes.reshape(len(modes), -1), axis=1)
    return np.sort(np.argsort(-lengths, kind="stable")[:count])


def _texture_map(
    corners: np.ndarray, triangles: np.ndarray, parts: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Texture points [U, 2] and the triangles in them [T, 3], each part on a tile of its own.

    Args:
      corners: [T, 3, 2] in [0, 1], the texture coordinates of the triangles' corners.
      triangles: [T, 3] int.
      parts: name -> bool [V].
    """
    corners = np.clip(corners, 0, 1).astype(np.float64)
    for tile, name in enumerate((*EYES, *MOUTH), 1):
        corners[parts[name][triangles].all(1), :, 0] += tile
    uv, places = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
    return uv, places.reshape(-1, 3)


def _jaw_in_order(points: Landmarks, vertices: np.ndarray) -> Landmarks:
    """`points` with the jaw's `BACKWARDS` turned where that shortens the jaw line."""
    order = np.arange(len(points.vertices))
    order[BACKWARDS] = order[BACKWARDS][::-1]
    turned = Landmarks(points.vertices[order], points.weights[order])
    return min(points, turned, key=lambda each: _jaw_length(landmarks.positions(each, vertices)))


def _jaw_length(points: np.ndarray) -> float:
    """The length of the chain of the jaw's points among `points` [68, 3]."""
    return float(np.linalg.norm(np.diff(points[JAW], axis=0), axis=1).sum())
