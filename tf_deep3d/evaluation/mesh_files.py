"""Meshes, landmarks and colours in other programs' files.

Untrusted input: text formats only, bounds on sizes, nothing is executed. Landmarks are those of ibug68, NaN where one
is not known, so that whoever has 7, 51 or 68 of them gives them in the same form.

Letters: V vertices, T triangles, L landmarks, C numbers of a landmark.
"""

import re
from pathlib import Path

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.face.landmarks import (
    COUNT,
    INNER_EYE_CORNERS,
    INNER_FACE,
    MOUTH_CORNERS,
    NOSE_BASE,
    OUTER_EYE_CORNERS,
)
from tf_deep3d.io import photos

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
    text = _text(path, MAX_LANDMARK_BYTES)
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


def read_mesh(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] float64 and triangles [T, 3] int32 of an .obj or .wrl file; polygons become fans.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if the file is too large or no mesh.
    """
    text = _text(path, MAX_BYTES)
    vertices, polygons = _wrl(text, path) if Path(path).suffix.lower() == ".wrl" else _obj(text, path)
    triangles = [(corners[0], *corners[i : i + 2]) for corners in polygons for i in range(1, len(corners) - 1)]
    if not vertices or not triangles or {len(vertex) for vertex in vertices} != {3}:
        raise InputError(f"{path} holds no triangles. Received: {len(vertices)} vertices, {len(triangles)} triangles")
    vertices, triangles = np.array(vertices), np.array(triangles)
    if not np.isfinite(vertices).all() or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise InputError(f"{path} must hold finite vertices and triangles of them. Received: {len(vertices)} vertices")
    return vertices, triangles.astype(np.int32)


def read_points(path: str | Path) -> np.ndarray:
    """The vertices [V, 3] of an .obj file that may have no triangles.

    Raises:
      FileNotFoundError, InputError: as `read_mesh`.
    """
    vertices = _obj(_text(path, MAX_BYTES), path)[0]
    if not vertices or {len(vertex) for vertex in vertices} != {3} or not np.isfinite(vertices).all():
        raise InputError(f"{path} must hold finite vertices. Received: {len(vertices)}")
    return np.array(vertices)


def read_colors(path: str | Path, count: int) -> np.ndarray | None:
    """Colours [V, 3] in [0, 1] of the `count` vertices of an .obj, from its texture; None if it has none.

    The texture is the picture that the .mtl beside the mesh names, or the one of the mesh's own name.
    """
    rows = [line.split() for line in _text(path, MAX_BYTES).splitlines() if line[:2] in ("vt", "f ", "mt")]
    folder = Path(path).parent
    names = [Path(" ".join(row[1:])).name for row in rows if row[0] == "mtllib"]
    materials = [_text(folder / name, MAX_LANDMARK_BYTES) for name in names if (folder / name).is_file()]
    maps = [
        Path(line.split()[-1]).name
        for text in materials
        for line in text.splitlines()
        if line.strip().startswith("map_Kd ")
    ]
    known = [folder / name for name in maps] + [Path(path).with_suffix(end) for end in photos.SUFFIXES]
    picture = next((each for each in known if each.is_file()), None)
    places = [row[1:3] for row in rows if row[0] == "vt"]
    pairs = [corner.split("/")[:2] for row in rows if row[0] == "f" for corner in row[1:]]
    if picture is None or not places or any(len(pair) < 2 or not pair[1] for pair in pairs):
        return None
    texture = photos.read_photo(picture)
    try:
        vertex, place = np.array(pairs, int).T
        u, v = np.array(places, float)[place - (place > 0)].T
        colors = np.zeros((count, 3))
        size = texture.shape
        row, column = (np.clip(x * n, 0, n - 1).astype(int) for x, n in ((1 - v, size[0]), (u, size[1])))
        colors[vertex - (vertex > 0)] = texture[row, column] / 255
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path} must have texture coordinates. Received: {error}") from error
    return colors


def _text(path: str | Path, limit: int) -> str:
    path = Path(path)
    if path.is_file() and path.stat().st_size > limit:
        raise InputError(f"{path} may have {limit} bytes at most. Received: {path.stat().st_size}")
    return path.read_text(encoding="utf-8", errors="replace")


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
