"""Closed lids: how far a blink is from closing an eye, and how lids follow when that is mended.

Around each eye the base mesh has rings of control points: ring 0 is where the skin ends, rings 1 to 3 are the lid's rim
to its front edge. Above and below they face each other, and a closed upper lid lies on the lower one ring by ring. The
gaps between them are linear in the control points, so that what a blink lacks is linear in a person's shape. The next
rings lie before the front edge as they do in the open eye.

Letters: C control points of the face, P pairs (a control point of the upper lid and its place in the closed eye).
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import spsolve

from tf_deep3d.arrays import Array
from tf_deep3d.porting.open_face import geometry, people, surface
from tf_deep3d.porting.open_face.surface import Surface

BLINKS = {"eyeBlinkLeft": 1, "eyeBlinkRight": -1}  # unit -> side of the face, the person's left is positive
_RIM = 4  # rings of a lid's rim that meet: ring 0 to its front edge
_FRONT = 2  # rings that keep their place before it
_REACH = 9  # rings of skin over which the upper lid follows
_INSIDE = (1.0, 0.5)  # share of the rim's move that the rings of the eye socket follow


class Lids(NamedTuple):
    """The lids of one eye.

    Attributes:
      closed: [P, C] sparse: the upper lid's points less their places, at the control points of the closed eye.
      open: [P, C] sparse, added to it, at the control points of the open eye.
      follow: [C, P]: how the control points move when the upper lid's points move.
    """

    closed: sparse.csr_matrix
    open: sparse.csr_matrix
    follow: np.ndarray

    def gaps(self, control: np.ndarray, blink: np.ndarray | float) -> np.ndarray:
        """Gaps [P, 3] of a face's control points [C, 3] with its blink [C, 3] added."""
        return self.closed @ (control + blink) + self.open @ control


def lids(face: Surface, mean: np.ndarray, side: int) -> Lids:
    """The `Lids` of one eye.

    Args:
      face: `surface.Surface` of the face.
      mean: [C, 3] dm, the mean face's control points.
      side: 1 for the person's left eye, -1 for the right one.
    """
    skin, sockets = (face.quads[face.parts == part] for part in (surface.FACE, surface.SOCKET))
    sockets = sockets[mean[sockets].mean(1)[:, 0] * side > 0]
    edge = np.unique(skin)
    seam = next(loop for loop in geometry.boundary_loops(sockets) if np.isin(loop, edge).all())
    inside, _ = geometry.grow_rings(sockets, seam[::-1], len(_INSIDE))
    inside = inside[:, ::-1]  # in the order of the seam
    outside, _ = geometry.grow_rings(skin, seam, _REACH)
    upper, lower, weights = _pairs(mean[seam], side)
    pairs = np.arange((_RIM + _FRONT) * len(upper)).reshape(-1, len(upper))
    closed, still, known = (np.zeros((pairs.size, len(mean))) for _ in range(3))
    for ring, rows in enumerate(pairs):
        edge_ring = min(ring, _RIM - 1)
        above = outside[ring, upper]
        closed[rows, above] = 1
        closed[rows[:, None], outside[edge_ring, lower]] -= weights
        still[rows, above] -= 1
        still[rows, outside[edge_ring, upper]] += 1
        known[rows, above] = 1
    for share, ring in zip(_INSIDE, inside[1:], strict=True):
        known[pairs[0], ring[upper]] = share
    fixed = np.concatenate([outside[: len(pairs), upper].ravel(), outside[:, lower].ravel()])
    free = np.setdiff1d(outside[len(pairs) : -1, upper], fixed)
    return Lids(sparse.csr_matrix(closed), sparse.csr_matrix(still), _harmonic(known.T, free, face.quads))


def _pairs(loop: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs the columns of a lid loop [L, 3]: (upper [U] int; lower [K] int; weights [U, K] of the lower ones)."""
    inner, outer = np.argmin(loop[:, 0] * side), np.argmax(loop[:, 0] * side)
    order = np.roll(np.arange(len(loop)), -inner)
    middle = (outer - inner) % len(loop)
    arcs = [order[: middle + 1], np.append(order[middle:], order[0])[::-1]]
    lower, upper = sorted(arcs, key=lambda arc: loop[arc, 1].mean())
    axis = loop[outer] - loop[inner]
    along = (loop - loop[inner]) @ axis / (axis @ axis)
    upper = upper[1:-1]
    weights = np.stack([np.interp(along[upper], along[lower], unit) for unit in np.eye(len(lower))], 1)
    return upper, lower, weights


def _harmonic(known: np.ndarray, free: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """`known` [C, P] with the rows `free` replaced by values that are the mean of their neighbours'."""
    edges = np.unique(np.sort(geometry.quad_edges(quads).reshape(-1, 2), 1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    near = sparse.csr_matrix((np.ones(len(both)), both.T), (len(known),) * 2)
    laplace = (sparse.diags(np.asarray(near.sum(1)).ravel()) - near).tocsr()
    result = known.copy()
    result[free] = 0
    system = laplace[free]
    result[free] = spsolve(system[:, free].tocsc(), -(system @ result)).reshape(len(free), -1)
    return result


def closing(face: Surface, mean: np.ndarray, blink: np.ndarray, side: int) -> np.ndarray:
    """What closes the eye of the mean face, added to a blink: displacement [C, 3] dm of its control points."""
    own = lids(face, mean, side)
    return -own.follow @ own.gaps(mean, blink)


def closings(face: Surface, arrays: dict[str, Array]) -> dict[str, Array]:
    """What a person's blinks lack, as arrays of the head's file; see `face.head.load`.

    Args:
      face: `surface.Surface` of the face.
      arrays: of the face model's file.
    """
    mean, identity, units = (arrays[name].astype(float) for name in ("mean_shape", "identity_basis", "blendshapes"))
    refined, _ = geometry.subdivided(face.quads, len(mean))
    file = {"closing_units": np.array(list(BLINKS))}
    for index, (name, side) in enumerate(BLINKS.items()):
        own = lids(face, mean, side)
        weights = -refined @ own.follow
        moved = np.flatnonzero(np.abs(weights).max(1) > 1e-6)
        file[f"closing_{index}_vertices"] = moved.astype(np.int32)
        file[f"closing_{index}_weights"] = weights[moved].astype(np.float32)
        file[f"closing_{index}_mean"] = own.gaps(mean, units[people.ARKIT.index(name)]).astype(np.float32)
        file[f"closing_{index}_identity"] = np.stack([own.gaps(mode, 0) for mode in identity]).astype(np.float32)
    return file
