"""Cuts the network's picture out of a photo: the alignment by five points.

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
from numpy.typing import ArrayLike

from tf_deep3d.detection.resampling import sample
from tf_deep3d.face.geometry import Similarity

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


def weak_perspective(points5: ArrayLike, model_points5: ArrayLike) -> WeakPerspective:
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


def alignment_transform(
    points5: ArrayLike,
    model_points5: ArrayLike,
    size: int = CROP_SIZE,
    margin: float = 0.0,
    roll_limit: float = ROLL_LIMIT,
) -> tuple[Similarity, int]:
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


def align(
    image: np.ndarray,
    points5: ArrayLike,
    model_points5: ArrayLike,
    size: int = CROP_SIZE,
    margin: float = 0.0,
    roll_limit: float = ROLL_LIMIT,
) -> Crop:
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
    transform, side = alignment_transform(points5, model_points5, size, margin, roll_limit)
    picture, inside = sample(image, transform, side)
    return Crop(picture, transform, 1.0 - float(inside.mean()))
