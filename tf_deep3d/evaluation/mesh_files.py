"""Meshes, landmarks and colours in other programs' files.

Untrusted input: bounds on sizes, nothing is executed. Landmarks are those of ibug68, NaN where one
is not known, so that whoever has 7, 51 or 68 of them gives them in the same form.

Letters: V vertices, T triangles, L landmarks, C numbers of a landmark.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.ply_files import read_ply
from tf_deep3d.face.landmarks import (
    COUNT,
    INNER_EYE_CORNERS,
    INNER_FACE,
    MOUTH_CORNERS,
    NOSE_BASE,
    OUTER_EYE_CORNERS,
)
from tf_deep3d.io import photos
from tf_deep3d.mesh.mesh import Mesh

MAX_BYTES = 256 << 20  # of a mesh
MAX_LANDMARK_BYTES = 1 << 20
# Number of landmarks in a file -> which of ibug68 say where a shape lies. The seven are the right eye's outer and inner
# corner, the left eye's inner and outer one, the nose's base, the right and the left mouth corner (the person's right).
_INNER = np.arange(COUNT)[INNER_FACE]
_SEVEN = [OUTER_EYE_CORNERS[0], *INNER_EYE_CORNERS, OUTER_EYE_CORNERS[1], NOSE_BASE, *MOUTH_CORNERS]
ANCHORS = {COUNT: _INNER, 51: _INNER, 7: np.array(_SEVEN)}


def spread(points: np.ndarray) -> np.ndarray:
    """The 68, 51 or 7 landmarks [L, C] as [68, C], NaN elsewhere.

    Raises:
      InputError: for another number.
    """
    if len(points) not in ANCHORS:
        raise InputError(f"there must be 68, 51 or 7 landmarks. Received: {len(points)}")
    found = np.full((COUNT, points.shape[1]), np.nan)
    found[np.arange(COUNT) if len(points) == COUNT else ANCHORS[len(points)]] = points
    return found


def read_landmarks(path: str | Path, vertices: np.ndarray | None = None) -> np.ndarray:
    """Reads landmarks.

    Args:
      path: text with 68, 51 or 7 rows x y z, each after its number if there are four columns (.lnd); rows of one index
        of a vertex; or points that MeshLab picked (.pp).
      vertices: [V, 3], for indices.

    Returns:
      [68, 3], NaN where one is not known.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if the file is something else.
    """
    text = read_text(path, MAX_LANDMARK_BYTES)
    expected = f"{path} must hold 68, 51 or 7 rows of x y z, or of one index"
    try:
        if Path(path).suffix == ".pp":
            tags = re.findall(r"<point\b[^>]*>", text)
            rows = [[number for axis in "xyz" for number in re.findall(rf'\b{axis}="([^"]*)"', tag)] for tag in tags]
        else:
            rows = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
        points = np.array([row for row in rows if row], float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{expected}. Received: {error}") from error
    if points.ndim != 2 or len(points) not in ANCHORS or points.shape[1] not in (1, 3, 4):
        raise InputError(f"{expected}. Received: {points.shape}")
    if points.shape[1] == 1:
        index = points[:, 0]
        if vertices is None or not ((index >= 0) & (index < len(vertices)) & (index % 1 == 0)).all():
            count = 0 if vertices is None else len(vertices)
            raise InputError(f"{path} must hold indices below {count}. Received: {index.min()} to {index.max()}")
        points = vertices[index.astype(int)]
    points = points[:, -3:]
    if not np.isfinite(points).all():
        raise InputError(f"{path} must hold finite numbers. Received: NaN or infinity")
    return spread(points)


def read_indices(path: str | Path, count: int) -> np.ndarray:
    """[count] bool: which vertices a text file of their indices names.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if it holds anything else, or nothing.
    """
    index = read_numbers(path, int)
    if not len(index) or index.min() < 0 or index.max() >= count:
        raise InputError(f"{path} must hold indices below {count}. Received: {len(index)} of them")
    chosen = np.zeros(count, bool)
    chosen[index] = True
    return chosen


def read_numbers(path: str | Path, kind: type) -> np.ndarray:
    """The numbers in a text file, all of a `kind`, int or float: [N].

    Raises:
      FileNotFoundError, InputError: as `read_indices`.
    """
    try:
        return np.loadtxt(read_text(path, MAX_BYTES).splitlines(), dtype=kind, ndmin=1).ravel()
    except ValueError as error:
        raise InputError(f"{path} must hold {'whole ' * (kind is int)}numbers. Received: {error}") from error


def read_mesh(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] float64 and triangles [T, 3] int32 of an .obj, .ply or .wrl file; polygons become fans.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if the file is too large or no mesh.
    """
    kind = Path(path).suffix.lower()
    if kind == ".ply":
        vertices, polygons, _ = read_ply(_bytes(path, MAX_BYTES), path)
    else:
        text = read_text(path, MAX_BYTES)
        vertices, polygons = _wrl(text, path) if kind == ".wrl" else _obj(text, path)
    triangles = _fans(polygons)
    if not len(vertices) or not triangles or {len(vertex) for vertex in vertices} != {3}:
        raise InputError(f"{path} holds no triangles. Received: {len(vertices)} vertices, {len(triangles)} triangles")
    vertices, triangles = np.array(vertices), np.array(triangles)
    if not np.isfinite(vertices).all() or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise InputError(f"{path} must hold finite vertices and triangles of them. Received: {len(vertices)} vertices")
    return vertices, triangles.astype(np.int32)


