"""What one photo shows of a face, at the texels of its UV map.

Every texel is a point of the surface; it is projected into the crop and from there into the photo at its full
resolution. A weight says how well the photo shows it: 0 where it is hidden, turned away or outside the photo, falling
off towards silhouettes and the photo's border.

Letters: H, W size of the photo, N texels that a triangle covers.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from tf_deep3d.face import Face, geometry
from tf_deep3d.face import camera as cameras
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.rendering import still
from tf_deep3d.texture import fields, occlusion
from tf_deep3d.texture.atlas import Atlas, at_texels, refined

DEPTH_MAP_SIZE = 512  # px, longer side of the depth map that decides visibility
BACKGROUND = 1e3  # dm, depth beside the face
DEPTH_BIAS = 0.01  # dm; a texel this far behind the depth map still counts as seen
DEPTH_JUMP = 0.1  # dm between neighbours of the depth map: one surface ends before another; a lid is thinner
EDGE_DISTANCES = (1.5, 4.0)  # px of the 224 px crop from a silhouette, between which the weight rises from 0 to 1
BORDER_DISTANCES = (0.5, 4.5)  # px of the photo, the same from its border
COSINES = (0.2, 0.6)  # of the angle to the viewing direction, between which the weight rises from 0 to 1
MOUTH_DISTANCES, MOUTH_COSINES = (0.0, 0.8), (0.0, 0.2)  # the same inside the mouth: teeth may be seen through a slit
SIZES = (512, 1024, 2048, 4096)  # px, sides of textures
TOLERANCE = 0.8  # share of the size at which a texel is a px of the photo, from which a size is large enough
LARGEST_PART = 4096  # px, side of the part of the photo that is sampled


class View(NamedTuple):
    """What one photo shows of the surface.

    Attributes:
      colors: [N, 3] float32 RGB in [0, 1], of the atlas' texels; meaningless where the weight is 0.
      weight: [N] float32 in [0, 1], how well the photo shows the texel.
      facing: [N] float32, cosine of the angle between normal and viewing direction; 0 where the weight is 0.
      left_out: share of each of `occlusion.AREAS` that shows something else than the face.
    """

    colors: np.ndarray
    weight: np.ndarray
    facing: np.ndarray
    left_out: Mapping[str, float]


class _Shot(NamedTuple):
    """What `extract_view` is told, and the way `back` [2, 3] from crop px to photo px."""

    photo: np.ndarray
    model: MorphableModel
    face: Face
    camera: Camera
    back: np.ndarray


class _Raster(NamedTuple):
    """The face in the photo, on a grid.

    Attributes:
      nearest: [H, W] depth in dm, `BACKGROUND` beside the face.
      triangle: [H, W] int, -1 beside the face.
      barycentrics: [H, W, 3].
      corner: [2], px of the crop.
      scale: pixels of the grid for one of the crop.
      trust: of `occlusion.explained`, on every other pixel; None for trust everywhere.
    """

    nearest: np.ndarray
    triangle: np.ndarray
    barycentrics: np.ndarray
    corner: np.ndarray
    scale: float
    trust: np.ndarray | None = None


def extract_view(
    photo: np.ndarray,
    model: MorphableModel,
    face: Face,
    camera: Camera,
    transform: Similarity,
    atlas: Atlas,
    keep_everything: bool = False,
) -> View:
    """Samples a photo.

    Args:
      photo: [H, W, 3] uint8 RGB, at full resolution.
      model: `MorphableModel` of the face's level of detail.
      face: `Face` of NumPy arrays; its first face is taken.
      camera: `Camera` of the crop.
      transform: `Similarity` from photo px to crop px.
      atlas: `Atlas` of the model.
      keep_everything: trust the photo wherever it sees the surface, whatever it shows there (see `occlusion`).

    Returns:
      `View`.

    Raises:
      ValueError: for a photo or face of the wrong shape.
    """
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ValueError(f"photo must be [H, W, 3] uint8. Received: {photo.dtype} {photo.shape}")
    if face.vertices.shape[1] != len(model.mean_shape):
        raise ValueError(f"face and model must be of one level. Received: {face.vertices.shape}, level {model.level}")
    raster, back = _rasterize(face, model.triangles), transform.inverse().matrix.astype(np.float32)
    shot = _Shot(photo, model, face, camera, back)
    left_out: dict[str, float] = dict.fromkeys(occlusion.AREAS, 0.0)
    if not keep_everything:
        trust, left_out = occlusion.explained(_scene(shot, raster, atlas))
        raster = raster._replace(trust=trust)
    weight, facing = _weights(shot, raster, atlas.coarse)
    weight, facing = refined(atlas, np.stack([weight, facing], axis=1)).T
    seen = np.flatnonzero(weight > 0)
    places = at_texels(atlas, np.asarray(face.pixels)[0] @ back[:, :2].T + back[:, 2], seen)
    colors, *numbers = (np.zeros((len(atlas.texels), *n), np.float32) for n in ((3,), (), ()))
    view = View(colors, numbers[0], numbers[1], left_out)
    view.colors[seen] = _sample_photo(photo, places)
    view.weight[seen], view.facing[seen] = weight[seen], facing[seen]
    return view


def _weights(shot: _Shot, raster: _Raster, atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """Weight and facing [N] of the texels."""
    photo, model, face, camera, back = shot
    mouth = np.stack([model.regions["inner_mouth"], model.regions["lips"]], axis=1)
    surface = [np.asarray(face.vertices)[0], np.asarray(face.normals)[0], mouth]
    points, normals, inner, lips = np.split(at_texels(atlas, np.concatenate(surface, axis=1)), [3, 6, 7], axis=1)
    cosine = np.einsum("nc,nc->n", geometry.normalize(normals), _toward(points, camera))
    front = np.flatnonzero(cosine > COSINES[0] * (inner[:, 0] < 0.5))
    inner, lips = inner[front, 0] > 0.5, lips[front, 0] > 0.5
    pixels, depth = (a[0] for a in cameras.to_pixels(camera, points[None, front]))
    shown = np.where(inner, fields.ramp(cosine[front], MOUTH_COSINES), fields.ramp(cosine[front], COSINES))
    shown *= _visibility(raster, camera, pixels, depth, inner | lips)
    places = pixels @ back[:, :2].T + back[:, 2]
    border = np.minimum(places, np.array(photo.shape[1::-1], np.float32) - places)
    shown *= fields.ramp(np.minimum(border[:, 0], border[:, 1]), BORDER_DISTANCES)
    if raster.trust is not None:
        shown *= fields.bilinear(raster.trust[..., None], ((pixels - raster.corner) * raster.scale + 0.5) / 2)[:, 0]
    weight, facing = np.zeros((2, len(cosine)), np.float32)
    weight[front], facing[front] = shown, cosine[front]
    return weight, facing


def _toward(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Unit vectors [N, 3] from `points` [N, 3] towards the camera."""
    return geometry.normalize(np.array([0, 0, camera.distance], np.float32) - points)


