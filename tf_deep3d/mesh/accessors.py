"""Numbers in a binary glTF: views of its buffer, and the accessors that say what stands there.

What is packed follows KHR_mesh_quantization: whole numbers of 8 or 16 bits in the place of floats, padded to 4 bytes.

Letters: N rows of an accessor, C its columns.
"""

from typing import Any, NamedTuple

import numpy as np

VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
QUANTIZATION = "KHR_mesh_quantization"
_COMPONENTS = {"|i1": 5120, "<i2": 5122, "<u2": 5123, "<u4": 5125, "<f4": 5126}  # dtype -> glTF component type


class Gltf(NamedTuple):
    """A glTF file in the making.

    Attributes:
      tree: the JSON, without its only buffer.
      binary: that buffer, which accessors are appended to.
      textures: the pictures in it, in the order of the JSON's.
    """

    tree: dict[str, Any]
    binary: bytearray
    textures: list[np.ndarray]


def add_view(gltf: Gltf, data: bytes, target: int | None = None, stride: int | None = None) -> int:
    """Appends `data` to the buffer, 4-byte aligned, and returns the index of its view."""
    gltf.binary.extend(bytes(-len(gltf.binary) % 4))
    view = {"buffer": 0, "byteOffset": len(gltf.binary), "byteLength": len(data)}
    view |= ({"target": target} if target else {}) | ({"byteStride": stride} if stride else {})
    gltf.tree["bufferViews"].append(view)
    gltf.binary.extend(data)
    return len(gltf.tree["bufferViews"]) - 1


def add_accessor(
    gltf: Gltf, values: np.ndarray, target: int | None = None, bounds: bool = False, normalized: bool = False
) -> int:
    """Appends values to the buffer.

    Args:
      gltf: `Gltf`, which is changed.
      values: [N] or [N, C], little-endian: float32, signed integers of 8 or 16 bits, unsigned ones of 16 or 32.
      target: what the values are for, a glTF constant, or None.
      bounds: tell the smallest and largest value of each column.
      normalized: integers stand for their share of the largest of their type.

    Returns:
      The index of their accessor.
    """
    rows, stride = values, None
    if target == VERTEX_BUFFER and (short := -values.itemsize * values.shape[1] % 4):
        rows = np.pad(values, ((0, 0), (0, short // values.itemsize)))
        stride = rows.itemsize * rows.shape[1]
    source = {"bufferView": add_view(gltf, rows.tobytes(), target, stride)}
    return _append(gltf, _Whole(values, len(values)), source, bounds, normalized)


def add_sparse(
    gltf: Gltf, values: np.ndarray, rows: np.ndarray, count: int, bounds: bool = False, normalized: bool = False
) -> int:
    """Appends `values` [M, C] of the `rows` [M] among `count`, whose others are zero: those alone, or as `add_accessor`
    all of them where that is smaller."""
    whole = _Whole(values, count)
    if not len(rows):
        return _append(gltf, whole, {}, bounds, normalized)
    indices, width = narrow(rows), values.itemsize * values.shape[1]
    if len(rows) * (width + indices.itemsize) >= count * (width + -width % 4):
        return add_accessor(gltf, spread(values, rows, count), VERTEX_BUFFER, bounds, normalized)
    sparse = {
        "count": len(rows),
        "indices": {
            "bufferView": add_view(gltf, indices.tobytes()),
            "componentType": _COMPONENTS[indices.dtype.str],
        },
        "values": {"bufferView": add_view(gltf, values.tobytes())},
    }
    return _append(gltf, whole, {"sparse": sparse}, bounds, normalized)


def spread(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """[count, C] with `values` [M, C] in the `rows` [M] and zeros elsewhere."""
    whole = np.zeros((count, values.shape[1]), values.dtype)
    whole[rows] = values
    return whole


def narrow(indices: np.ndarray) -> np.ndarray:
    """Indices as uint16 where they fit; the type's largest value is left out, because it restarts a primitive."""
    return indices.astype("<u2" if indices.max() < 65535 else "<u4")


def narrowed(values: np.ndarray) -> np.ndarray:
    """Whole numbers as signed integers of 8 bits where they fit, else of 16."""
    return values.astype("|i1" if np.abs(values).max(initial=0) <= 127 else "<i2")


def share(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` in [-1, 1], or [0, 1], as shares of the largest integer of `dtype`, rounded; what is beyond is cut."""
    most = np.iinfo(dtype).max
    return np.round(np.clip(values, max(-1, np.iinfo(dtype).min), 1) * most).astype(dtype)


class _Whole(NamedTuple):
    """What an accessor of so many `rows` holds: `values` [M] or [M, C], and zeros in the rows that these lack."""

    values: np.ndarray
    rows: int

    def bounds(self) -> dict[str, list[float]]:
        """The smallest and largest value of each column."""
        columns = np.atleast_2d(self.values.T)
        if len(self.values) < self.rows:  # there are zeros, too
            least, most = [c.min(initial=0).item() for c in columns], [c.max(initial=0).item() for c in columns]
        else:
            least, most = [c.min().item() for c in columns], [c.max().item() for c in columns]
        return {"min": least, "max": most}


def _append(gltf: Gltf, whole: _Whole, source: dict[str, Any], bounds: bool, normalized: bool) -> int:
    values = whole.values
    kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
    accessor = {**source, "componentType": _COMPONENTS[values.dtype.str], "count": whole.rows, "type": kind}
    accessor |= {"normalized": True} if normalized else {}
    accessor |= whole.bounds() if bounds else {}
    gltf.tree["accessors"].append(accessor)
    return len(gltf.tree["accessors"]) - 1
