"""A face in equations: camera, light, model, coefficients; NumPy alone, or `keras.ops` as the array namespace `xp`."""

from tf_deep3d.face.reconstruction import (
    Face,
    albedo,
    at_landmarks,
    combine,
    neutral_shape,
    pose,
    reconstruct,
    unposed_shape,
)

__all__ = [
    "Face",
    "albedo",
    "at_landmarks",
    "combine",
    "neutral_shape",
    "pose",
    "reconstruct",
    "unposed_shape",
]
