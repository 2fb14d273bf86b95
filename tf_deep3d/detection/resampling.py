"""Cuts a square out of a photo, under a similarity, without aliasing.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5), in photo and crop alike.
Letters: S side of the crop in px, N points, C channels.
"""

import math

import numpy as np
from PIL import Image

from tf_deep3d.face.geometry import Similarity

SPLINE_POLE = math.sqrt(3) - 2  # of the filter that turns pixels into weights of cubic B-splines
SPLINE_REACH = 16  # px after which that filter has died down: SPLINE_POLE^16 = 7e-10


def crop(image: np.ndarray, transform: Similarity, size: int) -> np.ndarray:
    """Cuts a square of `size` pixels out of a photo, antialiased; pixel q of it shows transform^-1 q.

    An upright crop is one bicubic resize whose kernel widens as the picture shrinks. A turned one is shrunk to its own
    resolution that way and then sampled by cubic splines. Both keep straight ramps straight, and the identity returns
    the pixels unchanged.

    Args:
      image: [H, W, 3] uint8, or float in [0, 1].
      transform: `Similarity`, photo px -> crop px.
      size: S, side of the crop in pixels.

    Returns:
      [S, S, 3] float32 in [0, 1]. Pixels whose centre lies outside the photo are black; those at its border do not
      darken.

    Raises:
      ValueError: on another shape or type, an unusable transform or size.
    """
    return sample(image, transform, size)[0]


def sample(image: np.ndarray, transform: Similarity, size: int) -> tuple[np.ndarray, np.ndarray]:
    """`crop` and the pixels [S, S] bool whose centre lies inside the photo."""
    image = _check_image(image)
    if int(size) != size or size < 1:
        raise ValueError(f"size must be a positive whole number of pixels. Received: {size!r}")
    if not (np.isfinite(transform.matrix).all() and transform.scale > 0):
        raise ValueError(f"transform must be finite with a positive scale. Received: {transform}")
    size = int(size)
    back = transform.inverse()
    shrink = max(back.scale, 1.0)
    corners = back.apply(np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64))
    extent = np.array(image.shape[1::-1])
    reach = 2.0 * shrink + 2.0  # of the bicubic kernel
    low = np.clip(np.floor(corners.min(axis=0) - reach), 0, extent - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + reach), low + 1, extent).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    seen_whole = (corners >= 0).all() and (corners <= extent).all()
    inside = np.ones((size, size), bool) if seen_whole else _inside(back.matrix, size, extent)
    if not inside.any():
        return np.zeros((size, size, 3), np.float32), inside
    matrix = back.matrix
    matrix[:, 2] -= low
    if back.rotation == 0 and shrink <= part.shape[0] and shrink <= part.shape[1]:
        picture = _upright(part, matrix, inside)
    else:
        picture = _turned(part, matrix, shrink, size) * inside[..., None]
    return np.clip(picture, 0, 1, out=picture), inside


def _upright(part: np.ndarray, matrix: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Resizes the box of `part` that the pixels `inside` [S, S] see; [S, S, 3] float32, zero elsewhere."""
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    span = np.array([[columns[0], columns[-1] + 1], [rows[0], rows[-1] + 1]])
    box = matrix[0, 0] * span + matrix[:, 2:]
    extent = np.array(part.shape[1::-1])
    # The outermost pixels may reach half over the photo's border.
    before = np.maximum(np.ceil(-box[:, 0]), 0).astype(int)
    after = np.maximum(np.ceil(box[:, 1] - extent), 0).astype(int)
    if before.any() or after.any():
        part = np.pad(part, [(before[1], after[1]), (before[0], after[0]), (0, 0)], mode="edge")
    box = np.clip(box + before[:, None], 0, (extent + before + after)[:, None])
    target = (span[:, 1] - span[:, 0]).tolist()
    seen = _resize(part, target, box.T.reshape(-1).tolist())
    if seen.shape[:2] == inside.shape:
        return seen
    picture = np.zeros((*inside.shape, 3), np.float32)
    picture[span[1, 0] : span[1, 1], span[0, 0] : span[0, 1]] = seen
    return picture


def _turned(part: np.ndarray, matrix: np.ndarray, shrink: float, size: int) -> np.ndarray:
    """Shrinks `part` to the crop's resolution and samples it at any angle; [S, S, 3] float32."""
    extent = np.array(part.shape[1::-1])
    target = np.maximum(np.round(extent / shrink), 1)
    small = _resize(part, target.astype(int).tolist(), [0, 0, *extent.tolist()])
    centres = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)).reshape(2, -1)
    points = (matrix[:, :2] @ centres + matrix[:, 2:]) * (target / extent)[:, None] - 0.5
    return _spline(small, points).reshape(size, size, 3)


