"""How likely a pixel is skin: the naive Bayes classifier of Jones & Rehg 2002, and the photometric attention.

M. J. Jones, J. M. Rehg: Statistical Color Models with Application to Skin Detection, IJCV 46(1), 2002. Two mixtures of
16 Gaussians with diagonal covariances in RGB, fitted to about 80 million pixels of skin and 900 million others.
"""

import functools
import json

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d import assets
from tf_deep3d.arrays import Array, Namespace

SKIN_MIXTURES = assets.find("skin_mixtures.json")
PRIOR = 0.8  # P(skin) inside the crop of a face, where most pixels are skin
ATTENTIONS = ("codes", "paper")
_CHUNK = 8192  # pixels at a time, so that the temporaries stay in the cache


def skin_probability(image: ArrayLike, prior: float = PRIOR) -> np.ndarray:
    """P(skin | colour) of every pixel.

        P = prior * p(colour | skin) / (prior * p(colour | skin) + (1 - prior) * p(colour | other))

    Args:
      image: [..., 3] RGB, uint8 or a float in [0, 1] (values outside are clipped).
      prior: P(skin) before the colour is seen, in (0, 1).

    Returns:
      [...] float32 in [0, 1].

    Raises:
      ValueError: if the last axis is not RGB, the type is neither, or the prior is no probability in (0, 1).
    """
    image = np.asarray(image)
    if image.ndim == 0 or image.shape[-1] != 3:
        raise ValueError(f"image must be [..., 3]. Received: shape {image.shape}")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(f"image must be uint8, or a float in [0, 1]. Received: {image.dtype}")
    if not 0 < prior < 1:
        raise ValueError(f"prior must lie in (0, 1). Received: {prior}")
    colors = image.reshape(-1, 3)
    probability = np.empty(len(colors), np.float32)
    for start in range(0, len(colors), _CHUNK):
        part = slice(start, start + _CHUNK)
        chunk = colors[part].astype(np.float32)
        if image.dtype != np.uint8:
            chunk = np.clip(chunk, 0, 1) * 255
        probability[part] = _posterior(chunk, prior)
    return probability.reshape(image.shape[:-1])


def skin_levels(image: ArrayLike) -> np.ndarray:
    """`skin_probability` as records store it, looked up: 20 times as fast once the table of all colours is made.

    Args:
      image: [..., 3] uint8 RGB.

    Returns:
      [...] uint8, the probability times 255, rounded.

    Raises:
      ValueError: on another shape or type.
    """
    image = np.asarray(image)
    if image.ndim == 0 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be [..., 3] uint8. Received: {image.shape} {image.dtype}")
    packed = image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return np.take(_levels_of_all_colors(), packed)


@functools.cache
def _levels_of_all_colors() -> np.ndarray:
    """[2^24] uint8, at red * 2^16 + green * 2^8 + blue; 16 MiB, about two seconds."""
    green, blue = np.mgrid[:256, :256].astype(np.uint8)
    rows = []
    for red in range(256):
        colors = np.stack([np.full_like(green, red), green, blue], axis=-1)
        rows.append(np.round(skin_probability(colors) * 255).astype(np.uint8).reshape(-1))
    return np.concatenate(rows)


def skin_attention(probability: Array, variant: str = "codes", xp: Namespace = np) -> Array:
    """The photometric loss' weight of every pixel.

    Args:
      probability: [...] of `skin_probability`.
      variant: "codes": A = P (both released implementations). "paper": A = 1 where P > 0.5, else P (Deng et al. 2019,
        equation 1).
      xp: array namespace.

    Returns:
      [...] float32 in [0, 1].

    Raises:
      ValueError: if the variant is unknown.
    """
    if variant not in ATTENTIONS:
        raise ValueError(f"variant must be one of {ATTENTIONS}. Received: {variant!r}")
    if xp is np:
        probability = np.asarray(probability, np.float32)
    if variant == "codes":
        return probability
    return xp.where(probability > 0.5, xp.ones_like(probability), probability)


def _posterior(colors: np.ndarray, prior: float) -> np.ndarray:
    """[N, 3] in 0..255 -> [N]. The log of each Gaussian is linear in (1, c, c^2): one matrix product for all 32.

    The product is an einsum and not `@`: BLAS would wake its threads for it, which costs more than it saves.
    """
    centered = np.ascontiguousarray(colors.T) - np.float32(127.5)  # small squares: single precision suffices
    powers = np.concatenate([np.ones_like(centered[:1]), centered, centered**2])
    logs = np.einsum("gp,pn->gn", _log_gaussians(), powers)
    logs -= logs.max(axis=0)  # far from every Gaussian all densities vanish, but not their ratio
    densities = np.exp(logs, out=logs)
    skin, other = prior * densities[:16].sum(axis=0), (1 - prior) * densities[16:].sum(axis=0)
    return skin / (skin + other)


@functools.cache
def _log_gaussians() -> np.ndarray:
    """[32, 7] float32: log(weight * Gaussian) as coefficients of 1, c - 127.5 and its square; skin first."""
    mixtures = json.loads(assets.checked(SKIN_MIXTURES).read_text(encoding="utf-8"))
    rows = []
    for name in ("skin", "nonskin"):
        weights, means, variances = (np.asarray(mixtures[name][key]) for key in ("weights", "means", "variances"))
        means = means - 127.5
        constant = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances) + means**2 / variances).sum(axis=1)
        rows.append(np.concatenate([constant[:, None], means / variances, -0.5 / variances], axis=1))
    return np.concatenate(rows).astype(np.float32)
