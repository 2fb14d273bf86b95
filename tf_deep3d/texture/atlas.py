"""The UV map of a model, rasterised: which point of the surface each texel of a texture is.

Letters: S side of the texture, N texels that a triangle covers, V vertices, T triangles, C channels.
"""

from typing import NamedTuple

import numpy as np
from scipy import spatial

from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.rendering import still
from tf_deep3d.texture import fields, occlusion
from tf_deep3d.texture.occlusion import Zones

SIZE = 1024  # texels, side where nothing else is asked for
COARSE = 256  # texels, side of the atlas on which is decided what a photo shows
MIRROR_TOLERANCE = 0.01  # dm; mirrored vertices farther than this from a vertex have no counterpart


class Atlas(NamedTuple):
    """The UV map of a model, rasterised.

    Attributes:
      size: S.
      texels: [N] int, covered texels, row * S + column.
      corners: [N, 3] int32, the vertices of the triangle at each texel's centre.
      weights: [N, 3] float32, its barycentrics.
      mirror: [N, 2] float32, where in the texture the mirrored point of the surface lies, x right and y down in
        texels with centres at 0.5; NaN where there is none.
      eyes: [N] bool, on an eyeball.
      zones: `Zones` of the model.
      counts: [s, s, 1] float32, how many of the texels each one of the coarse atlas stands for are covered.
      own_coarse: the same surface on `COARSE` texels; None where the atlas itself is no finer.
    """

    size: int
    texels: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    mirror: np.ndarray
    eyes: np.ndarray
    zones: Zones
    counts: np.ndarray
    own_coarse: "Atlas | None" = None

    @property
    def coarse(self) -> "Atlas":
        """The atlas on which is decided what a photo shows."""
        return self.own_coarse or self


def unwrap(model: MorphableModel, size: int = SIZE) -> Atlas:
    """Rasterises the UV map of a `MorphableModel` on `size` x `size` texels: `Atlas`.

    Raises:
      ValueError: for a size above `COARSE` that is not `COARSE` times a power of two.
    """
    doublings = np.log2(max(size / COARSE, 1))
    if doublings % 1:
        raise ValueError(f"size must be at most {COARSE}, or that times a power of two. Received: {size}")
    zones = occlusion.zones_of(model)
    coarse = _unwrap(model, COARSE, zones) if doublings else None
    return _unwrap(model, size, zones)._replace(own_coarse=coarse)


def _unwrap(model: MorphableModel, size: int, zones: Zones) -> Atlas:
    points = np.stack([model.uv[:, 0], 1.0 - model.uv[:, 1]], axis=-1).astype(np.float32) * size
    seen = still.rasterize(points, np.ones(len(points)), model.uv_triangles, size, size, cull=False)
    triangle_of_texel = seen.triangle.reshape(-1)
    texels = np.flatnonzero(triangle_of_texel >= 0)
    triangle = triangle_of_texel[texels]
    weights = seen.barycentrics.reshape(-1, 3)[texels]
    mirror = np.einsum("nk,nkc->nc", weights, _mirrored_corners(model, points)[triangle])
    corners = model.triangles[triangle]
    covered = (triangle_of_texel >= 0).astype(np.float32).reshape(size, size, 1)
    counts = fields.block_sums(covered, max(size // COARSE, 1))
    return Atlas(size, texels, corners, weights, mirror, model.regions["eyes"][corners[:, 0]], zones, counts)


def at_texels(atlas: Atlas, attributes: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Vertex attributes [V, C] at the atlas' texels, or at those `chosen`: [N, C] float32."""
    attributes = np.asarray(attributes, np.float32)
    corners, weights = atlas.corners[chosen], atlas.weights[chosen]
    values = np.empty((len(corners), attributes.shape[1]), np.float32)
    for start in range(0, len(values), still.AT_ONCE):
        part = slice(start, start + still.AT_ONCE)
        values[part] = still.mixed(attributes, corners[part], weights[part])
    return values


def refined(atlas: Atlas, values: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Values [n, C] at the texels of `atlas.coarse`, at those of the atlas or those `chosen`: [N, C]."""
    coarse = atlas.coarse
    if coarse is atlas:
        return values[chosen]
    picture = fields.pull_push(on_texture(coarse, values), coarse.counts)
    texels = atlas.texels[chosen]
    fine = np.empty((len(texels), picture.shape[-1]), np.float32)
    for i in range(picture.shape[-1]):
        plane = fields.resized_plane(picture[..., i], atlas.size, atlas.size)
        fine[:, i] = plane.reshape(-1).take(texels)
    return fine


def on_texture(atlas: Atlas, values: np.ndarray) -> np.ndarray:
    """Values of the texels, [N] or [N, C], as a picture [S, S, C], 0 elsewhere."""
    values = values.reshape(len(atlas.texels), -1)
    picture = np.zeros((atlas.size * atlas.size, values.shape[1]), np.float32)
    picture[atlas.texels] = values
    return picture.reshape(atlas.size, atlas.size, -1)


def _mirrored_corners(model: MorphableModel, points: np.ndarray) -> np.ndarray:
    """Texture places [T, 3, 2] of the mirrored corners of every triangle, NaN where there is no counterpart."""
    distance, partner = spatial.cKDTree(model.mean_shape).query(
        model.mean_shape * np.array([-1, 1, 1], np.float32), distance_upper_bound=MIRROR_TOLERANCE
    )
    texture_point = np.zeros(len(model.mean_shape) + 1, np.int64)  # one of each vertex; the last is for no partner
    texture_point[model.triangles] = model.uv_triangles
    places = points[texture_point[partner]]
    places[~np.isfinite(distance)] = np.nan
    mirrored = places[model.triangles]
    # Across a seam of the UV map the corners of a mirrored triangle may lie far apart.
    extent = np.ptp(mirrored, axis=1).max(axis=-1)
    own = np.ptp(points[model.uv_triangles], axis=1).max(axis=-1)
    mirrored[~(extent < 4.0 * own + 2.0)] = np.nan
    return mirrored
