"""Smooth fields through pictures that are known in part, and samples of pictures.

Unknown pixels are filled from their surroundings by pull-push (Gortler et al., "The Lumigraph", 1996, section 3.4).

Letters: H, W size of a picture, C channels, N places.
"""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage, sparse
from scipy.sparse import linalg

from tf_deep3d.rendering.antialiasing import block_sums

STIFFNESS = 30.0  # of a membrane: how known cells pull, over the tension
MEMBRANE_SIZE = 64  # about this many cells on the longer side hold a membrane
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
    left, top = x.astype(np.intp), y.astype(np.intp)
    x, y = (x - left)[:, None], (y - top)[:, None]
    right, top = np.minimum(left + 1, width - 1), top * width
    bottom = np.minimum(top + width, (height - 1) * width)
    flat = image.reshape(height * width, -1)
    upper, lower = (
        flat.take(row + left, axis=0) * (1 - x) + flat.take(row + right, axis=0) * x for row in (top, bottom)
    )
    return upper * (1 - y) + lower * y


def pull_push(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fills `value` [H, W, C] where `weight` [H, W, 1] in [0, 1] is below 1 from its surroundings, smoothly."""
    planes = np.ascontiguousarray(np.moveaxis(value, -1, 0))
    return np.ascontiguousarray(np.moveaxis(_filled(planes, np.ascontiguousarray(weight[..., 0])), 0, -1))


def _filled(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`pull_push` of `value` [C, H, W] and `weight` [H, W]."""
    height, width = weight.shape
    if max(height, width) == 1:
        return value
    known = value * weight
    sums = np.concatenate([known, weight[None]])
    if height % 2 or width % 2:
        sums = np.pad(sums, [(0, 0), (0, height % 2), (0, width % 2)])
    sums = sums[:, 0::2] + sums[:, 1::2]
    sums = sums[..., 0::2] + sums[..., 1::2]
    total = sums[-1]
    coarse = _filled(sums[:-1] / np.maximum(total, 1e-8), np.minimum(total, 1.0))
    return known + _doubled(_doubled(coarse, -1), -2)[:, :height, :width] * (1.0 - weight)


def _doubled(planes: np.ndarray, axis: int) -> np.ndarray:
    """`planes` [C, H, W], linearly interpolated along an axis to twice as many float32, as by `resized`."""
    rows = np.moveaxis(planes.astype(np.float32), axis, 0)
    shape = [*planes.shape]
    shape[axis] *= 2
    finer = np.empty(shape, np.float32)
    fine = np.moveaxis(finer, axis, 0)
    far = 0.25 * rows.astype(np.float64)
    near = 3.0 * far
    fine[0], fine[-1] = rows[0], rows[-1]
    np.add(far[:-1], near[1:], out=fine[2::2], casting="same_kind")
    np.add(near[:-1], far[1:], out=fine[1:-1:2], casting="same_kind")
    return finer


def spread(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A smooth field [H, W, C] through `value` [H, W, C] where `weight` [H, W, 1] is high, filled elsewhere."""
    return grow(pull_push(*shrink(value, weight)), *weight.shape[:2])


def blurred(value: np.ndarray, weight: np.ndarray, deviation: float) -> np.ndarray:
    """Means [H, W, C] of `value` [H, W, C] by `weight` [H, W, 1] and a Gaussian of `deviation` px, filled where there
    is nothing."""
    cells, known = shrink(value, weight)
    scale = deviation * max(cells.shape) / max(value.shape)
    sums = [ndimage.gaussian_filter(each, (scale, scale, 0)) for each in (cells * known, known)]
    means = pull_push(sums[0] / np.maximum(sums[1], 1e-6), np.minimum(20.0 * sums[1], 1.0))
    return grow(means, *weight.shape[:2])


def membrane(value: np.ndarray, weight: np.ndarray, reach: float = 1e3) -> np.ndarray:
    """A field [H, W, C] that is `value` where `weight` [H, W, 1] in [0, 1] is high, and a membrane between.

    It minimises weight (field - value)^2 + |gradient|^2 + (field - mean)^2 / reach^2 over `MEMBRANE_SIZE` cells: where
    nothing is known it is harmonic, and within some `reach` cells it comes back to the mean of what is known.
    """
    cells, known = shrink(value, weight, MEMBRANE_SIZE)
    cells, pull = cells.reshape(known.size, -1), STIFFNESS * known.reshape(-1, 1)
    usual = np.average(cells, axis=0, weights=known.reshape(-1) + 1e-12)
    system = _laplacian(*known.shape[:2]) + sparse.diags_array(pull[:, 0] + reach**-2)
    solved = linalg.spsolve(system.tocsc(), pull * cells + usual * reach**-2, "MMD_AT_PLUS_A")
    solved = solved.reshape(*known.shape[:2], -1)
    return grow(solved.astype(np.float32), weight.shape[0], weight.shape[1], MEMBRANE_SIZE)


@functools.cache
def _laplacian(height: int, width: int) -> sparse.csr_array:
    """The positive Laplacian of a grid, whose borders reflect."""
    along = [sparse.diags_array([-np.ones(n - 1), np.ones(n)], offsets=[-1, 0], shape=(n, n)) for n in (height, width)]
    rows, columns = (step[1:] for step in (sparse.csr_array(a) for a in along))
    return sparse.csr_array(
        sparse.kron(rows.T @ rows, sparse.eye_array(width)) + sparse.kron(sparse.eye_array(height), columns.T @ columns)
    )


def shrink(value: np.ndarray, weight: np.ndarray, size: int = FIELD_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means [h, w, C] of `value` [H, W, C] over the cells of a field, and their mean weights [h, w, 1]."""
    block = 2 ** _halvings(weight.shape[0], weight.shape[1], size)
    sums = np.concatenate([value * weight, weight], axis=-1)
    sums = np.pad(sums, [(0, -side % block) for side in weight.shape[:2]] + [(0, 0)])
    sums = block_sums(sums, block)
    total = sums[..., -1:]
    return sums[..., :-1] / np.maximum(total, 1e-8), np.minimum(total / block**2, 1.0)


def grow(field: np.ndarray, height: int, width: int, size: int = FIELD_SIZE) -> np.ndarray:
    """A field [h, w, C] of `shrink`, interpolated to [height, width, C]."""
    block = 2 ** _halvings(height, width, size)
    return resized(field, field.shape[0] * block, field.shape[1] * block)[:height, :width]


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` [H, W, C] at a finer resolution, linearly interpolated: [height, width, C] float32."""
    return np.stack([resized_plane(image[..., i], height, width) for i in range(image.shape[-1])], axis=-1)


def resized_plane(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """`plane` [H, W] as by `resized`."""
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _halvings(height: int, width: int, size: int) -> int:
    """How often a picture is halved to about `size` cells on its longer side."""
    return max(0, round(np.log2(max(height, width) / size)))
