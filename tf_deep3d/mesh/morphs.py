"""Morph targets: where a mesh moves to, and how its normals turn on the way.

Letters: V vertices, T triangles, M vertices that a target moves or turns.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d.face.geometry import EPSILON
from tf_deep3d.mesh.mesh import Mesh, numbers

SMALLEST_DISPLACEMENT = 1e-5  # dm, 1 micrometre; what moves less stays


class Morph(NamedTuple):
    """A morph target at full weight; what is not in it stays.

    Attributes:
      vertices: [M] int, ascending.
      displacements: [M, 3], dm.
      turns: [M, 3], true unit normals of the moved surface less those of the still one; None without normals.
    """

    vertices: np.ndarray
    displacements: np.ndarray
    turns: np.ndarray | None = None


def morphs(mesh: Mesh, targets: Mapping[str, ArrayLike]) -> dict[str, Morph]:
    """The `Morph`s of a mesh by displacements [V, 3] in dm; ValueError for arrays of wrong shapes or values."""
    moves = {
        name: numbers(f"morph target {name!r}", displacements, mesh.vertices.shape)
        for name, displacements in targets.items()
    }
    if mesh.normals is None or not moves:
        moving = {name: np.flatnonzero(_moves(each)) for name, each in moves.items()}
        return {name: Morph(rows, moves[name][rows]) for name, rows in moving.items()}
    facing = _Facing(mesh.vertices, mesh.triangles)
    return {name: facing.morph(each) for name, each in moves.items()}


def _moves(displacements: np.ndarray) -> np.ndarray:
    """[V] bool."""
    x, y, z = displacements.T
    return x * x + y * y + z * z >= SMALLEST_DISPLACEMENT**2


class _Facing:
    """How a still surface faces, kept for all its morph targets: coordinates first, [3, ..]."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        self.vertices = np.ascontiguousarray(vertices.T, np.float32)
        self.corners = np.ascontiguousarray(triangles.T, np.intp)
        self.facing = _facing(self.vertices, self.corners)
        self.sums = self._sums(self.facing, self.corners)
        self.normals = _unit(self.sums)

    def _sums(self, facing: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """[3, V], of the normals [3, T] of the triangles around each vertex."""
        count, owners = self.vertices.shape[1], corners.reshape(-1)
        return np.stack([np.bincount(owners, np.tile(axis, 3), count) for axis in facing]).astype(np.float32)

    def morph(self, displacements: np.ndarray) -> Morph:
        """The `Morph` of displacements [V, 3]: normals turn where a triangle at the vertex moves."""
        moving = _moves(displacements)
        first, second, third = (moving.take(corner) for corner in self.corners)
        changed = np.flatnonzero(first | second | third)
        corners = self.corners.take(changed, axis=1)
        moving[corners] = True
        rows = np.flatnonzero(moving)
        moved = self.vertices + displacements.T
        sums = self.sums + self._sums(_facing(moved, corners) - self.facing.take(changed, axis=1), corners)
        turns = _unit(sums.take(rows, axis=1)) - self.normals.take(rows, axis=1)
        return Morph(rows, displacements.take(rows, axis=0), turns.T)


def _facing(vertices: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Unit normals [3, T] of triangles with `corners` [3, T] of `vertices` [3, V], as `geometry.triangle_normals`."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (vertices.take(corner, axis=1) for corner in corners)
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    return _unit(np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """`vectors` [3, N], scaled to unit length as by `geometry.normalize`."""
    x, y, z = vectors
    return vectors / np.sqrt(x * x + y * y + z * z + EPSILON)
