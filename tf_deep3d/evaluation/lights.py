"""Surroundings with names that light the subjects of a benchmark: what is in the way of a lamp throws its shadow.

Light comes from many directions, each as bright as the sky, the ground or a wide lamp is there, and reaches a vertex
unless the subject's own head is in the way. Rendered people of a training stand in other light
(`data.rendered.light`): of small lamps at random places, without a ground, and in the shadows of the mean head.

Letters: V vertices, D directions.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d.data.rendered import light as lamps
from tf_deep3d.data.rendered.light import GAMMA, Surface
from tf_deep3d.face import geometry, lighting

GLOSS, SHARPNESS = 0.03, 18.0  # reflectance of skin's gloss, exponent of its lobe (Phong 1975)
SHOULDER = 8.0  # exponent of the curve by which a camera brings what is brighter than white down to it
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
    "studio": Surroundings((0.3, 0.3, 0.3), (0.2, 0.2, 0.2), (Lamp(-40, 35, 20, 7), Lamp(50, 10, 28, 1.5))),
    "window": Surroundings((0.15, 0.15, 0.16), (0.12, 0.11, 0.1), (Lamp(68, 12, 18, 8, (0.95, 1.0, 1.07)),)),
    "overcast": Surroundings((1.0, 1.03, 1.07), (0.35, 0.34, 0.32)),
    "evening": Surroundings((0.2, 0.22, 0.27), (0.14, 0.13, 0.12), (Lamp(-52, 8, 14, 10, (1.2, 0.97, 0.78)),)),
    "office": Surroundings((0.3, 0.3, 0.29), (0.35, 0.33, 0.31), (Lamp(-30, 70, 18, 7), Lamp(40, 60, 18, 7))),
}


def radiance(around: Surroundings, directions: np.ndarray) -> np.ndarray:
    """Brightness [D, 3] that unit `directions` [D, 3] show, y up, z towards the camera."""
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
    surface: Surface,
    rotation: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    albedo: np.ndarray,
    eye: np.ndarray,
) -> np.ndarray:
    """Colours of a head in surroundings, as a camera shows them that exposes by the front of the face.

    Args:
      around: `Surroundings`.
      surface: `data.rendered.light.Surface` of the head.
      rotation: [3, 3] of the head: the surroundings stay.
      vertices: [V, 3] dm, turned.
      normals: [V, 3] unit, turned.
      albedo: [V, 3] in [0, 1], encoded for display.
      eye: [3] dm, the camera.

    Returns:
      [V, 3] in [0, 1].
    """
    directions = surface.directions @ rotation.T
    light = radiance(around, directions) * (4 / len(directions))  # even light of 1 shows white as white
    diffuse, gloss = np.empty(albedo.shape), np.empty(albedo.shape)
    for start in range(0, len(vertices), VERTICES):
        part = slice(start, start + VERTICES)
        diffuse[part] = np.maximum(normals[part] @ directions.T, 0) * surface.visible[part] @ light
        toward = geometry.normalize(eye - vertices[part])
        mirrored = 2 * (normals[part] * toward).sum(1, keepdims=True) * normals[part] - toward
        lobe = np.maximum(mirrored @ directions.T, 0) ** SHARPNESS * surface.visible[part]
        gloss[part] = GLOSS * (SHARPNESS + 1) / 2 * lobe @ light
    front = normals[:, 2] > 0.5
    skin = max(float(np.median(albedo[front] @ lighting.LUMINANCE)), 0.03)
    wanted = lighting.EXPOSURE * (lamps.USUAL / skin) ** lamps.COMPENSATION
    gain = wanted**GAMMA / max(float(np.mean(diffuse[front] @ lighting.LUMINANCE)), 1e-9)
    colors = (gain * (albedo**GAMMA * diffuse + gloss)) ** (1 / GAMMA)
    return colors / (1 + colors**SHOULDER) ** (1 / SHOULDER)
