"""The clay view: a surface without its colours in the light of one lamp, so that nothing but the shape is seen."""

import numpy as np

from tf_deep3d.face import geometry
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.rendering.antialiasing import antialiased

COLOR = 0.8  # grey
KEY_LIGHT = (-0.4, 0.5, 0.75)  # direction it comes from
AMBIENT = 0.3  # share of the light that comes from everywhere
SIZE = 192  # px, side of a picture


def light(normals: np.ndarray, two_sided: bool = False) -> np.ndarray:
    """Light [.., 1] in [0, 1] that a surface with unit `normals` [.., 3] reflects; if `two_sided`, also by its back."""
    cosine = normals @ geometry.normalize(np.array(KEY_LIGHT))
    cosine = np.abs(cosine) if two_sided else np.maximum(cosine, 0.0)
    return (AMBIENT + (1.0 - AMBIENT) * cosine)[..., None]


def frontal(size: int = SIZE) -> Camera:
    """A camera 12 dm before the origin that sees 2.9 dm of the plane there: a head, not the face alone."""
    return Camera(size, size, 4.2 * size, (size / 2, size / 2), 12.0)


def picture(
    vertices: np.ndarray,
    triangles: np.ndarray,
    normals: np.ndarray,
    colors: np.ndarray | None = None,
    camera: Camera | None = None,
) -> np.ndarray:
    """A surface on white.

    Args:
      vertices: [V, 3] dm, world.
      triangles: [T, 3] int.
      normals: [V, 3] unit.
      colors: [V, 3] RGB in [0, 1], of a surface that is not of clay.
      camera: `Camera`, by default `frontal`.

    Returns:
      [H, W, 3] uint8 RGB.
    """
    camera = camera or frontal()
    pixels, depth = to_pixels(camera, np.asarray(vertices, np.float32)[None])
    shades = np.broadcast_to(light(normals) * (COLOR if colors is None else colors), (len(normals), 3))
    triangles = np.asarray(triangles, np.int32)
    image, coverage = antialiased(pixels[0], depth[0], triangles, shades, (camera.width, camera.height))
    return to_uint8(image + (1.0 - coverage))
