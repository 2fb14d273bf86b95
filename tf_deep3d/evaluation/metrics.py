"""Errors of reconstructed faces: distances between surfaces, landmarks, pose, and how much shapes differ.

Lengths are millimetres here, and nowhere else but in written meshes. "Truth" is the scan or the rendered person, and
a mesh is what a method made of it. The geometric protocol is Deng et al. 2019, section 6: crop the truth 95 mm around
the nose tip, align the mesh by landmarks and by ICP with isotropic scale (`registration`), measure from the truth's
points to the planes of the mesh.

Letters: V vertices of the mesh, T its triangles, P points of the truth, N pictures.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from tf_deep3d.evaluation import registration
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import eye_distance
from tf_deep3d.rendering import renderer

CROP_RADIUS = 95.0  # mm around the nose tip
VIEWS = ((0.0, 0.0), (0.0, 45.0), (0.0, -45.0))  # pitch, yaw in degrees, from which the surface of a face is seen
DEPTH_TOLERANCE = 1.0  # mm


class Distances(NamedTuple):
    """From the points of the truth to a mesh.

    Attributes:
      plane: [P] mm, to the plane through the nearest vertex; NaN where the mesh ends before the point.
      point: [P] mm, to the nearest vertex.
      nearest: [P] int, that vertex.
      signed: [P] mm, `plane` where the mesh stands out before the truth, minus `plane` where it lies behind it.
    """

    plane: np.ndarray
    point: np.ndarray
    nearest: np.ndarray
    signed: np.ndarray

    @property
    def coverage(self) -> float:
        """Share of the points that the mesh reaches."""
        return float(np.isfinite(self.plane).mean())


def distances(vertices: np.ndarray, triangles: np.ndarray, normals: np.ndarray, points: np.ndarray) -> Distances:
    """Distances from the points of the truth to an aligned mesh.

    Args:
      vertices: [V, 3] mm, aligned.
      triangles: [T, 3] int; a point whose nearest vertex lies on the mesh's border is not covered.
      normals: [V, 3] unit.
      points: [P, 3] mm.

    Returns:
      `Distances`.
    """
    vertices, points = np.asarray(vertices, np.float64), np.asarray(points, np.float64)
    point, nearest = map(np.asarray, KDTree(vertices).query(points))
    signed = ((vertices[nearest] - points) * np.asarray(normals)[nearest]).sum(1)
    # A point right on the border is covered: its nearest vertex is at hand.
    off = np.isin(nearest, border(triangles)) & (point > DEPTH_TOLERANCE)
    signed = np.where(off, np.nan, signed)
    return Distances(np.abs(signed), point, nearest, signed)


def border(triangles: np.ndarray) -> np.ndarray:
    """Vertices at the open edges of `triangles` [T, 3]: sorted indices."""
    return _border(np.asarray(triangles).astype(np.int32).tobytes())


@lru_cache(maxsize=2)
def _border(stored: bytes) -> np.ndarray:
    """`border` of the bytes of int32 triangles: meshes that are compared often share theirs."""
    triangles = np.frombuffer(stored, np.int32).reshape(-1, 3)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    return np.unique(edges[uses == 1])


def root_mean_square(values: Sequence[float] | np.ndarray) -> float:
    """Root mean square of the finite `values` [P]; NaN if there is none."""
    values = np.asarray(values)[np.isfinite(values)]
    return float(np.sqrt((values**2).mean())) if len(values) else float("nan")


def within(points: np.ndarray, center: np.ndarray, radius: float = CROP_RADIUS) -> np.ndarray:
    """[P] bool: the `points` [P, 3] within `radius` mm of `center` [3]."""
    return np.linalg.norm(np.asarray(points) - center, axis=-1) <= radius


def visible(
    vertices: np.ndarray, triangles: np.ndarray, views: Sequence[tuple[float, float]] = VIEWS, size: int = 512
) -> np.ndarray:
    """The vertices that are seen from at least one of several views: no inside of the nose or mouth.

    Args:
      vertices: [V, 3] mm; a face that looks along +z, near the origin.
      triangles: [T, 3] int32.
      views: (pitch, yaw) in degrees.
      size: px of the depth pictures.

    Returns:
      [V] bool.
    """
    world = np.asarray(vertices, np.float32) / MILLIMETRES
    reach = float(np.abs(world).max())
    distance = 8 * reach
    camera = cameras.Camera(size, size, 0.9 * size / 2 * (distance - reach) / reach, (size / 2, size / 2), distance)
    result = np.zeros(len(world), bool)
    for pitch, yaw in views:
        rotation = geometry.rotation_matrix(np.radians([[pitch, yaw, 0.0]]))[0].astype(np.float32)
        turned = world @ rotation.T
        pixels, depth = cameras.to_pixels(camera, turned[None])
        fragments = renderer.rasterize(pixels, depth, triangles, size, size, cull=False)
        shown = np.asarray(renderer.interpolate(fragments, depth[..., None], triangles))[0, ..., 0]
        shown = np.where(np.asarray(fragments.triangle)[0] >= 0, shown, np.inf)
        normals = geometry.vertex_normals(turned[None], triangles, geometry.corners_around(triangles, len(world)))[0]
        toward = geometry.normalize(np.array([0, 0, camera.distance], np.float32) - turned)
        cosine = (normals * toward).sum(1)
        x, y = np.clip(np.floor(pixels[0]).astype(int), 0, size - 1).T
        # Across a pixel a slanted surface changes its depth.
        slack = DEPTH_TOLERANCE / MILLIMETRES + depth[0] / camera.focal / np.maximum(cosine, 0.1)
        result |= (cosine > 0) & (depth[0] <= shown[y, x] + slack)
    return result


def landmark_nme(predicted: np.ndarray, truth: np.ndarray, normalization: str = "box") -> np.ndarray:
    """Normalised mean error of landmarks.

    Args:
      predicted, truth: [N, 68, 2] px.
      normalization: "box", sqrt(width * height) of the truth's bounding box (AFLW2000-3D), or "eyes", the distance of
        the outer eye corners (300W).

    Returns:
      [N], 0.01 is one per cent.

    Raises:
      ValueError: on another normalization.
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if normalization == "box":
        size = np.sqrt(np.prod(np.ptp(truth, axis=1), axis=1))
    elif normalization == "eyes":
        size = eye_distance(truth)
    else:
        raise ValueError(f"normalization must be 'box' or 'eyes'. Received: {normalization!r}")
    return np.linalg.norm(predicted - truth, axis=2).mean(1) / size


