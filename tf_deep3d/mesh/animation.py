"""Animates a glTF: morph target weights, turn and place of the head.

The head's node moves before a camera node, which sees it as the clip's camera does. glTF: metres, seconds, quaternions
x, y, z, w; both cameras look down -z with y up.

Letters: N key frames, J morph targets.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.face.camera import METRES, Camera
from tf_deep3d.face.geometry import quaternions
from tf_deep3d.mesh.accessors import Gltf, add_accessor
from tf_deep3d.mesh.gltf import HEAD
from tf_deep3d.mesh.mesh import numbers

NAME = "clip"
_NEAR = 0.01  # m, of the camera


class Animation(NamedTuple):
    """What moves.

    Attributes:
      times: [N] s, rising, from 0 or later.
      weights: name of a morph target -> [N]; the others keep the weight they have.
      angles: [N, 3], pitch, yaw, roll in radians.
      translation: [N, 3], dm.
    """

    times: np.ndarray
    weights: Mapping[str, np.ndarray]
    angles: np.ndarray
    translation: np.ndarray


def animate(gltf: Gltf, animation: Animation, camera: Camera) -> None:
    """Adds an animation, and the node of a camera, to a still glTF.

    Args:
      gltf: `Gltf` of `gltf.build`, which is changed; its first mesh has the morph targets.
      animation: `Animation`.
      camera: `Camera` of the clip, for the camera node.

    Raises:
      ValueError: for unknown morph targets, or values of wrong shapes; `gltf` is as it was then.
    """
    times, curves = _curves(animation, gltf.tree["meshes"][0])
    clock = add_accessor(gltf, times, bounds=True)
    channels: list[dict[str, Any]] = []
    samplers: list[dict[str, Any]] = []
    mesh = next(number for number, node in enumerate(gltf.tree["nodes"]) if node.get("mesh") == 0)
    for target, values in curves.items():
        node = mesh if target == "weights" else HEAD
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": target}})
        output = add_accessor(gltf, np.asarray(values, "<f4"))
        samplers.append({"input": clock, "output": output, "interpolation": "LINEAR"})
    gltf.tree["animations"] = [{"name": NAME, "channels": channels, "samplers": samplers}]
    _add_camera(gltf, camera)


def _curves(animation: Animation, mesh: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times [N] float32, and what glTF moves: rotation [N, 4], translation [N, 3] m, and weights [N J] if any."""
    times = np.asarray(animation.times, "<f4")
    if times.ndim != 1 or not len(times) or not (np.diff(times, prepend=np.float32(-1e-9)) > 0).all():
        raise ValueError(f"times must rise from 0 or later. Received: {times.shape}, {times[:4]}")
    names: list[str] = mesh.get("extras", {}).get("targetNames", [])
    if not animation.weights.keys() <= set(names):
        raise ValueError(f"weights must name morph targets. Received: {sorted(animation.weights.keys() - set(names))}")
    angles = numbers("angles", animation.angles, (len(times), 3))
    translation = numbers("translation", animation.translation, (len(times), 3))
    curves = {"rotation": _near(quaternions(angles)), "translation": translation * METRES}
    if names:
        weights = np.tile(np.asarray(mesh["weights"], "<f4"), (len(times), 1))
        for name, curve in animation.weights.items():
            weights[:, names.index(name)] = numbers(f"weights of {name!r}", curve, times.shape)
        curves["weights"] = weights.reshape(-1)
    return times, curves


def _near(turns: np.ndarray) -> np.ndarray:
    """Quaternions [N, 4], each on the near side of the one before: of the two that are one turn, the closer."""
    flips = np.cumprod(np.where(np.sum(turns[1:] * turns[:-1], axis=-1) < 0, -1.0, 1.0))
    return np.concatenate([turns[:1], turns[1:] * flips[:, None]])


def _add_camera(gltf: Gltf, camera: Camera) -> None:
    """A camera node that sees what the clip's camera saw."""
    lens = {"yfov": 2 * math.atan2(camera.height / 2, camera.focal), "znear": _NEAR}
    lens["aspectRatio"] = camera.width / camera.height
    gltf.tree["cameras"] = [{"name": NAME, "type": "perspective", "perspective": lens}]
    gltf.tree["nodes"].append({"name": "camera", "camera": 0, "translation": [0.0, 0.0, camera.distance * METRES]})
    gltf.tree["scenes"][0]["nodes"].append(len(gltf.tree["nodes"]) - 1)
