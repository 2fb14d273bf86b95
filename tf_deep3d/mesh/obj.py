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
    parts = [_rows("v" + " %.5f" * points.shape[1] + "\n", points)]
    corners, pattern = [mesh.triangles + 1], "%d"
    if mesh.uv is not None and mesh.uv_triangles is not None:
        parts.append(_known_rows("vt %.7f %.7f\n", "f8", np.asarray(mesh.uv, "f8").tobytes()))
        corners.append(mesh.uv_triangles + 1)
        pattern += "/%d"
    if mesh.normals is not None:
        parts.append(_rows("vn %.6f %.6f %.6f\n", mesh.normals))
        corners.append(mesh.triangles + 1)
        pattern += "/%d" if mesh.uv is not None else "//%d"
    columns = np.stack(corners, axis=-1).astype("i4").tobytes()
    return [*parts, *before_triangles, _known_rows("f" + f" {pattern}" * 3 + "\n", "i4", columns)]


@lru_cache(maxsize=4)
def _known_rows(pattern: str, dtype: str, values: bytes) -> str:
    """`_rows` of what is the same in all faces of a model: texture points and triangles."""
    return _rows(pattern, np.frombuffer(values, dtype).reshape(-1, pattern.count("%")))


def _rows(pattern: str, values: np.ndarray) -> str:
    """One line of text for each row of `values`."""
    return pattern * len(values) % tuple(values.reshape(-1).tolist())
