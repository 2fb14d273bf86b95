"""Rotations, normals and similarities: plain linear algebra on points and triangles.

Letters: B batch, V vertices, T triangles, D largest number of corners at a vertex, N points or rows,
C columns.
`xp` is the array namespace: `numpy` on the device and in evaluation, `keras.ops` in the differentiable path.
Conventions of the axes are in `camera`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tf_deep3d.arrays import Array, Namespace, unstack

EPSILON = 1e-12  # added to squared lengths, so that the gradient of a zero vector's direction is finite


def normalize(vectors: Array, xp: Namespace = np) -> Array:
    """Scales `vectors` [..., 3] to unit length; a zero vector stays zero, with a finite gradient."""
    return vectors / xp.sqrt(xp.sum(vectors * vectors, axis=-1, keepdims=True) + EPSILON)


def cross(a: Array, b: Array, xp: Namespace = np) -> Array:
    """Cross product of `a` and `b`, both [..., 3]. By components: `keras.ops.cross` has no TFLite builtin."""
    return xp.stack(_cross(a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]), axis=-1)


def rotation_matrix(angles: Array, xp: Namespace = np) -> Array:
    """Rotation of column vectors, R = Rz(roll) Ry(yaw) Rx(pitch).

    Args:
      angles: [B, 3], pitch, yaw, roll in radians, right-handed about the world's x, y and z axis. With the
        camera at +z, a positive pitch lowers the chin's view (nose down), a positive yaw turns the nose to the
        picture's right, a positive roll turns the head counter-clockwise in the picture.
      xp: array namespace.

    Returns:
      [B, 3, 3].
    """
    sx, sy, sz = (xp.sin(angles[:, i]) for i in range(3))
    cx, cy, cz = (xp.cos(angles[:, i]) for i in range(3))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def angles_of(rotation: np.ndarray) -> np.ndarray:
    """Inverse of `rotation_matrix` for [B, 3, 3] NumPy matrices: [B, 3] with yaw in [-pi/2, pi/2]."""
    yaw = np.arcsin(np.clip(-rotation[:, 2, 0], -1.0, 1.0))
    pitch = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.stack([pitch, yaw, roll], axis=-1)


def cross_matrices(vectors: np.ndarray) -> np.ndarray:
    """[N, 3, 3] M with M w = v x w for `vectors` v [N, 3]."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)


def quaternions(angles: np.ndarray) -> np.ndarray:
    """The unit quaternions [B, 4], x, y, z, w, that turn as `rotation_matrix` of `angles` [B, 3] does.

    Half-angle formula of the product Rz Ry Rx. Angles that go on continuously give quaternions that do.
    """
    half = np.asarray(angles, np.float64) / 2
    (sx, sy, sz), (cx, cy, cz) = np.sin(half).T, np.cos(half).T
    return np.stack(
        [
            sx * cy * cz - cx * sy * sz,
            cx * sy * cz + sx * cy * sz,
            cx * cy * sz - sx * sy * cz,
            cx * cy * cz + sx * sy * sz,
        ],
        axis=-1,
    )


def triangle_normals(vertices: Array, triangles: Array, xp: Namespace = np) -> Array:
    """Unit normals [B, T, 3] of `triangles` [T, 3], counter-clockwise seen from outside, of `vertices` [B, V, 3]."""
    a, b, c = (xp.take(vertices, triangles[:, i], axis=1) for i in range(3))
    return normalize(cross(b - a, c - a, xp), xp)


def corners_around(triangles: np.ndarray, vertex_count: int) -> np.ndarray:
    """Lists the triangle corners at each vertex.

    Args:
      triangles: [T, 3] int.
      vertex_count: V.

    Returns:
      [V, D] int32 NumPy array of corners, ascending, padded with 3 T. Corner 3 t + i is the i-th of triangle t.
    """
    owner = np.asarray(triangles).reshape(-1)
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=vertex_count)
    column = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((vertex_count, max(counts.max(initial=0), 1)), len(owner), np.int32)
    table[owner[order], column] = order
    return table