def _fans(polygons: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The triangles of polygons."""
    return [(corners[0], *corners[i : i + 2]) for corners in polygons for i in range(1, len(corners) - 1)]


def read_points(path: str | Path) -> np.ndarray:
    """The vertices [V, 3] of an .obj file that may have no triangles.

    Raises:
      FileNotFoundError, InputError: as `read_mesh`.
    """
    vertices = _obj(read_text(path, MAX_BYTES), path)[0]
    if not vertices or {len(vertex) for vertex in vertices} != {3} or not np.isfinite(vertices).all():
        raise InputError(f"{path} must hold finite vertices. Received: {len(vertices)}")
    return np.array(vertices)


def read_painted(path: str | Path) -> Mesh:
    """A mesh as of `read_mesh` with its texture, or else the colours of its vertices, where the file has them.

    The texture of an .obj is the picture that the .mtl beside it names, or the one of the mesh's own name. Colours of
    vertices stand in an .obj as v x y z r g b, in [0, 1] or, if any is larger, to 255.

    Raises:
      FileNotFoundError, InputError: as `read_mesh`; also if the texture or its coordinates are unusable.
    """
    vertices, triangles = read_mesh(path)
    kind = Path(path).suffix.lower()
    if kind == ".ply":
        colors = read_ply(_bytes(path, MAX_BYTES), path)[2]
        return Mesh(vertices, triangles, colors=_checked_colors(colors, path))
    if kind != ".obj":
        return Mesh(vertices, triangles)
    text = read_text(path, MAX_BYTES)
    painted = _texture(text, path, triangles)
    if painted is not None:
        return Mesh(vertices, triangles, None, *painted)
    rows = [line.split()[4:7] for line in text.splitlines() if line.startswith("v ")]
    if {len(row) for row in rows} != {3}:
        return Mesh(vertices, triangles)
    try:
        colors = np.array(rows, float)
    except ValueError as error:
        raise InputError(f"{path} must have numbers as colours. Received: {error}") from error
    return Mesh(vertices, triangles, colors=_checked_colors(colors / (255 if colors.max() > 1 else 1), path))


def _checked_colors(colors: np.ndarray | None, path: str | Path) -> np.ndarray | None:
    """Colours [V, 3] as uint8."""
    if colors is None:
        return None
    if not np.isfinite(colors).all() or colors.min() < 0 or colors.max() > 1:
        raise InputError(f"{path} must have colours in [0, 1] or to 255. Received: {colors.min()} to {colors.max()}")
    return np.rint(255 * colors).astype(np.uint8)


def _texture(text: str, path: str | Path, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Texture points [U, 2], their triangles [T, 3] and the texture [H, W, 3] uint8 of an .obj; None if it has none."""
    rows = [line.split() for line in text.splitlines() if line[:2] in ("vt", "f ", "mt")]
    folder = Path(path).parent
    names = [Path(" ".join(row[1:])).name for row in rows if row[0] == "mtllib"]
    materials = [read_text(folder / name, MAX_LANDMARK_BYTES) for name in names if (folder / name).is_file()]
    maps = [
        Path(line.split()[-1]).name
        for text in materials
        for line in text.splitlines()
        if line.strip().startswith("map_Kd ")
    ]
    known = [folder / name for name in maps] + [Path(path).with_suffix(end) for end in photos.SUFFIXES]
    picture = next((each for each in known if each.is_file()), None)
    places = [row[1:3] for row in rows if row[0] == "vt"]
    polygons = [[corner.split("/")[1:2] for corner in row[1:]] for row in rows if row[0] == "f"]
    if picture is None or not places or not all(corner and corner[0] for corners in polygons for corner in corners):
        return None
    try:
        corners = np.array(_fans([[int(corner[0]) for corner in each] for each in polygons]))
        uv, corners = np.array(places, float), corners - (corners > 0) + len(places) * (corners < 0)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} must have texture coordinates. Received: {error}") from error
    if corners.shape != triangles.shape or corners.min() < 0 or corners.max() >= len(uv) or not np.isfinite(uv).all():
        raise InputError(f"{path} must have texture coordinates. Received: {len(uv)} for {len(triangles)} triangles")
    return uv, corners.astype(np.int32), photos.read_photo(picture)


