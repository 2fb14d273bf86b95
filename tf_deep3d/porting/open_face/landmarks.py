"""Landmarks of the open face model, found by a detector on renders of random full heads and carried back to the mesh.

For each head and pose: render, detect, look up the model's triangle under every landmark, read the same surface point
off the mean face. The robust mean over all pictures, made symmetric, is snapped to the mean face's surface.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from tf_deep3d.detection.detector import detect
from tf_deep3d.detection.networks import IBUG68
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.landmarks import DENSE_COUNT, IRISES
from tf_deep3d.face.morphable_model import Landmarks
from tf_deep3d.porting.landmarks import ALIGNED_BY, alignment_points
from tf_deep3d.porting.open_face.surface import EYE, FACE
from tf_deep3d.rendering import renderer

SIZE = 512  # px of the renders
POSES = ((0.0, 0.0), (0.0, 0.35), (0.0, -0.35), (-0.2, 0.0))  # pitch, yaw in radians
ASYMMETRY = 0.05  # dm, at most, of landmarks where people's mean has them
REACH = 8  # px, how far beside the skin a detected point may lie
BACKGROUND = (0.62, 0.66, 0.70)
_LIGHT = np.zeros((1, 3, 9), np.float32)
_LIGHT[:, :, 1], _LIGHT[:, :, 2], _LIGHT[:, :, 0] = -0.12, 0.22, -0.25  # from above and in front


def picture(
    vertices: np.ndarray,
    colors: np.ndarray,
    triangles: np.ndarray,
    angles: Sequence[float],
    size: int = SIZE,
    light: np.ndarray = _LIGHT,
) -> np.ndarray:
    """Renders a mesh before a plain background: [size, size, 3] float32 in [0, 1].

    Args:
      vertices: [V, 3] dm, model frame.
      colors: [V, 3] albedo.
      triangles: [T, 3].
      angles: pitch, yaw in radians.
      size: px.
      light: [1, 3, 9] spherical harmonics.
    """
    seen, weights, world = visible(vertices, triangles, angles, size)
    normals = geometry.vertex_normals(world, triangles, geometry.corners_around(triangles, len(vertices)))
    shaded = np.clip(lighting.shade(colors[None], normals, light)[0], 0, 1)
    image = (shaded[triangles[np.maximum(seen, 0)]] * weights[..., None]).sum(-2)
    return np.where((seen >= 0)[..., None], image, BACKGROUND).astype(np.float32)


def visible(
    vertices: np.ndarray, triangles: np.ndarray, angles: Sequence[float], size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each pixel sees of a mesh: (triangle [size, size], barycentrics [size, size, 3], world [1, V, 3])."""
    turn = geometry.rotation_matrix(np.array([[*angles, 0.0]]))[0]
    world = (vertices @ turn.T)[None].astype(np.float32)
    pixels, depth = cameras.to_pixels(cameras.Camera.for_size(size), world)
    result = renderer.rasterize(pixels, depth, triangles, size, size)
    return np.asarray(result.triangle)[0], np.asarray(result.barycentrics)[0], world


def observe(
    image: np.ndarray,
    face: np.ndarray,
    triangles: np.ndarray,
    parts: np.ndarray,
    mean: np.ndarray,
    angles: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Where one picture's detected points lie on the mean face.

    Args:
      image: [H, H, 3] picture of the full head.
      face: [V, 3] dm, the same person in the model's topology.
      triangles: [T, 3].
      parts: [T], see `open_face_surface`; irises are looked for on the eyeballs, all else on the skin.
      mean: [V, 3] dm.
      angles: pitch, yaw.

    Returns:
      (places [478, 3] dm, NaN where they miss the model; detected points [478, 3] px). All NaN if no face is found.
    """
    found = detect(image)
    if not found:
        return np.full((DENSE_COUNT, 3), np.nan), np.full((DENSE_COUNT, 3), np.nan)
    seen, weights, _ = visible(face, triangles, angles, len(image))
    points = found[0].landmarks478[:, :2]
    column, row = np.clip(np.floor(points.T).astype(int), 0, len(image) - 1)
    places = np.full((DENSE_COUNT, 3), np.nan)
    iris = np.zeros(DENSE_COUNT, bool)
    iris[IRISES] = True
    for part, own in ((FACE, ~iris), (EYE, iris)):
        wanted = (seen >= 0) & (parts[np.maximum(seen, 0)] == part)
        nearest: Any = distance_transform_edt(~wanted, return_indices=True)
        distance, (rows, columns) = nearest
        at = rows[row, column], columns[row, column]
        place = (mean[triangles[seen[at]]] * weights[at][..., None]).sum(-2)
        places[own] = np.where(distance[row, column][:, None] <= REACH, place, np.nan)[own]
    return places, found[0].landmarks478


def robust_mean(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of observations [n, L, 3] within three median distances of their median: ([L, 3], median distance [L])."""
    middle = np.nanmedian(places, 0)
    distance = np.linalg.norm(places - middle, axis=-1)
    limit = 3 * np.nanmedian(distance, 0) + 0.01
    return np.nanmean(np.where((distance < limit)[..., None], places, np.nan), 0), np.nanmedian(distance, 0)


def mirrored_points(points: np.ndarray, tolerance: float = ASYMMETRY) -> np.ndarray:
    """Which landmark [L] is each one's mirror image, for `points` [L, 3] that are symmetric in x but for `tolerance`.

    Raises:
      ValueError: if they are not, or a pair is not mutual.
    """
    points = points - [points[:, 0].mean(), 0, 0]
    cost = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=-1)
    rows, columns = linear_sum_assignment((cost + cost.T) ** 2)
    if cost[rows, columns].max() > tolerance or (columns[columns] != rows).any():
        raise ValueError(f"landmarks must be symmetric within {tolerance}. Received: {cost[rows, columns].max()}")
    return columns


