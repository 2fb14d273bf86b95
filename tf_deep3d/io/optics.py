"""How strongly a photo's lens magnified: its focal length in px, from EXIF or from what a user knows.

Lengths in mm are equivalent to those of a camera with pictures of 36 x 24 mm, by the diagonal (CIPA DCG-001).
"""

import math
import os
from pathlib import Path

from tf_deep3d.io import photos

FILM_DIAGONAL = math.hypot(36, 24)  # mm
MILLIMETRES = (5.0, 2000.0)  # shortest and longest focal length that is believed
_EXIF, _EQUIVALENT, _WIDTH, _HEIGHT = 0x8769, 0xA405, 0xA002, 0xA003  # tags: FocalLengthIn35mmFilm, PixelX/YDimension
_SAME_SHAPE = 0.01  # relative difference of the ratio of sides up to which a photo was made smaller and not cut


def focal_length(photo: photos.Photo, size: tuple[int, int], millimetres: float | None = None) -> float | None:
    """The focal length of a photo in px.

    A photo that has the shape of the picture that its camera took is that picture, made smaller or not; one of another
    shape was cut out of it.

    Args:
      photo: path, bytes of a file, or array, which has no EXIF.
      size: (width, height) of the upright photo, px.
      millimetres: equivalent focal length, if the user knows it; else what EXIF says counts.

    Returns:
      px of `size`, or None where nobody knows.
    """
    known = (millimetres, size) if millimetres is not None else _recorded(photo)
    if known is None:
        return None
    length, taken = known
    ratios = [max(sides) / min(sides) for sides in (taken, size)]
    whole = abs(ratios[0] / ratios[1] - 1) <= _SAME_SHAPE
    return length / FILM_DIAGONAL * math.hypot(*(size if whole else taken))


def _recorded(photo: photos.Photo) -> tuple[float, tuple[int, int]] | None:
    """What EXIF says: equivalent focal length in mm and the size of the picture as it was taken, px."""
    if not isinstance(photo, str | os.PathLike | bytes):
        return None
    try:
        data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        with photos.open_picture(data) as image:
            exif = image.getexif().get_ifd(_EXIF)
            length = float(exif.get(_EQUIVALENT, 0))
            size = tuple(int(exif.get(tag, 0)) or side for tag, side in zip((_WIDTH, _HEIGHT), image.size, strict=True))
    except Exception:  # damaged metadata, or none, in whatever form: nobody knows
        return None
    return (length, (size[0], size[1])) if MILLIMETRES[0] <= length <= MILLIMETRES[1] and min(size) > 0 else None
