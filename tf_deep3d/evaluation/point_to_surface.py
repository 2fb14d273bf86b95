"""Exact distances from points to a surface of triangles.

Letters: V vertices, T triangles, P points, N pairs.
"""

import numpy as np
from scipy.spatial import KDTree

BLOCK = 1 << 20  # pairs of a point and a triangle that are measured at once


def surface_distances(
    vertices: np.ndarray, triangles: np.ndarray, points: np.ndarray, block: int = BLOCK
) -> np.ndarray:
    """Distances from points to the nearest place of a surface, exactly.

    The nearest vertex bounds the distance; the triangle that is nearest has its centre within the bound and its own
    radius. Triangles are searched by size, so that a few large ones do not make every search a long one.

    Args:
      vertices: [V, 3] mm.
      triangles: [T, 3] int.
      points: [P, 3] mm.
      block: pairs of a point and a triangle that are measured at once.

    Returns:
      [P] mm.
    """
    vertices, points = np.asarray(vertices, np.float64), np.asarray(points, np.float64)
    corners = vertices[np.asarray(triangles)]
    used = np.unique(triangles)
    best = KDTree(vertices[used]).query(points)[0]
    centers = corners.mean(1)
    radii = np.linalg.norm(corners - centers[:, None], axis=2).max(1)
    sizes = np.floor(np.log2(np.maximum(radii, 1e-9)))
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        tree = KDTree(centers[chosen])
        reach = best + radii[chosen].max()
        counts = tree.query_ball_point(points, reach, return_length=True)
        ends = np.flatnonzero(np.diff(np.cumsum(counts) // block, append=-1)) + 1
        for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
            near = tree.query_ball_point(points[start:end], reach[start:end])
            lengths = np.array([len(each) for each in near])
            if not lengths.any():
                continue
            owner = np.repeat(np.arange(start, end), lengths)
            pair = corners[chosen[np.concatenate([np.asarray(each, int) for each in near if each])]]
            np.minimum.at(best, owner, _to_triangles(points[owner], *np.moveaxis(pair, 1, 0)))
    return best


def _to_triangles(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Distances [N] of the points p [N, 3] from the triangles (a, b, c), each [N, 3]."""
    u, v, w = b - a, c - a, p - a
    uu, uv, vv, uw, vw = ((x * y).sum(-1) for x, y in ((u, u), (u, v), (v, v), (u, w), (v, w)))
    area = uu * vv - uv * uv
    flat = area <= 1e-12 * uu * vv
    area = np.where(flat, 1.0, area)
    s, t = (vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area
    inside = (s >= 0) & (t >= 0) & (s + t <= 1) & ~flat
    plane = np.linalg.norm(w - s[:, None] * u - t[:, None] * v, axis=1)
    edges = [_to_segments(p, *ends) for ends in ((a, b), (b, c), (c, a))]
    return np.where(inside, plane, np.minimum.reduce(edges))


def _to_segments(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    edge = b - a
    place = np.clip(((p - a) * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-30), 0, 1)
    return np.linalg.norm(p - a - place[:, None] * edge, axis=1)
