"""Reflectance of the open face model: random complexions, the skin's tone, and the principal modes of the rest.

How light skin is follows people, not painters: its luminance is normal, about CIELAB L* = 55 with a standard deviation
of 11, over all of humanity. There is no survey of humanity; measured groups lie within: 600 Koreans L* 58 on the
forehead, a* 12 on the cheek (Han, Choi, Son 2006), 148 people in Seoul L* 64 (sd 4.9), a* 9.0 (2.7), b* 18.3 (2.4) (Yun
et al. 2010), clusters of the faces of 120 people in the USA from L* 27 to 53 (Wesselmann et al. 2009); a* and b* are
largest in the middle and fall towards dark skin (Wang et al. 2015).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tf_deep3d.arrays import Array
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.porting.open_face import geometry, surface
from tf_deep3d.porting.open_face.canvas import HAEMOGLOBIN, Canvas, soft
from tf_deep3d.porting.open_face.mesh import Mesh

MODES = 80
COMPLEXIONS = 2_000  # samples
SEED = 22
LIGHTNESS = (0.58, 0.128)  # mean and standard deviation of the luminance of cheeks, 1 is white
_RANGE = (0.12, 0.86)  # of that luminance
# Cheeks, sRGB of CIELAB (80, 7, 12), (66, 10.5, 15.5), (55, 12, 17.5), (43, 12, 16.5), (32, 10, 12.5), (22, 7, 7.5),
# (12, 4, 4).
_TONES = np.array([[0.865, 0.758, 0.692], [0.742, 0.600, 0.522], [0.636, 0.484, 0.400],
                   [0.508, 0.367, 0.294], [0.380, 0.271, 0.220], [0.261, 0.191, 0.164],
                   [0.153, 0.115, 0.103]])  # fmt: skip
_TONE_LIGHTNESS = _TONES @ LUMINANCE
_WHITE, VEIN = np.array([0.86, 0.83, 0.80]), np.array([0.75, 0.50, 0.45])
CAVITY, TEETH = np.array([0.16, 0.05, 0.05]), np.array([0.85, 0.80, 0.72])
TONGUE = np.array([0.55, 0.25, 0.24])
_IRISES = np.array([[0.20, 0.11, 0.06], [0.13, 0.08, 0.05], [0.36, 0.23, 0.11], [0.30, 0.42, 0.52], [0.38, 0.42, 0.28],
                    [0.42, 0.46, 0.48]])  # fmt: skip
_IRIS_SHARES = np.array([0.35, 0.25, 0.12, 0.13, 0.08, 0.07])  # the last four get rare in dark skins
_PUPIL, _LIMBUS = 0.085, 0.261  # radius, 1 is 90 degrees from the gaze axis
_LIGHT_EYED = (0.37, 0.70)  # luminance of cheeks from which irises may be light, and at which they are most often
_YELLOW = np.array([0.0, 0.25, 1.0])  # relative density of carotene and the like
_LOWEST, _HIGHEST = 0.004, 0.98


def reflectance(mesh: Mesh, ground: Canvas, skin: np.ndarray) -> tuple[dict[str, Array], float]:
    """Mean and modes of random complexions: the arrays of the model's file, and the share of variance they hold.

    Args:
      mesh: `Mesh` of the face.
      ground: its `Canvas`.
      skin: [V] bool, where the skin's tone shows.
    """
    samples = np.stack(list(sample_albedos(ground, COMPLEXIONS, np.random.default_rng(SEED))))
    apart = 10 * np.eye(3)[1] * (mesh.part == surface.EYE)[:, None]  # eyeballs touch the skin
    mirror = geometry.match_mirrored(mesh.place + apart, 1e-4)
    mean, modes, scale, share = albedo_modes(samples, mirror, skin, MODES)
    return {"mean_albedo": mean, "albedo_basis": modes, "albedo_scale": scale}, share


def sample_albedos(canvas: Canvas, count: int, rng: np.random.Generator, block: int = 40) -> Iterator[np.ndarray]:
    """Random complexions: yields `count` arrays [V, 3] float32 in [0, 1].

    Tones are people's (`LIGHTNESS`); details come from a Dirichlet(0.25) mix of the painted skins.

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
        lightness = np.clip(rng.normal(*LIGHTNESS, size), *_RANGE)
        tones = np.stack([_tone(cheek, rng) for cheek in lightness]).astype(np.float32)
        weights = np.stack([_layer_weights(canvas.names, rng) for _ in range(size)]).astype(np.float32)
        density = (weights @ layers).reshape(size, vertices, 3) + tones[:, None]
        for cheek, albedo in zip(lightness, np.exp(-np.maximum(density, 0.02)), strict=True):
            lips = albedo[canvas.lips].mean(0)
            albedo[canvas.mouth] = _mouth(canvas, lips, rng)
            albedo[canvas.eye] = _eyes(canvas, cheek, rng)
            yield np.clip(albedo, _LOWEST, _HIGHEST)


