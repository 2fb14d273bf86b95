"""Smooth fields through pictures that are known in part, and samples of pictures.

Unknown pixels are filled from their surroundings by pull-push (Gortler et al., "The Lumigraph", 1996, section 3.4).

Letters: H, W size of a picture, C channels, N places.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

FIELD_SIZE = 128  # about this many cells on the longer side hold a field


def mean_around(image: np.ndarray, side: int) -> np.ndarray:
    """Means of `image` [H, W, 1] over squares of `side` px."""
    return ndimage.uniform_filter(image[..., 0], side, mode="nearest")[..., None]


def ramp(x: np.ndarray, limits: Sequence[float] | np.ndarray) -> np.ndarray:
    """0 below limits[0], 1 above limits[1], smooth between."""
    x = np.clip((x - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def bilinear(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values [N, C] of `image` [H, W, C] at `places` [N, 2] px, the centre of the first pixel at (0.5, 0.5)."""
    height, width = image.shape[:2]
    x = np.clip(places[:, 0] - 0.5, 0, width - 1)
    y = np.clip(places[:, 1] - 0.5, 0, height - 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = (x - left)[:, None], (y - top)[:, None]
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    flat = image.reshape(height * width, -1)
    upper = flat[top * width + left] * (1 - x) + flat[top * width + right] * x
    lower = flat[bottom * width + left] * (1 - x) + flat[bottom * width + right] * x
    return upper * (1 - y) + lower * y


def pull_push(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fills `value` [H, W, C] where `weight` [H, W, 1] in [0, 1] is below 1 from its surroundings, smoothly."""
    height, width = weight.shape[:2]
    if max(height, width) == 1:
        return value
    pad = [(0, height % 2), (0, width % 2), (0, 0)]
    sums = np.concatenate([value * weight, weight], axis=-1)
    sums = np.pad(sums, pad) if height % 2 or width % 2 else sums
    sums = sums[0::2] + sums[1::2]
    sums = sums[:, 0::2] + sums[:, 1::2]
    total = sums[..., -1:]
    coarse = pull_push(sums[..., :-1] / np.maximum(total, 1e-8), np.minimum(total, 1.0))
    return value * weight + _twice(coarse)[:height, :width] * (1.0 - weight)


def spread(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A smooth field [H, W, C] through `value` [H, W, C] where `weight` [H, W, 1] is high, filled elsewhere."""
    return grow(pull_push(*shrink(value, weight)), *weight.shape[:2])


def shrink(value: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means [h, w, C] of `value` [H, W, C] over the cells of a field, and their mean weights [h, w, 1]."""
    block = 2 ** _halvings(*weight.shape[:2])
    sums = np.concatenate([value * weight, weight], axis=-1)
    sums = np.pad(sums, [(0, -side % block) for side in weight.shape[:2]] + [(0, 0)])
    rows, columns = (side // block for side in sums.shape[:2])
    sums = sums.reshape(rows, block, -1).sum(axis=1).reshape(rows, columns, block, -1).sum(axis=2)
    total = sums[..., -1:]
    return sums[..., :-1] / np.maximum(total, 1e-8), np.minimum(total / block**2, 1.0)


def grow(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """A field [h, w, C] of `shrink`, interpolated to [height, width, C]."""
    for _ in range(_halvings(height, width)):
        field = _twice(field)
    return field[:height, :width]


def _halvings(height: int, width: int) -> int:
    """How often a picture is halved to the size of a field."""
    return max(0, round(np.log2(max(height, width) / FIELD_SIZE)))


def _twice(image: np.ndarray) -> np.ndarray:
    """`image` at twice the resolution."""
    return _double(_double(image, 0), 1)


def _double(image: np.ndarray, axis: int) -> np.ndarray:
    """`image` at twice the resolution along `axis`, linearly interpolated."""
    before = np.concatenate([image.take([0], axis), image.take(range(image.shape[axis] - 1), axis)], axis)
    after = np.concatenate([image.take(range(1, image.shape[axis]), axis), image.take([-1], axis)], axis)
    fine = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis=axis + 1)
    return fine.reshape(*image.shape[:axis], -1, *image.shape[axis + 1 :])
