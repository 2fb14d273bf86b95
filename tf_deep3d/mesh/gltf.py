"""Binary glTF 2.0 (GLB): built in memory, by `build` and `animation.animate`, then written.

glTF: metres, y up; v of texture coordinates counts from the top.

Letters: V vertices, T triangles, U texture points, N rows of an accessor, C its columns.
"""

import json
import os
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d.face.camera import METRES
from tf_deep3d.io.files import writing
from tf_deep3d.mesh.mesh import IMAGE_FORMATS, Mesh, checked, encode, numbers

HEAD = 0  # the node of the mesh
SMALLEST_DISPLACEMENT = 1e-5  # dm, 1 micrometre; a morph target leaves vertices that move less where they are
RESOLUTION = 2.0**-17  # m, 8 micrometres: displacements are whole multiples, which pack to two thirds of the bytes
ROUGHNESS = 0.9  # of the material: skin without shine

_COMPONENTS = {"<f4": 5126, "<u4": 5125, "<u2": 5123}  # dtype -> glTF component type
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071


class Gltf(NamedTuple):
    """A glTF file in the making.

    Attributes:
      tree: the JSON, without its only buffer.
      binary: that buffer, which accessors are appended to.
    """

    tree: dict[str, Any]
    binary: bytearray


def build(
    mesh: Mesh,
    morph_targets: Mapping[str, ArrayLike] | None = None,
    weights: Mapping[str, float] | None = None,
    name: str = "face",
    licence: str = "",
    extras: Mapping[str, Any] | None = None,
    image_format: str = "png",
) -> Gltf:
    """Builds a file with one mesh, see `add_mesh`; its node is `HEAD`.

    Args:
      mesh, morph_targets, weights, name, image_format: of the mesh.
      licence: goes to `asset.copyright`.
      extras: JSON values by name, go to `asset.extras`.

    Returns:
      `Gltf`, for `write_glb`.

    Raises:
      ValueError: for arrays of wrong shapes or values, or another image format.
    """
    asset: dict[str, Any] = {"version": "2.0", "generator": "tf_deep3d"}
    asset |= {"copyright": licence} if licence else {}
    asset |= {"extras": dict(extras)} if extras else {}
    lists: dict[str, Any] = {name: [] for name in ("nodes", "meshes", "materials", "accessors", "bufferViews")}
    tree = {"asset": asset, "scene": 0, "scenes": [{"nodes": [HEAD]}], **lists}
    gltf = Gltf(tree, bytearray())
    add_mesh(gltf, mesh, morph_targets, weights, name, image_format)
    return gltf


def add_mesh(
    gltf: Gltf,
    mesh: Mesh,
    morph_targets: Mapping[str, ArrayLike] | None = None,
    weights: Mapping[str, float] | None = None,
    name: str = "face",
    image_format: str = "png",
    material: int | None = None,
) -> int:
    """Appends one mesh with a matt material, an embedded texture and named morph targets.

    Its node is the scene's first, `HEAD`, or else a child of it, which moves along. glTF knows one index per corner: a
    vertex with several texture points is split. Morph targets that move less than half of the mesh are stored sparsely.
    The material is double-sided, because a face model is an open surface. Colours of the vertices are written only
    where there is no texture, since glTF would multiply the two.

    Args:
      gltf: `Gltf`, which is changed.
      mesh: `Mesh`; written in metres.
      morph_targets: name -> displacements [V, 3] in dm at full weight.
      weights: name -> weight that a morph target is shown with when the file is opened, else 0.
      name: of the mesh and its node.
      image_format: of the texture, "png" (lossless) or "jpeg" (smaller).
      material: of an earlier mesh that shows the same texture, instead of a new one.

    Returns:
      The number of its material.

    Raises:
      ValueError: for arrays of wrong shapes or values, or another image format.
    """
    mesh = checked(mesh)
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image_format must be one of {sorted(IMAGE_FORMATS)}. Received: {image_format!r}")
    targets = {
        target: numbers(f"morph target {target!r}", moved, mesh.vertices.shape)
        for target, moved in (morph_targets or {}).items()
    }
    weights = weights or {}
    if not weights.keys() <= targets.keys():
        raise ValueError(f"weights must name morph targets. Received: {sorted(weights)}")
    tree = gltf.tree
    owner, primitive = _add_primitive(gltf, mesh)
    entry: dict[str, Any] = {"name": name, "primitives": [primitive]}
    if targets:
        primitive["targets"] = [{"POSITION": _add_displacements(gltf, d[owner])} for d in targets.values()]
        shown = [float(weights.get(target, 0.0)) for target in targets]
        entry |= {"weights": shown, "extras": {"targetNames": list(targets)}}
    primitive["material"] = _add_material(gltf, name, mesh.texture, image_format) if material is None else material
    tree["nodes"].append({"name": name, "mesh": len(tree["meshes"])})
    tree["meshes"].append(entry)
    if len(tree["nodes"]) > 1:
        tree["nodes"][HEAD].setdefault("children", []).append(len(tree["nodes"]) - 1)
    return primitive["material"]


def _add_material(gltf: Gltf, name: str, texture: np.ndarray | None, image_format: str) -> int:
    """Appends a matt material, with a texture [S, S, 3] uint8 or without, and returns its number."""
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    tree = gltf.tree
    if texture is not None:
        view = _add_view(gltf, encode(texture, image_format))
        images, textures = tree.setdefault("images", []), tree.setdefault("textures", [])
        tree["samplers"] = [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}]
        surface["baseColorTexture"] = {"index": len(textures)}
        textures.append({"sampler": 0, "source": len(images)})
        images.append({"name": "texture", "bufferView": view, "mimeType": IMAGE_FORMATS[image_format]})
    tree["materials"].append({"name": name, "doubleSided": True, "pbrMetallicRoughness": surface})
    return len(tree["materials"]) - 1


