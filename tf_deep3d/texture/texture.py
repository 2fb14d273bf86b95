"""The texture of a face from its photo, in the model's UV map, completed where the photo does not show the face.

Every texel of the UV map is a point of the surface; it is projected into the crop and from there into the photo at
its full resolution. A weight says how well the photo shows it: 0 where it is hidden, turned away or outside the
photo, falling off towards silhouettes and the photo's border. The rest is completed in the logarithm of the colours,
source after source (other photos, the mirrored other side of the face, the model's albedo): a source is corrected by
its difference to what is known already, spread smoothly into the unknown (pull-push: Gortler et al., "The Lumigraph",
1996, section 3.4), so that it continues the shading and leaves no seam.

The photo's light stays in the texture; `texture_merging` joins many photos under one light. Beyond the islands of the
UV map colours go on smoothly, so that bilinear samples and mipmaps see no background.

Letters: S side of the texture, N texels that a triangle covers, V vertices, U texture points.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops
from PIL import Image
from scipy import ndimage, spatial

from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.rendering import renderer
from tf_deep3d.texture import fields

DEPTH_MAP_SIZE = 512  # px, longer side of the depth map that decides visibility
DEPTH_BIAS = 0.01  # dm; a texel this far behind the depth map still counts as seen
DEPTH_JUMP = 0.1  # dm between neighbours of the depth map: one surface ends before another; a lid is thinner
EDGE_DISTANCES = (1.5, 4.0)  # px of the 224 px crop from a silhouette, between which the weight rises from 0 to 1
BORDER_DISTANCES = (0.5, 4.5)  # px of the photo, the same from its border
COSINES = (0.2, 0.6)  # of the angle to the viewing direction, between which the weight rises from 0 to 1
DEVIATIONS = (0.3, 0.7)  # of log colours from what is expected, between which a slanted texel loses its weight
FEATHER = 1 / 512  # share of S over which weights rise from the borders of what is seen
MIRROR_TOLERANCE = 0.01  # dm; mirrored vertices farther than this from a vertex have no counterpart
DARKEST = 0.02  # added to colours before the logarithm
LARGEST_PART = 4096  # px, side of the part of the photo that is sampled


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
    """

    size: int
    texels: Any
    corners: Any
    weights: Any
    mirror: Any
    eyes: Any


class View(NamedTuple):
    """What one photo shows of the surface.

    Attributes:
      colors: [N, 3] float32 RGB in [0, 1], of the atlas' texels; meaningless where the weight is 0.
      weight: [N] float32 in [0, 1], how well the photo shows the texel.
      facing: [N] float32, cosine of the angle between normal and viewing direction; 0 where the weight is 0.
    """

    colors: Any
    weight: Any
    facing: Any


class Canvas(NamedTuple):
    """What a texture is completed with.

    Attributes:
      source: [S, S, 3] float32, logarithm of the model's albedo.
      covered: [S, S, 1] float32, 1 on the islands of the UV map, else 0.
      eyes: [S, S] bool, on an eyeball.
    """

    source: Any
    covered: Any
    eyes: Any


class Texture(NamedTuple):
    """A complete texture.

    Attributes:
      image: [S, S, 3] float32 RGB in [0, 1]; the first row is at v = 1.
      weight: [S, S] float32 in [0, 1], 1 where the texture is the photo, 0 where it was completed.
    """

    image: Any
    weight: Any


def extract_texture(photo, model, face, camera, transform, size=1024, mirror=True, atlas=None):
    """The complete texture of a face from one photo.

    Args:
      photo: [H, W, 3] uint8 RGB, at full resolution.
      model: `MorphableModel` of the face's level of detail.
      face: `Face` of NumPy arrays; its first face is taken.
      camera: `Camera` of the crop.
      transform: `Similarity` from photo px to crop px.
      size: S, side of the texture in px.
      mirror: complete hidden parts from the other side of the face before the model's albedo.
      atlas: `unwrap(model, size)`, where it is at hand.

    Returns:
      `Texture`.

    Raises:
      ValueError: for a photo or face of the wrong shape.
    """
    atlas = atlas or unwrap(model, size)
    view = photograph(photo, model, face, camera, transform, atlas)
    return complete([view], np.asarray(face.albedo)[0], atlas, mirror)


