"""Where the pigments of the open face model lie: layers over the vertices of a subdivided surface.

Colours are mixed in optical density (minus the logarithm of the albedo), where pigments add up. A layer is the density
that one pigment adds at full strength; skins painted by artists, melanin, haemoglobin, lips, cheeks, stubble, brows,
lashes and what portraits show beyond them are layers. Eyes and the inside of the mouth are described by where each
vertex lies in them.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from tf_deep3d.porting.open_face import geometry, surface
from tf_deep3d.porting.open_face.mesh import Mesh
from tf_deep3d.porting.open_face.sources import Sources

MELANIN, HAEMOGLOBIN = np.array([0.42, 0.72, 1.0]), np.array([0.10, 1.0, 0.85])  # relative density of R, G, B
_STUBBLE, _HAIR = np.array([1.0, 0.95, 0.9]), np.array([0.75, 0.95, 1.1])
_FIELDS, _FIELD_WIDTH = 24, (0.2, 0.4)  # smooth functions, dm
_LID_SHADOW = 0.55  # share of the light that reaches an eyeball at the upper lid's rim


class Canvas(NamedTuple):
    """What the painter needs to know about a surface with V vertices.

    Attributes:
      layers: [L, V, 3] float32 optical densities, row by row as in `names`.
      names: [L] names: "skin" (over that of its cheeks), "melanin" and "haemoglobin" (smooth fields), "lips red",
        "lips dark", "cheeks", "stubble", "brow", "lash", "portrait" (one standard deviation of a component).
      lips: [V] bool, the red of the lips.
      eye: [E] int, the vertices of the eyeballs.
      eye_radius: [E], distance from the gaze axis, 1 is 90 degrees.
      eye_light: [E] in [0, 1], how much light the lids let through.
      mouth: [M] int, the vertices inside the mouth.
      mouth_depth: [M] in [0, 1], from the lips to the dark.
      teeth: [M] in [0, 1].
      tongue: [M] in [0, 1].
      brows: [V] in [0, 1], where any brow may be.
    """

    layers: np.ndarray
    names: tuple
    lips: np.ndarray
    eye: np.ndarray
    eye_radius: np.ndarray
    eye_light: np.ndarray
    mouth: np.ndarray
    mouth_depth: np.ndarray
    teeth: np.ndarray
    tongue: np.ndarray
    brows: np.ndarray


def canvas(sources: Sources, mesh: Mesh, crop: bool = True) -> Canvas:
    """The `Canvas` of a surface.

    Args:
      sources: `open_face_sources.Sources`.
      mesh: `open_face_mesh.Mesh`.
      crop: whether to replace painted hair at the border, as for the face model; a full head keeps it.
    """
    x, y, z = mesh.place.T
    ax, skin = np.abs(x), mesh.part == surface.FACE
    lips = np.clip(geometry.sample(gaussian_filter(sources.masks["lips"], 3), mesh.paint), 0, 1) * skin
    eye_y = y[mesh.part == surface.EYE].mean()
    mouth_y, mouth_z = y[lips > 0.5].mean(), z[lips > 0.5].mean()
    stubble = soft((mouth_y + 0.18 + 0.55 * np.clip(ax - 0.25, 0, 1) - y) / 0.05)
    stubble *= soft((z - mouth_z + 1.05) / 0.06) * soft((y - mouth_y + 0.62) / 0.06) * (1 - lips) * skin
    cheeks = np.exp(-(((ax - 0.38) / 0.16) ** 2) - ((y - eye_y + 0.33) / 0.15) ** 2) * (z > 1.0) * skin
    socket = (mesh.part == surface.SOCKET).astype(float)
    lashes = np.clip(mesh.spread(socket, 2) * 1.6, 0, 1) * skin + socket
    brows, fields = _brows(sources, mesh.place, skin), _fields(mesh.place, skin)
    layers = {
        "skin": _painted(sources, mesh, skin, eye_y, crop),
        "melanin": fields[..., None] * MELANIN,
        "haemoglobin": fields[..., None] * HAEMOGLOBIN,
        "lips red": lips[None, :, None] * HAEMOGLOBIN,
        "lips dark": lips[None, :, None] * MELANIN,
        "cheeks": cheeks[None, :, None] * HAEMOGLOBIN,
        "stubble": stubble[None, :, None] * _STUBBLE,
        "brow": brows[..., None] * _HAIR,
        "lash": lashes[None, :, None] * np.ones(3),
    }
    names = tuple(name for name, layer in layers.items() for _ in layer)
    eye = np.flatnonzero(mesh.part == surface.EYE)
    rim, _ = KDTree(mesh.place[skin]).query(mesh.place[eye] + [0, 0.01, 0])
    mouth = np.flatnonzero(np.isin(mesh.part, (surface.MOUTH, surface.CAP)))
    radius = np.linalg.norm(mesh.disc[mouth], axis=1)
    deep = np.clip((0.75 - radius) / 0.1, 0, 1)
    teeth = np.exp(-(((y[mouth] - mouth_y - 0.085) / 0.035) ** 2)) * (ax[mouth] < 0.24)
    return Canvas(
        layers=np.concatenate(list(layers.values())).astype(np.float32),
        names=names,
        lips=lips > 0.5,
        eye=eye,
        eye_radius=np.linalg.norm(mesh.disc[eye], axis=1),
        eye_light=_LID_SHADOW + (1 - _LID_SHADOW) * np.clip(rim / 0.05, 0, 1),
        mouth=mouth,
        mouth_depth=np.clip((1 - radius) / 0.22, 0, 1),
        teeth=teeth * deep,
        tongue=soft((mouth_y - 0.02 - y[mouth]) / 0.01) * deep,
        brows=brows.max(0),
    )


def soft(x: np.ndarray) -> np.ndarray:
    """Logistic step from 0 to 1."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _painted(sources: Sources, mesh: Mesh, skin: np.ndarray, eye_y: float, crop: bool) -> np.ndarray:
    """Density [S, V, 3] of the painted skins over that of their cheeks.

    For the crop, hair and stubble near the border give way to what is spread from inside.
    """
    densities = [-np.log(np.clip(geometry.sample(image, mesh.paint), 0.02, 0.98)) for image in sources.skins.values()]
    density = np.stack(densities, 1) * skin[:, None, None]
    x, y, z = mesh.place.T
    if crop:
        hair = soft((y - eye_y - 0.46 + 0.9 * np.clip(np.abs(x) - 0.2, 0, 1) ** 1.5) / 0.06)
        hair = np.maximum(hair, soft((0.92 - z) / 0.06))
        keep = np.where(skin, 1 - hair, 0)[:, None]
        flat = density.reshape(len(density), -1)
        smooth, weight = flat * keep, keep
        for _ in range(6):
            smooth, weight = mesh.spread(smooth, 12), mesh.spread(weight, 12)
            smooth = keep * flat + (1 - keep) * smooth / np.maximum(weight, 1e-6)
            weight = np.maximum(keep, weight > 1e-6)
        density = (keep * flat + (1 - keep) * smooth).reshape(density.shape)
    cheeks = skin & (z > 1.0) & (np.abs(x) > 0.2) & (np.abs(y - eye_y + 0.3) < 0.15)
    return np.swapaxes((density - density[cheeks].mean(0)) * skin[:, None, None], 0, 1)