def _bytes(path: str | Path, limit: int) -> bytes:
    path = Path(path)
    if not path.is_file():  # nothing, or a pipe or device, which may have no end
        raise FileNotFoundError(f"No such file: {path}")
    if path.stat().st_size > limit:
        raise InputError(f"{path} may have {limit} bytes at most. Received: {path.stat().st_size}")
    return path.read_bytes()


def read_text(path: str | Path, limit: int = MAX_BYTES) -> str:
    """The text of a file, whatever bytes it has.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if it has more than `limit` bytes.
    """
    return _bytes(path, limit).decode("utf-8", "replace")


def _obj(text: str, path: str | Path) -> tuple[list[list[float]], list[list[int]]]:
    """Vertices and polygons of an .obj text."""
    vertices, polygons = [], []
    for number, line in enumerate(text.splitlines(), 1):
        key, *values = line.split() or [""]
        try:
            if key == "v":
                vertices.append([float(value) for value in values[:3]])
            elif key == "f":
                corners = [int(value.split("/")[0]) for value in values]
                polygons.append([corner - 1 if corner > 0 else len(vertices) + corner for corner in corners])
        except ValueError as error:
            raise InputError(f"{path}, line {number}, is no line of an OBJ. Received: {line[:60]!r}") from error
    return vertices, polygons


def _wrl(text: str, path: str | Path) -> tuple[list[list[float]], list[list[int]]]:
    """Vertices and polygons of a VRML text with one mesh: its first `point` and `coordIndex` lists."""
    text = re.sub(r"#.*", "", text)
    parts = [found[1] for name in ("point", "coordIndex") if (found := re.search(rf"\b{name}\s*\[([^\]]*)\]", text))]
    if len(parts) < 2:
        raise InputError(f"{path} must be VRML with the lists point and coordIndex. Received: {text[:40]!r}")
    try:
        points, index = (
            np.array(part.replace(",", " ").split(), kind) for part, kind in zip(parts, (float, int), strict=True)
        )
        vertices = points.reshape(-1, 3).tolist()
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} must hold numbers in threes. Received: {error}") from error
    polygons = np.split(index, np.flatnonzero(index < 0))
    return vertices, [[int(corner) for corner in polygon if corner >= 0] for polygon in polygons]
