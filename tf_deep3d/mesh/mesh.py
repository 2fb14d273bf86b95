"""A surface to be written, and what the formats (`obj`, `ply`, `gltf`) share.

Everywhere y is up and the face looks along +z. OBJ and PLY are in millimetres and say so in a comment; glTF demands
metres. Texture coordinates come in with the origin at the bottom left, as OBJ has it; glTF counts v from the top.
A file appears whole or not at all (`files.writing`).

Letters: V vertices, T triangles, U texture points, S side of the texture in px.
"""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

PNG_LEVEL = 2  # a third of the time of zlib's default 6, for a fifth more bytes
IMAGE_FORMATS = {"png": "image/png", "jpeg": "image/jpeg"}  # of textures -> MIME type
UNIT = "unit: millimetre; axes: +y up, the face looks along +z"  # of OBJ and PLY, said in a comment

_SAVING: dict[str, dict[str, Any]] = {"png": {"compress_level": PNG_LEVEL}, "jpeg": {"quality": 90, "subsampling": 0}}


class Mesh(NamedTuple):
    """What is written.

    Attributes:
      vertices: [V, 3], dm.
      triangles: [T, 3] int, counter-clockwise seen from outside.
      normals: [V, 3], unit, or None.
      uv: [U, 2], origin at the bottom left, or None.
      uv_triangles: [T, 3] int, the triangles in `uv`, or None.
      texture: [S, S, 3] RGB (sRGB), uint8 or float in [0, 1], first row at v = 1, or None; needs `uv`.
      colors: [V, 3] RGB (sRGB), uint8 or float in [0, 1], or None: colours of the vertices.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray | None = None
    uv: np.ndarray | None = None
    uv_triangles: np.ndarray | None = None
    texture: np.ndarray | None = None
    colors: np.ndarray | None = None


def checked(mesh: Mesh) -> Mesh:
    """The mesh with positions in float64, indices in int32 and, for texture and colours, uint8, of the right shapes.

    Raises:
      ValueError: for arrays of wrong shapes or values.
    """
    vertices = numbers("vertices", mesh.vertices, (None, 3)).astype(np.float64)
    triangles = _indices("triangles", mesh.triangles, (None, 3), len(vertices))
    normals, uv, uv_triangles, texture, colors = mesh[2:]
    if not len(triangles):
        raise ValueError("The mesh must have a triangle. Received: none")
    if (uv is None) != (uv_triangles is None) or (texture is not None and uv is None):
        have = [name for name, value in mesh._asdict().items() if value is not None]
        raise ValueError(f"uv and uv_triangles go together, and a texture needs them. Received: {have}")
    if normals is not None:
        normals = numbers("normals", normals, vertices.shape)
    if uv is not None and uv_triangles is not None:
        uv = numbers("uv", uv, (None, 2)).astype(np.float64)
        uv_triangles = _indices("uv_triangles", uv_triangles, triangles.shape, len(uv))
    if texture is not None:
        texture = to_uint8(numbers("texture", texture, (None, None, 3)))
    if colors is not None:
        colors = to_uint8(numbers("colors", colors, vertices.shape))
    return Mesh(vertices, triangles, normals, uv, uv_triangles, texture, colors)


def numbers(name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> np.ndarray:
    """`values` as an array of `shape`, in which None stands for any size; ValueError if they are not such, finite."""
    array = np.asarray(values)
    fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if not fits or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers of shape {shape}. Received: {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite. Received: NaN or infinity")
    return array


def to_uint8(image: ArrayLike) -> np.ndarray:
    """RGB as uint8 from uint8, or from float in [0, 1], clipped and rounded; ValueError for other types."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind != "f":
        raise ValueError(f"Colours must be uint8, or float in [0, 1]. Received: {image.dtype}")
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def encode(image: np.ndarray, image_format: str = "png") -> bytes:
    """The file, in one of `IMAGE_FORMATS`, of a picture [H, W, 3] uint8."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, image_format, **_SAVING[image_format])
    return stream.getvalue()


def one_line(text: str) -> str:
    """`text` on one line, for comments and names."""
    return " ".join(text.split())


def _indices(name: str, values: ArrayLike, shape: tuple[int | None, ...], bound: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers. Received: {array.dtype}")
    array = numbers(name, array, shape).astype(np.int32)
    if array.size and not 0 <= array.min() <= array.max() < bound:
        raise ValueError(f"{name} must lie in [0, {bound}). Received: {array.min()} to {array.max()}")
    return array
