"""Measures how far the detector strays from the landmarks of the open face model, by pose: `face.uncertainty`.

On the renders of `embedding`, whose faces are known exactly, each detected point lies some way off the projection of
its landmark. What is kept is the second moment of that offset, the mean offset included, around each node of a grid of
yaws and pitches: whoever compares a detected point with the model's landmark has to expect that error. Faces are as
likely as their mirror images.

Letters: P pictures, L landmarks.
"""

import numpy as np

from tf_deep3d.face import uncertainty
from tf_deep3d.face.camera import MILLIMETRES

YAWS, PITCHES = 9, 3
FAR = 25.0  # mm; what is farther off counts as so far
LEAST = 0.3  # mm, standard deviation that every landmark has at least
PRIOR = 12.0  # pictures' worth of the moment over all pitches, and of the landmarks' mean at that pose in turn


def moments(offsets: np.ndarray, angles: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Second moments [YAWS, PITCHES, L, 3] dm^2.

    Args:
      offsets: [P, L, 2] mm, detected less projected points, x right and y down; NaN where nothing was found.
      angles: [P, 3] pitch, yaw, roll in radians.
      mirror: [L], each landmark's mirror image.
    """
    offsets = np.concatenate([offsets, offsets[:, mirror] * [-1, 1]])
    angles = np.concatenate([angles, angles * [1, -1, -1]])
    there = np.isfinite(offsets).all((1, 2))
    offsets, angles = offsets[there], angles[there]
    far = np.linalg.norm(offsets, axis=-1, keepdims=True)
    x, y = np.moveaxis(offsets * np.minimum(1, FAR / np.maximum(far, 1e-9)), -1, 0)
    squares = np.stack([x * x, x * y, y * y], -1).reshape(len(x), -1)
    shares = uncertainty.shares(angles, YAWS, PITCHES).reshape(-1, YAWS, PITCHES)
    sums = np.einsum("pyx,pk->yxk", shares, squares).reshape(YAWS, PITCHES, -1, uncertainty.MOMENTS)
    counts = shares.sum(0)[..., None, None]
    yaw, many = sums.sum(1, keepdims=True), counts.sum(1, keepdims=True)
    everywhere = sums.sum((0, 1)).mean(0) / counts.sum()
    usual = np.where(many > 0, yaw.mean(2, keepdims=True) / np.where(many > 0, many, 1), everywhere)
    yaw = (yaw + PRIOR * usual) / (many + PRIOR)
    found = (sums + PRIOR * yaw) / (counts + PRIOR) + np.square(LEAST) * np.array([1, 0, 1])
    return (found / MILLIMETRES**2).astype(np.float32)
