"""Quad meshes: boundary loops, rings, mirror images, Catmull-Clark subdivision as sparse matrices, triangles."""

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

Sparse: TypeAlias = Any  # a matrix of SciPy in CSR form


def sample(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear lookup of `image` [H, W, ...] (first row on top) at `uv` [K, 2] (origin bottom left): [K, ...]."""
    height, width = image.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1.001)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1.001)
    column, row = x.astype(int), y.astype(int)
    shape = (-1,) + (1,) * (image.ndim - 2)
    fx, fy = (x - column).reshape(shape), (y - row).reshape(shape)
    top = image[row, column] * (1 - fx) + image[row, column + 1] * fx
    bottom = image[row + 1, column] * (1 - fx) + image[row + 1, column + 1] * fx
    return top * (1 - fy) + bottom * fy


def quad_edges(quads: np.ndarray) -> np.ndarray:
    """The directed edges of quads [F, 4]: [F, 4, 2]; edge k joins corner k to corner k + 1."""
    return np.stack([quads, np.roll(quads, -1, 1)], -1)


def edge_numbers(quads: np.ndarray, count: int) -> np.ndarray:
    """One number per undirected edge of quads [F, 4] over `count` vertices: [F, 4]."""
    edges = np.sort(quad_edges(quads).astype(np.int64), -1)
    return edges[..., 0] * count + edges[..., 1]


def islands(quads: np.ndarray, count: int) -> np.ndarray:
    """Connected component of each quad: [F]."""
    edges = quad_edges(quads).reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), (count, count))
    return connected_components(graph, directed=False)[1][quads[:, 0]]


def boundary_loops(quads: np.ndarray) -> list[np.ndarray]:
    """Boundary loops of a quad mesh, each an array of vertices in the direction of the quads' edges, longest first.

    Raises:
      ValueError: if two loops touch in a vertex.
    """
    edges = quad_edges(quads).reshape(-1, 2)
    numbers = edge_numbers(quads, quads.max() + 1).ravel()
    _, inverse, uses = np.unique(numbers, return_inverse=True, return_counts=True)
    border = edges[uses[inverse] == 1]
    after = dict(border.tolist())
    if len(after) != len(border):
        raise ValueError(f"boundary loops must not touch. Received: {len(border)} edges at {len(after)} vertices")
    loops = []
    while after:
        start = min(after)
        loop, vertex = [start], after.pop(start)
        while vertex != start:
            loop.append(vertex)
            vertex = after.pop(vertex)
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def fill_corners(chosen: np.ndarray, allowed: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Adds to the `chosen` [F] quads every `allowed` one that has two edges on their border, until none is left.

    What remains is bordered by edge loops of the mesh, without stairs.
    """
    numbers = edge_numbers(quads, quads.max() + 1)
    chosen = chosen.copy()
    while True:
        edges, uses = np.unique(numbers[chosen], return_counts=True)
        more = (np.isin(numbers, edges[uses == 1]).sum(1) >= 2) & ~chosen & allowed
        if not more.any():
            return chosen
        chosen |= more


def trim(chosen: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Removes from the `chosen` [F] quads those at their longest boundary loop."""
    return chosen & ~np.isin(quads, boundary_loops(quads[chosen])[0]).any(1)


def grow_rings(quads: np.ndarray, loop: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Grows `count` rings of quads beyond a boundary loop.

    Args:
      quads: [F, 4], the mesh on the other side of the loop.
      loop: [L] vertices.
      count: number of rings.

    Returns:
      (rings [count + 1, L] vertices, the first is `loop`; quads [count * L, 4], ring by ring, the quad of the k-th
      edge of the loop at k).
    """
    corners = {}
    for index, quad in enumerate(quads.tolist()):
        for corner in range(4):
            corners[quad[corner], quad[(corner + 1) % 4]] = (index, corner)
    rings, chosen = [np.asarray(loop)], []
    for _ in range(count):
        found = [corners[b, a] for a, b in zip(rings[-1].tolist(), np.roll(rings[-1], -1).tolist(), strict=True)]
        chosen += [index for index, _ in found]
        rings.append(np.array([quads[index][(corner + 2) % 4] for index, corner in found]))
    return np.stack(rings), np.asarray(quads)[chosen]


def strip(first: np.ndarray, second: np.ndarray, closed: bool = False) -> np.ndarray:
    """Quads between two rows of vertices [L], on the left of `first` when looking along it."""
    quads = np.stack([first, np.roll(first, -1), np.roll(second, -1), second], 1)
    return quads if closed else quads[:-1]


def match_mirrored(points: np.ndarray, tolerance: float = 1e-6) -> np.ndarray:
    """For each of `points` [K, 3] the index of its mirror image in x: [K].

    Raises:
      ValueError: if a point has no image within `tolerance`.
    """
    distance, index = KDTree(points).query(points * [-1, 1, 1])
    if distance.max() > tolerance or len(np.unique(index)) != len(points):
        raise ValueError(f"points must be symmetric within {tolerance}. Received: {distance.max()}")
    return np.asarray(index)


def catmull_clark(quads: np.ndarray, count: int) -> tuple[Sparse, np.ndarray]:
    """One step of Catmull-Clark subdivision; borders become cubic B-splines.

    Args:
      quads: [F, 4] int.
      count: number of vertices C.

    Returns:
      (matrix [C + E + F, C] sparse: moved vertices, then edge points, then face points; quads [4 F, 4], those of one
      quad together).
    """
    faces = len(quads)
    numbers, inverse = np.unique(edge_numbers(quads, count), return_inverse=True)
    edge_of = inverse.reshape(-1, 4)
    ends = np.stack([numbers // count, numbers % count], 1)
    uses = np.bincount(edge_of.ravel(), minlength=len(ends))

    def incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Sparse:
        return sparse.csr_matrix((np.ones(rows.size), (rows.ravel(), columns.ravel())), shape)

    face_index = np.repeat(np.arange(faces), 4)
    face_points = incidence(face_index, quads, (faces, count)) / 4
    middles = incidence(np.repeat(np.arange(len(ends)), 2), ends, (len(ends), count)) / 2
    edge_faces = incidence(edge_of, face_index, (len(ends), faces))
    inner = (uses == 2).astype(float)
    edge_points = sparse.diags(1 - inner / 2) @ middles + sparse.diags(inner / 4) @ edge_faces @ face_points

    border_uses = np.bincount(ends[uses == 1].ravel(), minlength=count)
    on_border = (border_uses > 0).astype(float)
    valence = np.bincount(ends.ravel(), minlength=count)
    around_faces = incidence(quads, face_index, (count, faces)) @ face_points
    around_edges = incidence(ends, np.repeat(np.arange(len(ends)), 2), (count, len(ends)))
    inside = sparse.diags((1 - on_border) / np.maximum(valence, 1) ** 2)
    still = sparse.diags((1 - on_border) * (valence - 3) / np.maximum(valence, 1) + on_border / 2)
    border_edges = around_edges @ sparse.diags((uses == 1).astype(float)) @ middles
    moved = inside @ (around_faces + 2 * around_edges @ middles) + still + sparse.diags(on_border / 4) @ border_edges

    at_edge, at_face = count + edge_of, count + len(ends) + np.arange(faces)
    before = np.roll(at_edge, 1, 1)
    finer = np.stack([quads, at_edge, np.broadcast_to(at_face[:, None], quads.shape), before], -1)
    matrix = sparse.vstack([moved, edge_points, face_points]).tocsr()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix, finer.reshape(-1, 4)


def subdivided(quads: np.ndarray, count: int) -> tuple[Sparse, np.ndarray]:
    """Quads subdivided once, with the places that their vertices have after a second subdivision.

    Returns:
      (matrix [C + E + F, C] sparse, see `catmull_clark`; quads [4 F, 4]).
    """
    first, finer = catmull_clark(quads, count)
    second, _ = catmull_clark(finer, first.shape[0])
    return (second[: first.shape[0]] @ first).tocsr(), finer


def split_linear(quads: np.ndarray, count: int) -> tuple[Sparse, np.ndarray]:
    """One step of linear subdivision in the same order as `catmull_clark`, for texture points: (matrix, quads)."""
    matrix, finer = catmull_clark(quads, count)
    numbers = np.unique(edge_numbers(quads, count))
    ends = np.stack([numbers // count, numbers % count], 1)
    rows = np.arange(len(ends)).repeat(2)
    middles = sparse.csr_matrix((np.full(ends.size, 0.5), (rows, ends.ravel())), (len(ends), count))
    return sparse.vstack([sparse.identity(count), middles, matrix[count + len(ends) :]]).tocsr(), finer


def split_quads(quads: np.ndarray, uv_quads: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles a quad, along the shorter diagonal of `points` [V, 3]: ([2 F, 3], [2 F, 3]) int32."""
    first = np.linalg.norm(points[quads[:, 0]] - points[quads[:, 2]], axis=1)
    second = np.linalg.norm(points[quads[:, 1]] - points[quads[:, 3]], axis=1)
    turn = (second < first * (1 - 1e-9)).astype(int)[:, None]
    corners = (np.array([[0, 1, 2, 0, 2, 3]]) + turn) % 4
    split, uv_split = (
        np.take_along_axis(each, corners, 1).reshape(-1, 3).astype(np.int32) for each in (quads, uv_quads)
    )
    return split, uv_split