def pose_errors(
    predicted: Sequence[Sequence[float]] | np.ndarray, truth: Sequence[Sequence[float]] | Sequence[float] | np.ndarray
) -> np.ndarray:
    """Absolute differences of angles in degrees, the short way round: [N, 3] from [N, 3]."""
    return np.abs((np.asarray(predicted, np.float64) - truth + 180) % 360 - 180)


def cosine(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Cosine of the angle between two descriptors [D]."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))


def set_consistency(shapes: np.ndarray) -> np.ndarray:
    """How far each of several shapes of one person is from their mean.

    Args:
      shapes: [N, P, 3] mm, N > 1, points that correspond. They are moved onto their mean first, with scale.

    Returns:
      [N] mm, root mean square distances, times sqrt(N / (N - 1)), so that they do not depend on N on average.
    """
    shapes = np.asarray(shapes, np.float64)
    count, goal, moved = len(shapes), shapes[0], shapes
    for _ in range(3):
        moved = np.stack([registration.similarity_from_landmarks(shape, goal).apply(shape) for shape in shapes])
        goal = moved.mean(0)
        # Without this the mean would shrink from round to round.
        goal = (goal - goal.mean(0)) * np.sqrt((shapes[0].std(0) ** 2).sum() / (goal.std(0) ** 2).sum())
    spread = moved - moved.mean(0)
    return np.sqrt((spread**2).sum(-1).mean(-1) * count / (count - 1))


def shape_distances(shapes: np.ndarray) -> np.ndarray:
    """How far shapes are from each other.

    Args:
      shapes: [N, P, 3] mm, points that correspond.

    Returns:
      [N, N] mm, root mean square distances after the best similarity, symmetric: each pair at the mean of its sizes.
    """
    shapes = np.asarray(shapes, np.float64)
    shapes = shapes - shapes.mean(1, keepdims=True)
    sizes = np.sqrt((shapes**2).sum((1, 2)))
    unit = shapes / sizes[:, None, None]
    result = np.zeros((len(shapes), len(shapes)))
    for i, one in enumerate(unit):
        covariance = np.einsum("pi,npj->nij", one, unit[i + 1 :])
        u, strength, v = np.linalg.svd(covariance)
        strength[:, 2] *= np.sign(np.linalg.det(u @ v))
        alike = np.clip(strength.sum(1), -1, 1)  # 1 if the shapes are the same
        size = (sizes[i] + sizes[i + 1 :]) / 2
        result[i, i + 1 :] = size * np.sqrt((1 - alike**2) / shapes.shape[1])
    return result + result.T
