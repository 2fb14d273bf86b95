"""Binary glTF 2.0 (GLB): built in memory, by `build` and `animation.animate`, then written.

glTF: metres, y up; v of texture coordinates counts from the top. A file is packed, "compact", or "plain":

- compact: a quarter of the bytes. Morph targets are whole numbers of `STEP` and of shares of a unit normal, of the
  vertices that move (sparse accessors, KHR_mesh_quantization); the texture is a JPEG. Positions are exact.
- plain: floats for every vertex and a PNG, for readers that know the core of glTF alone.

Letters: V vertices, T triangles, J morph targets.
"""

import json
import os
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import tf_deep3d
from tf_deep3d.face.camera import METRES
from tf_deep3d.io.files import writing
from tf_deep3d.mesh import accessors
from tf_deep3d.mesh.accessors import INDEX_BUFFER, VERTEX_BUFFER, Gltf
from tf_deep3d.mesh.mesh import IMAGE_FORMATS, Mesh, checked, encode, to_uint8
from tf_deep3d.mesh.morphs import Morph, morphs

HEAD = 0  # the node that all meshes hang on, at the face model's origin
PACKINGS = {"compact": "jpeg", "plain": "png"}  # kind of file -> format of its textures
# What commands say of the two:
PACKING_HELP = "compact: small, for viewers of today (default); plain: ten times as large, floats alone, for old ones"
STEP = 1.5e-4  # m: displacements of compact files are whole multiples; the node of the mesh has it as its scale
# Of compact files, what is left out of a morph target: displacements up to this, dm, and turns of the normal, in
# radians. From there to twice as much they fade in, so that no edge is seen.
FADE, NORMAL_FADE = 3e-3, np.radians(6)
# What a surface is made of -> its roughness. The shine of skin is in the photo's texture already.
MATERIALS = {"skin": 0.9, "eyes": 0.1, "teeth": 0.3, "mouth": 0.8}
AXES = "unit: metre; +y up, the face looks along +z, +x is the person's left"  # said in the file

_Target: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray]]  # attribute -> vertices [M] that change, values [M, 3]
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071


def build(
    mesh: Mesh | Mapping[str, Mesh],
    targets: Mapping[str, ArrayLike] | None = None,
    weights: Mapping[str, float] | None = None,
    name: str = "face",
    licence: str = "",
    packing: str = "compact",
) -> Gltf:
    """Builds a file with one open surface.

    Args:
      mesh: `Mesh`, of skin; or the part of it that each of `MATERIALS` covers, with one array of vertices.
      targets: morph targets, name -> displacements [V, 3] in dm.
      weights, name: of the mesh, see `add_mesh`.
      licence: goes to `asset.copyright`.
      packing: one of `PACKINGS`.

    Returns:
      `Gltf`, for `write_glb`.

    Raises:
      ValueError: for arrays of wrong shapes or values, or another packing.
    """
    parts = {"skin": mesh} if isinstance(mesh, Mesh) else mesh
    gltf = start(name, licence, packing)
    whole = next(iter(parts.values()))
    whole = whole._replace(triangles=np.concatenate([part.triangles for part in parts.values()]))
    add_mesh(gltf, parts, morphs(whole, targets or {}), weights, name, double_sided=True)
    return gltf


def start(name: str, licence: str = "", packing: str = "compact") -> Gltf:
    """A file without a mesh yet, with the node `HEAD`; arguments as of `build`."""
    if packing not in PACKINGS:
        raise ValueError(f"packing must be one of {sorted(PACKINGS)}. Received: {packing!r}")
    asset: dict[str, Any] = {"version": "2.0", "generator": f"tf_deep3d {tf_deep3d.__version__}"}
    asset |= {"copyright": licence} if licence else {}
    asset["extras"] = {"axes": AXES}
    tree: dict[str, Any] = {"asset": asset, "scene": 0, "scenes": [{"name": name, "nodes": [HEAD]}]}
    if packing == "compact":
        tree |= {"extensionsUsed": [accessors.QUANTIZATION], "extensionsRequired": [accessors.QUANTIZATION]}
    tree |= {"nodes": [{"name": "head", "children": []}]}
    return Gltf(tree | {field: [] for field in ("meshes", "materials", "accessors", "bufferViews")}, bytearray(), [])