def _spline(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Samples `image` [H, W, C] at `points` [2, N] by cubic B-splines that pass through its pixels: [N, C].

    Points are (x, y) with the pixel in row i and column j at (j, i). Beyond the border the last pixels go on.

    M. Unser, A. Aldroubi, M. Eden: Fast B-Spline Transforms for Continuous Image Representation and Interpolation
    (1991). Both recursions of the filter go by doubling: 1 / (1 - p z) = (1 + p z) (1 + p^2 z^2) (1 + p^4 z^4) ..
    """
    reach = SPLINE_REACH
    weights = np.pad(image, [(reach, reach), (reach, reach), (0, 0)], mode="edge")
    for rows in (weights, weights.swapaxes(0, 1)):
        rows *= np.float32(-6 * SPLINE_POLE)
        for step in (1, 2, 4, 8):
            rows[step:] += np.float32(SPLINE_POLE**step) * rows[:-step]
        for step in (1, 2, 4, 8):
            rows[:-step] += np.float32(SPLINE_POLE**step) * rows[step:]
    limit = np.array(image.shape[1::-1])[:, None]
    points = np.clip(points, -1, limit)
    first = np.floor(points)
    x, y = (_spline_basis(part) for part in (points - first).astype(np.float32))
    width = weights.shape[1]
    column, row = first.astype(np.int64) + (reach - 1)
    corner, flat = row * width + column, weights.reshape(-1, weights.shape[2])
    samples = np.zeros((points.shape[1], weights.shape[2]), np.float32)
    for down in range(4):
        for across in range(4):
            samples += flat.take(corner + (down * width + across), axis=0) * (y[down] * x[across])[:, None]
    return samples


def _spline_basis(part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four cubic B-splines that are not zero `part` [N] of a pixel after the second one's centre: [4, N]."""
    rest = 1 - part
    return rest**3 / 6, 2 / 3 - part**2 * (1 - part / 2), 2 / 3 - rest**2 * (1 - rest / 2), part**3 / 6


def _resize(part: np.ndarray, target: list[int], box: list[float]) -> np.ndarray:
    """Antialiased bicubic resize of `box` (x0, y0, x1, y1) to `target` (width, height); float32 in [0, 1]."""
    x0, y0, x1, y1 = box

    def resized(plane: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize(target, Image.Resampling.BICUBIC, box=(x0, y0, x1, y1), reducing_gap=3.0))

    if part.dtype == np.uint8:
        return resized(part).astype(np.float32) / np.float32(255)
    return np.stack([resized(part[..., i].astype(np.float32)) for i in range(3)], axis=-1)


def _inside(matrix: np.ndarray, size: int, extent: np.ndarray) -> np.ndarray:
    """[S, S] bool: crop pixels whose centre `matrix` [2, 3] maps into a photo of `extent` (width, height)."""
    centres = np.arange(size) + 0.5
    inside = np.ones((size, size), bool)
    for (across, down, shift), limit in zip(matrix, extent, strict=True):
        places = across * centres + (down * centres + shift)[:, None]
        inside &= (places >= 0) & (places < limit)
    return inside


def _check_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be [H, W, 3] with at least one pixel. Received: {list(image.shape)}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image must be uint8 or float in [0, 1]. Received: {image.dtype}")
    return image
