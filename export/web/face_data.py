"""The face model as the page reads it: one JSON that describes one binary file, since browsers read no .npz.

Modes are whole multiples of a step in 16 bits, the low bytes of all before the high ones: they pack to a quarter of the
bundle's half precision. Letters: V vertices, T triangles, K modes.
"""

from typing import Any, NamedTuple

import numpy as np

from export.web import expression_data
from tf_deep3d.errors import InputError
from tf_deep3d.face import expression
from tf_deep3d.face.morphable_model import MorphableModel

SHAPE_STEP = 5e-5  # dm, 5 micrometres: 200 modes of rounded numbers together stray by about 20
ALBEDO_STEP = 1 / 4096  # of the brightest


class FaceData(NamedTuple):
    """What is written.

    Attributes:
      description: data for JSON: name, licence, the number of vertices, the names of the blendshapes, and for each
        array its type ("float32", "uint16", "uint32" or "modes"), its offset in bytes, the count of its numbers, and
        for modes their step; and as solver what `expression_data` has for a model that shows units.
      binary: the arrays one after the other, little-endian, each from a multiple of 4 bytes on.
    """

    description: dict[str, Any]
    binary: bytes


def face_data(model: MorphableModel) -> FaceData:
    """The `FaceData` of a model: meanShape and meanAlbedo [V, 3], triangles [T, 3], as modes [K, 3, V] identity,
    expression, albedo and blendshapes, and what `expression_data` has.

    Raises:
      InputError: if a mode is larger than 16 bits hold, 1.6 dm or 8 times white.
    """
    corners = "uint16" if len(model.mean_shape) <= np.iinfo(np.uint16).max else "uint32"
    plain = {
        "meanShape": ("float32", model.mean_shape),
        "meanAlbedo": ("float32", model.mean_albedo),
        "triangles": (corners, model.triangles),
    }
    shows_units = expression.shows_units(model)
    if shows_units:
        plain |= expression_data.arrays(model)
    modes = {
        "identity": (SHAPE_STEP, model.identity_basis),
        "expression": (SHAPE_STEP, model.expression_basis),
        "albedo": (ALBEDO_STEP, model.albedo_basis),
        "blendshapes": (SHAPE_STEP, model.blendshapes),
    }
    binary, arrays = bytearray(), {}
    for name, (kind, values) in plain.items():
        arrays[name] = {"type": kind, "offset": len(binary), "count": values.size}
        _append(binary, np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<")).tobytes())
    for name, (step, values) in modes.items():
        arrays[name] = {"type": "modes", "offset": len(binary), "count": values.size, "step": step}
        _append(binary, _packed(name, values, step))
    description = {
        "name": model.name,
        "licence": model.licence,
        "vertices": len(model.mean_shape),
        "units": list(model.blendshape_names),
        "arrays": arrays,
    }
    if shows_units:
        description["solver"] = expression_data.constants(model)
    return FaceData(description, bytes(binary))


def _packed(name: str, modes: np.ndarray, step: float) -> bytes:
    """Modes [K, V, 3] as multiples of `step`, [K, 3, V], the low bytes before the high ones."""
    whole = np.round(modes.swapaxes(1, 2) / step)
    if np.abs(whole).max(initial=0) > np.iinfo(np.int16).max:
        most = np.abs(modes).max()
        raise InputError(f"the page holds modes of {name} up to {step * 32767:.3g}. Received: {most:.3g}")
    halves = np.ascontiguousarray(whole, "<i2").view(np.uint8).reshape(-1, 2)
    return np.ascontiguousarray(halves.T).tobytes()


def _append(binary: bytearray, data: bytes) -> None:
    binary.extend(data)
    binary.extend(bytes(-len(binary) % 4))
