"""Meshes of other programs and data sets, and where their landmarks lie.

Untrusted input: text formats only, bounds on sizes, nothing is executed. Landmarks are those of ibug68, NaN where one
is not known, so that whoever has 7, 51 or 68 of them gives them in the same form.

Letters: V vertices, T triangles, L landmarks.
"""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

from tf_deep3d.detection import detector
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, registration
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.face.landmarks import (
    INNER_EYE_CORNERS,
    INNER_FACE,
    JAW,
    MOUTH_CORNERS,
    NOSE_BASE,
    NOSE_TIP,
    OUTER_EYE_CORNERS,
    eye_distance,
)
from tf_deep3d.io import photos
from tf_deep3d.rendering import clay, renderer

MAX_BYTES = 256 << 20  # of a mesh
MAX_LANDMARK_BYTES = 1 << 20
# Number of landmarks in a file -> which of ibug68 say where a shape lies. The seven are the right eye's outer and inner
# corner, the left eye's inner and outer one, the nose's base, the right and the left mouth corner (the person's right).
_INNER = np.arange(68)[INNER_FACE]
_SEVEN = [OUTER_EYE_CORNERS[0], *INNER_EYE_CORNERS, OUTER_EYE_CORNERS[1], NOSE_BASE, *MOUTH_CORNERS]
ANCHORS = {68: _INNER, 51: _INNER, 7: np.array(_SEVEN)}
EYES_APART = 90.0  # mm between the outer corners of the eyes, by which a unit is guessed
LANDMARK_SUFFIXES = (".txt", ".lnd", ".pp", "_picked_points.pp", "_landmarks.txt")
PICTURE = 640  # px, of the picture in which landmarks are looked for
SKIN_TONE = (0.82, 0.68, 0.6)  # of a scan without colours, for a detector that learned from photos
NOSE_REACH = 40.0  # mm around the nose's base in which its tip is


class Scan(NamedTuple):
    """The truth of a face, in mm, in the frame of the face model: y up, looking along +z.

    Attributes:
      vertices: [V, 3] float64.
      triangles: [T, 3] int32.
      normals: [V, 3] unit.
      landmarks: [68, 3], NaN where one is not known.
      colors: [V, 3] in [0, 1], or None.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    landmarks: np.ndarray
    colors: Any = None


def load_scan(path, frame, landmarks=None, unit=None, colored=False):
    """Reads a scan and moves it into the face model's frame.

    Args:
      path: .obj, or .wrl as BU-3DFE has it.
      frame: [68, 3] mm, the face model's landmarks.
      landmarks: file of `read_landmarks`, or [68, 3] in the scan's own frame and unit. By default a file beside the
        scan, of its name and one of `LANDMARK_SUFFIXES`; if there is none, they are looked for on a rendering.
      unit: mm; by default the power of ten that makes the eyes lie as far apart as people's.
      colored: also read the texture of an .obj.

    Returns:
      `Scan`.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is unusable, or no face is found on the scan.
    """
    path = Path(path)
    vertices, triangles = read_mesh(path)
    colors = read_colors(path, len(vertices)) if colored else None
    if landmarks is None:
        beside = (path.with_name(path.stem + suffix) for suffix in LANDMARK_SUFFIXES)
        landmarks = next((each for each in beside if each.is_file()), None)
    if landmarks is None:
        points = find_landmarks(vertices, triangles, colors)
        if points is None:
            raise InputError(
                f"no face is found on {path}; it must look along +z, y up, or have its landmarks in "
                f"{path.with_suffix('.txt').name} beside it. Received: {len(vertices)} vertices"
            )
    else:
        points = landmarks if isinstance(landmarks, np.ndarray) else read_landmarks(landmarks, vertices)
    scale = guessed_unit(points) if unit is None else unit
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"a unit must be positive mm. Received: {scale}")
    vertices, points = vertices * scale, points * scale
    move = registration.similarity_from_landmarks(points[INNER_FACE], frame[INNER_FACE], scale=False)
    vertices = move.apply(vertices)
    around = geometry.corners_around(triangles, len(vertices))
    normals = geometry.vertex_normals(vertices[None], triangles, around)[0]
    return Scan(vertices, triangles, normals, move.apply(points), colors)


def guessed_unit(landmarks):
    """mm in one unit of `landmarks` [68, 3], a power of ten: m, dm, cm or mm are told apart by the size of a face.

    Raises:
      ValueError: if the outer corners of the eyes are not known or do not lie apart.
    """
    apart = float(eye_distance(landmarks))
    if not apart > 0:
        raise InputError(
            "the outer corners of the eyes must be known and lie apart. Received: "
            f"{landmarks[list(OUTER_EYE_CORNERS)].tolist()}"
        )
    return 10.0 ** round(math.log10(EYES_APART / apart))


def nose_tip(scan):
    """The tip of a scan's nose [3]: its landmark, or what stands out farthest around the base."""
    if np.isfinite(scan.landmarks[NOSE_TIP]).all():
        return scan.landmarks[NOSE_TIP]
    near = scan.vertices[metrics.within(scan.vertices, scan.landmarks[NOSE_BASE], NOSE_REACH)]
    return near[near[:, 2].argmax()] if len(near) else scan.landmarks[NOSE_BASE]


def spread(points):
    """The 68, 51 or 7 landmarks [L, C] as [68, C], NaN elsewhere.

    Raises:
      ValueError: for another number.
    """
    if len(points) not in ANCHORS:
        raise InputError(f"there must be 68, 51 or 7 landmarks. Received: {len(points)}")
    found = np.full((68, points.shape[1]), np.nan)
    found[np.arange(68) if len(points) == 68 else ANCHORS[len(points)]] = points
    return found


