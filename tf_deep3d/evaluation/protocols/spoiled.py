"""Pictures that are made bad in known steps (`degradation`), as files that are made once."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from tf_deep3d.data.rendered.people import generator
from tf_deep3d.evaluation import degradation
from tf_deep3d.io import photos
from tf_deep3d.io.files import writing

Box: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1 in px


class Kind(NamedTuple):
    """A way to spoil a picture.

    Attributes:
      unit: of its levels.
      none: the level at which nothing is spoiled.
      spoil: (picture [H, W, 3] in [0, 1], level, box of the face, random generator) -> picture.
    """

    unit: str
    none: float
    spoil: Callable[[np.ndarray, float, Box, np.random.Generator], np.ndarray]


KINDS = {
    "blur": Kind("% of the face's width", 0, lambda image, level, box, rng: _blur(image, level, box)),
    "JPEG quality": Kind("", 100, lambda image, level, box, rng: degradation.compressed(image, level)),
    "occluded": Kind("% of the face", 0, lambda image, level, box, rng: _occlude(image, level, box, rng)),
    "light": Kind("%", 100, lambda image, level, box, rng: degradation.darkened(image, level / 100)),
    "face width": Kind("px", 0, lambda image, level, box, rng: degradation.shrunk(image, (box[2] - box[0]) / level)),
}


def title(kind: str, level: float) -> str:
    """What pictures are called that are spoiled so far."""
    return f"{kind} {level:g} {KINDS[kind].unit}".strip()


def spoil(path: Path, box: Box, kind: str, level: float, seed: tuple[int, ...], folder: Path) -> Path:
    """Path of a spoiled picture, made in `folder` unless it is there.

    Args:
      path: of the clean picture; its own where `level` is none.
      box: (x0, y0, x1, y1) px of the face.
      kind: name in `KINDS`.
      level: of the kind's unit.
      seed: of the random numbers, 3 whole numbers.
      folder: for the picture.
    """
    if level == KINDS[kind].none:
        return path
    target = folder / f"{path.stem}_{kind.replace(' ', '-')}{level:g}.png"
    if not target.is_file():
        image = photos.read_photo(path) / np.float32(255)
        image = KINDS[kind].spoil(image, level, box, generator(*seed))
        with writing(target, overwrite=True) as file:
            Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(file, "png")
    return target


def box_of(landmarks: np.ndarray) -> Box:
    """(x0, y0, x1, y1) px around landmarks [68, 2]."""
    return (*np.min(landmarks, 0), *np.max(landmarks, 0))


def _blur(image: np.ndarray, level: float, box: Box) -> np.ndarray:
    return degradation.blurred(image, level / 100 * (box[2] - box[0]))


def _occlude(image: np.ndarray, level: float, box: Box, rng: np.random.Generator) -> np.ndarray:
    return degradation.occluded(image, level / 100, rng, box)
