"""Adds an animation to a binary glTF that `meshio.write_glb` wrote: morph target weights, turn and place of the head.

The head's node moves before a camera node, which sees it as the clip's camera does. glTF: metres, seconds, quaternions
x, y, z, w; both cameras look down -z with y up.

Letters: N key frames, J morph targets.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from tf_deep3d.errors import InputError
from tf_deep3d.face.camera import METRES
from tf_deep3d.face.geometry import rotation_matrix
from tf_deep3d.io.files import refuse_existing, writing

NAME = "clip"
_FLOAT = 5126
_NEAR = 0.01  # m, of the camera
_JSON, _BIN = b"JSON", b"BIN\0"


class Animation(NamedTuple):
    """What moves.

    Attributes:
      times: [N] s, rising, from 0 or later.
      weights: name of a morph target -> [N]; the others keep the weight they have.
      angles: [N, 3], pitch, yaw, roll in radians.
      translation: [N, 3], dm.
    """

    times: Any
    weights: dict
    angles: Any
    translation: Any


def animate_glb(source, path, animation, camera, overwrite=False):
    """Writes the animated copy of a GLB.

    Args:
      source: .glb of `meshio.write_glb`; its node 0 is the head.
      path: .glb to write; may be `source` itself with `overwrite`.
      animation: `Animation`.
      camera: `Camera` of the clip, for the camera node.
      overwrite: replace an existing file.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
      ValueError: for a file that is no such GLB, unknown morph targets, or values of wrong shapes.
    """
    if not overwrite:
        refuse_existing(path)
    gltf, binary = _read(source)
    times, values = _check(animation, gltf)
    clock = _add_accessor(gltf, binary, times, bounds=True)
    outputs = {"rotation": _quaternions(animation.angles), "translation": np.asarray(animation.translation) * METRES}
    if values is not None:
        outputs["weights"] = values.reshape(-1)  # N times J
    channels, samplers = [], []
    for target, output in outputs.items():
        channels.append({"sampler": len(samplers), "target": {"node": 0, "path": target}})
        output = _add_accessor(gltf, binary, np.asarray(output, "<f4"))
        samplers.append({"input": clock, "output": output, "interpolation": "LINEAR"})
    gltf["animations"] = [{"name": NAME, "channels": channels, "samplers": samplers}]
    _add_camera(gltf, camera)
    gltf["buffers"][0]["byteLength"] = len(binary)

    text = json.dumps(gltf, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    with writing(path, overwrite) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary)))
        file.write(struct.pack("<I4s", len(text), _JSON) + text)
        file.write(struct.pack("<I4s", len(binary), _BIN) + binary)


def _read(path):
    """The JSON and the buffer of a GLB with both, as dict and bytearray."""
    data = Path(path).read_bytes()
    try:
        magic, version, length, size, kind = struct.unpack_from("<4sIII4s", data)
        start, end = struct.unpack_from("<I4s", data, 20 + size)
        if (magic, version, length, kind, end) != (b"glTF", 2, len(data), _JSON, _BIN):
            raise InputError("other chunks")
        gltf = json.loads(data[20 : 20 + size])
        return gltf, bytearray(data[28 + size : 28 + size + min(start, gltf["buffers"][0]["byteLength"])])
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(f"a binary glTF of `meshio.write_glb` is needed. Received: {path}: {error}") from error


def _check(animation, gltf):
    """Times [N] and weights [N, J] (None where the mesh has no targets), float32."""
    times = np.asarray(animation.times, "<f4")
    mesh = gltf["meshes"][0]
    names = mesh.get("extras", {}).get("targetNames", [])
    if times.ndim != 1 or not len(times) or not (np.diff(times, prepend=np.float32(-1e-9)) > 0).all():
        raise InputError(f"times must rise from 0 or later. Received: {times.shape}, {times[:4]}")
    if not set(animation.weights) <= set(names):
        raise InputError(f"weights must name morph targets. Received: {sorted(set(animation.weights) - set(names))}")
    for name in ("angles", "translation"):
        values = np.asarray(getattr(animation, name))
        if values.shape != (len(times), 3) or not np.isfinite(values).all():
            raise InputError(f"{name} must be finite, of shape {(len(times), 3)}. Received: {values.shape}")
    if not names:
        return times, None
    values = np.tile(np.asarray(mesh["weights"], "<f4"), (len(times), 1))
    for column, name in enumerate(names):
        if name in animation.weights:
            values[:, column] = animation.weights[name]
    if not np.isfinite(values).all():
        raise InputError("weights must be finite. Received: NaN or infinity")
    return times, values


def _quaternions(angles):
    """[N, 4] x, y, z, w, each on the near side of the one before."""
    quaternions = Rotation.from_matrix(rotation_matrix(np.asarray(angles, np.float64))).as_quat()
    flips = np.cumprod(np.where(np.sum(quaternions[1:] * quaternions[:-1], axis=-1) < 0, -1.0, 1.0))
    quaternions[1:] *= flips[:, None]
    return quaternions


def _add_accessor(gltf, binary, values, bounds=False):
    """Appends float32 `values` [M] or [M, C] of an animation and returns the index of their accessor."""
    binary += bytes(-len(binary) % 4)
    gltf["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes})
    binary += values.tobytes()
    kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
    accessor = {"bufferView": len(gltf["bufferViews"]) - 1, "componentType": _FLOAT, "count": len(values), "type": kind}
    if bounds:
        accessor |= {"min": [float(values.min())], "max": [float(values.max())]}
    gltf["accessors"].append(accessor)
    return len(gltf["accessors"]) - 1


def _add_camera(gltf, camera):
    """A camera node that sees what the clip's camera saw."""
    lens = {"yfov": 2 * math.atan2(camera.height / 2, camera.focal), "znear": _NEAR}
    lens["aspectRatio"] = camera.width / camera.height
    gltf["cameras"] = [{"name": NAME, "type": "perspective", "perspective": lens}]
    gltf["nodes"].append({"name": "camera", "camera": 0, "translation": [0.0, 0.0, camera.distance * METRES]})
    gltf["scenes"][0]["nodes"].append(len(gltf["nodes"]) - 1)