def _rasterize(face: Face, triangles: np.ndarray) -> _Raster:
    """The face with a margin around it."""
    corners, depth = np.asarray(face.pixels)[0], np.asarray(face.depth)[0]
    low, high = corners.min(axis=0) - occlusion.BEYOND[1], corners.max(axis=0) + occlusion.BEYOND[1]
    scale = DEPTH_MAP_SIZE / max(float((high - low).max()), 1.0)
    width, height = (int(n) for n in np.ceil((high - low) * scale))
    places = ((corners - low) * scale).astype(np.float32)
    seen = still.rasterize(places, depth, triangles, height, width)
    nearest = still.interpolate(seen, depth[:, None], triangles)[..., 0]
    return _Raster(np.where(nearest > 0, nearest, np.float32(BACKGROUND)), *seen, low, scale)


def _scene(shot: _Shot, raster: _Raster, atlas: Atlas) -> occlusion.Scene:
    """The photo and the face on every other pixel of the grid."""
    photo, model, face, camera, back = shot
    triangle, barycentrics = raster.triangle[::2, ::2], raster.barycentrics[::2, ::2]
    step = 2 / raster.scale
    to_photo = back[:, :2] * step
    offset = back[:, :2] @ (raster.corner - 0.5 / raster.scale) + back[:, 2]
    many = max(1, int(np.linalg.norm(to_photo[:, 0])))
    small = Image.fromarray(photo).reduce(many) if many > 1 else Image.fromarray(photo)
    affine = (np.column_stack([to_photo, offset]) / many).reshape(-1).tolist()
    size = triangle.shape[::-1]
    picture = small.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    column, row = np.meshgrid(*(np.arange(n) + 0.5 for n in size))
    places = np.stack([column, row], axis=-1) @ to_photo.T + offset
    within = np.all((places > 1) & (places < np.array(photo.shape[1::-1]) - 1), axis=-1)
    normals = np.asarray(face.normals)[0]
    facing = np.einsum("vc,vc->v", normals, _toward(np.asarray(face.vertices)[0], camera))[:, None]
    corners = model.triangles[triangle]
    surface = np.concatenate([np.asarray(face.colors)[0], normals, facing], axis=1).astype(np.float32)
    surface = np.einsum("hwic,hwi->hwc", surface[corners], barycentrics)
    vertex = np.take_along_axis(corners, barycentrics.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    inside = (triangle >= 0) & within
    return occlusion.Scene(
        picture=np.asarray(picture, np.float32) / 255,
        within=within,
        inside=inside,
        expected=surface[..., :3],
        normals=surface[..., 3:6],
        facing=surface[..., 6],
        parts={name: part[vertex] & inside for name, part in atlas.zones.parts.items()},
        area=np.where(inside, atlas.zones.area[vertex], -1),
        step=step,
    )


def _visibility(
    raster: _Raster, camera: Camera, pixels: np.ndarray, depth: np.ndarray, mouth: np.ndarray
) -> np.ndarray:
    """Weight [N] of surface points at `pixels` [N, 2] and `depth` [N] by what stands before and beside them.

    `mouth` [N] bool are those of the lips and inside the mouth, whose opening may be narrow: lips may be seen up to it.
    """
    nearest = raster.nearest
    places = ((pixels - raster.corner) * raster.scale).astype(np.float32)

    def apart(surface: np.ndarray) -> np.ndarray:
        """Distance [N] in px from where a `surface` [H, W] of depths jumps."""
        jump = np.zeros(surface.shape, bool)
        across, down = np.abs(np.diff(surface, axis=1)) > DEPTH_JUMP, np.abs(np.diff(surface, axis=0)) > DEPTH_JUMP
        jump[:, 1:] |= across
        jump[:, :-1] |= across
        jump[1:] |= down
        jump[:-1] |= down
        distance = ndimage.distance_transform_edt(~jump).astype(np.float32)
        return fields.bilinear(distance[..., None], places)[:, 0] / raster.scale

    reach = 1.5 * _spacing(pixels)  # of the filters that sample the photo
    scale = camera.focal / cameras.FOCAL
    beside, outside = apart(nearest), apart(np.where(nearest < BACKGROUND, 0, BACKGROUND))
    edges, rim = (fields.ramp(each - reach, np.multiply(EDGE_DISTANCES, scale)) for each in (beside, outside))
    opening = np.minimum(rim, fields.ramp(beside, np.multiply(MOUTH_DISTANCES, scale)))
    # The farthest of the four pixels around, so that a steep surface does not hide itself.
    height, width = nearest.shape
    column, row = np.clip((places - 0.5).astype(np.int32), 0, [width - 2, height - 2]).T
    behind = np.maximum.reduce([nearest[row + i, column + j] for i in (0, 1) for j in (0, 1)])
    return np.where(depth <= behind + DEPTH_BIAS, np.where(mouth, opening, edges), 0.0)


def texture_size(model: MorphableModel, face: Face, scale: float) -> int:
    """The one of `SIZES` at which a texel is at most about a px of the photo, if there is one.

    Args:
      model: `MorphableModel`, at any level of detail.
      face: `Face` of it, of NumPy arrays; its first face is taken.
      scale: px of the crop for one of the photo.
    """
    places, across = np.asarray(face.pixels)[0][model.triangles] / scale, model.uv[model.uv_triangles]
    areas = [_areas(corners) for corners in (places * (1, -1), across)]
    front = (areas[0] > 0) & (np.abs(areas[1]) > 0) & model.regions["inner_face"][model.triangles].all(axis=1)
    if not front.any():
        return SIZES[0]
    wanted = np.sqrt(np.median(areas[0][front] / np.abs(areas[1][front])))
    return next((size for size in SIZES if size >= TOLERANCE * wanted), SIZES[-1])


def _areas(corners: np.ndarray) -> np.ndarray:
    """Signed areas [T] of triangles [T, 3, 2], positive for counter-clockwise corners."""
    (x0, y0), (x1, y1), (x2, y2) = np.moveaxis(corners, 0, -1)
    return 0.5 * ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))


def _sample_photo(photo: np.ndarray, places: np.ndarray) -> np.ndarray:
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


def _spacing(places: np.ndarray) -> float:
    """Median distance of neighbouring texels' `places` [N, 2], in their unit."""
    if len(places) < 2:
        return 1.0
    return max(float(np.median(np.linalg.norm(places[1::2] - places[:-1:2], axis=-1))), 1e-3)
