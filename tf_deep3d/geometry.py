"""Rotations, normals and similarities: plain linear algebra on points and triangles.

Letters: B batch, V vertices, T triangles, D largest number of triangles around a vertex, N points.
`xp` is the array namespace: `numpy` on the device and in evaluation, `keras.ops` in the differentiable path.
Conventions of the axes are in `camera`.
"""

from dataclasses import dataclass

import numpy as np

EPSILON = 1e-12  # added to squared lengths, so that the gradient of a zero vector's direction is finite


def normalize(vectors, xp=np):
    """Scales `vectors` [..., 3] to unit length; a zero vector stays zero, with a finite gradient."""
    return vectors / xp.sqrt(xp.sum(vectors * vectors, axis=-1, keepdims=True) + EPSILON)


def cross(a, b, xp=np):
    """Cross product of `a` and `b`, both [..., 3]. By components: `keras.ops.cross` has no TFLite builtin."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return xp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def rotation_matrix(angles, xp=np):
    """Rotation of column vectors, R = Rz(roll) Ry(yaw) Rx(pitch).

    Args:
      angles: [B, 3], pitch, yaw, roll in radians, right-handed about the world's x, y and z axis. With the
        camera at +z, a positive pitch lowers the chin's view (nose down), a positive yaw turns the nose to the
        picture's right, a positive roll turns the head counter-clockwise in the picture.

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


def angles_of(rotation):
    """Inverse of `rotation_matrix` for [B, 3, 3] NumPy matrices: [B, 3] with yaw in [-pi/2, pi/2]."""
    yaw = np.arcsin(np.clip(-rotation[:, 2, 0], -1.0, 1.0))
    pitch = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.stack([pitch, yaw, roll], axis=-1)


def triangle_normals(vertices, triangles, xp=np):
    """Unit normals [B, T, 3] of `triangles` [T, 3], counter-clockwise seen from outside, of `vertices` [B, V, 3]."""
    a, b, c = (xp.take(vertices, triangles[:, i], axis=1) for i in range(3))
    return normalize(cross(b - a, c - a, xp), xp)


def triangles_around(triangles, vertex_count):
    """Lists the triangles around each vertex.

    Args:
      triangles: [T, 3] int.
      vertex_count: V.

    Returns:
      [V, D] int32 NumPy array of triangle indices, ascending, padded with T.
    """
    triangles = np.asarray(triangles)
    owner = triangles.reshape(-1)
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=vertex_count)
    column = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((vertex_count, max(counts.max(initial=0), 1)), len(triangles), np.int32)
    table[owner[order], column] = order // 3
    return table


def vertex_normals(vertices, triangles, vertex_triangles, xp=np):
    """Unit normals of the vertices: the mean of the unit normals of the one-ring triangles, as the paper's codes do.

    Args:
      vertices: [B, V, 3].
      triangles: [T, 3] int32.
      vertex_triangles: [V, D] int32 of `triangles_around`.

    Returns:
      [B, V, 3].
    """
    normals = triangle_normals(vertices, triangles, xp)
    normals = xp.concatenate([normals, xp.zeros_like(normals[:, :1])], axis=1)
    return normalize(xp.sum(xp.take(normals, vertex_triangles, axis=1), axis=2), xp)


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
    def matrix(self):
        """The [2, 3] matrix that acts on column vectors (x, y, 1)."""
        c, s = self.scale * np.cos(self.rotation), self.scale * np.sin(self.rotation)
        return np.array([[c, -s, self.translation[0]], [s, c, self.translation[1]]])

    def apply(self, points):
        """Maps `points` [..., 2]."""
        matrix = self.matrix
        return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]

    def inverse(self):
        """The similarity that undoes this one."""
        undo = Similarity(1.0 / self.scale, -self.rotation)
        x, y = -undo.apply(np.asarray(self.translation))
        return Similarity(undo.scale, undo.rotation, (float(x), float(y)))