def snap(
    points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, candidates: int = 48
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest surface points: (vertices [L, 3] int32, weights [L, 3] float32).

    Args:
      points: [L, 3] dm.
      vertices: [V, 3] dm.
      triangles: [T, 3].
      candidates: number of nearest triangles, by centroid, to try.
    """
    near = np.asarray(KDTree(vertices[triangles].mean(1)).query(points, min(candidates, len(triangles)))[1])
    corners = vertices[triangles[near]]  # [L, n, 3, 3]
    weights = closest_weights(points[:, None], corners)
    distance = np.linalg.norm((corners * weights[..., None]).sum(-2) - points[:, None], axis=-1)
    best = distance.argmin(1)
    index = np.arange(len(points))
    return triangles[near[index, best]].astype(np.int32), weights[index, best].astype(np.float32)


def landmark_sets(
    points478: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, parts: np.ndarray
) -> dict[str, Landmarks]:
    """The model's landmark sets from the 478 points: irises snapped to the eyeballs, all else to the skin.

    Args:
      points478: [478, 3] dm.
      vertices: [V, 3] dm.
      triangles: [T, 3].
      parts: [T], see `surface`.

    Returns:
      Name -> `Landmarks`, the names of `LANDMARK_SETS`.
    """
    found, weights = snap(points478, vertices, triangles[parts == FACE])
    found[IRISES], weights[IRISES] = snap(points478[IRISES], vertices, triangles[parts == EYE])
    ibug = Landmarks(found[IBUG68], weights[IBUG68])
    seven = Landmarks(ibug.vertices[ALIGNED_BY], ibug.weights[ALIGNED_BY])
    return {
        "ibug68": ibug,
        "alignment5": alignment_points(seven, vertices),
        "mediapipe478": Landmarks(found, weights),
    }


def landmark_arrays(level: int, sets: dict[str, Landmarks]) -> dict[str, np.ndarray]:
    """The arrays of a model file that hold the landmark sets of one level of detail."""
    return {
        f"level{level}_landmarks_{name}_{part}": getattr(points, part)
        for name, points in sets.items()
        for part in ("vertices", "weights")
    }


def closest_weights(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric weights of the point of each triangle that is nearest: [..., 3].

    Args:
      points: [..., 3].
      corners: [..., 3, 3].
    """
    a, b, c = (corners[..., k, :] for k in range(3))
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = ((u * v).sum(-1) for u, v in ((ab, ab), (ab, ac), (ac, ac)))
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    scale = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / scale, (d00 * d21 - d01 * d20) / scale
    inside = np.stack([1 - v - w, v, w], -1)
    options = [inside]
    for start, end in ((0, 1), (1, 2), (2, 0)):
        origin, along = corners[..., start, :], corners[..., end, :] - corners[..., start, :]
        t = ((points - origin) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-30)
        t = np.clip(t, 0, 1)
        unit = np.eye(3)
        options.append((1 - t)[..., None] * unit[start] + t[..., None] * unit[end])
    options = np.stack(options, -2)  # [..., 4, 3]
    distance = np.linalg.norm((options[..., None] * corners[..., None, :, :]).sum(-2) - points[..., None, :], axis=-1)
    distance[..., 0] = np.where((inside < 0).any(-1), np.inf, distance[..., 0])
    return np.take_along_axis(options, distance.argmin(-1)[..., None, None], -2)[..., 0, :]
