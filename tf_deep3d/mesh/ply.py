"""Binary PLY, with colours of the vertices, in millimetres."""

import os

import numpy as np

from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io.files import writing
from tf_deep3d.mesh.mesh import UNIT, Mesh, checked, one_line

BLENDER = "Blender takes z for up in PLY unless it is told: Import, Forward -Z, Up Y"  # said in a comment


def write_ply(
    path: str | os.PathLike[str], mesh: Mesh, name: str = "face", licence: str = "", overwrite: bool = False
) -> None:
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
    mesh = checked(mesh)
    fields = {axis: ("float", "<f4", mesh.vertices[:, i] * MILLIMETRES) for i, axis in enumerate("xyz")}
    if mesh.normals is not None:
        fields |= {f"n{axis}": ("float", "<f4", mesh.normals[:, i]) for i, axis in enumerate("xyz")}
    if mesh.colors is not None:
        fields |= {color: ("uchar", "u1", mesh.colors[:, i]) for i, color in enumerate(("red", "green", "blue"))}
    header = ["ply", "format binary_little_endian 1.0", f"comment {one_line(name)}; {UNIT}"]
    header += [f"comment {BLENDER}"]
    header += [f"comment licence: {one_line(licence)}"] if licence else []
    header += [f"element vertex {len(mesh.vertices)}"] + [f"property {kind} {n}" for n, (kind, _, _) in fields.items()]
    header += [f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices", "end_header"]
    points = np.empty(len(mesh.vertices), [(n, dtype) for n, (_, dtype, _) in fields.items()])
    for field, (_, _, values) in fields.items():
        points[field] = values
    polygons = np.empty(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    polygons["count"], polygons["corners"] = 3, mesh.triangles
    with writing(path, overwrite) as file:
        file.write(("\n".join(header) + "\n").encode() + points.tobytes() + polygons.tobytes())
