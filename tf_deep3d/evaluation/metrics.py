"""Errors of reconstructed faces: alignment of meshes, distances between surfaces, landmarks, pose, and statistics.

Lengths are millimetres here, and nowhere else but in written meshes. "Truth" is the scan or the rendered person, and
a mesh is what a method made of it. The geometric protocol is Deng et al. 2019, section 6: crop the truth 95 mm around
the nose tip, align the mesh by landmarks and by ICP with isotropic scale, measure from the truth's points to the
planes of the mesh.

Letters: V vertices of the mesh, T its triangles, P points of the truth, L landmarks, N pictures.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.face.landmarks import eye_distance
from tf_deep3d.rendering import renderer

CROP_RADIUS = 95.0  # mm around the nose tip
TRIMMED = 0.97  # share of the nearest pairs that move the mesh during ICP
FACING = 0.3  # cosine of the angle between the normals of a pair, from which it moves the mesh
ICP_STEPS = 60  # at most
VIEWS = ((0.0, 0.0), (0.0, 45.0), (0.0, -45.0))  # pitch, yaw in degrees, from which the surface of a face is seen
DEPTH_TOLERANCE = 1.0  # mm
BOOTSTRAPS, SEED = 2000, 7


class Similarity3D(NamedTuple):
    """q = scale * rotation p + translation.

    Attributes:
      scale: positive.
      rotation: [3, 3].
      translation: [3] mm.
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points):
        """Maps `points` [..., 3]."""
        return self.scale * (np.asarray(points) @ self.rotation.T) + self.translation

    def inverse(self):
        """The similarity that undoes this one."""
        back = self.rotation.T / self.scale
        return Similarity3D(1 / self.scale, self.rotation.T, -back @ self.translation)


class Distances(NamedTuple):
    """From the points of the truth to a mesh.

    Attributes:
      plane: [P] mm, to the plane through the nearest vertex; NaN where the mesh ends before the point.
      point: [P] mm, to the nearest vertex.
      nearest: [P] int, that vertex.
    """

    plane: np.ndarray
    point: np.ndarray
    nearest: np.ndarray

    @property
    def coverage(self):
        """Share of the points that the mesh reaches."""
        return float(np.isfinite(self.plane).mean())


class Summary(NamedTuple):
    """Statistics of N numbers.

    Attributes:
      count: N.
      mean, std, median: of the numbers; the deviation is the sample's (N - 1).
      low, high: 95 % bootstrap interval of the mean.
    """

    count: int
    mean: float
    std: float
    median: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Paired differences a - b.

    Attributes:
      difference: `Summary` of them.
      p_value: two-sided, of a sign-flip permutation test; small where chance hardly explains the difference.
    """

    difference: Summary
    p_value: float


def similarity_from_landmarks(source, target, scale=True):
    """Least-squares similarity source -> target (Umeyama 1991); rows that are not finite are left out.

    Args:
      source, target: [L, 3] mm.
      scale: with isotropic scale, else 1.

    Returns:
      `Similarity3D`.

    Raises:
      ValueError: on different shapes, or fewer than three points or points on a line.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise ValueError(f"source and target must both be [L, 3]. Received: {source.shape}, {target.shape}")
    known = np.isfinite(source).all(1) & np.isfinite(target).all(1)
    source, target = source[known], target[known]
    if len(source) < 3 or min(map(_rank, (source, target))) < 2:
        raise ValueError(f"at least three points that are not on one line are needed. Received: {source.tolist()}")
    middle, goal = source.mean(0), target.mean(0)
    u, strength, v = np.linalg.svd((target - goal).T @ (source - middle))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    rotation = (u * sign) @ v
    factor = float((strength * sign).sum() / ((source - middle) ** 2).sum()) if scale else 1.0
    return Similarity3D(factor, rotation, goal - factor * rotation @ middle)


def _rank(points):
    return np.linalg.matrix_rank(points - points.mean(0), 1e-6 * (np.ptp(points) + 1))