def vertex_normals(vertices: Array, triangles: Array, vertex_corners: Array, xp: Namespace = np) -> Array:
    """Unit normals of the vertices: the mean of the unit normals of the one-ring triangles, as the paper's codes do.

    Going from vertices to corners and from triangles back to vertices are gathers, and so are their gradients; the
    faces of a batch lie side by side in memory, so that each gathered row serves all of them.

    Args:
      vertices: [B, V, 3].
      triangles: [T, 3] int32.
      vertex_corners: [V, D] int32 of `corners_around`.
      xp: array namespace.

    Returns:
      [B, V, 3].
    """
    count, size = vertices.shape[1], triangles.shape[0]
    flat = xp.reshape(triangles, (-1,))
    around = vertex_corners // 3

    def to_corners(rows: Array) -> Array:
        return xp.take(rows, flat, axis=0)

    def from_corners(rows: Array) -> Array:
        return _gather_sum(rows, vertex_corners, xp)

    def to_vertices(rows: Array) -> Array:
        return _gather_sum(rows, around, xp)

    def from_vertices(rows: Array) -> Array:
        return xp.sum(xp.reshape(xp.take(rows, flat, axis=0), (size, 3, -1)), axis=1)

    rows = xp.reshape(xp.transpose(vertices, (1, 2, 0)), (count, -1))  # [V, 3 B]
    corners = xp.reshape(_linear(to_corners, from_corners, rows, xp), (size, 9, -1))
    ax, ay, az, bx, by, bz, cx, cy, cz = unstack(corners, 1, xp)  # [T, B] each
    normal = _cross(bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az)
    rows = xp.reshape(_unit(normal, xp), (size, -1))
    rows = xp.reshape(_linear(to_vertices, from_vertices, rows, xp), (count, 3, -1))
    return xp.transpose(_unit(unstack(rows, 1, xp), xp), (2, 0, 1))


def _cross(ax: Array, ay: Array, az: Array, bx: Array, by: Array, bz: Array) -> tuple[Array, Array, Array]:
    """Cross product by components."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def _unit(components: tuple[Array, Array, Array], xp: Namespace) -> Array:
    """Stacks x, y, z [N, B] to [N, 3, B], scaled to unit length as by `normalize`."""
    x, y, z = components
    scale = 1.0 / xp.sqrt(x * x + y * y + z * z + EPSILON)
    return xp.stack([x * scale, y * scale, z * scale], axis=1)


def _gather_sum(rows: Array, table: Array, xp: Namespace) -> Array:
    """Sums of the rows [N, C] listed in `table` [V, D], which is padded with N: [V, C]."""
    rows = xp.concatenate([rows, xp.zeros_like(rows[:1])], axis=0)
    return sum(xp.take(rows, table[:, i], axis=0) for i in range(table.shape[1]))


def _linear(forward: Callable[[Array], Array], transpose: Callable[[Array], Array], x: Array, xp: Namespace) -> Array:
    """forward(x) for a linear map whose transpose is known: a gather beats the scatter that autodiff would make."""
    if xp is np:
        return forward(x)

    def mapped(x: Array) -> tuple[Array, Callable[[Array], Array]]:
        return forward(x), transpose

    return xp.custom_gradient(mapped)(x)


@dataclass(frozen=True)
class Similarity:
    """A similarity of the picture plane: q = scale * R(rotation) p + translation, in pixels with y down.

    Attributes:
      scale: positive factor.
      rotation: radians; positive turns x towards y, clockwise as seen on the picture.
      translation: (x, y) in pixels of the target.
    """

    scale: float = 1.0
    rotation: float = 0.0
    translation: tuple[float, float] = (0.0, 0.0)

    @property
    def matrix(self) -> np.ndarray:
        """The [2, 3] matrix that acts on column vectors (x, y, 1)."""
        c, s = self.scale * np.cos(self.rotation), self.scale * np.sin(self.rotation)
        return np.array([[c, -s, self.translation[0]], [s, c, self.translation[1]]])

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Maps `points` [..., 2]."""
        matrix = self.matrix
        return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]

    def inverse(self) -> "Similarity":
        """The similarity that undoes this one."""
        undo = Similarity(1.0 / self.scale, -self.rotation)
        x, y = -undo.apply(np.asarray(self.translation))
        return Similarity(undo.scale, undo.rotation, (float(x), float(y)))
