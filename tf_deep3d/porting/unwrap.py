"""Texture maps for models that bring none, or one on several tiles.

Letters: V vertices, T triangles, U texture points.
"""

import numpy as np

from tf_deep3d.porting import PortingError

MAIN_TILE = 0.75  # side of the first tile's place in the packed map
_PLACES = [(0.75, 0.0), (0.75, 0.25), (0.75, 0.5), (0.75, 0.75), (0.0, 0.75), (0.25, 0.75), (0.5, 0.75)]


def cylinder(vertices: np.ndarray, triangles: np.ndarray, axis_depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Unwraps a face on an upright cylinder: u is the angle about the axis, v the height, each stretched to [0, 1].

    Args:
      vertices: [V, 3], y up, the face looking along +z.
      triangles: [T, 3] int.
      axis_depth: z of the axis (its x is 0).

    Returns:
      uv [U, 2] float32, the first V of them those of the vertices, and the triangles in them [T, 3] int32. Triangles
      across the seam at the back get texture points of their own.
    """
    angle = np.arctan2(vertices[:, 0], vertices[:, 2] - axis_depth)
    corners = angle[triangles]
    across = (corners.max(1) - corners.min(1) > np.pi)[:, None] & (corners < 0)
    doubled = np.unique(triangles[across])
    place = np.full(len(vertices), -1)
    place[doubled] = len(vertices) + np.arange(len(doubled))
    uv_triangles = np.where(across, place[triangles], triangles)
    u = np.concatenate([angle, angle[doubled] + 2 * np.pi])
    v = np.concatenate([vertices[:, 1], vertices[doubled, 1]])
    uv = np.stack([(x - x.min()) / max(np.ptp(x), 1e-12) for x in (u, v)], -1)
    return uv.astype(np.float32), uv_triangles.astype(np.int32)


def pack_tiles(uv: np.ndarray, uv_triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brings a texture map on several unit tiles (UDIM) onto one.

    The first tile goes to the lower left, `MAIN_TILE` wide, the others to the right and upper edges, a quarter wide
    each. A map on one tile stays as it is.

    Args:
      uv: [U, 2].
      uv_triangles: [T, 3] int.

    Returns:
      uv [U', 2] float32 in [0, 1] and triangles [T, 3] int32 into it.

    Raises:
      PortingError: if there are more than eight tiles.
    """
    tiles = np.floor(uv[uv_triangles].mean(1)).astype(np.int64)
    names, tile = np.unique(tiles[:, ::-1], axis=0, return_inverse=True)  # by row, then column
    if len(names) > 1 + len(_PLACES):
        raise PortingError(f"the texture map must lie on at most {1 + len(_PLACES)} tiles. Received: {len(names)}")
    pairs = np.stack([np.repeat(tile.reshape(-1), 3), uv_triangles.reshape(-1)], -1)
    pairs, corners = np.unique(pairs, axis=0, return_inverse=True)
    local = np.clip(uv[pairs[:, 1]] - names[pairs[:, 0], ::-1], 0, 1)
    if len(names) > 1:
        scales = np.array([MAIN_TILE] + [1 - MAIN_TILE] * len(_PLACES))
        offsets = np.array([(0.0, 0.0), *_PLACES])
        local = offsets[pairs[:, 0]] + local * scales[pairs[:, 0], None]
    return local.astype(np.float32), corners.reshape(-1, 3).astype(np.int32)