def _brows(sources: Sources, place: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Opacity of each eyebrow card at the vertices: [12, V]."""
    result = []
    for name in sorted(sources.brows):
        card = sources.brows[name]
        opacity = gaussian_filter(card.opacity, 5)
        points = (sources.vertices[card.corners] * card.weights[..., None]).sum(1)
        total = np.zeros(len(place))
        for side in (-1, 1):
            own = points[:, 0] * side > 0
            front = place[:, 2] > 0  # the back of a whole head has none
            near = skin & front & (place[:, 0] * side > 0) & (np.abs(place[:, 1] - points[own, 1].mean()) < 0.3)
            at = LinearNDInterpolator(points[own, :2], card.uv[own])(place[near, :2])
            inside = np.isfinite(at[:, 0])
            values = np.zeros(len(at))
            values[inside] = geometry.sample(opacity, at[inside])
            total[near] = values
        result.append(total)
    return np.clip(np.stack(result), 0, 1)


def _fields(place: np.ndarray, skin: np.ndarray, seed: int = 5) -> np.ndarray:
    """Smooth bumps on the skin: [_FIELDS, V]."""
    rng = np.random.default_rng(seed)
    centers = place[skin][rng.integers(0, skin.sum(), _FIELDS)]
    width = rng.uniform(*_FIELD_WIDTH, _FIELDS)
    distance = np.linalg.norm(place[None] - centers[:, None], axis=2)
    return np.exp(-((distance / width[:, None]) ** 2)) * skin
