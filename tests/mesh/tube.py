"""A textured tube, whose corners are known, and what a reader must find at them."""

import numpy as np

from tf_deep3d.face import geometry
from tf_deep3d.mesh.mesh import Mesh

COLUMNS, ROWS, SIDE = 12, 5, 32


def picture(uv):
    """The colour [N, 3] uint8 that the test texture has at `uv` [N, 2]: a step every texel, no symmetry."""
    texel = np.clip(np.floor(np.asarray(uv) * SIDE), 0, SIDE - 1)
    return np.stack([texel[:, 0] * 8, texel[:, 1] * 8, np.full(len(texel), 50)], -1).astype(np.uint8)


def make():
    """An open tube around y: its first and last column of texture points belong to the same vertices."""
    turn = np.arange(COLUMNS) / COLUMNS * 2 * np.pi
    ring = np.stack([np.sin(turn), np.zeros(COLUMNS), np.cos(turn)], -1)
    vertices = (ring[None] + np.linspace(1, -1, ROWS)[:, None, None] * [0, 1, 0]).reshape(-1, 3) * 0.7
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    uv_index = np.arange(ROWS * (COLUMNS + 1)).reshape(ROWS, COLUMNS + 1)

    def triangles(grid):
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
        return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])

    # Texture points at texel centres, so that the nearest texel is the interpolated colour too.
    u, v = np.meshgrid((np.arange(COLUMNS + 1) * 2 + 3.5) / SIDE, (np.arange(ROWS)[::-1] * 6 + 2.5) / SIDE)
    rows = (SIDE - 0.5 - np.arange(SIDE)) / SIDE
    texture = picture(np.stack(np.meshgrid((np.arange(SIDE) + 0.5) / SIDE, rows), -1).reshape(-1, 2))
    normals = geometry.normalize(vertices * [1, 0, 1])
    colors = np.stack([np.arange(ROWS * COLUMNS)] * 3, -1).astype(np.uint8)
    wrapped = np.concatenate([index, index[:, :1]], axis=1)
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Mesh(vertices, triangles(wrapped), normals, uv, triangles(uv_index), texture.reshape(SIDE, SIDE, 3), colors)


def corner_positions(mesh):
    return mesh.vertices[mesh.triangles]


def corner_uv(mesh):
    return mesh.uv[mesh.uv_triangles]


def corner_colors(mesh):
    return picture(corner_uv(mesh).reshape(-1, 2))


TUBE = make()
