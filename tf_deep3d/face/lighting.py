"""Lambertian shading under three bands of spherical harmonics.

Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps" (2001), with the constants
and signs of Deng et al. 2019.
"""

import numpy as np

from tf_deep3d.arrays import Array, Namespace, unstack

HARMONICS = 9  # basis functions: 1, 3 and 5 of the bands of degree 0, 1 and 2
AMBIENT = 0.8  # added to the first coefficient, so that zero illumination is an evenly lit face
LUMINANCE = np.array([0.299, 0.587, 0.114])  # weights of RGB
# Irradiance on the front of a face in photos, luminance, and its standard deviation. A camera exposes so that white is
# just below 1. From the skins of 120 photos each of LFW (median luminance .49, sd of the logarithm .21) and MEBeauty
# (.52, .32), which hold the spread of tones, too.
EXPOSURE, EXPOSURE_SPREAD = 0.92, 0.18

_A = (np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8))  # Lambertian kernel of band 0, 1, 2
_C = (1 / np.sqrt(4 * np.pi), np.sqrt(3) / np.sqrt(4 * np.pi), 3 * np.sqrt(5) / np.sqrt(12 * np.pi))
_AC = tuple(float(a * c) for a, c in zip(_A, _C, strict=True))


def sh_basis(normals: Array, xp: Namespace = np) -> Array:
    """The nine basis functions [B, N, 9] at unit `normals` [B, N, 3] of the world frame."""
    return xp.stack(_sh_basis(normals, xp), axis=-1)


def _sh_basis(normals: Array, xp: Namespace) -> list[Array]:
    """The nine basis functions, [B, N] each."""
    x, y, z = unstack(normals, -1, xp)
    band0, band1, band2 = _AC
    return [
        band0 * xp.ones_like(x),
        -band1 * y,
        band1 * z,
        -band1 * x,
        band2 * x * y,
        -band2 * y * z,
        band2 / (2 * 3**0.5) * (3 * z * z - 1),
        -band2 * x * z,
        band2 / 2 * (x * x - y * y),
    ]


def sh_slopes(normals: np.ndarray) -> np.ndarray:
    """Derivatives [N, 9, 3] of the basis functions by the normal, at `normals` [N, 3]; NumPy."""
    x, y, z = normals.T
    zero, (_, band1, band2) = np.zeros_like(x), _AC
    one = np.ones_like(x)
    rows = [
        [zero, zero, zero],
        [zero, -band1 * one, zero],
        [zero, zero, band1 * one],
        [-band1 * one, zero, zero],
        [band2 * y, band2 * x, zero],
        [zero, -band2 * z, -band2 * y],
        [zero, zero, band2 * 3**0.5 * z],
        [-band2 * z, zero, -band2 * x],
        [band2 * x, -band2 * y, zero],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def irradiance(normals: Array, illumination: Array, xp: Namespace = np) -> Array:
    """Light that arrives at each normal.

    Args:
      normals: [B, N, 3], unit, world frame.
      illumination: [B, C, 9], C = 3 (rgb) or 1 (white); `AMBIENT` is added to band 0 here.
      xp: array namespace.

    Returns:
      [B, N, C], 1 is a white surface that is rendered white; not clipped.
    """
    basis = xp.stack(_sh_basis(normals, xp), axis=1)  # [B, 9, N]: long rows are faster
    return xp.swapaxes(xp.matmul(illumination, basis) + AMBIENT * basis[:, :1], 1, 2)


def shade(albedo: Array, normals: Array, illumination: Array, xp: Namespace = np) -> Array:
    """Colours [B, N, 3] = albedo [B, N, 3] * irradiance; not clipped, so that gradients survive overexposure."""
    return albedo * irradiance(normals, illumination, xp)
