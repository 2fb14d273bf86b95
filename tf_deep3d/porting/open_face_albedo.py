"""Reflectance of the open face model: random complexions mixed from painted skins, and their principal modes.

Colours are mixed in optical density (minus the logarithm of the albedo), where pigments add up: melanin and haemoglobin
shift the painted skins, brows, stubble, lips and cheeks are layers of pigment. Eyes and the inside of the mouth are
procedural.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from tf_deep3d.porting import open_face_geometry as geometry
from tf_deep3d.porting import open_face_surface as surface

MELANIN, HAEMOGLOBIN = np.array([0.42, 0.72, 1.0]), np.array([0.10, 1.0, 0.85])  # relative density of R, G, B
_TONES = np.array([[0.93, 0.80, 0.72], [0.86, 0.69, 0.58], [0.76, 0.56, 0.43], [0.56, 0.38, 0.28], [0.33, 0.22, 0.17]])
_WHITE, _VEIN = np.array([0.86, 0.83, 0.80]), np.array([0.75, 0.50, 0.45])
_CAVITY, _TEETH = np.array([0.16, 0.05, 0.05]), np.array([0.85, 0.80, 0.72])
_IRISES = np.array([[0.20, 0.11, 0.06], [0.13, 0.08, 0.05], [0.36, 0.23, 0.11], [0.30, 0.42, 0.52], [0.38, 0.42, 0.28],
                    [0.42, 0.46, 0.48]])  # fmt: skip
_IRIS_SHARES = (0.35, 0.25, 0.12, 0.13, 0.08, 0.07)
_PUPIL, _LIMBUS = 0.085, 0.261  # radius on the eye's disc (1 = 90 degrees from the gaze axis)


class Canvas(NamedTuple):
    """Everything the layers need to know about each vertex of a surface.

    Attributes:
      skins: [S, V, 3] optical density of each painted skin over that of its cheeks.
      part: [V] int, see `open_face_surface`.
      place: [V, 3] dm, on the base mesh.
      lips: [V] in [0, 1].
      lashes: [V] in [0, 1], the rims of the lids.
      brows: [12, V] opacity.
      beard: [V] in [0, 1].
      cheeks: [V] in [0, 1].
      eye: [V, 2], azimuthal map of an eyeball's vertices, NaN elsewhere.
      shade: [V] in [0, 1], how much light the lids leave an eyeball.
      teeth: [V] in [0, 1].
      inside: [V] in [0, 1], how deep inside the mouth.
      fields: [G, V], smooth functions.
    """

    skins: np.ndarray
    part: np.ndarray
    place: np.ndarray
    lips: np.ndarray
    lashes: np.ndarray
    brows: np.ndarray
    beard: np.ndarray
    cheeks: np.ndarray
    eye: np.ndarray
    shade: np.ndarray
    teeth: np.ndarray
    inside: np.ndarray
    fields: np.ndarray


def canvas(sources, mesh, crop=True):
    """The `Canvas` of a subdivided mesh.

    Args:
      sources: `open_face_sources.Sources`.
      mesh: `open_face_surface.Mesh`.
      crop: whether to replace painted hair at the border, as for the face model; a full head keeps it.
    """
    place, part, paint = mesh.place, mesh.part, mesh.paint
    skin = np.isin(part, (surface.FACE,))
    x, y, z = place.T
    lips = np.where(skin, geometry.sample(gaussian_filter(sources.masks["lips"], 3), paint), 0)
    lips = np.clip(lips, 0, 1)
    centers, eye_center, mouth = _features(place, part, lips)
    skins = _painted(sources, mesh, skin, eye_center, crop)
    far = np.linalg.norm(place - np.where(x[:, None] > 0, 1, np.array([[-1, 1, 1]])) * eye_center, axis=1)
    ax = np.abs(x)
    lid = np.isin(part, (surface.SOCKET,)).astype(float)
    lashes = np.clip(mesh.spread(lid, 2) * 1.6, 0, 1) * skin + lid
    jaw = 1 / (1 + np.exp((y - mouth[1] - 0.18 - 0.55 * np.clip(ax - 0.25, 0, 1)) / 0.05))
    jaw *= 1 / (1 + np.exp((mouth[2] - 1.05 - z) / 0.06)) * (1 - lips)
    jaw *= 1 / (1 + np.exp(-(y - mouth[1] + 0.62) / 0.06))
    cheeks = np.exp(-(((ax - 0.38) / 0.16) ** 2 + ((y - eye_center[1] + 0.33) / 0.15) ** 2)) * (z > 1.0)
    eye = np.full((len(part), 2), np.nan)
    eye[part == surface.EYE] = mesh.disc[part == surface.EYE]
    shade = np.ones(len(part))
    rim, _ = cKDTree(place[part == surface.FACE]).query(place[part == surface.EYE] + [0, 0.01, 0])
    shade[part == surface.EYE] = 0.55 + 0.45 * np.clip(rim / 0.05, 0, 1)
    uv_radius = np.linalg.norm(mesh.disc, axis=1)
    mouth_part = np.isin(part, (surface.MOUTH, surface.CAP))
    inside = np.where(mouth_part, np.clip((1.0 - uv_radius) / 0.22, 0, 1), 0)
    height = y - mouth[1]
    teeth = np.where(mouth_part, inside * np.exp(-(((height - 0.02) / 0.06) ** 2)) * (ax < 0.24), 0)
    teeth *= np.clip((0.66 - uv_radius) / 0.06, 0, 1)
    return Canvas(
        skins, part, place, lips * skin, lashes, _brows(sources, place, skin), jaw * skin, cheeks * skin, eye, shade, teeth,
        inside, _fields(place, skin | mouth_part) * (far > 0),
    )  # fmt: skip


def _features(place, part, lips):
    """Feature centres on the base mesh: (eyes [2, 3], left eye [3], mouth [3])."""
    eyes = place[part == surface.EYE]
    left = eyes[eyes[:, 0] > 0].mean(0)
    return np.stack([left * [-1, 1, 1], left]), left, place[lips > 0.5].mean(0)


def _painted(sources, mesh, skin, eye_center, crop):
    """Optical density [S, V, 3] of the painted skins; for the crop, hair and stubble give way to what lies inside."""
    densities = [-np.log(np.clip(geometry.sample(image, mesh.paint), 0.02, 0.98)) for image in sources.skins.values()]
    density = np.stack(densities, 1) * skin[:, None, None]
    if crop:
        x, y, z = mesh.place.T
        hair = _soft((y - eye_center[1] - 0.46 + 0.9 * np.clip(np.abs(x) - 0.2, 0, 1) ** 1.5) / 0.06)
        hair = np.maximum(hair, _soft((0.92 - z) / 0.06))
        keep = np.where(skin, 1 - hair, 0)[:, None]
        flat = density.reshape(len(density), -1)
        smooth, weight = flat * keep, keep
        for _ in range(6):
            smooth, weight = mesh.spread(smooth, 12), mesh.spread(weight, 12)
            smooth = keep * flat + (1 - keep) * smooth / np.maximum(weight, 1e-6)
            weight = np.maximum(keep, weight > 1e-6)
        density = (keep * flat + (1 - keep) * smooth).reshape(density.shape)
    x, y, z = mesh.place.T
    tone = density[skin & (z > 1.0) & (np.abs(x) > 0.2) & (np.abs(y - eye_center[1] + 0.3) < 0.15)].mean(0)
    return np.swapaxes((density - tone) * skin[:, None, None], 0, 1)


def _soft(x):
    """Logistic step."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _brows(sources, place, skin):
    """Opacity of each eyebrow card at the vertices: [12, V]."""
    result = []
    for name in sorted(sources.brows):
        card = sources.brows[name]
        opacity = gaussian_filter(card.opacity, 5)
        points3 = (sources.vertices[card.corners] * card.weights[..., None]).sum(1)
        total = np.zeros(len(place))
        for side in (-1, 1):
            own = points3[:, 0] * side > 0
            points, uv = points3[own, :2], card.uv[own]
            near = skin & (place[:, 0] * side > 0) & (np.abs(place[:, 1] - points[:, 1].mean()) < 0.3)
            at = LinearNDInterpolator(points, uv)(place[near, :2])
            valid = np.isfinite(at[:, 0])
            values = np.zeros(near.sum())
            values[valid] = geometry.sample(opacity, at[valid])
            total[near] = values
        result.append(total)
    return np.clip(np.stack(result), 0, 1)


