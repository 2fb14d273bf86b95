"""Makes good pictures bad in known steps: blur, compression, darkness, something before the face, few pixels.

Every function takes a picture [H, W, 3] RGB in [0, 1] and gives another, float32, its colours in steps of 1/255 as a
camera would store them, so that what is lost is lost.
"""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

FACE = 0.6  # share of an aligned picture's side that the face spans, about
_ASPECT = 1.5  # of an occluder, at most


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` px."""
    return _stored(gaussian_filter(np.asarray(image, np.float32), (sigma, sigma, 0), mode="nearest"))


def compressed(image: np.ndarray, quality: float) -> np.ndarray:
    """JPEG of `quality` 1 to 95, and back."""
    stream = io.BytesIO()
    Image.fromarray(np.rint(255 * _stored(image)).astype(np.uint8)).save(stream, "jpeg", quality=int(quality))
    return np.asarray(Image.open(stream).convert("RGB"), np.float32) / np.float32(255)


def darkened(image: np.ndarray, light: float) -> np.ndarray:
    """A share `light` of the light, linear in the stored colours."""
    return _stored(np.asarray(image, np.float32) * np.float32(light))


def occluded(
    image: np.ndarray, share: float, rng: np.random.Generator, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """An ellipse in one random colour before the face.

    Args:
      image: [H, W, 3].
      share: of the box's area that the ellipse covers.
      rng: random generator of its place, form and colour.
      box: (x0, y0, x1, y1) px of the face; by default that of an aligned picture. The ellipse lies inside it as far as
        it can: a larger one is centred.

    Returns:
      [H, W, 3].
    """
    image = np.array(image, np.float32)
    height, width = image.shape[:2]
    edge = (1 - FACE) / 2
    x0, y0, x1, y1 = box or (edge * width, edge * height, (1 - edge) * width, (1 - edge) * height)
    sides = np.array([x1 - x0, y1 - y0])
    aspect = np.exp(rng.uniform(-1, 1) * np.log(_ASPECT))
    radii = np.sqrt(share * np.prod(sides) / np.pi) * np.array([aspect, 1 / aspect])
    room = np.maximum(sides / 2 - radii, 0)
    center = np.array([x0 + x1, y0 + y1]) / 2 + room * rng.uniform(-1, 1, 2)
    color = rng.uniform(0, 1, 3)
    x, y = np.arange(width) + 0.5 - center[0], np.arange(height)[:, None] + 0.5 - center[1]
    image[(x * radii[1]) ** 2 + (y * radii[0]) ** 2 < np.prod(radii) ** 2] = color
    return _stored(image)


def shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    """The picture at 1 / `factor` of its size: [H / factor, W / factor, 3]."""
    picture = Image.fromarray(np.rint(255 * _stored(image)).astype(np.uint8))
    size = [max(round(side / factor), 1) for side in picture.size]
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0), np.float32) / np.float32(255)


def _stored(image: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.float32) / np.float32(255)
