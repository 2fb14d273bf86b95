"""The control mesh of the open face model, and that of the full head around it.

Assembled from the base mesh's head (cropped along edge loops), the first rings of its mouth and eye sockets, a cap that
closes the mouth, and two eyeballs of our own. Every control point is a linear function of the base mesh's vertices, so
all targets apply to it.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse

from tf_deep3d.porting.open_face import geometry
from tf_deep3d.porting.open_face.sources import Sources

FACE, MOUTH, CAP, SOCKET, EYE = range(5)  # parts of the surface
_MOUTH_RINGS, _SOCKET_RINGS = 3, 2
_CAVITY = 0.12  # dm, how deep the cap that closes the mouth is dented
_EYE_ANGLES = (7.5, 15.0, 23.5, 37.0, 60.0, 90.0)  # degrees from the gaze axis: pupil, iris, limbus, white
_EYE_SIDES = 8  # of every ring
DISC_CENTER, DISC_RADIUS = 0.075, 0.07  # of the round texture maps of mouth and eyes, in the square's corners
_CORNEA = 0.012  # dm, height of the cornea over the sphere
_SHOULDERS = 5.0, 2.0  # dm, lowest and widest point of the full head


class Surface(NamedTuple):
    """A quad mesh, linear in the N vertices of the base mesh.

    Attributes:
      points: [C, N] sparse, from base mesh vertices to control points.
      offset: [C, 3] dm, added to them.
      quads: [F, 4] int, counter-clockwise seen from outside.
      parts: [F] int, FACE, MOUTH, CAP, SOCKET or EYE.
      uv: [U, 2] in [0, 1], origin at the bottom left.
      uv_quads: [F, 4] int, into `uv`.
      paint: [U, 2], where a texture point lies on the sources' textures; meaningful for FACE.
      mirror: [C] int, the control point on the other side.
      vertices: [C] int, the base mesh's vertex that each control point is, -1 for those of our own.
    """

    points: geometry.Sparse
    offset: np.ndarray
    quads: np.ndarray
    parts: np.ndarray
    uv: np.ndarray
    uv_quads: np.ndarray
    paint: np.ndarray
    mirror: np.ndarray
    vertices: np.ndarray

    def control(self, vertices: np.ndarray) -> np.ndarray:
        """Control points [C, 3] of base mesh `vertices` [N, 3], dm."""
        return self.points @ vertices + self.offset


def face_surface(sources: Sources) -> Surface:
    """The control mesh of the face model: ear to ear, forehead to under the chin."""
    return _surface(sources, _crop(sources))


def head_surface(sources: Sources) -> Surface:
    """The control mesh of the whole head with ears, neck and shoulders, for realistic renders."""
    return _surface(sources, head_skin(sources))


def head_skin(sources: Sources) -> np.ndarray:
    """Which quads of the body are the skin of head, neck and shoulders: [F] bool."""
    quads, paint = sources.quads["body"], sources.texture_quads["body"]
    islands = geometry.islands(paint, len(sources.texture))
    torso = np.bincount(islands).argmax()
    corners = sources.vertices[quads]
    near = (corners[..., 1].min(1) > _SHOULDERS[0]) & (np.abs(corners[..., 0]).max(1) < _SHOULDERS[1])
    return (islands == islands[_crop(sources)][0]) | (near & (islands == torso))


def _crop(sources: Sources) -> np.ndarray:
    """Which quads of the body belong to the face: [F] bool, symmetric, bordered by edge loops."""
    quads, paint = sources.quads["body"], sources.texture_quads["body"]
    middle = sources.texture[paint].mean(1)
    chosen = geometry.sample(sources.masks["face"], middle) > 0.5
    chosen &= geometry.sample(sources.masks["ears"], middle) < 0.5
    numbers = {tuple(sorted(quad)): index for index, quad in enumerate(quads.tolist())}
    chosen |= chosen[[numbers[tuple(sorted(quad))] for quad in sources.mirror[quads].tolist()]]
    islands = geometry.islands(paint, len(sources.texture))
    chosen = geometry.fill_corners(chosen, islands == islands[chosen][0], quads)
    return geometry.trim(chosen, quads)


def _surface(sources: Sources, chosen: np.ndarray) -> Surface:
    """Assembles the skin in the `chosen` quads of the body with mouth, sockets and eyes."""
    quads, paint = sources.quads["body"], sources.texture_quads["body"]
    used, inverse = np.unique(paint[chosen], return_inverse=True)
    uv, uv_quads = [_fit_square(sources.texture[used])], [inverse.reshape(-1, 4)]
    skin, labels = [quads[chosen]], [np.full(chosen.sum(), FACE)]
    rim = rim_uv = np.zeros(0, int)
    for loop in geometry.boundary_loops(quads[chosen]):
        center = sources.vertices[loop].mean(0)
        if np.abs(sources.vertices[loop] - center).max() > 0.3:
            continue  # the outer border
        is_mouth = abs(center[0]) < 0.05
        rings, cells = geometry.grow_rings(quads[~chosen], loop, _MOUTH_RINGS if is_mouth else _SOCKET_RINGS)
        disc = (0.912 + 0.045 * np.sign(center[0]), 0.045, 0.04)
        if is_mouth:
            disc = (DISC_CENTER, DISC_CENTER, DISC_RADIUS)
        uv_cells = np.arange(rings.size).reshape(rings.shape) + sum(map(len, uv))
        uv.append(_rings(disc, np.linspace(1, 0.6, len(rings)), rings.shape[1]))
        grown = [geometry.strip(second, first, closed=True) for first, second in pairwise(rings)]
        grown_uv = [geometry.strip(b, a, closed=True) for a, b in pairwise(uv_cells)]
        skin += grown
        uv_quads += grown_uv
        labels.append(np.full(len(cells), MOUTH if is_mouth else SOCKET))
        if is_mouth:
            rim, rim_uv = rings[-1], uv_cells[-1]
    skin = np.concatenate(skin)
    vertices, inverse = np.unique(skin, return_inverse=True)
    count = len(vertices)
    identity = sparse.csr_matrix((np.ones(count), (np.arange(count), vertices)), (count, len(sources.vertices)))
    points, offsets = [identity], [np.zeros((count, 3))]
    all_quads = [inverse.reshape(-1, 4)]

    weights, dent, cap = _cap(sources.vertices[rim])
    start, uv_start = count - len(rim), sum(map(len, uv)) - len(rim)
    all_quads.append(np.where(cap < len(rim), np.searchsorted(vertices, rim)[cap % len(rim)], start + cap))
    uv_quads.append(np.where(cap < len(rim), rim_uv[cap % len(rim)], uv_start + cap))
    uv.append(weights @ np.concatenate(uv)[rim_uv])
    labels.append(np.full(len(cap), CAP))
    rows, columns = np.repeat(np.arange(len(dent)), len(rim)), np.tile(rim, len(dent))
    points.append(sparse.csr_matrix((weights.ravel(), (rows, columns)), (len(dent), len(sources.vertices))))
    offsets.append(dent[:, None] * [0, 0, -_CAVITY])
    count += len(dent)
    for side, corner in (("r", DISC_CENTER), ("l", 1 - DISC_CENTER)):
        weights, eye, disc = _eyeball(sources, side)
        points.append(weights)
        offsets.append(np.zeros((len(disc), 3)))
        uv_quads.append(eye + sum(map(len, uv)))
        uv.append(disc * DISC_RADIUS + [corner, 1 - DISC_CENTER])
        all_quads.append(eye + count)
        labels.append(np.full(len(eye), EYE))
        count += len(disc)
    points, offsets = sparse.vstack(points).tocsr(), np.concatenate(offsets)
    points = _smooth_border(points, np.concatenate(all_quads), sources.vertices)
    uv = np.concatenate(uv)
    painted = np.concatenate([sources.texture[used], np.zeros((len(uv) - len(used), 2))])
    labels = np.concatenate(labels)
    mirror = _mirror(points @ sources.vertices + offsets, np.concatenate(all_quads), labels)
    return Surface(
        points, offsets, np.concatenate(all_quads), labels, uv, np.concatenate(uv_quads), painted, mirror,
        np.concatenate([vertices, np.full(count - len(vertices), -1)]),
    )  # fmt: skip


def _smooth_border(
    points: geometry.Sparse,
    quads: np.ndarray,
    vertices: np.ndarray,
    times: int = 12,
    start: float = 0.15,
    limit: float = 0.75,
) -> geometry.Sparse:
    """Slides the outer border's control points inwards along their edges, onto a smooth curve.

    Args:
      points: [C, N] sparse.
      quads: [F, 4].
      vertices: [N, 3] dm, the base mesh.
      times: smoothing steps of the curve.
      start: share of the edge that all points slide, so that dents can be evened out too.
      limit: largest share.

    Returns:
      [C, N] sparse, with the moved points.
    """
    control = points @ vertices
    loop = max(geometry.boundary_loops(quads), key=lambda loop: np.ptp(control[loop], axis=0).max())
    border = set(loop.tolist())
    inner = {vertex: set() for vertex in border}
    for first, second in geometry.quad_edges(quads).reshape(-1, 2).tolist():
        if first in border and second not in border:
            inner[first].add(second)
    for quad in quads.tolist():  # a corner of the border slides along the diagonal
        for corner in range(4):
            if quad[corner] in border and not inner[quad[corner]]:
                inner[quad[corner]].add(quad[(corner + 2) % 4])
    rows = np.concatenate([[row] * len(inner[vertex]) for row, vertex in enumerate(loop.tolist())]).astype(int)
    columns = np.concatenate([sorted(inner[vertex]) for vertex in loop.tolist()]).astype(int)
    counts = np.bincount(rows, minlength=len(loop))
    towards = sparse.csr_matrix((1 / counts[rows], (rows, columns)), (len(loop), len(control)))
    along = towards @ control - control[loop] * (counts > 0)[:, None]
    curve = control[loop] + start * along
    for _ in range(times):
        curve = (np.roll(curve, 1, 0) + 2 * curve + np.roll(curve, -1, 0)) / 4
    share = np.clip(((curve - control[loop]) * along).sum(1) / np.maximum((along**2).sum(1), 1e-9), 0, limit)
    own = sparse.csr_matrix((-share, (np.arange(len(loop)), loop)), towards.shape)
    place = sparse.csr_matrix((np.ones(len(loop)), (loop, np.arange(len(loop)))), (len(control), len(loop)))
    return (points + place @ ((sparse.diags(share) @ towards + own) @ points)).tocsr()


def _cap(rim: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Closes the mouth by a grid of quads whose lower corners are the corners of the mouth.

    Args:
      rim: [L, 3] points around the hole, clockwise seen from the front.

    Returns:
      (weights [K, L] of the rim that give the K inner points, harmonic; dent [K] in [0, 1], largest in the middle;
      quads [F, 4], where L + k is the k-th inner point).
    """
    size, middle = len(rim), np.flatnonzero(np.abs(rim[:, 0]) < 1e-6)
    top = middle[rim[middle, 1].argmax()]
    corner = np.roll(rim[:, 0], -top)[: size // 2].argmax()
    side = size // 2 - corner
    width, height = 2 * side, corner - side
    grid = size + np.pad(np.arange((height - 1) * (width - 1)).reshape(height - 1, width - 1), 1)
    column, row = np.arange(width + 1), np.arange(height + 1)
    grid[0], grid[-1] = (top + column - side) % size, (top - corner - column) % size
    grid[:, 0], grid[:, -1] = (top - side - row) % size, (top + side + row) % size
    inner = grid[1:-1, 1:-1].ravel() - size
    near = np.stack([grid[:-2, 1:-1], grid[2:, 1:-1], grid[1:-1, :-2], grid[1:-1, 2:]], -1).reshape(-1, 4)
    laplace = 4 * np.eye(len(inner), size + len(inner), size)
    np.add.at(laplace, (inner[:, None], near), -1)
    weights = np.linalg.solve(laplace[:, size:], -laplace[:, :size])
    dent = np.linalg.solve(laplace[:, size:], np.ones(len(inner)))
    quads = np.stack([grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:], grid[:-1, :-1]], -1).reshape(-1, 4)
    return weights, dent / dent.max(), quads