def icp(vertices, normals, points, point_normals, start, scale=True, steps=ICP_STEPS, tolerance=1e-4):
    """Moves a mesh onto the points of the truth: point-to-plane ICP by Gauss-Newton (Chen and Medioni 1992).

    Each point is paired with its nearest vertex. Pairs whose normals disagree and the farthest few do not count, so
    that what only one of the two surfaces has moves nothing.

    Args:
      vertices: [V, 3] mm.
      normals: [V, 3] unit.
      points: [P, 3] mm.
      point_normals: [P, 3] unit.
      start: `Similarity3D` vertices -> points to start from.
      scale: also search the isotropic scale.
      steps: at most so many.
      tolerance: mm; ends when no vertex moves more.

    Returns:
      `Similarity3D` vertices -> points.
    """
    vertices, normals = np.asarray(vertices, np.float64), np.asarray(normals, np.float64)
    points, point_normals = np.asarray(points, np.float64), np.asarray(point_normals, np.float64)
    tree = cKDTree(vertices)
    current = start
    for _ in range(steps):
        distance, nearest = tree.query(current.inverse().apply(points))
        turned = normals[nearest] @ current.rotation.T
        paired = (turned * point_normals).sum(1) > FACING
        if paired.sum() < 10:
            raise ValueError(f"the mesh and the truth hardly face each other. Received: {int(paired.sum())} pairs")
        paired &= distance <= np.quantile(distance[paired], TRIMMED)
        moved, turned, goal = current.apply(vertices[nearest[paired]]), turned[paired], points[paired]
        middle = moved.mean(0)
        arm = moved - middle
        system = np.concatenate([np.cross(arm, turned), turned, (turned * arm).sum(1, keepdims=True)], 1)
        if not scale:
            system = system[:, :6]
        gap = ((goal - moved) * turned).sum(1)
        step = np.linalg.lstsq(system.T @ system, system.T @ gap, rcond=1e-12)[0]
        rotation = Rotation.from_rotvec(step[:3]).as_matrix()
        factor = float(np.clip(1 + step[6], 0.5, 2)) if scale else 1.0
        update = Similarity3D(factor, rotation, middle + step[3:6] - factor * rotation @ middle)
        before, current = current, compose(update, current)
        if np.linalg.norm(current.apply(points) - before.apply(points), axis=1).max() < tolerance:
            break
    return current


def compose(outer, inner):
    """The similarity that applies `inner` first, then `outer`."""
    return Similarity3D(outer.scale * inner.scale, outer.rotation @ inner.rotation, outer.apply(inner.translation))


def distances(vertices, triangles, normals, points):
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
    point, nearest = cKDTree(vertices).query(points)
    plane = np.abs(((points - vertices[nearest]) * np.asarray(normals)[nearest]).sum(1))
    # A point right on the border is covered: its nearest vertex is at hand.
    off = np.isin(nearest, border(triangles)) & (point > DEPTH_TOLERANCE)
    return Distances(np.where(off, np.nan, plane), point, nearest)


def border(triangles):
    """Vertices at the open edges of `triangles` [T, 3]: sorted indices."""
    return _border(np.asarray(triangles).astype(np.int32).tobytes())


@lru_cache(maxsize=2)
def _border(triangles):
    """`border` of the bytes of int32 triangles: meshes that are compared often share theirs."""
    triangles = np.frombuffer(triangles, np.int32).reshape(-1, 3)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    return np.unique(edges[uses == 1])


def root_mean_square(values):
    """Root mean square of the finite `values` [P]; NaN if there is none."""
    values = np.asarray(values)[np.isfinite(values)]
    return float(np.sqrt((values**2).mean())) if len(values) else float("nan")


def within(points, center, radius=CROP_RADIUS):
    """[P] bool: the `points` [P, 3] within `radius` mm of `center` [3]."""
    return np.linalg.norm(np.asarray(points) - center, axis=-1) <= radius


