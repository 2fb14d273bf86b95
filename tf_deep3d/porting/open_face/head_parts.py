"""The closed surfaces inside the head: tongue, both rows of teeth, the backs of the eyeballs; and the fan in the neck.

Each is linear in the head's control points, whose blocks stand in the order of `Blocks`.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sparse

from tf_deep3d.porting.open_face import albedo, bones, geometry, head_mesh, surface
from tf_deep3d.porting.open_face.sources import Sources
from tf_deep3d.porting.open_face.surface import Surface
from tf_deep3d.porting.open_face.teeth import Row

_GUMS, _SOCKET = np.array([0.50, 0.22, 0.21]), np.array([0.45, 0.22, 0.20])
_DEEP = 0.65  # share of the light that does not reach the last molars and the root of the tongue


class Blocks(NamedTuple):
    """Numbers of the first control point of each block.

    Attributes:
      tongue, upper, lower, left, right: of the tongue, the rows of teeth and the eyes.
      end: C, the number of all.
    """

    tongue: int
    upper: int
    lower: int
    left: int
    right: int
    end: int


class Piece(NamedTuple):
    """A part of the head beyond face and skin.

    Attributes:
      name: one of `face.head.PARTS`.
      shared: [S] int, vertices of the head that it shares.
      weights: [P, C] sparse, its own vertices in the control points.
      triangles: [T, 3] int, into the shared vertices, then its own.
      albedo: [P, 3].
    """

    name: str
    shared: np.ndarray
    weights: sparse.csr_matrix
    triangles: np.ndarray
    albedo: np.ndarray


class Eye(NamedTuple):
    """What the face model has of one eyeball.

    Attributes:
      front: [P] int, its vertices.
      ring: [R] int, those of the widest ring.
    """

    front: np.ndarray
    ring: np.ndarray


def tongue(sources: Sources, blocks: Blocks) -> Piece:
    """The base mesh's tongue, subdivided once: `Piece`."""
    vertices, quads = np.unique(sources.quads["helper-tongue"], return_inverse=True)
    matrix, finer = geometry.subdivided(quads.reshape(-1, 4), len(vertices))
    place = matrix @ sources.vertices[vertices]
    depth = (place[:, 2].max() - place[:, 2]) / np.ptp(place[:, 2])
    color = albedo.TONGUE * (1 - _DEEP * depth[:, None])
    triangles = geometry.split_quads(finer, finer, place)[0]
    return Piece("tongue", np.zeros(0, int), _columns(matrix, blocks.tongue, blocks.end), triangles, color)


def row(teeth_row: Row, name: str, start: int, count: int) -> Piece:
    """A `teeth.Row` on its four controls: `Piece`."""
    points = teeth_row.points
    enamel = albedo.TEETH * (1 - 0.12 * teeth_row.neck[:, None] ** 3)
    color = np.where(teeth_row.gum[:, None], _GUMS, enamel) * (1 - _DEEP * teeth_row.along[:, None])
    weights = _columns(bones.affine(points, points.mean(0)), start, count)
    return Piece(name, np.zeros(0, int), weights, teeth_row.triangles, color)


def eyeball(face: Surface, side: int, start: int, count: int) -> tuple[Piece, Eye]:
    """The back of an eyeball on its four controls, and what the face model has of its front: (`Piece`, `Eye`).

    Args:
      face: `surface.Surface`.
      side: 1 for the person's left eye, -1 for the right one.
      start: number of the first control.
      count: number of control points.
    """
    directions, quads, _ = surface.eye_disc()
    matrix, finer = geometry.subdivided(quads, len(directions))
    points = matrix @ directions
    own = np.split(np.flatnonzero(face.parts == surface.EYE), 2)[0 if side < 0 else 1]
    controls = bones.eyeball(face, side)
    front = head_mesh.finer_index(quads, controls, len(controls), face.quads, len(face.offset), own)
    back, triangles, ring = bones.back_of_eyeball(points, geometry.split_quads(finer, finer, points)[0])
    weights = _columns(bones.affine(back), start, count)
    color = np.broadcast_to(albedo.VEIN, back.shape)
    return Piece("eyes", front, weights, triangles, color), Eye(front, front[ring])


def neck_cap(loop: np.ndarray, numbers: np.ndarray, matrix: sparse.csr_matrix) -> Piece:
    """A fan that closes the neck: `Piece` without a colour of its own.

    Args:
      loop: [K] int, the rest's vertices around the neck.
      numbers: [R] int, of the rest's vertices in the head.
      matrix: [R, C] sparse, the rest's vertices in the control points.
    """
    weights = sparse.csr_matrix(matrix[loop].mean(0))
    fan = np.stack([np.arange(len(loop)), np.roll(np.arange(len(loop)), -1), np.full(len(loop), len(loop))], 1)
    return Piece("neck cap", numbers[loop], weights, fan, np.zeros((1, 3)))


def hollow_albedo(parts_at: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Fills the albedo [R, 3] of the rest's vertices within the throat and the eye sockets, which nobody paints."""
    mean = mean.copy()
    mean[parts_at == head_mesh.THROAT] = albedo.CAVITY
    mean[parts_at == head_mesh.SOCKET] = _SOCKET
    return mean


def _columns(weights: np.ndarray | geometry.Sparse, start: int, count: int) -> sparse.csr_matrix:
    """Weights [P, K] on the control points from `start` on: [P, count] sparse."""
    found: Any = sparse.csr_matrix(weights)
    return sparse.csr_matrix((found.data, found.indices + start, found.indptr), (found.shape[0], count))