def unwrap(model, size=1024):
    """Rasterises the UV map of a `MorphableModel` on `size` x `size` texels: `Atlas`."""
    points = np.stack([model.uv[:, 0], 1.0 - model.uv[:, 1]], axis=-1).astype(np.float32) * size
    fragments = renderer.rasterize(points[None], np.ones((1, len(points))), model.uv_triangles, size, size, cull=False)
    triangle = ops.convert_to_numpy(fragments.triangle).reshape(-1)
    texels = np.flatnonzero(triangle >= 0)
    triangle = triangle[texels]
    weights = ops.convert_to_numpy(fragments.barycentrics).reshape(-1, 3)[texels]
    mirror = np.einsum("nk,nkc->nc", weights, _mirrored_corners(model, points)[triangle])
    corners = model.triangles[triangle]
    return Atlas(size, texels, corners, weights, mirror, model.regions["eyes"][corners[:, 0]])


def photograph(photo, model, face, camera, transform, atlas):
    """What a photo shows of the face: `View`. The arguments are those of `extract_texture`."""
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ValueError(f"photo must be [H, W, 3] uint8. Received: {photo.dtype} {photo.shape}")
    if face.vertices.shape[1] != len(model.mean_shape):
        raise ValueError(f"face and model must be of one level. Received: {face.vertices.shape}, level {model.level}")
    surface = np.concatenate([np.asarray(face.vertices)[0], np.asarray(face.normals)[0]], axis=1)
    points, normals = np.split(at_texels(atlas, surface), 2, axis=1)
    normals = geometry.normalize(normals)
    toward = geometry.normalize(np.float32([0, 0, camera.distance]) - points)
    cosine = np.einsum("nc,nc->n", normals, toward)
    front = np.flatnonzero(cosine > COSINES[0])
    pixels, depth = (a[0] for a in cameras.to_pixels(camera, points[None, front]))
    weight = fields.ramp(cosine[front], COSINES)
    weight *= _visibility(face, model.triangles, camera, pixels, depth)
    back = transform.inverse().matrix.astype(np.float32)
    places = pixels @ back[:, :2].T + back[:, 2]
    border = np.minimum(places, np.float32(photo.shape[1::-1]) - places)
    weight *= fields.ramp(np.minimum(border[:, 0], border[:, 1]), BORDER_DISTANCES)
    seen = np.flatnonzero(weight > 0)
    view = View(*(np.zeros((len(atlas.texels), *shape), np.float32) for shape in ((3,), (), ())))
    view.colors[front[seen]] = _sample_photo(photo, places[seen])
    view.weight[front[seen]] = weight[seen]
    view.facing[front[seen]] = cosine[front[seen]]
    return view


def complete(views, albedo, atlas, mirror=True):
    """Joins what photos show and completes the rest.

    Args:
      views: list of `View` of the same atlas; where several show a texel the best seen face counts first.
      albedo: [V, 3] RGB in [0, 1], of the model's vertices: the last source.
      atlas: `Atlas`.
      mirror: use the mirrored other side of the face before the albedo.

    Returns:
      `Texture`; its light is that of the view that shows most.
    """
    canvas = prepare_canvas(albedo, atlas)
    value, weight = np.zeros_like(canvas.source), np.zeros_like(canvas.covered)
    for view in sorted(views, key=lambda view: -float(view.weight.sum())):
        shown = on_texture(atlas, np.log(view.colors + DARKEST))
        known = trust(shown, on_texture(atlas, view.weight), canvas)
        value, weight = _continue_with(shown, known, value, weight, canvas.eyes)
    return finish(value, weight, canvas, atlas, mirror)


