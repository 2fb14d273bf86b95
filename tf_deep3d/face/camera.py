"""The camera, and the conventions of the whole project.

World: right-handed, decimetres, x to the picture's right, y up, z out of the face towards the camera. The camera
stands at (0, 0, 10) and looks down -z. Millimetres appear only in evaluation and in written meshes.

Pixels: x right, y down, the centre of the pixel in row i and column j lies at (j + 0.5, i + 0.5), so that the
principal point of a picture of n pixels is n / 2.

Images: RGB, float32, [0, 1], [B, H, W, 3]. Matrices act on column vectors. Triangles are counter-clockwise seen
from outside.

Letters: B batch, M images of a set, V vertices, T triangles, K coefficients, L landmarks, N points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tf_deep3d.arrays import Array, Namespace, unstack

IMAGE_SIZE = 224  # px, side of the aligned photo
FOCAL = 1015.0  # px at IMAGE_SIZE: a vertical field of view of 12.594 degrees
CAMERA_DISTANCE = 10.0  # dm from the world's origin
MILLIMETRES = 100.0  # in a dm, the world's unit
METRES = 0.1  # in a dm


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at (0, 0, distance) that looks down -z.

    Attributes:
      width, height: size of the picture in px.
      focal: px.
      center: principal point (x, y) in px.
      distance: dm.
    """

    width: int = IMAGE_SIZE
    height: int = IMAGE_SIZE
    focal: float = FOCAL
    center: tuple[float, float] = (IMAGE_SIZE / 2, IMAGE_SIZE / 2)
    distance: float = CAMERA_DISTANCE

    @classmethod
    def for_size(cls, size: int) -> "Camera":
        """The same view on a square picture of `size` px."""
        return cls(size, size, FOCAL * size / IMAGE_SIZE, (size / 2, size / 2))


def together(cameras: Sequence[Camera]) -> Camera:
    """One camera for B faces that are seen by `cameras` of one size and distance: `focal` is [B, 1], `center` a pair of
    [B, 1], float32, which `to_pixels` broadcasts over the points."""
    lenses = np.array([(each.focal, *each.center) for each in cameras], np.float32)
    focal, x, y = (lenses[:, column : column + 1] for column in range(3))
    return replace(cameras[0], focal=focal, center=(x, y))  # pyright: ignore[reportArgumentType]


def alone(camera: Camera, index: int) -> Camera:
    """The `index`-th of the cameras of `together`; a camera of all is that of each."""
    lens = (camera.focal, *camera.center)
    if not any(np.ndim(each) for each in lens):
        return camera
    focal, x, y = (float(each[index, 0]) for each in np.asarray(lens))
    return replace(camera, focal=focal, center=(x, y))


def to_pixels(camera: Camera, points: Array, xp: Namespace = np) -> tuple[Array, Array]:
    """Projects points.

    Args:
      camera: `Camera`.
      points: [B, N, 3], world, dm.
      xp: array namespace.

    Returns:
      pixels [B, N, 2] in px (y down), and depth [B, N] in dm along the viewing direction (larger is farther).
    """
    x, y, z = unstack(points, -1, xp)
    depth = camera.distance - z
    u = camera.center[0] + camera.focal * x / depth
    v = camera.center[1] - camera.focal * y / depth
    return xp.stack([u, v], axis=-1), depth


def projection_jacobian(points: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Derivative [N, 2, 3] of `to_pixels` by the points [N, 3] at `depth` [N]."""
    x, y, _ = points.T
    zero = np.zeros_like(x)
    rows = [[depth, zero, x], [zero, -depth, -y]]
    return np.stack([np.stack(row, -1) for row in rows], -2) * (camera.focal / depth**2)[:, None, None]


def to_world(camera: Camera, pixels: Array, depth: Array, xp: Namespace = np) -> Array:
    """Inverse of `to_pixels`: [B, N, 3] in dm from pixels [B, N, 2] and depth [B, N]."""
    x = (pixels[..., 0] - camera.center[0]) * depth / camera.focal
    y = (camera.center[1] - pixels[..., 1]) * depth / camera.focal
    return xp.stack([x, y, camera.distance - depth], axis=-1)
