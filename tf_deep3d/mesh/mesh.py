"""Writes meshes for other programs: OBJ with material and texture, PLY with vertex colours, binary glTF (GLB).

Everywhere y is up and the face looks along +z. OBJ and PLY are in millimetres and say so in a comment; glTF demands
metres. Texture coordinates come in with the origin at the bottom left, as OBJ has it; glTF counts v from the top.
A file appears whole or not at all (`files.writing`).

Letters: V vertices, T triangles, U texture points, N morph targets, S side of the texture in px.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.face.camera import METRES, MILLIMETRES
from tf_deep3d.io.files import refuse_existing, writing

SMALLEST_DISPLACEMENT = 1e-5  # dm, 1 micrometre; a morph target leaves vertices that move less where they are
ROUGHNESS = 0.9  # of the glTF material: skin without shine
PNG_LEVEL = 4  # half the time of zlib's default 6, for a tenth more bytes
IMAGE_FORMATS = {"png": "image/png", "jpeg": "image/jpeg"}

_UNIT = "unit: millimetre; axes: +y up, the face looks along +z"
_COMPONENTS = {"<f4": 5126, "<u4": 5125, "<u2": 5123}  # dtype -> glTF component type
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071


class Mesh(NamedTuple):
    """What is written.

    Attributes:
      vertices: [V, 3], dm.
      triangles: [T, 3] int, counter-clockwise seen from outside.
      normals: [V, 3], unit, or None.
      uv: [U, 2], origin at the bottom left, or None.
      uv_triangles: [T, 3] int, the triangles in `uv`, or None.
      texture: [S, S, 3] RGB (sRGB), uint8 or float in [0, 1], first row at v = 1, or None; needs `uv`.
      colors: [V, 3] RGB (sRGB), uint8 or float in [0, 1], or None: colours of the vertices.
    """

    vertices: Any
    triangles: Any
    normals: Any = None
    uv: Any = None
    uv_triangles: Any = None
    texture: Any = None
    colors: Any = None


def write_obj(path, mesh, name="face", licence="", texture_name=None, overwrite=False):
    """Writes PATH.obj and, with a texture, PATH.mtl and PATH.png beside it (white space in their names becomes "_").

    Colours of the vertices stand behind their positions, as most programs understand.

    Args:
      path: the .obj.
      mesh: `Mesh`; written in millimetres.
      name: of the object.
      licence: said in a comment.
      texture_name: file name of the texture, instead of that of the mesh.
      overwrite: replace existing files.

    Raises:
      FileExistsError: if one of the files exists and `overwrite` is false.
      ValueError: for arrays of wrong shapes or values.
    """
    path, mesh = Path(path), _check(mesh)
    material, picture = (
        path.with_name("_".join(file_name.split()))
        for file_name in (f"{path.stem}.mtl", texture_name or f"{path.stem}.png")
    )
    textured = mesh.texture is not None
    if not overwrite:
        refuse_existing(path, *((material, picture) if textured else ()))
    if textured:
        with writing(picture, overwrite) as file:
            file.write(_encode(mesh.texture, "png"))
        lines = ["newmtl face", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "d 1", "illum 1", f"map_Kd {picture.name}"]
        with writing(material, overwrite) as file:
            file.write(("\n".join(lines) + "\n").encode())

    parts = [f"# {_line(name)}; {_UNIT}\n"]
    parts += [f"# licence: {_line(licence)}\n"] if licence else []
    parts += [f"mtllib {material.name}\n"] if textured else []
    parts.append(f"o {_line(name)}\n")
    points = mesh.vertices * MILLIMETRES
    if mesh.colors is not None:
        points = np.concatenate([points, mesh.colors / 255.0], axis=1)
    parts.append(_rows("v" + " %.5f" * points.shape[1] + "\n", points))
    corners, pattern = [mesh.triangles + 1], "%d"
    if mesh.uv is not None:
        parts.append(_rows("vt %.7f %.7f\n", mesh.uv))
        corners.append(mesh.uv_triangles + 1)
        pattern += "/%d"
    if mesh.normals is not None:
        parts.append(_rows("vn %.6f %.6f %.6f\n", mesh.normals))
        corners.append(mesh.triangles + 1)
        pattern += "/%d" if mesh.uv is not None else "//%d"
    parts += ["usemtl face\n"] if textured else []
    corners = np.stack(corners, axis=-1).reshape(len(mesh.triangles), -1)
    parts.append(_rows("f" + f" {pattern}" * 3 + "\n", corners))
    with writing(path, overwrite) as file:
        file.write("".join(parts).encode())


def write_ply(path, mesh, name="face", licence="", overwrite=False):
    """Writes a binary little-endian PLY: positions in millimetres, normals and colours of the vertices, no texture.

    Args:
      path: the .ply.
      mesh: `Mesh`.
      name, licence: said in a comment.
      overwrite: replace an existing file.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
      ValueError: for arrays of wrong shapes or values.
    """
    mesh = _check(mesh)
    fields = {axis: ("float", "<f4", mesh.vertices[:, i] * MILLIMETRES) for i, axis in enumerate("xyz")}
    if mesh.normals is not None:
        fields |= {f"n{axis}": ("float", "<f4", mesh.normals[:, i]) for i, axis in enumerate("xyz")}
    if mesh.colors is not None:
        fields |= {color: ("uchar", "u1", mesh.colors[:, i]) for i, color in enumerate(("red", "green", "blue"))}
    header = ["ply", "format binary_little_endian 1.0", f"comment {_line(name)}; {_UNIT}"]
    header += [f"comment licence: {_line(licence)}"] if licence else []
    header += [f"element vertex {len(mesh.vertices)}"] + [f"property {kind} {n}" for n, (kind, _, _) in fields.items()]
    header += [f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices", "end_header"]
    points = np.empty(len(mesh.vertices), [(n, dtype) for n, (_, dtype, _) in fields.items()])
    for field, (_, _, values) in fields.items():
        points[field] = values
    polygons = np.empty(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    polygons["count"], polygons["corners"] = 3, mesh.triangles
    with writing(path, overwrite) as file:
        file.write(("\n".join(header) + "\n").encode() + points.tobytes() + polygons.tobytes())


def write_glb(
    path,
    mesh,
    morph_targets=None,
    name="face",
    licence="",
    extras=None,
    weights=None,
    image_format="png",
    overwrite=False,
):
    """Writes a binary glTF 2.0 file: one mesh with a matt material, an embedded texture and named morph targets.

    glTF knows one index per corner: a vertex with several texture points is split. Morph targets that move less than
    half of the mesh are stored sparsely. The material is double-sided, because a face model is an open surface.
    Colours of the vertices are written only where there is no texture, since glTF would multiply the two.

    Args:
      path: the .glb.
      mesh: `Mesh`; written in metres.
      morph_targets: name -> displacements [V, 3] in dm at full weight.
      name: of the mesh and its node.
      licence: goes to `asset.copyright`.
      extras: dict of JSON values, goes to `asset.extras`.
      weights: name -> weight that a morph target is shown with when the file is opened, else 0.
      image_format: of the texture, "png" (lossless) or "jpeg" (smaller).
      overwrite: replace an existing file.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
      ValueError: for arrays of wrong shapes or values, or another image format.
    """
    mesh = _check(mesh)
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image_format must be one of {sorted(IMAGE_FORMATS)}. Received: {image_format!r}")
    targets = {
        str(target): _array(f"morph target {target!r}", moved, mesh.vertices.shape)
        for target, moved in (morph_targets or {}).items()
    }
    weights = weights or {}
    if not weights.keys() <= targets.keys():
        raise ValueError(f"weights must name morph targets. Received: {sorted(weights)}")
    owner, texture_point, indices = split_seams(mesh.triangles, mesh.uv_triangles)
    asset = {"version": "2.0", "generator": "tf_deep3d"}
    asset |= {"copyright": licence} if licence else {}
    asset |= {"extras": extras} if extras else {}
    surface = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    gltf = {
        "asset": asset,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "materials": [{"name": "face", "doubleSided": True, "pbrMetallicRoughness": surface}],
        "accessors": [],
        "bufferViews": [],
    }
    binary = bytearray()
    attributes = {"POSITION": _add_accessor(gltf, binary, _f4(mesh.vertices[owner] * METRES), bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = _add_accessor(gltf, binary, _f4(_unit(mesh.normals[owner])))
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = _add_accessor(gltf, binary, _f4(mesh.uv[texture_point] * (1, -1) + (0, 1)))
    if mesh.colors is not None and mesh.texture is None:
        attributes["COLOR_0"] = _add_accessor(gltf, binary, _f4(_linear(mesh.colors[owner] / 255.0)))
    corners = _add_accessor(gltf, binary, _narrow(indices.reshape(-1)), _INDEX_BUFFER)
    primitive = {"attributes": attributes, "indices": corners, "material": 0}
    gltf["meshes"] = [{"name": name, "primitives": [primitive]}]
    if targets:
        primitive["targets"] = [{"POSITION": _add_displacements(gltf, binary, d[owner])} for d in targets.values()]
        shown = [float(weights.get(target, 0.0)) for target in targets]
        gltf["meshes"][0] |= {"weights": shown, "extras": {"targetNames": list(targets)}}
    if mesh.texture is not None:
        view = _add_view(gltf, binary, _encode(mesh.texture, image_format))
        surface["baseColorTexture"] = {"index": 0}
        gltf["images"] = [{"name": "texture", "bufferView": view, "mimeType": IMAGE_FORMATS[image_format]}]
        gltf["samplers"] = [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}]
        gltf["textures"] = [{"sampler": 0, "source": 0}]
    gltf["buffers"] = [{"byteLength": len(binary)}]

    text = json.dumps(gltf, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    with writing(path, overwrite) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary)))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)


def split_seams(triangles, uv_triangles=None):
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


def to_uint8(image):
    """RGB as uint8 from uint8, or from float in [0, 1], clipped and rounded; ValueError for other types."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind != "f":
        raise ValueError(f"Colours must be uint8, or float in [0, 1]. Received: {image.dtype}")
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _check(mesh):
    """The mesh with positions in float64, indices in int32 and, for texture and colours, uint8, of the right shapes."""
    vertices = _array("vertices", mesh.vertices, (None, 3)).astype(np.float64)
    triangles = _index("triangles", mesh.triangles, (None, 3), len(vertices))
    normals, uv, uv_triangles, texture, colors = mesh[2:]
    if not len(triangles):
        raise ValueError("The mesh must have a triangle. Received: none")
    if (uv is None) != (uv_triangles is None) or (texture is not None and uv is None):
        have = [name for name, value in mesh._asdict().items() if value is not None]
        raise ValueError(f"uv and uv_triangles go together, and a texture needs them. Received: {have}")
    if normals is not None:
        normals = _array("normals", normals, vertices.shape)
    if uv is not None:
        uv = _array("uv", uv, (None, 2)).astype(np.float64)
        uv_triangles = _index("uv_triangles", uv_triangles, triangles.shape, len(uv))
    if texture is not None:
        texture = to_uint8(_array("texture", texture, (None, None, 3)))
    if colors is not None:
        colors = to_uint8(_array("colors", colors, vertices.shape))
    return Mesh(vertices, triangles, normals, uv, uv_triangles, texture, colors)


