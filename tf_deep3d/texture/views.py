"""What one photo shows of a face, at the texels of its UV map.

Every texel is a point of the surface; it is projected into the crop and from there into the photo at its full
resolution. A weight says how well the photo shows it: 0 where it is hidden, turned away or outside the photo, falling
off towards silhouettes and the photo's border.

Letters: H, W size of the photo, N texels that a triangle covers.
"""

from typing import NamedTuple

import numpy as np
from keras import ops
from PIL import Image
from scipy import ndimage

from tf_deep3d.face import Face, geometry
from tf_deep3d.face import camera as cameras
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.rendering import renderer
from tf_deep3d.texture import fields
from tf_deep3d.texture.atlas import Atlas, at_texels

DEPTH_MAP_SIZE = 512  # px, longer side of the depth map that decides visibility
DEPTH_BIAS = 0.01  # dm; a texel this far behind the depth map still counts as seen
DEPTH_JUMP = 0.1  # dm between neighbours of the depth map: one surface ends before another; a lid is thinner
EDGE_DISTANCES = (1.5, 4.0)  # px of the 224 px crop from a silhouette, between which the weight rises from 0 to 1
BORDER_DISTANCES = (0.5, 4.5)  # px of the photo, the same from its border
COSINES = (0.2, 0.6)  # of the angle to the viewing direction, between which the weight rises from 0 to 1
LARGEST_PART = 4096  # px, side of the part of the photo that is sampled


class View(NamedTuple):
    """What one photo shows of the surface.

    Attributes:
      colors: [N, 3] float32 RGB in [0, 1], of the atlas' texels; meaningless where the weight is 0.
      weight: [N] float32 in [0, 1], how well the photo shows the texel.
      facing: [N] float32, cosine of the angle between normal and viewing direction; 0 where the weight is 0.
    """

    colors: np.ndarray
    weight: np.ndarray
    facing: np.ndarray


def extract_view(
    photo: np.ndarray, model: MorphableModel, face: Face, camera: Camera, transform: Similarity, atlas: Atlas
) -> View:
    """Samples a photo.

    Args:
      photo: [H, W, 3] uint8 RGB, at full resolution.
      model: `MorphableModel` of the face's level of detail.
      face: `Face` of NumPy arrays; its first face is taken.
      camera: `Camera` of the crop.
      transform: `Similarity` from photo px to crop px.
      atlas: `Atlas` of the model.

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
    surface = np.concatenate([np.asarray(face.vertices)[0], np.asarray(face.normals)[0]], axis=1)
    points, normals = np.split(at_texels(atlas, surface), 2, axis=1)
    normals = geometry.normalize(normals)
    toward = geometry.normalize(np.array([0, 0, camera.distance], np.float32) - points)
    cosine = np.einsum("nc,nc->n", normals, toward)
    front = np.flatnonzero(cosine > COSINES[0])
    pixels, depth = (a[0] for a in cameras.to_pixels(camera, points[None, front]))
    weight = fields.ramp(cosine[front], COSINES)
    weight *= _visibility(face, model.triangles, camera, pixels, depth)
    back = transform.inverse().matrix.astype(np.float32)
    places = pixels @ back[:, :2].T + back[:, 2]
    border = np.minimum(places, np.array(photo.shape[1::-1], np.float32) - places)
    weight *= fields.ramp(np.minimum(border[:, 0], border[:, 1]), BORDER_DISTANCES)
    seen = np.flatnonzero(weight > 0)
    view = View(*(np.zeros((len(atlas.texels), *shape), np.float32) for shape in ((3,), (), ())))
    view.colors[front[seen]] = _sample_photo(photo, places[seen])
    view.weight[front[seen]] = weight[seen]
    view.facing[front[seen]] = cosine[front[seen]]
    return view


def _visibility(face: Face, triangles: np.ndarray, camera: Camera, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
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