def _tone(lightness: float, rng: np.random.Generator) -> np.ndarray:
    """Optical density [3] of cheeks of that luminance, or nearly: redder or yellower than others."""
    tone = np.array([np.interp(lightness, _TONE_LIGHTNESS[::-1], channel[::-1]) for channel in -np.log(_TONES).T])
    red, yellow = rng.normal(0, 0.030), rng.normal(0, 0.045)
    return tone + red * (HAEMOGLOBIN - HAEMOGLOBIN @ LUMINANCE) + yellow * (_YELLOW - _YELLOW @ LUMINANCE)


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


def _eyes(canvas: Canvas, lightness: float, rng: np.random.Generator) -> np.ndarray:
    """Albedo [E, 3] of the eyeballs of somebody whose cheeks have that luminance."""
    radius = canvas.eye_radius[:, None]
    shares = _IRIS_SHARES * np.where(np.arange(len(_IRISES)) < 2, 1, np.interp(lightness, _LIGHT_EYED, (0, 1)))
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
    samples: np.ndarray, mirror: np.ndarray, skin: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The skin's tone, then the principal modes of what it does not explain.

    The first mode is what goes with the skin's mean luminance, lighter for positive coefficients: it holds all of that
    luminance's variance, and along every other mode it stays what it is.

    Args:
      samples: [n, V, 3] float32; overwritten.
      mirror: [V] int.
      skin: [V] bool, its own mirror image.
      count: number of modes.

    Returns:
      (mean [V, 3], symmetric; modes [count, V, 3] int8; scale [count], mode * scale = one standard deviation; share of
      the variance the modes hold).
    """
    mean = samples.mean(0, dtype=np.float64)
    samples -= mean.astype(np.float32)
    flat = samples.reshape(len(samples), -1)
    variance = np.square(flat).sum(dtype=np.float64)
    tone = samples[:, skin].mean(1, dtype=np.float64) @ LUMINANCE
    tone = (tone / tone.std()).astype(np.float32)
    first = (tone @ flat / len(flat)).reshape(mean.shape)
    first = ((first + first[mirror]) / 2).ravel()
    flat -= tone[:, None] * first
    values, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    values, vectors = values[::-1][: count - 1], vectors[:, ::-1][:, : count - 1]
    share = 1 - (np.square(flat).sum(dtype=np.float64) - values.sum()) / variance
    modes = np.concatenate([first[None], (vectors / np.sqrt(len(flat))).astype(np.float32).T @ flat])
    peak = np.take_along_axis(modes, np.abs(modes).argmax(1)[:, None], 1)[:, 0]
    peak[0] = np.abs(peak[0])
    scale = (np.abs(peak) / 127).astype(np.float32)
    modes = np.rint(modes * np.sign(peak)[:, None] / scale[:, None]).astype(np.int8)
    mean = ((mean + mean[mirror]) / 2).astype(np.float32)
    return mean, modes.reshape(count, *mean.shape), scale, float(share)
