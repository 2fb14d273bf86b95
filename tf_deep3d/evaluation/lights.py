"""Surroundings with names that light the subjects of a benchmark: what is in the way of a lamp throws its shadow.

Light comes from many directions, each as bright as the sky, the ground or a lamp is there, and reaches a vertex unless
the head itself is in the way (ambient occlusion and soft shadows in one). Skin reflects it evenly, and a little of it
as a gloss (Phong 1975). No training of this project renders this way, so that no method is at home here.

Letters: V vertices, D directions.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d.evaluation.painting import divide, times_for
from tf_deep3d.face import geometry
from tf_deep3d.face.lighting import LUMINANCE

DIRECTIONS = 160
CELL, SLACK = 0.024, 0.03  # dm, of the grid that tells what is in the way; by how much, at least
GLOSS, SHARPNESS = 0.03, 18.0  # reflectance of the gloss, exponent of its lobe
EXPOSED, KNOWN_SKIN, ADAPTED = 0.5, 0.45, 0.6  # a camera shows skin of luminance s at EXPOSED (s / KNOWN_SKIN)^ADAPTED
SHOULDER = 4.0  # exponent of the curve by which a camera brings what is brighter than white down to it
VERTICES = 1 << 15  # shaded at once


class Lamp(NamedTuple):
    """A bright place: azimuth to the right and height in degrees, its width in degrees, brightness and colour."""

    azimuth: float
    height: float
    width: float
    strength: float
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Surroundings(NamedTuple):
    """What is around a head: colours of the sky and the ground, and lamps."""

    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    lamps: tuple[Lamp, ...] = ()


LIGHTS = {
    "studio": Surroundings((0.45, 0.45, 0.45), (0.3, 0.3, 0.3), (Lamp(-40, 35, 20, 6), Lamp(50, 10, 28, 1.5))),
    "window": Surroundings((0.35, 0.35, 0.36), (0.28, 0.26, 0.25), (Lamp(65, 12, 18, 6, (0.95, 1.0, 1.07)),)),
    "overcast": Surroundings((1.0, 1.03, 1.07), (0.35, 0.34, 0.32)),
    "evening": Surroundings((0.34, 0.36, 0.41), (0.24, 0.23, 0.22), (Lamp(-50, 8, 14, 7, (1.12, 0.98, 0.85)),)),
    "office": Surroundings((0.45, 0.45, 0.44), (0.45, 0.43, 0.41), (Lamp(-30, 70, 18, 5), Lamp(40, 60, 18, 5))),
}


class Transport(NamedTuple):
    """Which light reaches a head.

    Attributes:
      directions: [D, 3] unit, in the head's frame.
      open: [V, D] bool, whether nothing of the head is in the way.
    """

    directions: np.ndarray
    open: np.ndarray


def transport(vertices: np.ndarray, triangles: np.ndarray, normals: np.ndarray) -> Transport:
    """The `Transport` of a head: `vertices` [V, 3] dm, `triangles` [T, 3], unit `normals` [V, 3]."""
    directions = sphere(DIRECTIONS)
    points = divide(vertices, triangles, times_for(len(triangles)))[0]
    free = np.stack([_free(points, len(vertices), normals, direction) for direction in directions], 1)
    return Transport(directions, free)


def _free(points: np.ndarray, count: int, normals: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """[V] bool: which of the first `count` of `points` [P, 3] dm on a surface see light that comes from `direction`.

    What is in the way is found on a grid of cells across the light, each as near to the light as its nearest point.
    """
    aside = np.linalg.svd(direction[None])[2][1:]  # two directions across
    place = np.floor((points @ aside.T) / CELL).astype(int)
    place -= place.min(0)
    cell = place[:, 0] * (place[:, 1].max() + 1) + place[:, 1]
    near = points @ direction
    nearest = np.full(cell.max() + 1, -np.inf)
    np.maximum.at(nearest, cell, near)
    cosine = normals @ direction
    slack = SLACK + CELL / np.maximum(cosine, 0.2)  # across a cell a slanted surface changes its depth
    return (cosine > 0) & (near[:count] >= nearest[cell[:count]] - slack)


def sphere(count: int) -> np.ndarray:
    """[count, 3] unit vectors, evenly spread (Fibonacci)."""
    index = np.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], 1)


def radiance(around: Surroundings, directions: np.ndarray) -> np.ndarray:
    """Brightness [D, 3] that `directions` [D, 3] show, y up, z towards the camera."""
    up = (directions[:, 1:2] + 1) / 2
    found = up * np.array(around.sky) + (1 - up) * np.array(around.ground)
    for lamp in around.lamps:
        azimuth, height = np.radians([lamp.azimuth, lamp.height])
        toward = [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
        angle = np.degrees(np.arccos(np.clip(directions @ np.array(toward), -1, 1)))[:, None]
        found = found + lamp.strength * np.exp(-0.5 * (angle / lamp.width) ** 2) * np.array(lamp.color)
    return found


def shine(
    around: Surroundings,
    transported: Transport,
    rotation: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    albedo: np.ndarray,
    eye: np.ndarray,
) -> np.ndarray:
    """Colours of a head in surroundings, as a camera exposes it.

    Args:
      around: `Surroundings`.
      transported: of `transport`.
      rotation: [3, 3] of the head: the surroundings stay.
      vertices: [V, 3] dm, turned.
      normals: [V, 3] unit, turned.
      albedo: [V, 3] in [0, 1].
      eye: [3] dm, the camera.

    Returns:
      [V, 3] in [0, 1].
    """
    directions = transported.directions @ rotation.T
    light = radiance(around, directions) * (4 * np.pi / len(directions))
    parts = []
    for start in range(0, len(vertices), VERTICES):
        part = slice(start, start + VERTICES)
        facing, free = normals[part], transported.open[part]
        even = np.maximum(facing @ directions.T, 0) * free @ light / np.pi
        toward = geometry.normalize(eye - vertices[part])
        mirrored = 2 * (facing * toward).sum(1, keepdims=True) * facing - toward
        lobe = np.maximum(mirrored @ directions.T, 0) ** SHARPNESS * free
        parts.append(albedo[part] * even + GLOSS * (SHARPNESS + 1) / (2 * np.pi) * lobe @ light)
    colors = np.concatenate(parts)
    front = normals[:, 2] > 0.5
    skin = max(float(np.median(albedo[front] @ LUMINANCE)), 0.03)
    wanted = EXPOSED * (skin / KNOWN_SKIN) ** ADAPTED
    colors = colors * (wanted / max(float(np.mean(colors[front] @ LUMINANCE)), 1e-6))
    return colors / (1 + colors**SHOULDER) ** (1 / SHOULDER)
