"""Reflectance of the open face model: random complexions and their principal modes."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tf_deep3d.porting.open_face.canvas import HAEMOGLOBIN, Canvas, soft

_TONES = np.array([[0.93, 0.79, 0.70], [0.86, 0.69, 0.58], [0.75, 0.56, 0.44], [0.55, 0.38, 0.28], [0.34, 0.21, 0.15]])
_WHITE, VEIN = np.array([0.86, 0.83, 0.80]), np.array([0.75, 0.50, 0.45])
CAVITY, TEETH = np.array([0.16, 0.05, 0.05]), np.array([0.85, 0.80, 0.72])
TONGUE = np.array([0.55, 0.25, 0.24])
_IRISES = np.array([[0.20, 0.11, 0.06], [0.13, 0.08, 0.05], [0.36, 0.23, 0.11], [0.30, 0.42, 0.52], [0.38, 0.42, 0.28],
                    [0.42, 0.46, 0.48]])  # fmt: skip
_IRIS_SHARES = np.array([0.35, 0.25, 0.12, 0.13, 0.08, 0.07])  # the last four get rare in dark skins
_PUPIL, _LIMBUS = 0.085, 0.261  # radius, 1 is 90 degrees from the gaze axis
_LOWEST, _HIGHEST = 0.004, 0.98


def sample_albedos(canvas: Canvas, count: int, rng: np.random.Generator, block: int = 40) -> Iterator[np.ndarray]:
    """Random complexions: yields `count` arrays [V, 3] float32 in [0, 1].

    The tone is uniform between very light and very dark; details come from a Dirichlet(0.25) mix of the painted skins.

    Args:
      canvas: `open_face_canvas.Canvas`.
      count: number of samples.
      rng: random generator.
      block: samples at a time.
    """
    vertices = canvas.layers.shape[1]
    layers = canvas.layers.reshape(len(canvas.layers), -1)
    for start in range(0, count, block):
        size = min(block, count - start)
        darkness = rng.uniform(size=size)
        tones = np.stack([_tone(share, rng) for share in darkness]).astype(np.float32)
        weights = np.stack([_layer_weights(canvas.names, rng) for _ in range(size)]).astype(np.float32)
        density = (weights @ layers).reshape(size, vertices, 3) + tones[:, None]
        for share, albedo in zip(darkness, np.exp(-np.maximum(density, 0.02)), strict=True):
            lips = albedo[canvas.lips].mean(0)
            albedo[canvas.mouth] = _mouth(canvas, lips, rng)
            albedo[canvas.eye] = _eyes(canvas, share, rng)
            yield np.clip(albedo, _LOWEST, _HIGHEST)


def _tone(share: float, rng: np.random.Generator) -> np.ndarray:
    """Optical density [3] of the cheeks, between the lightest (share 0) and the darkest (1) tone."""
    tone = np.array([np.interp(share, np.linspace(0, 1, len(_TONES)), channel) for channel in -np.log(_TONES).T])
    return tone + max(rng.normal(0, 0.045), -0.03) * HAEMOGLOBIN + rng.normal(0, 0.015, 3)


def _layer_weights(names: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Strength of each layer, [L]."""
    rows = np.array(names)
    weights = np.zeros(len(names))

    def put(name: str, draw: Callable[[int], np.ndarray | float]) -> None:
        chosen = rows == name
        weights[chosen] = draw(chosen.sum())

    put("skin", lambda n: rng.dirichlet(np.full(n, 0.25)) * rng.uniform(0.7, 1.1))
    put("melanin", lambda n: rng.normal(0, 0.018, n))
    put("haemoglobin", lambda n: rng.normal(0, 0.012, n))
    put("lips red", lambda n: np.exp(rng.normal(-2.4, 0.5)))
    put("lips dark", lambda n: np.abs(rng.normal(0, 0.10)))
    put("cheeks", lambda n: rng.exponential(0.06))
    put("stubble", lambda n: rng.uniform(0, 0.28) * (rng.uniform() < 0.45))
    put("brow", lambda n: rng.dirichlet(np.full(n, 0.2)) * np.exp(rng.normal(-0.08, 0.5)))
    put("lash", lambda n: rng.uniform(0.2, 0.9))
    return weights


def _mouth(canvas: Canvas, lips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Albedo [M, 3] inside the mouth, which begins in the colour of the lips."""
    depth, teeth = canvas.mouth_depth[:, None], rng.uniform() * canvas.teeth[:, None]
    cavity, enamel = CAVITY * rng.uniform(0.5, 1.6), TEETH * rng.uniform(0.85, 1.05)
    tongue = rng.uniform(0, 0.8) * canvas.tongue[:, None]
    inner = cavity * (1 - tongue) + TONGUE * tongue
    return (lips * [0.85, 0.7, 0.7] * (1 - depth) + inner * depth) * (1 - teeth) + enamel * teeth


def _eyes(canvas: Canvas, share: float, rng: np.random.Generator) -> np.ndarray:
    """Albedo [E, 3] of the eyeballs of somebody whose skin is as dark as `share`."""
    radius = canvas.eye_radius[:, None]
    shares = _IRIS_SHARES * np.where(np.arange(len(_IRISES)) < 2, 1, max(1 - 1.4 * share, 0))
    iris = _IRISES[rng.choice(len(_IRISES), p=shares / shares.sum())]
    iris = iris * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.006, 3)
    white = _WHITE * rng.uniform(0.85, 1.08)
    white = white + (VEIN - white) * np.clip((radius - 0.34) * 2.5, 0, 0.7)
    inner = np.clip(iris * (0.75 + 0.5 * np.clip(1 - radius / _LIMBUS, 0, 1)), 0.01, 1)
    inner = inner * (1 - 0.55 * np.exp(-(((radius - _LIMBUS) / 0.028) ** 2)))
    pupil, outside = soft((_PUPIL - radius) / 0.011), soft((radius - _LIMBUS) / 0.014)
    eye = (inner * (1 - pupil) + 0.015 * pupil) * (1 - outside) + white * outside
    return eye * canvas.eye_light[:, None] ** rng.uniform(0.6, 1.4)


def albedo_modes(
    samples: np.ndarray, mirror: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Principal modes of albedos.

    Args:
      samples: [n, V, 3] float32; overwritten.
      mirror: [V] int.
      count: number of modes.

    Returns:
      (mean [V, 3], symmetric; modes [count, V, 3] int8; scale [count], mode * scale = one standard deviation; share of
      the variance the modes hold).
    """
    mean = samples.mean(0, dtype=np.float64)
    mean = ((mean + mean[mirror]) / 2).astype(np.float32)
    samples -= mean
    flat = samples.reshape(len(samples), -1)
    values, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    share = values[-count:].sum() / values.sum()
    modes = (vectors[:, ::-1][:, :count] / np.sqrt(len(flat))).astype(np.float32).T @ flat
    peak = np.take_along_axis(modes, np.abs(modes).argmax(1)[:, None], 1)[:, 0]
    scale = (np.abs(peak) / 127).astype(np.float32)
    modes = np.rint(modes * np.sign(peak)[:, None] / scale[:, None]).astype(np.int8)
    return mean, modes.reshape(count, *mean.shape), scale, share