def write_glb(path: str | os.PathLike[str], gltf: Gltf, overwrite: bool = False) -> None:
    """Writes a binary glTF file.

    Args:
      path: the .glb.
      gltf: what `build` made, still or animated.
      overwrite: replace an existing file.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
    """
    content = glb(gltf)
    with writing(path, overwrite) as file:
        file.write(content)


def glb(gltf: Gltf) -> bytes:
    """The bytes of a binary glTF file."""
    tree = gltf.tree | {"buffers": [{"byteLength": len(gltf.binary)}]}
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    binary = bytes(gltf.binary) + bytes(-len(gltf.binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    return b"".join(
        [head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(binary), b"BIN\0"), binary]
    )


def split_seams(
    triangles: np.ndarray, uv_triangles: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """One index per corner for formats that have no separate texture triangles.

    Args:
      triangles: [T, 3] int, into V vertices.
      uv_triangles: [T, 3] int, into U texture points, or None.

    Returns:
      owner [N] and texture_point [N] (None without `uv_triangles`), the vertex and texture point of each of the N
      used pairs, ascending; and the triangles [T, 3] in these pairs.
    """
    if uv_triangles is None:
        owner, indices = np.unique(triangles, return_inverse=True)
        return owner, None, indices.reshape(-1, 3)
    width = int(uv_triangles.max(initial=0)) + 1
    pairs, indices = np.unique(triangles.astype(np.int64) * width + uv_triangles, return_inverse=True)
    return pairs // width, pairs % width, indices.reshape(-1, 3)


def add_accessor(gltf: Gltf, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
    """Appends values to the buffer.

    Args:
      gltf: `Gltf`, which is changed.
      values: [N] or [N, C], float32, or unsigned integers of 16 or 32 bits, little-endian.
      target: what the values are for, a glTF constant, or None.
      bounds: tell the smallest and largest value of each column.

    Returns:
      The index of their accessor.
    """
    return _append_accessor(gltf, values, {"bufferView": _add_view(gltf, values.tobytes(), target)}, bounds)


def _add_primitive(gltf: Gltf, mesh: Mesh) -> tuple[np.ndarray, dict[str, Any]]:
    """Appends the attributes and triangles; returns the vertex [N] of each row of the attributes, and the primitive."""
    owner, texture_point, indices = split_seams(mesh.triangles, mesh.uv_triangles)
    attributes = {"POSITION": (mesh.vertices[owner] * METRES, True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = (_unit(mesh.normals[owner]), False)
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = (mesh.uv[texture_point] * (1, -1) + (0, 1), False)
    if mesh.colors is not None and mesh.texture is None:
        attributes["COLOR_0"] = (_linear(mesh.colors[owner] / 255.0), False)
    accessors = {
        name: add_accessor(gltf, np.asarray(values, "<f4"), _VERTEX_BUFFER, bounds)
        for name, (values, bounds) in attributes.items()
    }
    corners = add_accessor(gltf, _narrow(indices.reshape(-1)), _INDEX_BUFFER)
    return owner, {"attributes": accessors, "indices": corners}


def _add_view(gltf: Gltf, data: bytes, target: int | None = None) -> int:
    """Appends `data` to the buffer, 4-byte aligned, and returns the index of its view."""
    gltf.binary.extend(bytes(-len(gltf.binary) % 4))
    view = {"buffer": 0, "byteOffset": len(gltf.binary), "byteLength": len(data)}
    gltf.tree["bufferViews"].append(view | ({"target": target} if target else {}))
    gltf.binary.extend(data)
    return len(gltf.tree["bufferViews"]) - 1


def _append_accessor(gltf: Gltf, values: np.ndarray, source: dict[str, Any], bounds: bool = True) -> int:
    kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
    accessor = {**source, "componentType": _COMPONENTS[values.dtype.str], "count": len(values), "type": kind}
    if bounds:
        accessor |= {"min": np.atleast_1d(values.min(0)).tolist(), "max": np.atleast_1d(values.max(0)).tolist()}
    gltf.tree["accessors"].append(accessor)
    return len(gltf.tree["accessors"]) - 1


def _add_displacements(gltf: Gltf, displacements: np.ndarray) -> int:
    """Appends a morph target [N, 3] in dm, sparsely where that is smaller, and returns the index of its accessor."""
    moved = np.flatnonzero(np.linalg.norm(displacements, axis=-1) >= SMALLEST_DISPLACEMENT)
    values = np.zeros(displacements.shape, "<f4")
    values[moved] = np.round(displacements[moved] * (METRES / RESOLUTION)) * RESOLUTION
    if 2 * len(moved) >= len(values):
        return add_accessor(gltf, values, _VERTEX_BUFFER, bounds=True)
    if not len(moved):
        return _append_accessor(gltf, values, {})
    indices = _narrow(moved)
    sparse = {
        "count": len(moved),
        "indices": {
            "bufferView": _add_view(gltf, indices.tobytes()),
            "componentType": _COMPONENTS[indices.dtype.str],
        },
        "values": {"bufferView": _add_view(gltf, values[moved].tobytes())},
    }
    return _append_accessor(gltf, values, {"sparse": sparse})


def _narrow(indices: np.ndarray) -> np.ndarray:
    """Indices as uint16 where they fit; the type's largest value is left out, because it restarts a primitive."""
    return indices.astype("<u2" if indices.max() < 65535 else "<u4")


def _unit(normals: np.ndarray) -> np.ndarray:
    """Unit normals; (0, 0, 1) where there is none, because glTF demands unit length."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 1e-6, normals / np.maximum(length, 1e-6), (0.0, 0.0, 1.0))


def _linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1): glTF wants it of vertex colours, not of textures."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
