"""Brings a texture to the vertices of a mesh, which is split until they are close enough to carry it.

Letters: V vertices, T triangles, C numbers of a vertex, U texture points.
"""

import numpy as np

FINE = 60_000  # triangles of a head that carry a texture well enough for pictures of a few hundred px


def times_for(triangles: int) -> int:
    """How many times each triangle must be split in four until there are `FINE`, at least."""
    times = 0
    while triangles * 4**times < FINE:
        times += 1
    return times


def divide(attributes: np.ndarray, triangles: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits each triangle in four, linearly, `times` times.

    Args:
      attributes: [V, C] of the vertices.
      triangles: [T, 3] int.

    Returns:
      (attributes [W, C], the first V as they were; triangles [4^times T, 3] int32).
    """
    triangles = np.asarray(triangles)
    for _ in range(times):
        count, size = len(triangles), len(attributes)
        edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
        edges, number = np.unique(edges, axis=0, return_inverse=True)
        attributes = np.concatenate([attributes, attributes[edges].mean(1, dtype=attributes.dtype)])
        ab, bc, ca = (size + number.reshape(-1)).reshape(3, count)
        a, b, c = triangles.T
        triangles = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return attributes, triangles.astype(np.int32)


def paint(
    attributes: np.ndarray,
    triangles: np.ndarray,
    uv: np.ndarray,
    uv_triangles: np.ndarray,
    texture: np.ndarray,
    times: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits a mesh and gives each vertex the texel at its place.

    Args:
      attributes: [V, C] of the vertices: their positions, and what else is to be split with them.
      triangles: [T, 3] int.
      uv: [U, 2] in [0, 1], v upwards.
      uv_triangles: [T, 3] int, the texture points of the triangles' corners.
      texture: [H, W, 3] uint8.
      times: see `divide`.

    Returns:
      (attributes [W, C] and triangles as of `divide`, colors [W, 3] uint8).
    """
    attributes, triangles = divide(attributes, triangles, times)
    # The texture has seams, the surface has none: each corner brings its own colour to the vertex.
    uv, corners = divide(uv, uv_triangles, times)
    size = np.array(texture.shape[1::-1])
    column, row = np.clip((uv * [1, -1] + [0, 1]) * size, 0, size - 1).astype(int).T
    colors = np.zeros((len(attributes), 3), np.uint8)
    colors[triangles.ravel()] = texture[row, column][corners.ravel()]
    return attributes, triangles, colors
