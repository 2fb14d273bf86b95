"""Scans of faces, moved into the face model's frame by landmarks that are given or found on a rendering.

Letters: V vertices, T triangles.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from tf_deep3d.detection import detector
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, painting, registration
from tf_deep3d.evaluation.mesh_files import read_indices, read_landmarks, read_mesh, read_painted
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.face.landmarks import INNER_FACE, JAW, NOSE_BASE, NOSE_TIP, OUTER_EYE_CORNERS, eye_distance
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.rendering import clay, renderer

EYES_APART = 90.0  # mm between the outer corners of the eyes, by which a unit is guessed
SMALLEST_EYES, LARGEST_EYES = 45.0, 150.0  # mm, the same distance of what may be a person's face
LANDMARK_SUFFIXES = (".txt", ".lnd", ".pp", "_picked_points.pp", "_landmarks.txt")
MEASURED_SUFFIX = "_measured.txt"
PICTURE = 640  # px, of the picture in which landmarks are looked for
SKIN_TONE = (0.82, 0.68, 0.6)  # of a scan without colours, for a detector that learned from photos
FEWEST = 7  # landmarks that say where a scan lies
NOSE_REACH = 40.0  # mm around the nose's base in which its tip is


class Scan(NamedTuple):
    """The truth of a face, in mm, in the frame of the face model: y up, looking along +z.

    Attributes:
      vertices: [V, 3] float64.
      triangles: [T, 3] int32.
      normals: [V, 3] unit.
      landmarks: [68, 3], NaN where one is not known.
      colors: [V, 3] in [0, 1], or None.
      measured: [V] bool, where it may be measured: everywhere, unless a file beside the scan says so.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    landmarks: np.ndarray
    colors: np.ndarray | None
    measured: np.ndarray


def load_scan(
    path: str | Path,
    frame: np.ndarray,
    landmarks: str | Path | np.ndarray | None = None,
    unit: float | None = None,
    colored: bool = False,
) -> Scan:
    """Reads a scan and moves it into the face model's frame.

    A file beside the scan, of its name and `MEASURED_SUFFIX`, may hold the indices of the vertices where it may be
    measured, e.g. of the skin without the hair.

    Args:
      path: .obj, .ply, or .wrl as BU-3DFE has it.
      frame: [68, 3] mm, the face model's landmarks.
      landmarks: file of `mesh_files.read_landmarks`, or [68, 3] in the scan's own frame and unit. By default a file
        beside the scan, of its name and one of `LANDMARK_SUFFIXES`; if there is none, they are looked for on a
        rendering.
      unit: mm; by default the power of ten that makes the eyes lie as far apart as people's.
      colored: also read the texture or the colours; a textured mesh is split until its vertices can carry the texture
        (`painting`), the first ones stay where they were.

    Returns:
      `Scan`.

    Raises:
      FileNotFoundError: if a file is missing.
      InputError: if a file is unusable, no face is found on the scan, or the face is not of a person's size.
    """
    path = Path(path)
    mesh = read_painted(path) if colored else Mesh(*read_mesh(path))
    vertices, triangles, colors, measured = _painted(mesh, _measured(path, len(mesh.vertices)))
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
    apart = float(eye_distance(points))
    if not SMALLEST_EYES <= apart <= LARGEST_EYES and math.isfinite(apart):
        raise InputError(
            f"{path} must show a person's face in a unit of {scale:g} mm, the outer corners of the eyes "
            f"{SMALLEST_EYES:g} to {LARGEST_EYES:g} mm apart. Received: {apart:.3g} mm"
        )
    move = registration.similarity_from_landmarks(points[INNER_FACE], frame[INNER_FACE], scale=False)
    vertices = move.apply(vertices)
    around = geometry.corners_around(triangles, len(vertices))
    normals = geometry.vertex_normals(vertices[None], triangles, around)[0]
    return Scan(vertices, triangles, normals, move.apply(points), colors, measured)


def _measured(path: Path, count: int) -> np.ndarray:
    """[V] bool: where a scan of `count` vertices may be measured."""
    beside = path.with_name(path.stem + MEASURED_SUFFIX)
    return read_indices(beside, count) if beside.is_file() else np.ones(count, bool)


def _painted(mesh: Mesh, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Vertices [V, 3], triangles [T, 3], colours [V, 3] in [0, 1] or None, and `measured`, of a mesh, which is split
    where it has a texture."""
    if mesh.uv is None or mesh.uv_triangles is None or mesh.texture is None:
        return mesh.vertices, mesh.triangles, None if mesh.colors is None else mesh.colors / 255, measured
    attributes, triangles, colors = painting.paint(
        np.concatenate([mesh.vertices, measured[:, None]], 1), mesh.triangles, mesh.uv, mesh.uv_triangles,
        mesh.texture, painting.times_for(len(mesh.triangles)),
    )  # fmt: skip
    return attributes[:, :3], triangles, colors / 255, attributes[:, 3] > 1 - 1e-6


def guessed_unit(landmarks: np.ndarray) -> float:
    """The mm in one unit of `landmarks` [68, 3], a power of ten: m, dm, cm or mm, told apart by the size of a face.

    Raises:
      InputError: if the outer corners of the eyes are not known or do not lie apart.
    """
    apart = float(eye_distance(landmarks))
    if not apart > 0:
        raise InputError(
            "the outer corners of the eyes must be known and lie apart. Received: "
            f"{landmarks[list(OUTER_EYE_CORNERS)].tolist()}"
        )
    return 10.0 ** round(math.log10(EYES_APART / apart))


def nose_tip(scan: Scan) -> np.ndarray:
    """The tip of a scan's nose [3]: its landmark, or what stands out farthest around the base."""
    if np.isfinite(scan.landmarks[NOSE_TIP]).all():
        return scan.landmarks[NOSE_TIP]
    near = scan.vertices[metrics.within(scan.vertices, scan.landmarks[NOSE_BASE], NOSE_REACH)]
    return near[near[:, 2].argmax()] if len(near) else scan.landmarks[NOSE_BASE]


def find_landmarks(vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None = None) -> np.ndarray | None:
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
        if np.isfinite(found).all(1).sum() < FEWEST:
            return None
        face = found[np.isfinite(found[:, 0])]
        center, reach = face.mean(0), 1.3 * float(np.ptp(face, axis=0)[:2].max())
    return found


def _rendered(vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
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
        colors = np.asarray(clay.light(normals, two_sided=True) * SKIN_TONE)
    values = np.concatenate([colors, vertices, np.ones((len(vertices), 1))], 1)[None].astype(np.float32)
    shown = np.asarray(renderer.interpolate(fragments, values, triangles))[0]
    image = np.clip(shown[..., :3] + 0.5 * (1 - shown[..., 6:]), 0, 1)
    return np.rint(255 * image).astype(np.uint8), np.where(shown[..., 6:] > 0, shown[..., 3:6], np.nan)