def prepare_canvas(albedo, atlas):
    """`Canvas` of the albedo [V, 3] of the model's vertices."""
    source = on_texture(atlas, np.log(np.maximum(at_texels(atlas, albedo), 0.0) + DARKEST))
    covered = on_texture(atlas, np.ones(len(atlas.texels), np.float32))
    return Canvas(source, covered, on_texture(atlas, atlas.eyes)[..., 0] > 0)


def finish(value, weight, canvas, atlas, mirror=True):
    """Completes a texture that is known in part.

    Args:
      value: [S, S, 3], logarithms of colours + `DARKEST`.
      weight: [S, S, 1] in [0, 1], how well each texel is known.
      canvas: `Canvas`.
      atlas: `Atlas`.
      mirror: use the mirrored other side of the face before the albedo.

    Returns:
      `Texture`.
    """
    seen = weight
    if mirror:
        value, weight = _continue_with(*_mirrored(atlas, value, weight), value, weight, canvas.eyes)
    value, _ = _continue_with(canvas.source, canvas.covered, value, weight, canvas.eyes)
    image = np.clip(np.exp(value) - DARKEST, 0.0, 1.0)
    return Texture(fields.pull_push(image, canvas.covered), seen[..., 0])


def trust(value, weight, canvas):
    """Weight [S, S, 1] of a view (`value` [S, S, 3], logarithms, and `weight` [S, S, 1]) for completion.

    Feathered at its borders within the islands, and without slanted texels whose colour does not go on from what is
    seen from the front: hair, a collar or the background beside a face that was fitted too wide. Eyes may look aside.
    """
    covered = canvas.covered
    side = 2 * round(FEATHER * len(weight)) + 1
    inner = fields.mean_around(weight + 1.0 - covered, side)
    weight = np.minimum(weight, np.clip(2.0 * inner - 1.0, 0.0, 1.0))
    sure = fields.ramp(weight, (0.8, 1.0))
    offset = value - canvas.source
    deviation = np.abs(offset - fields.spread(offset, np.square(sure)))
    deviation = np.maximum.reduce([deviation[..., i : i + 1] for i in range(3)]) * covered
    deviation[canvas.eyes] = 0.0
    deviation = fields.mean_around(deviation, 4 * side) / np.maximum(fields.mean_around(covered, 4 * side), 1e-6)
    return weight * np.maximum(1.0 - fields.ramp(deviation, DEVIATIONS), sure)


def at_texels(atlas, attributes):
    """Vertex attributes [V, C] at the atlas' texels: [N, C] float32."""
    attributes = np.asarray(attributes, np.float32)
    return sum(attributes[atlas.corners[:, i]] * atlas.weights[:, i, None] for i in range(3))


def on_texture(atlas, values):
    """Values of the texels, [N] or [N, C], as a picture [S, S, C], 0 elsewhere."""
    values = values.reshape(len(atlas.texels), -1)
    picture = np.zeros((atlas.size * atlas.size, values.shape[1]), np.float32)
    picture[atlas.texels] = values
    return picture.reshape(atlas.size, atlas.size, -1)


def _continue_with(source, trust, value, weight, eyes):
    """Continues `value` [S, S, 3], known with `weight` [S, S, 1], by `source`, known with `trust`; all logarithms."""
    both = np.square(weight * trust)
    offset = fields.spread(value - source, both)
    # The irises of two sources do not lie on each other: one offset for the eyes, from white to white.
    seen = eyes & (both[..., 0] > 0.5)
    if seen.any():
        offset[eyes] = np.percentile(value[seen], 90, axis=0) - np.percentile(source[seen], 90, axis=0)
    rest = (1.0 - weight) * trust
    total = weight + rest
    return (value * weight + (source + offset) * rest) / np.maximum(total, 1e-6), total