def _fields(place, skin, count=24, seed=5):
    """Smooth functions on the surface, bumps of 2 to 4 cm: [count, V]."""
    rng = np.random.default_rng(seed)
    own = place[skin]
    centers = own[rng.integers(0, len(own), count)]
    width = rng.uniform(0.2, 0.4, count)
    distance = np.linalg.norm(place[None] - centers[:, None], axis=2)
    return np.exp(-((distance / width[:, None]) ** 2)) * skin


def sample_albedos(ground, count, rng):
    """Random complexions: yields `count` arrays [V, 3] in [0, 1]."""
    for _ in range(count):
        tone = _tone(rng.uniform()) + max(rng.normal(0, 0.045), -0.03) * HAEMOGLOBIN + rng.normal(0, 0.015, 3)
        skins = rng.dirichlet(np.full(len(ground.skins), 0.25)) * rng.uniform(0.7, 1.1)
        density = tone + np.einsum("s,svc->vc", skins, ground.skins)
        blotch = rng.normal(0, [[0.018], [0.012]], (2, len(ground.fields))) @ ground.fields
        density += blotch[0][:, None] * MELANIN + blotch[1][:, None] * HAEMOGLOBIN
        lips = np.exp(rng.normal(-2.4, 0.5)) * HAEMOGLOBIN + np.abs(rng.normal(0, 0.10)) * MELANIN
        density += ground.lips[:, None] * lips
        density += ground.cheeks[:, None] * rng.exponential(0.09) * HAEMOGLOBIN
        beard = rng.uniform(0, 0.28) * (rng.uniform() < 0.45)
        density += ground.beard[:, None] * beard * np.array([1.0, 0.95, 0.9])
        hair = np.exp(rng.normal(0.1, 0.45)) * np.array([0.75, 0.95, 1.1])
        cards = rng.dirichlet(np.full(len(ground.brows), 0.2)) @ ground.brows
        density += cards[:, None] * hair * rng.uniform(0.6, 1.1)
        density += ground.lashes[:, None] * rng.uniform(0.2, 0.9)
        albedo = np.exp(-np.maximum(density, 0.02))
        yield np.clip(_openings(ground, albedo, rng), 0.004, 0.98).astype(np.float32)


