"""Cuts the network's picture out of a photo: resampling under a similarity, and the alignment by five points.

The five points of a detected face and the model's own five points seen frontally give a scaled orthographic camera
(least squares, "POS" in the paper's code). It says how large the face is and where the model's origin lies; the crop
puts the origin in its centre at `MODEL_SCALE` pixels per dm, which is what a frontal face at the camera's distance
measures. Like the paper's codes the crop is scaled and moved but not turned, so that the pose keeps the roll; only a
face that lies on its side or upside down (`ROLL_LIMIT`) is set upright, and `Crop.transform` remembers it.

Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5), in photo and crop alike.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.face.geometry import Similarity

MODEL_SCALE = 102.0  # px per dm of the model in a crop of 224 px (the paper's code; 101.5 = focal / distance)
CROP_SIZE = 224
ROLL_LIMIT = math.radians(45)
SPLINE_POLE = math.sqrt(3) - 2  # of the filter that turns pixels into weights of cubic B-splines
SPLINE_REACH = 16  # px after which that filter has died down: SPLINE_POLE^16 = 7e-10
SMALLEST_SPREAD = 1e-3  # px; five points closer together than this hold no scale


class Crop(NamedTuple):
    """A square part of a photo.

    Attributes:
      image: [S, S, 3] float32 RGB in [0, 1]; black where the photo ends.
      transform: similarity from photo pixels to crop pixels.
      outside: share of the crop's pixels whose centre lies outside the photo, in [0, 1].
    """

    image: np.ndarray
    transform: Similarity
    outside: float


class WeakPerspective(NamedTuple):
    """A scaled orthographic view of the model.

    Attributes:
      scale: photo pixels per dm.
      origin: [2], the photo pixel of the model's origin.
      roll: radians the face's upward axis is turned from the picture's, positive counter-clockwise as seen, in
        (-pi, pi].
    """

    scale: float
    origin: np.ndarray
    roll: float


def crop(image, transform, size):
    """Resamples a square of `size` pixels: crop(q) = image(transform^-1 q), antialiased.

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
    return _sample(_check_image(image), transform, size)[0]


def _sample(image, transform, size):
    """`crop` and the pixels [S, S] bool whose centre lies inside the photo."""
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


def _upright(part, matrix, inside):
    """Resizes the box of `part` that the pixels `inside` [S, S] see; [S, S, 3] float32, zero elsewhere."""
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    span = np.array([[columns[0], columns[-1] + 1], [rows[0], rows[-1] + 1]])
    box = matrix[0, 0] * span + matrix[:, 2:]
    extent = np.array(part.shape[1::-1])
    # The outermost pixels may reach half over the photo's border.
    before = np.maximum(np.ceil(-box[:, 0]), 0).astype(int)
    after = np.maximum(np.ceil(box[:, 1] - extent), 0).astype(int)
    padded = np.pad(part, [(before[1], after[1]), (before[0], after[0]), (0, 0)], mode="edge")
    box = np.clip(box + before[:, None], 0, (extent + before + after)[:, None])
    target = (span[:, 1] - span[:, 0]).tolist()
    picture = np.zeros((*inside.shape, 3), np.float32)
    picture[span[1, 0] : span[1, 1], span[0, 0] : span[0, 1]] = _resize(padded, target, box.T.reshape(-1).tolist())
    return picture


def _turned(part, matrix, shrink, size):
    """Shrinks `part` to the crop's resolution and samples it at any angle; [S, S, 3] float32."""
    extent = np.array(part.shape[1::-1])
    target = np.maximum(np.round(extent / shrink), 1)
    small = _resize(part, target.astype(int).tolist(), [0, 0, *extent.tolist()])
    centres = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)).reshape(2, -1)
    points = (matrix[:, :2] @ centres + matrix[:, 2:]) * (target / extent)[:, None] - 0.5
    return _spline(small, points).reshape(size, size, 3)


def _spline(image, points):
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


def _spline_basis(part):
    """The four cubic B-splines that are not zero `part` [N] of a pixel after the second one's centre: [4, N]."""
    rest = 1 - part
    return rest**3 / 6, 2 / 3 - part**2 * (1 - part / 2), 2 / 3 - rest**2 * (1 - rest / 2), part**3 / 6


def _resize(part, target, box):
    """Antialiased bicubic resize of `box` (x0, y0, x1, y1) to `target` (width, height); float32 in [0, 1]."""

    def resized(plane):
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize(target, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0))

    if part.dtype == np.uint8:
        return resized(part).astype(np.float32) / np.float32(255)
    return np.stack([resized(part[..., i].astype(np.float32)) for i in range(3)], axis=-1)


