"""Wavefront OBJ, with a material and a texture beside it, in millimetres."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io.files import refuse_existing, writing
from tf_deep3d.mesh.mesh import UNIT, Mesh, checked, encode, one_line


def write_obj(
    path: str | os.PathLike[str],
    mesh: Mesh,
    name: str = "face",
    licence: str = "",
    texture_name: str | None = None,
    overwrite: bool = False,
) -> None:
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
    path, mesh = Path(path), checked(mesh)
    material, picture = (
        path.with_name("_".join(file_name.split()))
        for file_name in (f"{path.stem}.mtl", texture_name or f"{path.stem}.png")
    )
    textured = mesh.texture is not None
    if not overwrite:
        refuse_existing(path, *((material, picture) if textured else ()))
    if mesh.texture is not None:
        with writing(picture, overwrite) as file:
            file.write(encode(mesh.texture))
        lines = ["newmtl face", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "d 1", "illum 1", f"map_Kd {picture.name}"]
        with writing(material, overwrite) as file:
            file.write(("\n".join(lines) + "\n").encode())

    parts = [f"# {one_line(name)}; {UNIT}\n"]
    parts += [f"# licence: {one_line(licence)}\n"] if licence else []
    parts += [f"mtllib {material.name}\n"] if textured else []
    parts.append(f"o {one_line(name)}\n")
    parts += _elements(mesh, ["usemtl face\n"] if textured else [])
    with writing(path, overwrite) as file:
        file.write("".join(parts).encode())


def _elements(mesh: Mesh, before_triangles: list[str]) -> list[str]:
    """The lines of vertices, texture points, normals and triangles."""
    points = mesh.vertices * MILLIMETRES
    if mesh.colors is not None:
        points = np.concatenate([points, mesh.colors / 255.0], axis=1)
    parts = [decimals("v", points, 5)]
    corners, pattern = [mesh.triangles + 1], "%d"
    if mesh.uv is not None and mesh.uv_triangles is not None:
        parts.append(_known_rows("vt %.7f %.7f\n", "f8", np.asarray(mesh.uv, "f8").tobytes()))
        corners.append(mesh.uv_triangles + 1)
        pattern += "/%d"
    if mesh.normals is not None:
        parts.append(decimals("vn", mesh.normals, 6))
        corners.append(mesh.triangles + 1)
        pattern += "/%d" if mesh.uv is not None else "//%d"
    columns = np.stack(corners, axis=-1).astype("i4").tobytes()
    return [*parts, *before_triangles, _known_rows("f" + f" {pattern}" * 3 + "\n", "i4", columns)]


def decimals(name: str, values: np.ndarray, digits: int) -> str:
    """Lines of `name` and a row of `values` [N, C] each, all with so many `digits` behind the point: "%.5f", faster."""
    shifted = np.rint(np.asarray(values, np.float64) * 10**digits)
    largest = np.abs(shifted).max(initial=0)
    if largest >= 2**53:  # beyond it floats skip whole numbers
        return _rows(name + f" %.{digits}f" * values.shape[1] + "\n", values)
    width = max(len(str(int(largest))), digits + 1)
    rest = np.abs(shifted).astype(np.uint32 if largest < 2**32 else np.uint64)
    # A space, a sign, and the number with its point; what is not needed falls out.
    text = np.full((*rest.shape, width + 3), ord(" "), np.uint8)
    wanted = np.ones(text.shape, bool)
    text[..., 1], wanted[..., 1] = ord("-"), np.signbit(values)
    point = width + 2 - digits
    text[..., point] = ord(".")
    for place in (*range(width + 2, point, -1), *range(point - 1, 1, -1)):
        wanted[..., place] = (rest > 0) | (place >= point - 1)
        higher = rest // 10
        text[..., place] = rest - 10 * higher + ord("0")
        rest = higher
    count, columns = len(values), values.shape[1] * (width + 3)
    begin, end = (np.tile(np.frombuffer(each.encode(), np.uint8), (count, 1)) for each in (name, "\n"))
    kept = [np.ones(begin.shape, bool), wanted.reshape(count, columns), np.ones(end.shape, bool)]
    rows = np.concatenate([begin, text.reshape(count, columns), end], axis=1)
    return rows[np.concatenate(kept, axis=1)].tobytes().decode()


@lru_cache(maxsize=4)
def _known_rows(pattern: str, dtype: str, values: bytes) -> str:
    """`_rows` of what is the same in all faces of a model: texture points and triangles."""
    return _rows(pattern, np.frombuffer(values, dtype).reshape(-1, pattern.count("%")))


def _rows(pattern: str, values: np.ndarray) -> str:
    """One line of text for each row of `values`."""
    return pattern * len(values) % tuple(values.reshape(-1).tolist())