def _tone(share):
    """Optical density [3] of a complexion between the lightest (0) and the darkest (1)."""
    return np.array([np.interp(share, np.linspace(0, 1, len(_TONES)), channel) for channel in -np.log(_TONES).T])


def _openings(ground, albedo, rng):
    """Paints eyes and the inside of the mouth over an albedo [V, 3]."""
    lip = albedo[ground.lips > 0.6].mean(0) * [0.85, 0.7, 0.7]
    tooth = rng.uniform(0, 1) * ground.teeth[:, None]
    cavity = _CAVITY * rng.uniform(0.5, 1.6)
    inside = ground.inside[:, None]
    mouth = (lip * (1 - inside) + cavity * inside) * (1 - tooth) + _TEETH * rng.uniform(0.85, 1.05) * tooth
    albedo = np.where(np.isin(ground.part, (surface.MOUTH, surface.CAP))[:, None], mouth, albedo)
    iris = _IRISES[rng.choice(len(_IRISES), p=_IRIS_SHARES)] * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.015, 3)
    radius = np.linalg.norm(ground.eye, axis=1)
    white = _WHITE * rng.uniform(0.85, 1.08)
    white = white + (_VEIN - white) * np.clip((radius[:, None] - 0.36) * 1.2, 0, 0.6)
    edge = _soft((radius - _LIMBUS) / 0.014)[:, None]
    inner = np.clip(iris * (0.75 + 0.5 * np.clip(1 - radius / _LIMBUS, 0, 1))[:, None], 0.01, 1)
    inner = inner * (1 - 0.55 * np.exp(-(((radius - _LIMBUS) / 0.028) ** 2)))[:, None]
    pupil = _soft((_PUPIL - radius) / 0.011)[:, None]
    eye = (inner * (1 - pupil) + 0.015 * pupil) * (1 - edge) + white * edge
    eye *= ground.shade[:, None] ** rng.uniform(0.6, 1.4)
    return np.where((ground.part == surface.EYE)[:, None], eye, albedo)


def albedo_modes(samples, mirror, count):
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
    best = vectors[:, ::-1][:, :count]
    modes = (best / np.sqrt(len(flat))).astype(np.float32).T @ flat
    largest = np.abs(modes).argmax(1)
    peak = modes[np.arange(count), largest]
    scale = (np.abs(peak) / 127).astype(np.float32)
    modes = np.rint(modes * np.sign(peak)[:, None] / scale[:, None]).astype(np.int8)
    return mean, modes.reshape(count, *mean.shape), scale, share
