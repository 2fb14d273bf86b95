"""What the network regresses and the fitter searches: the coefficient vector and its layout.

The order is the paper's (Deng et al. 2019, section 3): identity, expression, albedo, angles, illumination,
translation. The sizes of the first three belong to the morphable model and are read from it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tf_deep3d.arrays import Array, Namespace
from tf_deep3d.errors import InputError
from tf_deep3d.face.lighting import HARMONICS

MAX_MODES = 1_000  # of a group
LIGHTINGS = {"rgb": 3, "white": 1}  # kind of light -> its number of channels


class Coefficients(NamedTuple):
    """The groups of one batch of faces.

    Attributes:
      identity: [B, Ki], standard deviations of the model's shape modes.
      expression: [B, Ke], standard deviations.
      albedo: [B, Kt], standard deviations.
      angles: [B, 3], pitch, yaw, roll in radians.
      illumination: [B, C, 9], spherical harmonics for each of C = 3 (rgb) or 1 (white) channels.
      translation: [B, 3], dm.
    """

    identity: Array
    expression: Array
    albedo: Array
    angles: Array
    illumination: Array
    translation: Array


GROUPS = Coefficients._fields
# How far apart two faces are in each group, roughly: what is learned or searched moves in these units, all at one pace.
SCALES = Coefficients(identity=1.0, expression=1.0, albedo=1.0, angles=0.1, illumination=0.3, translation=0.1)


@dataclass(frozen=True)
class Layout:
    """Where each group stands in the coefficient vector [B, K].

    Attributes:
      identity, expression, albedo: sizes, those of the morphable model.
      lighting: "rgb" (27 numbers, the codes) or "white" (9 numbers, the paper).

    Raises:
      InputError: if `lighting` is neither, or a size is no whole number in 0 to `MAX_MODES`.
    """

    identity: int
    expression: int
    albedo: int
    lighting: str = "rgb"

    def __post_init__(self) -> None:
        if self.lighting not in LIGHTINGS:
            raise InputError(f"lighting must be one of {sorted(LIGHTINGS)}. Received: {self.lighting!r}")
        sizes = self.identity, self.expression, self.albedo
        if not all(type(size) is int and 0 <= size <= MAX_MODES for size in sizes):
            raise InputError(f"sizes must be whole numbers in 0 to {MAX_MODES}. Received: {sizes}")

    @property
    def shapes(self) -> Coefficients:
        """Group -> shape of one face's coefficients."""
        channels = LIGHTINGS[self.lighting]
        return Coefficients((self.identity,), (self.expression,), (self.albedo,), (3,), (channels, HARMONICS), (3,))

    @property
    def sizes(self) -> Coefficients:
        """Group -> number of coefficients."""
        return Coefficients(*(math.prod(shape) for shape in self.shapes))

    @property
    def total(self) -> int:
        """K, 257 for the paper's sizes with coloured light and 239 with white."""
        return sum(self.sizes)

    def split(self, vector: Array, xp: Namespace = np) -> Coefficients:
        """Cuts `vector` [B, K] into `Coefficients`.

        Raises:
          ValueError: if the last dimension is not `total`.
        """
        if vector.shape[-1] != self.total:
            raise ValueError(f"Expected {self.total} coefficients {self.sizes}. Received: shape {vector.shape}")
        parts = xp.split(vector, np.cumsum(self.sizes)[:-1].tolist(), axis=-1)
        return Coefficients(*(xp.reshape(p, (-1, *s)) for p, s in zip(parts, self.shapes, strict=True)))

    def join(self, coefficients: Coefficients, xp: Namespace = np) -> Array:
        """Inverse of `split`: [B, K]."""
        parts = [xp.reshape(p, (-1, n)) for p, n in zip(coefficients, self.sizes, strict=True)]
        return xp.concatenate(parts, axis=-1)

    def zeros(self, batch: int, xp: Namespace = np) -> Coefficients:
        """The mean face, frontal, at the origin, under ambient light alone."""
        return Coefficients(*(xp.zeros((batch, *shape), "float32") for shape in self.shapes))