def _array(name, values, shape):
    values = np.asarray(values)
    fits = values.ndim == len(shape) and all(b in (None, a) for a, b in zip(values.shape, shape, strict=True))
    if not fits or values.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers of shape {shape}. Received: {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite. Received: NaN or infinity")
    return values


def _index(name, values, shape, bound):
    if np.asarray(values).dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers. Received: {np.asarray(values).dtype}")
    values = _array(name, values, shape).astype(np.int32)
    if values.size and not 0 <= values.min() <= values.max() < bound:
        raise ValueError(f"{name} must lie in [0, {bound}). Received: {values.min()} to {values.max()}")
    return values


def _f4(values):
    return np.asarray(values, "<f4")


def _line(text):
    """`text` on one line, for comments and names."""
    return " ".join(str(text).split())


def _rows(pattern, values):
    """One line of text for each row of `values`."""
    return pattern * len(values) % tuple(values.reshape(-1).tolist())


def _encode(image, image_format):
    stream = io.BytesIO()
    options = {"png": {"compress_level": PNG_LEVEL}, "jpeg": {"quality": 95, "subsampling": 0}}[image_format]
    Image.fromarray(image).save(stream, image_format, **options)
    return stream.getvalue()


def _unit(normals):
    """Unit normals; (0, 0, 1) where there is none, because glTF demands unit length."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 1e-6, normals / np.maximum(length, 1e-6), (0.0, 0.0, 1.0))


def _linear(srgb):
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1): glTF wants it of vertex colours, not of textures."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _add_view(gltf, binary, data, target=None):
    """Appends `data` to the buffer, 4-byte aligned, and returns the index of its view."""
    binary += bytes(-len(binary) % 4)
    view = {"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)}
    gltf["bufferViews"].append(view | ({"target": target} if target else {}))
    binary += data
    return len(gltf["bufferViews"]) - 1


def _add_accessor(gltf, binary, values, target=_VERTEX_BUFFER, bounds=False):
    """Appends float32 attributes [N, C] or indices [N] and returns the index of their accessor."""
    view = _add_view(gltf, binary, values.tobytes(), target)
    return _append_accessor(gltf, values, {"bufferView": view}, bounds)


def _append_accessor(gltf, values, source, bounds=True):
    kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
    accessor = {**source, "componentType": _COMPONENTS[values.dtype.str], "count": len(values), "type": kind}
    if bounds:
        accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
    gltf["accessors"].append(accessor)
    return len(gltf["accessors"]) - 1


def _narrow(indices):
    """Indices as uint16 where they fit; the type's largest value is left out, because it restarts a primitive."""
    return indices.astype("<u2" if indices.max() < 65535 else "<u4")


def _add_displacements(gltf, binary, displacements):
    """Appends a morph target [N, 3] in dm, sparsely where that is smaller, and returns the index of its accessor."""
    moved = np.flatnonzero(np.linalg.norm(displacements, axis=-1) >= SMALLEST_DISPLACEMENT)
    values = np.zeros(displacements.shape, "<f4")
    values[moved] = displacements[moved] * METRES
    if 2 * len(moved) >= len(values):
        return _add_accessor(gltf, binary, values, bounds=True)
    if not len(moved):
        return _append_accessor(gltf, values, {})
    indices = _narrow(moved)
    sparse = {
        "count": len(moved),
        "indices": {
            "bufferView": _add_view(gltf, binary, indices.tobytes()),
            "componentType": _COMPONENTS[indices.dtype.str],
        },
        "values": {"bufferView": _add_view(gltf, binary, values[moved].tobytes())},
    }
    return _append_accessor(gltf, values, {"sparse": sparse})
