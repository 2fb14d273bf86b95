"""A surface of the open face model subdivided to its levels of detail, with what is known about each vertex."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse

from tf_deep3d.porting.open_face import geometry
from tf_deep3d.porting.open_face.surface import CAP, DISC_CENTER, DISC_RADIUS, EYE, FACE, MOUTH, SOCKET, Surface


class Mesh(NamedTuple):
    """A surface subdivided twice.

    Attributes:
      steps: the two subdivision matrices, to be applied in turn to the control points.
      quads: three levels of quads, coarse to fine, [F_l, 4]; a level's vertices come first in the next level's.
      uv_quads: the same for texture points.
      sizes: vertices of each level.
      uv: [U, 2].
      part: [V] int, of the finest level; where parts meet, the skin wins.
      place: [V, 3] dm, on the base mesh.
      paint: [V, 2], on the sources' textures.
      disc: [V, 2], on the round texture maps of eyes and mouth, in their radius; 9 elsewhere.
      near: [V, V] sparse, the mean over a vertex and its neighbours.
    """

    steps: tuple
    quads: tuple
    uv_quads: tuple
    sizes: tuple
    uv: np.ndarray
    part: np.ndarray
    place: np.ndarray
    paint: np.ndarray
    disc: np.ndarray
    near: geometry.Sparse

    def refine(self, control: np.ndarray) -> np.ndarray:
        """Positions [V, ...] of control values [C, ...]."""
        flat = self.steps[1] @ (self.steps[0] @ np.reshape(control, (len(control), -1)))
        return flat.reshape(-1, *np.shape(control)[1:])

    def normals(self, positions: np.ndarray) -> np.ndarray:
        """Unit vertex normals [V, 3] at `positions` [V, 3]."""
        corners = positions[self.quads[-1]]
        cross = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        total = np.zeros_like(positions)
        np.add.at(total, self.quads[-1].ravel(), cross.repeat(4, 0))
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)

    def spread(self, values: np.ndarray, times: int) -> np.ndarray:
        """Averages `values` [V, ...] over the neighbours `times` times."""
        for _ in range(times):
            values = self.near @ values
        return values


def subdivide(face: Surface, vertices: np.ndarray) -> Mesh:
    """Subdivides a `Surface` twice: `Mesh`.

    Args:
      face: `Surface`.
      vertices: [N, 3] dm, the base mesh.
    """
    control = face.control(vertices)
    quads, uv_quads, sizes, steps, uv = [face.quads], [face.uv_quads], [len(control)], [], face.uv
    labels, paint = face.parts, face.paint
    disc = np.full((len(control), 2), 9.0)
    for value in (MOUTH, CAP, EYE):
        at = face.uv[face.uv_quads[face.parts == value]]
        center = np.where(at < 0.5, DISC_CENTER, 1 - DISC_CENTER)
        disc[face.quads[face.parts == value]] = (at - center) / DISC_RADIUS
    for _ in range(2):
        matrix, finer = geometry.catmull_clark(quads[-1], sizes[-1])
        linear, _ = geometry.split_linear(quads[-1], sizes[-1])
        uv_matrix, uv_finer = geometry.split_linear(uv_quads[-1], len(uv))
        paint, uv, disc = uv_matrix @ paint, uv_matrix @ uv, linear @ disc
        labels = labels.repeat(4)
        steps.append(matrix)
        quads.append(finer)
        uv_quads.append(uv_finer)
        sizes.append(matrix.shape[0])
    part, place_on_paint = np.zeros(sizes[-1], int), np.zeros((sizes[-1], 2))
    for value in (EYE, CAP, MOUTH, SOCKET, FACE):
        part[quads[-1][labels == value]] = value
    place_on_paint[quads[-1][labels == FACE]] = paint[uv_quads[-1][labels == FACE]]
    edges = np.unique(np.sort(geometry.quad_edges(quads[-1]).reshape(-1, 2), 1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1], np.arange(sizes[-1])[:, None].repeat(2, 1)])
    near = sparse.csr_matrix((np.ones(len(both)), both.T), (sizes[-1],) * 2)
    near = sparse.diags(1 / np.asarray(near.sum(1)).ravel()) @ near
    place = steps[1] @ (steps[0] @ control)
    return Mesh(tuple(steps), tuple(quads), tuple(uv_quads), tuple(sizes), uv, part, place, place_on_paint, disc, near)