def _mirrored_corners(model, points):
    """Texture places [T, 3, 2] of the mirrored corners of every triangle, NaN where there is no counterpart."""
    distance, partner = spatial.cKDTree(model.mean_shape).query(
        model.mean_shape * np.float32([-1, 1, 1]), distance_upper_bound=MIRROR_TOLERANCE
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


def _mirrored(atlas, value, weight):
    """`value` [S, S, 3] and `weight` [S, S, 1] at the mirrored places of the texels that are not fully known."""
    usable = np.isfinite(atlas.mirror[:, 0]) & (weight.reshape(-1)[atlas.texels] < 1.0)
    usable = np.flatnonzero(usable & ~atlas.eyes)  # both eyes look the same way
    places = atlas.mirror[usable]
    mirrored = fields.bilinear(np.concatenate([value * weight, weight], axis=-1), places)
    found = np.zeros((len(atlas.texels), 4), np.float32)
    found[usable, :3] = mirrored[:, :3] / np.maximum(mirrored[:, 3:], 1e-6)
    found[usable, 3] = mirrored[:, 3]
    return on_texture(atlas, found[:, :3]), on_texture(atlas, found[:, 3])


def _visibility(face, triangles, camera, pixels, depth):
    """Weight [N] of surface points at `pixels` [N, 2] and `depth` [N] by what stands before and beside them."""
    corners = np.asarray(face.pixels)[0]
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = DEPTH_MAP_SIZE / max(float((high - low).max()), 1.0)
    low = low - 2.0 / scale
    width, height = (int(n) for n in np.ceil((high - low) * scale) + 2)
    places = ((corners - low) * scale).astype(np.float32)
    fragments = renderer.rasterize(places[None], np.asarray(face.depth)[:1], triangles, height, width)
    nearest = ops.convert_to_numpy(renderer.interpolate(fragments, np.asarray(face.depth)[:1, :, None], triangles))
    nearest = np.where(nearest[0, ..., 0] > 0, nearest[0, ..., 0], np.float32(1e3))

    jump = np.zeros(nearest.shape, bool)
    across, down = np.abs(np.diff(nearest, axis=1)) > DEPTH_JUMP, np.abs(np.diff(nearest, axis=0)) > DEPTH_JUMP
    jump[:, 1:] |= across
    jump[:, :-1] |= across
    jump[1:] |= down
    jump[:-1] |= down
    distance = ndimage.distance_transform_edt(~jump).astype(np.float32)
    places = ((pixels - low) * scale).astype(np.float32)
    distance = fields.bilinear(distance[..., None], places)[:, 0] / scale
    reach = 1.5 * _spacing(pixels)  # of the filters that sample the photo
    smooth = fields.ramp(distance - reach, np.multiply(EDGE_DISTANCES, camera.focal / cameras.FOCAL))
    # The farthest of the four pixels around, so that a steep surface does not hide itself.
    column, row = np.clip((places - 0.5).astype(np.int32), 0, [width - 2, height - 2]).T
    behind = np.maximum.reduce([nearest[row + i, column + j] for i in (0, 1) for j in (0, 1)])
    return np.where(depth <= behind + DEPTH_BIAS, smooth, 0.0)


def _sample_photo(photo, places):
    """Colours [N, 3] in [0, 1] of a photo at `places` [N, 2] px that are neighbours in the texture.

    The part that is needed is first resized to about one pixel for a texel: a larger photo is averaged, a smaller
    one interpolated bicubically.
    """
    if not len(places):
        return np.zeros((0, 3), np.float32)
    size = np.array(photo.shape[1::-1])
    low = np.clip(np.floor(places.min(axis=0)) - 3, 0, size - 1).astype(int)
    high = np.clip(np.ceil(places.max(axis=0)) + 3, low + 1, size).astype(int)
    target = np.clip(np.round((high - low) / _spacing(places)), 1, LARGEST_PART).astype(int)
    part = Image.fromarray(np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]]))
    part = np.asarray(part.resize(tuple(target.tolist()), Image.Resampling.BICUBIC), np.float32) / 255
    return fields.bilinear(part, ((places - low) * (target / (high - low))).astype(np.float32))


def _spacing(places):
    """Median distance of neighbouring texels' `places` [N, 2], in their unit."""
    if len(places) < 2:
        return 1.0
    return max(float(np.median(np.linalg.norm(places[1::2] - places[:-1:2], axis=-1))), 1e-3)