def _eyeball(sources: Sources, side: str) -> tuple[geometry.Sparse, np.ndarray, np.ndarray]:
    """The front of an eyeball: (points [K, N] sparse, quads, disc [K, 2] in [-1, 1], its texture map).

    The points move with the best affine map of the base mesh's own, coarser eyeball.
    """
    directions, quads, disc = eye_disc()
    own = np.unique(sources.quads[f"helper-{side}-eye"])
    vertices = sources.vertices[own]
    center = (vertices.max(0) + vertices.min(0)) / 2
    radius = (vertices[:, 0].max() - vertices[:, 0].min()) / 2
    center[2] = vertices[:, 2].min() + radius
    affine = np.concatenate([vertices, np.ones((len(own), 1))], 1)
    wanted = np.concatenate([center + radius * directions, np.ones((len(directions), 1))], 1)
    weights = wanted @ np.linalg.pinv(affine)
    rows = np.repeat(np.arange(len(weights)), len(own))
    columns = np.tile(own, len(weights))
    return sparse.csr_matrix((weights.ravel(), (rows, columns)), (len(weights), len(sources.vertices))), quads, disc


def eye_disc() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Control points of a unit eyeball's front that subdivide to the sphere with its cornea, looking along +z.

    Returns:
      (points [K, 3], quads [F, 4], disc [K, 2]: azimuthal map with radius 1 at the last ring).
    """
    angle = 2 * np.pi * np.arange(_EYE_SIDES) / _EYE_SIDES
    radii = np.radians(_EYE_ANGLES)
    polar = np.concatenate([[0], np.repeat(radii, _EYE_SIDES)])
    around = np.concatenate([[0], np.tile(angle, len(radii))])
    ring = 1 + np.arange(_EYE_SIDES)
    quads = [np.stack([0 * ring[::2], ring[::2], ring[1::2], np.roll(ring[::2], -1)], 1)]
    for index in range(len(radii) - 1):
        inner, outer = ring + index * _EYE_SIDES, ring + (index + 1) * _EYE_SIDES
        quads.append(geometry.strip(outer, inner, closed=True))
    quads = np.concatenate(quads)
    height = 1 + _CORNEA / 0.138 * np.cos(np.clip(polar / radii[2], 0, 1) * np.pi / 2) ** 2
    wanted = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)])
    wanted = wanted.T * height[:, None]
    first, finer = geometry.catmull_clark(quads, len(wanted))
    second, _ = geometry.catmull_clark(finer, first.shape[0])
    limit = (second @ first)[: len(wanted)].toarray()
    disc = np.stack([np.cos(around), np.sin(around)], 1) * (polar / polar.max())[:, None]
    return np.linalg.solve(limit, wanted), quads, disc


def _fit_square(texture: np.ndarray) -> np.ndarray:
    """The head's island of the texture turned upright and stretched to the unit square."""
    upright = np.stack([texture[:, 1], -texture[:, 0]], 1)
    low, high = upright.min(0), upright.max(0)
    return 0.004 + 0.992 * (upright - low) / (high - low)


def _rings(disc: tuple[float, float, float], radii: np.ndarray, sides: int) -> np.ndarray:
    """Texture points of rings around a disc (x, y, radius): [len(radii) * sides, 2]."""
    angle = -2 * np.pi * np.arange(sides) / sides
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.concatenate([np.array(disc[:2]) + disc[2] * radius * circle for radius in radii])


def _mirror(points: np.ndarray, quads: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mirrored control point of each, matched within each part (parts may touch)."""
    part = np.zeros(len(points), int)
    part[quads[labels == EYE]] = 1
    mirror = np.zeros(len(points), int)
    for value in (0, 1):
        index = np.flatnonzero(part == value)
        mirror[index] = index[geometry.match_mirrored(points[index], 1e-5)]
    return mirror