def visible(vertices, triangles, views=VIEWS, size=512):
    """The vertices that are seen from at least one of several views: no inside of the nose or mouth.

    Args:
      vertices: [V, 3] mm; a face that looks along +z, near the origin.
      triangles: [T, 3] int32.
      views: (pitch, yaw) in degrees.
      size: px of the depth pictures.

    Returns:
      [V] bool.
    """
    world = np.asarray(vertices, np.float32) / 100
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
        toward = geometry.normalize(np.float32([0, 0, camera.distance]) - turned)
        cosine = (normals * toward).sum(1)
        x, y = np.clip(np.floor(pixels[0]).astype(int), 0, size - 1).T
        # Across a pixel a slanted surface changes its depth.
        slack = DEPTH_TOLERANCE / 100 + depth[0] / camera.focal / np.maximum(cosine, 0.1)
        result |= (cosine > 0) & (depth[0] <= shown[y, x] + slack)
    return result


def landmark_nme(predicted, truth, normalization="box"):
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


def pose_errors(predicted, truth):
    """Absolute differences of angles in degrees, the short way round: [N, 3] from [N, 3]."""
    return np.abs((np.asarray(predicted, np.float64) - truth + 180) % 360 - 180)


def cosine(first, second):
    """Cosine of the angle between two descriptors [D]."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))


def set_consistency(shapes):
    """How far each of several shapes of one person is from their mean.

    Args:
      shapes: [N, P, 3] mm, N > 1, points that correspond. They are moved onto their mean first, with scale.

    Returns:
      [N] mm, root mean square distances, times sqrt(N / (N - 1)), so that they do not depend on N on average.
    """
    shapes = np.asarray(shapes, np.float64)
    count, goal = len(shapes), shapes[0]
    for _ in range(3):
        moved = np.stack([similarity_from_landmarks(shape, goal).apply(shape) for shape in shapes])
        goal = moved.mean(0)
        # Without this the mean would shrink from round to round.
        goal = (goal - goal.mean(0)) * np.sqrt((shapes[0].std(0) ** 2).sum() / (goal.std(0) ** 2).sum())
    spread = moved - moved.mean(0)
    return np.sqrt((spread**2).sum(-1).mean(-1) * count / (count - 1))


def shape_distances(shapes):
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


def summarize(values, groups=None):
    """Statistics with a bootstrap whose seed is fixed.

    Args:
      values: [N]; those that are not finite are left out.
      groups: [N] labels, e.g. persons: whole groups are drawn, because pictures of one person resemble each other.

    Returns:
      `Summary`.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    values = values[known]
    if not len(values):
        return Summary(0, *[float("nan")] * 5)
    label = np.arange(len(values)) if groups is None else np.unique(np.asarray(groups)[known], return_inverse=True)[1]
    sums, counts = np.bincount(label, values), np.bincount(label)
    picks = np.random.default_rng(SEED).integers(0, len(sums), (BOOTSTRAPS, len(sums)))
    low, high = np.quantile(sums[picks].sum(1) / counts[picks].sum(1), [0.025, 0.975])
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return Summary(len(values), *(float(x) for x in (values.mean(), spread, np.median(values), low, high)))


def compare(first, second, groups=None):
    """Compares two methods on the same pictures.

    Args:
      first, second: [N].
      groups: [N] labels; the differences of a group change sign together, see `summarize`.

    Returns:
      `Comparison` of `first` - `second`.

    Raises:
      ValueError: if fewer than two pairs are finite.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    known = np.isfinite(difference)
    difference = difference[known]
    if len(difference) < 2:
        raise ValueError(f"a comparison needs two pictures that both methods solved. Received: {len(difference)}")
    groups = np.arange(len(known)) if groups is None else np.asarray(groups)
    label = np.unique(groups[known], return_inverse=True)[1]
    sums = np.bincount(label, difference)
    signs = np.random.default_rng(SEED).choice([-1, 1], (BOOTSTRAPS, len(sums)))
    extreme = (np.abs((signs * sums).sum(1)) >= abs(sums.sum()) - 1e-12).sum()
    return Comparison(summarize(difference, groups[known]), float((extreme + 1) / (BOOTSTRAPS + 1)))