def _inside(matrix, size, extent):
    """[S, S] bool: crop pixels whose centre `matrix` [2, 3] maps into a photo of `extent` (width, height)."""
    centres = np.arange(size) + 0.5
    inside = np.ones((size, size), bool)
    for (across, down, shift), limit in zip(matrix, extent, strict=True):
        places = across * centres + (down * centres + shift)[:, None]
        inside &= (places >= 0) & (places < limit)
    return inside


def weak_perspective(points5, model_points5):
    """Scaled orthographic least squares of five points (paper's POS).

    Solves points = [s R1; s R2] model + t for the two rows freely; s is the mean length of the rows. The rows are
    not forced to be perpendicular, so the scale holds for profile views too, where the picture's x axis sees the
    model's depth.

    Args:
      points5: [5, 2] photo px, y down: the person's right eye, left eye, nose tip, right and left mouth corner
        (for an upright face: image-left eye first).
      model_points5: [5, 3] dm, y up, z out of the face: the same points on the frontal model.

    Returns:
      `WeakPerspective`.

    Raises:
      ValueError: on wrong shapes, numbers that are not finite, or points that fall together.
    """
    points = np.asarray(points5, np.float64)
    model = np.asarray(model_points5, np.float64)
    if points.shape != (5, 2) or model.shape != (5, 3):
        raise ValueError(
            f"points5 must be [5, 2] and model_points5 [5, 3]. Received: {list(points.shape)}, {list(model.shape)}"
        )
    if not (np.isfinite(points).all() and np.isfinite(model).all()):
        raise ValueError(f"points must be finite. Received: {points.tolist()}")
    if np.ptp(points, axis=0).max() < SMALLEST_SPREAD:
        raise ValueError(f"the five points fall together and hold no scale. Received: {points.tolist()}")
    system = np.concatenate([model, np.ones((5, 1))], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(system, points * [1.0, -1.0], rcond=None)
    if rank < 4:
        raise ValueError(f"model_points5 must not lie in one plane. Received: {model.tolist()}")
    rows = solution[:3].T
    scale = float(np.linalg.norm(rows, axis=1).mean())
    roll = math.atan2(-rows[0, 1], rows[1, 1])
    return WeakPerspective(scale, solution[3] * [1.0, -1.0], roll)


def alignment_transform(points5, model_points5, size=CROP_SIZE, margin=0.0, roll_limit=ROLL_LIMIT):
    """The similarity photo px -> crop px of `align`, without cutting.

    Args:
      points5: [5, 2] photo px, see `weak_perspective`.
      model_points5: [5, 3] dm.
      size: side of the aligned picture in px; the model measures `MODEL_SCALE * size / 224` px per dm in it.
      margin: further share of `size` on every side, at the same scale.
      roll_limit: radians; a face turned further than this in the picture's plane is set upright. 0 sets every
        face upright, `math.inf` none.

    Returns:
      (`Similarity`, side of the crop in px = size + 2 round(margin * size)).

    Raises:
      ValueError: see `weak_perspective`; a negative margin or size.
    """
    if size < 1 or margin < 0:
        raise ValueError(f"size must be positive and margin not negative. Received: {size}, {margin}")
    view = weak_perspective(points5, model_points5)
    side = int(size) + 2 * round(margin * size)
    scale = MODEL_SCALE / view.scale * size / CROP_SIZE
    # roll is counter-clockwise as seen; a positive rotation of the picture (x towards y, down) is clockwise.
    turn = Similarity(scale, view.roll if abs(view.roll) > roll_limit else 0.0)
    x, y = side / 2 - turn.apply(view.origin)
    return Similarity(turn.scale, turn.rotation, (float(x), float(y))), side


def align(image, points5, model_points5, size=CROP_SIZE, margin=0.0, roll_limit=ROLL_LIMIT):
    """Cuts the aligned face out of a photo.

    Args:
      image: [H, W, 3] RGB, uint8 or float in [0, 1].
      points5: [5, 2] photo px (`Detection.points5`).
      model_points5: [5, 3] dm, the model's own five points.
      size: side in px.
      margin: further share of `size` on every side, at the same scale (room for augmentation).
      roll_limit: radians, see `alignment_transform`.

    Returns:
      `Crop`. Beyond the photo's border it is black: skin probability there is nil, so the photometric loss ignores it.

    Raises:
      ValueError: on a wrong image, points or size.
    """
    image = _check_image(image)
    transform, side = alignment_transform(points5, model_points5, size, margin, roll_limit)
    picture, inside = _sample(image, transform, side)
    return Crop(picture, transform, 1.0 - float(inside.mean()))


def _check_image(image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be [H, W, 3] with at least one pixel. Received: {list(image.shape)}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image must be uint8 or float in [0, 1]. Received: {image.dtype}")
    return image
