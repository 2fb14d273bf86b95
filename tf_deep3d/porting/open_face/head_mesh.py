"""What a whole head has beyond the face model's mesh: scalp, ears, neck, shoulders, the mouth's and the eyes' hollows.

The base mesh's body is one closed surface. Its quads that the face model lacks go on from the face's borders: from the
outer one round the head, from the third ring inside the lips down the throat, where the face model has a plug instead,
and from the second ring inside the lids round behind the eyes. A fan closes the neck above the shoulders.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse

from tf_deep3d.porting.open_face import geometry, surface
from tf_deep3d.porting.open_face.sources import Sources
from tf_deep3d.porting.open_face.surface import Surface

SKIN, SHOULDERS, THROAT, SOCKET = range(4)  # parts of the rest
_NECK = 5.866, 0.323  # dm: height of the cut at depth 0, and by how much it falls to the front
_NECK_SIDES = 42  # edges of the base mesh around the neck


class Rest(NamedTuple):
    """The control mesh around the face; its first control points are the face's.

    Attributes:
      border: [L] int, control points of the face.
      vertices: [L + I] int, the base mesh's vertex that each control point is.
      quads: [F, 4] int, into the control points of the rest.
      parts: [F] int, SKIN, SHOULDERS, THROAT or SOCKET.
    """

    border: np.ndarray
    vertices: np.ndarray
    quads: np.ndarray
    parts: np.ndarray

    @property
    def inner(self) -> np.ndarray:
        """[I] int, the vertices of the base mesh that the face model lacks."""
        return self.vertices[len(self.border) :]


def split_rest(sources: Sources, face: Surface) -> Rest:
    """What the base mesh's head has beyond the face's control mesh: `Rest`.

    Args:
      sources: `Sources`.
      face: `surface.Surface` of the face.
    """
    quads, paint = sources.quads["body"], sources.texture_quads["body"]
    islands = geometry.islands(paint, len(sources.texture))
    parts = np.full(len(quads), -1)
    parts[surface.head_skin(sources)] = SKIN
    middle = sources.vertices[quads].mean(1)
    below = middle[:, 1] < _NECK[0] - _NECK[1] * middle[:, 2]
    parts[(parts == SKIN) & below] = SHOULDERS
    for value, part in ((surface.MOUTH, THROAT), (surface.SOCKET, SOCKET)):
        inside = np.isin(face.parts, value)
        known = {tuple(sorted(quad)) for quad in face.vertices[face.quads[inside]].tolist()}
        touched = [island for quad, island in zip(quads.tolist(), islands, strict=True) if tuple(sorted(quad)) in known]
        parts[np.isin(islands, touched)] = part
    known = {tuple(sorted(quad)) for quad in face.vertices[face.quads].tolist()}
    new = np.array([tuple(sorted(quad)) not in known for quad in quads.tolist()]) & (parts >= 0)
    used = np.unique(quads[new])
    own = np.full(len(sources.vertices), -1)
    own[face.vertices[face.vertices >= 0]] = np.flatnonzero(face.vertices >= 0)
    vertices = np.concatenate([used[own[used] >= 0], used[own[used] < 0]])
    place = np.zeros(len(sources.vertices), int)
    place[vertices] = np.arange(len(vertices))
    return Rest(own[used][own[used] >= 0], vertices, place[quads[new]], parts[new])


def same_in(rest: Rest, mesh: Surface) -> tuple[np.ndarray, np.ndarray]:
    """The control points and quads of the rest among those of another `surface.Surface`: [L + I], [F] int, or -1."""
    own = np.full(max(rest.vertices.max(), mesh.vertices.max()) + 1, -1)
    own[mesh.vertices[mesh.vertices >= 0]] = np.flatnonzero(mesh.vertices >= 0)
    number = {tuple(sorted(quad)): index for index, quad in enumerate(mesh.quads.tolist())}
    points = own[rest.vertices]
    return points, np.array([number.get(tuple(sorted(quad)), -1) for quad in points[rest.quads].tolist()])


def finer_index(
    quads: np.ndarray, points: np.ndarray, count: int, all_quads: np.ndarray, all_count: int, quad_index: np.ndarray
) -> np.ndarray:
    """Where the vertices of a part's first subdivision stand among those of the whole mesh: [C + E + F] int, or -1.

    Args:
      quads: [F, 4], of the part, over `count` vertices.
      points: [count] int, the same vertices of the whole mesh, -1 for none.
      count: vertices of the part.
      all_quads: [G, 4], of the whole mesh, over `all_count` vertices.
      all_count: vertices of the whole mesh.
      quad_index: [F] int, the same quads of the whole mesh, -1 for none.
    """
    numbers = np.unique(geometry.edge_numbers(quads, count))
    ends = np.sort(np.stack([points[numbers // count], points[numbers % count]], 1), 1)
    wanted = np.where((ends >= 0).all(1), ends[:, 0] * all_count + ends[:, 1], -1)
    known = np.unique(geometry.edge_numbers(all_quads, all_count))
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    edges = np.where(known[at] == wanted, all_count + at, -1)
    return np.concatenate([points, edges, np.where(quad_index >= 0, all_count + len(known) + quad_index, -1)])


def neighbour_mean(quads: np.ndarray, count: int) -> geometry.Sparse:
    """[count, count] sparse, the mean over a vertex and its neighbours."""
    edges = np.unique(np.sort(geometry.quad_edges(quads).reshape(-1, 2), 1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1], np.arange(count)[:, None].repeat(2, 1)])
    near = sparse.csr_matrix((np.ones(len(both)), both.T), (count, count))
    return sparse.diags(1 / np.asarray(near.sum(1)).ravel()) @ near


def neck_loop(quads: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The vertices around the neck where the shoulders begin, in the direction of the shoulders' quads: [K] int.

    Args:
      quads: [F, 4], of a subdivision of the rest.
      parts: [F].

    Raises:
      ValueError: if the cut is no single loop round the neck.
    """
    neck = np.unique(quads[parts == SKIN])
    loops = [loop for loop in geometry.boundary_loops(quads[parts == SHOULDERS]) if np.isin(loop, neck).all()]
    if len(loops) != 1 or len(loops[0]) % _NECK_SIDES:
        raise ValueError(f"the neck must be cut along one loop. Received: {[len(loop) for loop in loops]}")
    return loops[0]
