"""Reads PLY files of other programs: text and binary, of either byte order, with colours of the vertices.

Untrusted input: what the header promises is compared with the size of the file before anything is made.

Letters: V vertices.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d.errors import InputError

KINDS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}  # format -> byte order
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
CORNERS = ("vertex_indices", "vertex_index")
COLORS = ("red", "green", "blue")
MAX_HEADER = 1 << 16  # bytes
TRIANGLE = 3


class _Property(NamedTuple):
    """A number of an element, or, if `length` is not empty, a list of them; types as NumPy calls them."""

    name: str
    type: str
    length: str = ""


class _Element(NamedTuple):
    name: str
    rows: int
    properties: list[_Property]


def read_ply(data: bytes, path: str | Path) -> tuple[np.ndarray, list[list[int]], np.ndarray | None]:
    """What a PLY file holds.

    Args:
      data: the file.
      path: of the file, for messages.

    Returns:
      (vertices [V, 3] float64; polygons, lists of 0-based corners; colors [V, 3] in [0, 1], or None).

    Raises:
      InputError: if it is no such file or ends early.
    """
    end = data.find(b"end_header", 0, MAX_HEADER)
    start = data.find(b"\n", end) + 1
    if not data.startswith(b"ply") or end < 0 or not start:
        raise InputError(f"{path} must be a PLY file. Received: {data[:20]!r}")
    order, elements = _header(data[:end].decode("ascii", "replace"), path)
    body, found, place = data[start:], {}, 0
    words = [] if order else body.split()
    try:
        for element in elements:
            read = _binary_element(element, body, place, order) if order else _text_element(element, words, place)
            found[element.name], place = read
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path} must hold what its header says. Received: {error}") from error
    _check_kinds(elements, path)
    vertex, face = found.get("vertex", {}), found.get("face", {})
    if not {"x", "y", "z"} <= set(vertex):
        raise InputError(f"{path} must have vertices with x, y and z. Received: {', '.join(vertex) or 'none'}")
    vertices = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], 1)
    polygons = next((face[name] for name in CORNERS if name in face), [])
    if not set(COLORS) <= set(vertex):
        return vertices, polygons, None
    colors = np.stack([vertex[name] for name in COLORS], 1)
    return vertices, polygons, colors / 255 if colors.dtype.kind in "ui" else colors.astype(np.float64)


def _check_kinds(elements: list[_Element], path: str | Path) -> None:
    """Raises InputError unless places and colours of vertices are numbers, and corners of faces lists of whole ones."""
    for element in elements:
        for each in element.properties:
            number = element.name == "vertex" and each.name in ("x", "y", "z", *COLORS)
            corners = element.name == "face" and each.name in CORNERS
            if (number and each.length) or (corners and not (each.length and each.type[0] in "iu")):
                raise InputError(
                    f"{path} must have numbers as places and colours, and lists of whole numbers as corners. Received: "
                    f"{each.name}, {'list of ' * bool(each.length)}{each.type}"
                )


def _header(text: str, path: str | Path) -> tuple[str, list[_Element]]:
    """Byte order, empty for text, and the elements that a header promises."""
    order, elements = None, []
    try:
        for line in text.splitlines()[1:]:
            key, *values = line.split() or [""]
            if key == "format":
                order = KINDS[values[0]]
            elif key == "element":
                elements.append(_Element(values[0], int(values[1]), []))
            elif key == "property" and values[0] == "list":
                elements[-1].properties.append(_Property(values[3], TYPES[values[2]], TYPES[values[1]]))
            elif key == "property":
                elements[-1].properties.append(_Property(values[1], TYPES[values[0]]))
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path} must have the header of a PLY file. Received: {error}") from error
    if order is None or any(element.rows < 0 or not element.properties for element in elements):
        raise InputError(f"{path} must have the header of a PLY file. Received: {text[:60]!r}")
    return order, elements


def _text_element(element: _Element, words: list[bytes], place: int) -> tuple[dict, int]:
    """An element of a text file from the `place`-th word on: name of the property -> its values; and where it ends."""
    found: dict[str, list] = {each.name: [] for each in element.properties}
    if element.rows * len(element.properties) > len(words) - place:
        raise ValueError(f"{len(words) - place} numbers, {element.rows} x {element.name}")
    for _ in range(element.rows):
        for each in element.properties:
            if not each.length:
                found[each.name].append(float(words[place]))
                place += 1
                continue
            end = place + 1 + _length(int(words[place]))
            found[each.name].append([int(word) for word in words[place + 1 : end]])
            place = end
            if end > len(words):
                raise ValueError(f"the end of the file in {element.name}")
    return {
        each.name: found[each.name] if each.length else np.array(found[each.name], each.type)
        for each in element.properties
    }, place


def _binary_element(element: _Element, body: bytes, place: int, order: str) -> tuple[dict, int]:
    """An element of a binary file from the byte `place` on, see `_text_element`."""
    plain = not any(each.length for each in element.properties)
    # Most meshes have triangles alone: then all rows are of one size.
    fields = [
        field
        for each in element.properties
        for field in (
            [(f"{each.name} length", order + each.length), (each.name, order + each.type, TRIANGLE)]
            if each.length
            else [(each.name, order + each.type)]
        )
    ]
    row = np.dtype(fields)
    end = place + element.rows * row.itemsize
    if end <= len(body):
        rows = np.frombuffer(body, row, element.rows, place)
        if plain or all((rows[f"{each.name} length"] == TRIANGLE).all() for each in element.properties if each.length):
            return {
                each.name: rows[each.name].tolist() if each.length else rows[each.name] for each in element.properties
            }, end
    if plain or element.rows * len(element.properties) > len(body) - place:
        raise ValueError(f"{len(body) - place} bytes, {element.rows} x {element.name}")
    found: dict[str, list] = {each.name: [] for each in element.properties}
    for _ in range(element.rows):
        for each in element.properties:
            count = 1
            if each.length:
                count = _length(int(np.frombuffer(body, order + each.length, 1, place)[0]))
                place += np.dtype(each.length).itemsize
            values = np.frombuffer(body, order + each.type, count, place).tolist()
            place += count * np.dtype(each.type).itemsize
            found[each.name].append(values if each.length else values[0])
    return found, place


def _length(count: int) -> int:
    if count < 0:
        raise ValueError(f"a list of {count}")
    return count