def read_landmarks(path, vertices=None):
    """Reads landmarks.

    Args:
      path: text with 68, 51 or 7 rows x y z, each after its number if there are four columns (.lnd); rows of one index
        of a vertex; or points that MeshLab picked (.pp).
      vertices: [V, 3], for indices.

    Returns:
      [68, 3], NaN where one is not known.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is something else.
    """
    text = _text(path, MAX_LANDMARK_BYTES)
    expected = f"{path} must hold 68, 51 or 7 rows of x y z, or of one index"
    try:
        if Path(path).suffix == ".pp":
            rows = [
                [re.search(rf'\b{axis}="([^"]*)"', tag)[1] for axis in "xyz"]
                for tag in re.findall(r"<point\b[^>]*>", text)
            ]
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


def read_mesh(path):
    """Vertices [V, 3] float64 and triangles [T, 3] int32 of an .obj or .wrl file; polygons become fans.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is too large or no mesh.
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


def read_points(path):
    """The vertices [V, 3] of an .obj file that may have no triangles.

    Raises:
      FileNotFoundError, ValueError: as `read_mesh`.
    """
    vertices = _obj(_text(path, MAX_BYTES), path)[0]
    if not vertices or {len(vertex) for vertex in vertices} != {3} or not np.isfinite(vertices).all():
        raise InputError(f"{path} must hold finite vertices. Received: {len(vertices)}")
    return np.array(vertices)


def read_colors(path, count):
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
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} must have texture coordinates. Received: {error}") from error
    return colors


def find_landmarks(vertices, triangles, colors=None):
    """Looks for the landmarks of a scan with the detector for photos, on renderings of it from the front.

    The jaw's points are left out: a detector puts them where they are not seen from the front.

    Args:
      vertices: [V, 3], any unit, y up, looking along +z.
      triangles: [T, 3] int.
      colors: [V, 3] in [0, 1]; the scan is of clay in the tone of skin without.

    Returns:
      [68, 3] on the surface, NaN where there is none; or None if no face is found.
    """
    low, high = vertices.min(0), vertices.max(0)
    center, reach = (low + high) / 2, float((high - low)[:2].max()) / 2
    found = None
    for _ in range(2):  # the whole scan, then its face
        image, places = _rendered((vertices - center) / max(reach, 1e-12), triangles, colors)
        faces = detector.detect(image)
        if not faces:
            return found
        known = np.isfinite(places[..., 0])
        pixels = np.argwhere(known)[:, ::-1] + 0.5
        distance, nearest = KDTree(pixels).query(faces[0].landmarks68)
        on_surface = places[known][nearest] * reach + center
        found = np.where((distance <= 3)[:, None], on_surface, np.nan)
        found[JAW] = np.nan
        if np.isfinite(found).all(1).sum() < 7:
            return None
        face = found[np.isfinite(found[:, 0])]
        center, reach = face.mean(0), 1.3 * float(np.ptp(face, axis=0)[:2].max())
    return found


def _rendered(vertices, triangles, colors):
    """A picture [S, S, 3] uint8 of x and y in [-1, 1], and the places [S, S, 3] that its pixels show, NaN if none."""
    vertices = vertices.astype(np.float32)
    distance = 8.0
    camera = cameras.Camera(PICTURE, PICTURE, 0.95 * PICTURE / 2 * distance, (PICTURE / 2, PICTURE / 2), distance)
    ahead = np.minimum(vertices, [np.inf, np.inf, distance - 1]).astype(np.float32)
    pixels, depth = cameras.to_pixels(camera, ahead[None])
    fragments = renderer.rasterize(pixels, depth, triangles, PICTURE, PICTURE, cull=False)
    if colors is None:
        around = geometry.corners_around(triangles, len(vertices))
        normals = geometry.vertex_normals(vertices[None], triangles, around)[0]
        colors = clay.light(normals, two_sided=True) * SKIN_TONE
    values = np.concatenate([colors, vertices, np.ones((len(vertices), 1))], 1)[None].astype(np.float32)
    shown = np.asarray(renderer.interpolate(fragments, values, triangles))[0]
    image = np.clip(shown[..., :3] + 0.5 * (1 - shown[..., 6:]), 0, 1)
    return np.rint(255 * image).astype(np.uint8), np.where(shown[..., 6:] > 0, shown[..., 3:6], np.nan)


def _text(path, limit):
    path = Path(path)
    if path.is_file() and path.stat().st_size > limit:
        raise InputError(f"{path} may have {limit} bytes at most. Received: {path.stat().st_size}")
    return path.read_text(encoding="utf-8", errors="replace")


def _obj(text, path):
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


def _wrl(text, path):
    """Vertices and polygons of a VRML text with one mesh: its first `point` and `coordIndex` lists."""
    text = re.sub(r"#.*", "", text)
    parts = [re.search(rf"\b{name}\s*\[([^\]]*)\]", text) for name in ("point", "coordIndex")]
    if None in parts:
        raise InputError(f"{path} must be VRML with the lists point and coordIndex. Received: {text[:40]!r}")
    try:
        points, index = (
            np.array(part[1].replace(",", " ").split(), kind) for part, kind in zip(parts, (float, int), strict=True)
        )
        vertices = points.reshape(-1, 3).tolist()
    except ValueError as error:
        raise InputError(f"{path} must hold numbers in threes. Received: {error}") from error
    polygons = np.split(index, np.flatnonzero(index < 0))
    return vertices, [[int(corner) for corner in polygon if corner >= 0] for polygon in polygons]