def add_mesh(
    gltf: Gltf,
    parts: Mapping[str, Mesh],
    targets: Mapping[str, Morph] | None = None,
    weights: Mapping[str, float] | None = None,
    name: str = "face",
    origin: ArrayLike = (0.0, 0.0, 0.0),
    double_sided: bool = False,
) -> None:
    """Appends one mesh, with an embedded texture and named morph targets, as a child of the node `HEAD`.

    glTF knows one index per corner: a vertex with several texture points is split. Colours of the vertices are written
    only where there is no texture, since glTF would multiply the two. A texture that is there already is shared.

    Args:
      gltf: `Gltf`, which is changed.
      parts: one of `MATERIALS` -> the `Mesh` of it, all with the same vertices and normals.
      targets: name -> `Morph` of those vertices.
      weights: name -> weight that a morph target is shown with when the file is opened, else 0.
      name: of the mesh and its node.
      origin: [3] dm, where the node lies, which turns about it.
      double_sided: whether the surface is open, so that it is seen from behind.

    Raises:
      ValueError: for arrays of wrong shapes or values.
    """
    targets, weights = targets or {}, weights or {}
    if not weights.keys() <= targets.keys():
        raise ValueError(f"weights must name morph targets. Received: {sorted(weights)}")
    tree = gltf.tree
    place = np.asarray(origin, np.float64)
    normals = next(iter(parts.values())).normals
    packed = [_packed(morph, normals) if _is_compact(gltf) else _plain(morph) for morph in targets.values()]
    primitives = [
        _add_primitive(gltf, checked(part), place, packed)
        | {"material": _add_material(gltf, material, part.texture, double_sided)}
        for material, part in parts.items()
    ]
    entry: dict[str, Any] = {"name": name, "primitives": primitives}
    if targets:
        shown = [float(weights.get(target, 0.0)) for target in targets]
        entry |= {"weights": shown, "extras": {"targetNames": list(targets)}}
    node: dict[str, Any] = {"name": name, "mesh": len(tree["meshes"])}
    node |= {"translation": (place * METRES).tolist()} if place.any() else {}
    node |= {"scale": [STEP] * 3} if _is_compact(gltf) else {}
    tree["meshes"].append(entry)
    tree["nodes"][HEAD]["children"].append(len(tree["nodes"]))
    tree["nodes"].append(node)


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


def _is_compact(gltf: Gltf) -> bool:
    return "extensionsUsed" in gltf.tree


