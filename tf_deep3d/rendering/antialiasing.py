"""Pictures with smooth edges: rendered larger, then averaged. NumPy in and out, one picture at a time."""

import numpy as np

from tf_deep3d.rendering import still

SUPERSAMPLING = 2  # renderings are made this much larger and averaged
STRIP = 32 * SUPERSAMPLING  # px, rows that are averaged together, which fit the processor's cache


def antialiased(
    pixels: np.ndarray, depth: np.ndarray, triangles: np.ndarray, attributes: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Renders vertex attributes.

    Args:
      pixels: [V, 2] px of the picture.
      depth: [V] dm.
      triangles: [T, 3] int32.
      attributes: [V, C].
      size: width and height of the picture in px.

    Returns:
      [H, W, C] attributes, multiplied by their coverage; and the coverage [H, W, 1] in [0, 1].
    """
    pixels, (width, height) = np.asarray(pixels, np.float32) * SUPERSAMPLING, (n * SUPERSAMPLING for n in size)
    fragments = still.rasterize(pixels, depth, triangles, height, width)
    values = np.concatenate([attributes, np.ones((len(attributes), 1))], axis=1)
    strips = (still.Fragments(*(each[row : row + STRIP] for each in fragments)) for row in range(0, height, STRIP))
    values = np.concatenate([averaged(still.interpolate(strip, values, triangles)) for strip in strips])
    return values[..., :-1], values[..., -1:]


def averaged(image: np.ndarray) -> np.ndarray:
    """[H, W, C] of an image [SUPERSAMPLING H, SUPERSAMPLING W, C]."""
    return block_sums(image, SUPERSAMPLING) / np.float32(SUPERSAMPLING**2)


def block_sums(picture: np.ndarray, block: int) -> np.ndarray:
    """Sums [H / block, W / block, C] of a picture [H, W, C] over squares of `block` px."""
    rows = picture[::block].copy()
    for i in range(1, block):
        rows += picture[i::block]
    sums = rows[:, ::block].copy()
    for i in range(1, block):
        sums += rows[:, i::block]
    return sums
