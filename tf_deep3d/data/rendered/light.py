"""Light for rendered people: sky, ground and lamps, the shadows that a head throws on itself, and highlights.

What reaches a vertex from each of a fixed set of directions is seen once, on the mean head, and kept: precomputed
radiance transfer (Sloan, Kautz and Snyder 2002). So a person's ambient occlusion and soft shadows cost one matrix
product. Light adds up in linear radiance; pictures and albedos are encoded for display with `GAMMA`, as cameras do.

Letters: D directions, V vertices of the head, L lamps.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d.face import geometry, lighting

GAMMA = 2.2
DIRECTIONS = 128
MAP, REACH = 160, 3.6  # px of a shadow map, and half its width in dm
BIAS, SOFTNESS = 0.04, 0.06  # dm, behind the map where a shadow begins, and over which it becomes full
HARD = 0.22  # share of the pictures with a lamp from the side
NEUTRAL = 0.7  # share whose light is white to the camera: daylight, a studio, a good white balance
USUAL, COMPENSATION = 0.5, 0.15  # luminance of skin, and the share by which a camera makes up for darker and lighter
DIM, DARKEST = 0.12, 0.35  # share of the pictures that are underexposed, and the least factor of their light
BRIGHTEST = 1.2  # red of skin over its luminance; little of the brightest is overexposed
FRESNEL = 0.04  # reflectance of skin, seen from the front


class Light(NamedTuple):
    """The light around a person, in the world's frame, and the camera's exposure.

    Attributes:
      sky: [3], unit, where the ambient light is brightest.
      ambient: [3] RGB radiance of the middle of the sky.
      slope: share by which it grows towards `sky`, in [0, 1].
      lamps: [L, 3], unit, towards them.
      colors: [L, 3] RGB, irradiance of a surface that faces a lamp.
      sharpness: [L], exponent of a lamp's lobe (von Mises-Fisher): 4 is a window, 60 a bulb.
      gain: factor of all radiance.
    """

    sky: np.ndarray
    ambient: np.ndarray
    slope: float
    lamps: np.ndarray
    colors: np.ndarray
    sharpness: np.ndarray
    gain: float


class Surface(NamedTuple):
    """How a head takes light.

    Attributes:
      directions: [D, 3] float32, unit, in the head's frame.
      visible: [V, D] float32 in [0, 1], what of each direction a vertex sees past the head itself.
    """

    directions: np.ndarray
    visible: np.ndarray


def sample(rng: np.random.Generator, skin: float) -> Light:
    """Random light: ambient, brighter from above, one or two lamps, mostly in front and above.

    Args:
      rng: random generator.
      skin: mean luminance of the face's albedo, for which a camera makes up in part.
    """
    sky = geometry.normalize(np.array([rng.normal(0, 0.3), 1.0, rng.normal(0.3, 0.4)]))
    spread = 0.03 if rng.uniform() < NEUTRAL else 0.1
    ambient = rng.uniform(0.25, 1) * _tint(rng, 0.6 * spread)
    hard, count = rng.uniform() < HARD, int(rng.integers(1, 3))
    lamps, colors = np.empty((2, count, 3))
    for lamp in range(count):
        side = hard and not lamp
        azimuth = rng.uniform(50, 110) * rng.choice([-1, 1]) if side else rng.normal(0, 35)
        a, h = np.radians([azimuth, np.clip(rng.normal(30, 20), -25, 80)])
        lamps[lamp] = np.sin(a) * np.cos(h), np.sin(h), np.cos(a) * np.cos(h)
        strength = rng.uniform(0.2, 0.9) * (1.4 if side else 1) if lamp == 0 else rng.uniform(0.05, 0.5)
        colors[lamp] = strength * _tint(rng, spread)
    light = Light(sky, ambient, rng.uniform(0, 0.9), lamps, colors, np.exp(rng.uniform(1, 4, count)), 1.0)
    white = irradiance_on(light, EVERYWHERE) @ lighting.LUMINANCE
    front = white[EVERYWHERE[:, 2] > 0.5].mean()
    wanted = lighting.EXPOSURE * np.exp(rng.normal(0, lighting.EXPOSURE_SPREAD))
    wanted *= np.clip(USUAL / skin, 0.4, 2.5) ** COMPENSATION
    wanted *= rng.uniform(DARKEST, 0.8) if rng.uniform() < DIM else 1
    wanted = min(wanted, 1 / (BRIGHTEST * skin) * (front / np.quantile(white, 0.98)) ** (1 / GAMMA))
    return light._replace(gain=float(wanted**GAMMA / front))


def radiance(light: Light, directions: np.ndarray) -> np.ndarray:
    """Light [D, 3] from unit `directions` [D, 3] that stand for equal parts of the sphere; their cosine-weighted sum is
    the irradiance of a surface, 1 for white that is rendered white."""
    count = len(directions)
    ambient = (1 + light.slope * (directions @ light.sky))[:, None] * light.ambient * (4 / count)
    lobes = np.exp(light.sharpness * (directions @ light.lamps.T - 1))
    return light.gain * (ambient + (lobes / np.maximum(lobes.sum(0), 1e-9)) @ light.colors)


def irradiance_on(light: Light, normals: np.ndarray) -> np.ndarray:
    """Irradiance [N, 3] of unit `normals` [N, 3] that nothing shades."""
    return np.maximum(normals @ EVERYWHERE.T, 0) @ radiance(light, EVERYWHERE)


def harmonics(light: Light) -> np.ndarray:
    """Illumination [3, 9] of the face model that comes nearest (`face.lighting`)."""
    shown = irradiance_on(light, EVERYWHERE) ** (1 / GAMMA)
    coefficients = np.linalg.lstsq(lighting.sh_basis(EVERYWHERE), shown, rcond=None)[0].T
    coefficients[:, 0] -= lighting.AMBIENT
    return coefficients


def shade(
    light: Light,
    surface: Surface,
    albedo: np.ndarray,
    normals: np.ndarray,
    rotation: np.ndarray,
    gloss: np.ndarray,
    sharpness: float,
) -> np.ndarray:
    """Colours of a head under a light, as a camera shows them.

    Args:
      light: `Light`.
      surface: `Surface` of the head.
      albedo: [V, 3] in [0, 1], encoded for display.
      normals: [V, 3], unit, world.
      rotation: [3, 3], of the head.
      gloss: [V], strength of the highlights; 1 is skin with its `FRESNEL`.
      sharpness: of the highlights, an exponent as a lamp's.

    Returns:
      [V, 3] float32, not clipped.
    """
    directions = surface.directions @ rotation.T.astype(np.float32)
    normals = normals.astype(np.float32)
    facing = np.maximum(normals @ directions.T, 0)
    facing *= surface.visible
    diffuse = facing @ radiance(light, directions).astype(np.float32)
    near = np.exp(np.minimum(light.sharpness, 12) * (directions @ light.lamps.T - 1))
    lit = surface.visible @ (near / near.sum(0)).astype(np.float32)  # [V, L], what of each lamp is seen
    mirrored = 2 * normals[:, 2:] * normals - [0, 0, 1]  # the direction to the camera, mirrored
    lobes = np.exp(1 / (1 / sharpness + 1 / light.sharpness) * (mirrored @ light.lamps.T - 1)) * lit
    fresnel = FRESNEL + (1 - FRESNEL) * np.clip(1 - normals[:, 2], 0, 1) ** 5
    size = 1 / (1 / sharpness + 1 / light.sharpness) / 4  # a narrower lobe is brighter
    highlight = (gloss * fresnel)[:, None] * ((lobes * size) @ (light.gain * light.colors))
    return ((np.clip(albedo, 0, 1) ** GAMMA * diffuse + highlight) ** (1 / GAMMA)).astype(np.float32)


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    """A nearly white colour [3]: warm or cold, and a little green or magenta."""
    warm, green = rng.normal(0.02, 0.8 * spread), rng.normal(0, spread / 4)
    return np.exp([warm, green, -warm])


def sphere(count: int) -> np.ndarray:
    """[count, 3] unit vectors, evenly spread (Fibonacci)."""
    index = np.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], 1)


EVERYWHERE = sphere(512)  # directions, and normals, fine enough for the light itself


def see(shapes: np.ndarray, triangles: np.ndarray) -> Surface:
    """Looks at a head from every direction.

    Args:
      shapes: [n, V, 3] dm; a vertex sees what it sees in the one of them where it sees most, so that lids and teeth,
        which some of them hide, are not black where a face shows them.
      triangles: [T, 3].

    Returns:
      `Surface`.
    """
    directions = sphere(DIRECTIONS)
    visible = np.zeros((DIRECTIONS, shapes.shape[1]), np.float32)
    for shape in shapes:
        cover = _points_of(shape.astype(np.float32), triangles)
        normals = geometry.vertex_normals(shape[None], triangles, geometry.corners_around(triangles, len(shape)))[0]
        for number, direction in enumerate(directions):
            np.maximum(visible[number], _seen(shape, normals, cover, direction), out=visible[number])
    return Surface(directions.astype(np.float32), np.ascontiguousarray(visible.T))


def _points_of(shape: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Points [N, 3] of the surface, no farther apart than a pixel of a shadow map."""
    corners = shape[triangles]
    points = [shape, corners.mean(1)]
    edges = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
    while (large := edges > 2 * REACH / MAP).any():
        corners, edges = corners[large], edges[large] / 2
        a, b, c = np.moveaxis(corners, 1, 0)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = np.concatenate([np.stack(four, 1) for four in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        edges = np.tile(edges, 4)
        points += [ab, bc, ca, corners.mean(1)]
    return np.concatenate(points)


def _seen(shape: np.ndarray, normals: np.ndarray, cover: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """[V] in [0, 1], which vertices lie in the light from `direction`: a shadow map of the points `cover` [N, 3].

    A surface that light grazes falls away within a pixel of the map, so its shadow begins later.
    """
    across = geometry.normalize(np.cross(direction, [0.3, 1.0, 0.2]))
    frame = np.stack([across, np.cross(direction, across), -direction], 1).astype(np.float32)
    middle = shape.mean(0) @ frame
    nearest = np.full(MAP * MAP, np.inf, np.float32)
    place = cover @ frame - middle
    np.minimum.at(nearest, _pixel(place), place[:, 2])
    place = shape @ frame - middle
    cosine = np.clip(np.abs(normals @ direction), 0.15, 1)
    bias = BIAS + 2 * REACH / MAP * np.sqrt(1 - cosine**2) / cosine
    return np.clip(1 - (place[:, 2] - nearest[_pixel(place)] - bias) / SOFTNESS, 0, 1)


def _pixel(place: np.ndarray) -> np.ndarray:
    column, row = ((place[:, :2] / REACH + 1) * (MAP / 2)).astype(np.int32).T
    return row * MAP + column