def _add_primitive(gltf: Gltf, mesh: Mesh, origin: np.ndarray, targets: list[_Target]) -> dict[str, Any]:
    """Appends the attributes, triangles and morph targets of a mesh and returns its primitive."""
    owner, texture_point, indices = split_seams(mesh.triangles, mesh.uv_triangles)
    compact = _is_compact(gltf)
    unit = METRES / STEP if compact else METRES

    def add(values: np.ndarray, dtype: str) -> int:
        """Values in [-1, 1], packed as `dtype` where the file is compact."""
        packed = accessors.share(values, dtype) if compact else np.asarray(values, "<f4")
        return accessors.add_accessor(gltf, packed, VERTEX_BUFFER, normalized=compact)

    positions = np.asarray((mesh.vertices[owner] - origin) * unit, "<f4")
    attributes = {"POSITION": accessors.add_accessor(gltf, positions, VERTEX_BUFFER, bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = add(_unit(mesh.normals[owner]), "|i1")
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = add(mesh.uv[texture_point] * (1, -1) + (0, 1), "<u2")
    if mesh.colors is not None and mesh.texture is None:
        attributes["COLOR_0"] = add(_linear(mesh.colors[owner] / 255.0), "<u2")
    primitive: dict[str, Any] = {"attributes": attributes}
    primitive["indices"] = accessors.add_accessor(gltf, accessors.narrow(indices.reshape(-1)), INDEX_BUFFER)
    if targets:
        primitive["targets"] = [_add_target(gltf, target, owner, len(mesh.vertices)) for target in targets]
    return primitive


def _plain(morph: Morph) -> _Target:
    """A morph target in metres."""
    target = {"POSITION": (morph.vertices, (morph.displacements * METRES).astype("<f4"))}
    return target if morph.turns is None else target | {"NORMAL": (morph.vertices, morph.turns.astype("<f4"))}


def _packed(morph: Morph, normals: np.ndarray | None) -> _Target:
    """A morph target of a compact file, of a mesh with still `normals` [V, 3]: whole numbers, of 8 bits or to be
    narrowed, where they are not all zero."""
    steps = np.round(_faded(morph.displacements, FADE) * (METRES / STEP))
    target = {"POSITION": (morph.vertices, steps)}
    if morph.turns is not None and normals is not None:
        turns = _faded(morph.turns, NORMAL_FADE)
        vertices, turns = _moving(morph.vertices, turns)
        turned = _shortened(normals.take(vertices, axis=0), turns)
        target["NORMAL"] = (vertices, accessors.share(turned, "|i1"))
    return {attribute: _moving(*rows) for attribute, rows in target.items()}


def _moving(vertices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of `vertices` [M] and their `values` [M, 3] those that are not zero."""
    x, y, z = values.T
    rows = np.flatnonzero((x != 0) | (y != 0) | (z != 0))
    return vertices.take(rows), values.take(rows, axis=0)


def _add_target(gltf: Gltf, target: _Target, owner: np.ndarray, count: int) -> dict[str, int]:
    """Appends a morph target of the vertices `owner` [N] among `count`."""
    added: dict[str, int] = {}
    for attribute, (vertices, values) in target.items():
        place = np.full(count, -1, np.int32)
        place[vertices] = np.arange(len(vertices))
        place = place.take(owner)
        rows = np.flatnonzero(place >= 0)
        chosen = values.take(place.take(rows), axis=0)
        if not _is_compact(gltf):
            whole = accessors.spread(chosen, rows, len(owner))
            added[attribute] = accessors.add_accessor(gltf, whole, VERTEX_BUFFER, attribute == "POSITION")
        elif attribute == "POSITION":
            added[attribute] = accessors.add_sparse(gltf, accessors.narrowed(chosen), rows, len(owner), bounds=True)
        else:
            added[attribute] = accessors.add_sparse(gltf, chosen, rows, len(owner), normalized=True)
    return added


def _shortened(normals: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """`turns` [N, 3] within [-1, 1]: where a normal turns too far for that, to a shorter one of the same direction."""
    turned = normals + turns
    x, y, z = ((1 + np.sign(turned) * normals) / np.maximum(np.abs(turned), 1e-6)).T
    return turned * np.minimum(np.minimum(np.minimum(x, y), z), 1)[:, None] - normals


def _add_material(gltf: Gltf, name: str, texture: np.ndarray | None, double_sided: bool) -> int:
    """The number of a material, with a texture [S, S, 3] or without; appended where it is not there yet."""
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": MATERIALS[name]}
    if texture is not None:
        surface["baseColorTexture"] = {"index": _add_texture(gltf, texture)}
    material = {"name": name, "doubleSided": double_sided, "pbrMetallicRoughness": surface}
    known: list[dict[str, Any]] = gltf.tree["materials"]
    if material not in known:
        known.append(material)
    return known.index(material)


def _add_texture(gltf: Gltf, texture: np.ndarray) -> int:
    """The number of a texture; embedded where it is not there yet."""
    for number, known in enumerate(gltf.textures):
        if known is texture:
            return number
    tree = gltf.tree
    image_format = PACKINGS["compact" if _is_compact(gltf) else "plain"]
    view = accessors.add_view(gltf, encode(to_uint8(texture), image_format))
    tree["samplers"] = [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}]
    images, textures = tree.setdefault("images", []), tree.setdefault("textures", [])
    textures.append({"sampler": 0, "source": len(images)})
    images.append({"name": "texture", "bufferView": view, "mimeType": IMAGE_FORMATS[image_format]})
    gltf.textures.append(texture)
    return len(textures) - 1


def _faded(values: np.ndarray, least: float) -> np.ndarray:
    """`values` [N, 3] that fade in between the lengths `least` and twice that."""
    x, y, z = values.T
    length = np.sqrt(x * x + y * y + z * z)[:, None]
    return values * np.clip(length / least - 1, 0, 1)


def _unit(normals: np.ndarray) -> np.ndarray:
    """Unit normals; (0, 0, 1) where there is none, because glTF demands unit length."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 1e-6, normals / np.maximum(length, 1e-6), (0.0, 0.0, 1.0))


def _linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1): glTF wants it of vertex colours, not of textures."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
