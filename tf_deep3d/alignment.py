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

from tf_deep3d.geometry import Similarity

MODEL_SCALE = 102.0  # px per dm of the model in a crop of 224 px (the paper's code; 101.5 = focal / distance)
CROP_SIZE = 224
ROLL_LIMIT = math.radians(45)
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


def crop(image, transform, size, border="zeros", quick=False):
    """Resamples a square of `size` pixels: crop(q) = image(transform^-1 q).

    A picture that shrinks is low-pass filtered to the crop's resolution first (antialiased bicubic resize), then
    sampled bicubically at its own resolution; so the identity returns the pixels unchanged.

    Args:
      image: [H, W, 3] uint8, or float in [0, 1].
      transform: `Similarity`, photo px -> crop px.
      size: S, side of the crop in pixels.
      border: "zeros" leaves pixels whose centre lies outside the photo black, without blending into the photo;
        "edge" repeats the photo's last pixels.
      quick: box means over whole pixels and bilinear sampling, for the detectors' inputs: 2-3 times faster, with
        some aliasing.

    Returns:
      [S, S, 3] float32 in [0, 1].

    Raises:
      ValueError: on another shape or type, an unusable transform, size or border.
    """
    image = check_image(image)
    if border not in ("zeros", "edge"):
        raise ValueError(f"border must be 'zeros' or 'edge'. Received: {border!r}")
    if int(size) != size or size < 1:
        raise ValueError(f"size must be a positive whole number of pixels. Received: {size!r}")
    if not (np.isfinite(transform.matrix).all() and transform.scale > 0):
        raise ValueError(f"transform must be finite with a positive scale. Received: {transform}")
    size = int(size)
    height, width = image.shape[:2]
    back = transform.inverse()
    shrink = max(back.scale, 1.0)

    # The photo's part that the crop can touch.
    corners = back.apply(np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64))
    reach = 3.0 * shrink + 1.0
    x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(0) - reach), 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(corners.max(0) + reach), [x0 + 1, y0 + 1], [width, height]))
    part = image[y0:y1, x0:x1]
    factors = np.ones(2)
    if quick and shrink >= 2.0:
        step = min(int(shrink), x1 - x0, y1 - y0)
        part = _per_plane(part, lambda plane: plane.reduce(step))
        factors = np.full(2, 1.0 / step)
    elif shrink > 1.0 and not quick:
        target = [max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink))]
        part = _per_plane(part, lambda plane: plane.resize(target, Image.Resampling.BICUBIC, reducing_gap=3.0))
        factors = np.array(target) / [x1 - x0, y1 - y0]

    # q -> part: move the part's corner to the origin, then scale.
    matrix = back.matrix
    matrix[:, 2] -= [x0, y0]
    matrix *= factors[:, None]
    if border == "edge":
        span = matrix[:, :2] @ np.array([[0, size, 0, size], [0, 0, size, size]]) + matrix[:, 2:]
        before = np.clip(np.ceil(2 - span.min(1)), 0, 2 * size).astype(int)
        after = np.clip(np.ceil(span.max(1) + 2 - part.shape[1::-1]), 0, 2 * size).astype(int)
        part = np.pad(part, [(before[1], after[1]), (before[0], after[0]), (0, 0)], mode="edge")
        matrix[:, 2] += before
    affine = matrix.reshape(-1).tolist()
    kernel = Image.Resampling.BILINEAR if quick else Image.Resampling.BICUBIC
    if part.dtype == np.uint8 and not quick:
        part = part.astype(np.float32) / np.float32(255)  # Pillow's 8-bit sampling truncates
    sampled = _per_plane(part, lambda plane: plane.transform((size, size), Image.Transform.AFFINE, affine, kernel))
    return sampled if sampled.dtype != np.uint8 else sampled.astype(np.float32) / np.float32(255)


def outside_share(transform, size, width, height):
    """Share of the S x S crop pixels whose centre maps outside the photo of `width` x `height` pixels, in [0, 1]."""
    centres = np.arange(size) + 0.5
    points = transform.inverse().apply(np.stack(np.meshgrid(centres, centres), axis=-1))
    inside = (points >= 0).all(-1) & (points < [width, height]).all(-1)
    return 1.0 - float(inside.mean())


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
    image = check_image(image)
    transform, side = alignment_transform(points5, model_points5, size, margin, roll_limit)
    outside = outside_share(transform, side, image.shape[1], image.shape[0])
    return Crop(crop(image, transform, side), transform, outside)


def check_image(image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be [H, W, 3] with at least one pixel. Received: {list(image.shape)}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image must be uint8 or float in [0, 1]. Received: {image.dtype}")
    return image


def _per_plane(array, change):
    """Applies `change` to a uint8 [H, W, 3] array as one RGB picture, to a float one plane by plane in 32 bit."""
    if array.dtype == np.uint8:
        return np.asarray(change(Image.fromarray(np.ascontiguousarray(array))))
    planes = [np.asarray(change(Image.fromarray(np.ascontiguousarray(array[..., i], np.float32)))) for i in range(3)]
    return np.clip(np.stack(planes, axis=-1), 0.0, 1.0)
