"""PLY files of other programs, against what this project and trimesh write."""

import numpy as np
import pytest
import trimesh

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import mesh_files, ply_files
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.mesh.ply import write_ply

VERTICES = np.array([[0, 0, 0], [1, 0, 0.5], [1, 1, 0], [0, 1, -2.25]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])
COLORS = np.array([[255, 0, 0], [0, 128, 0], [9, 8, 7], [250, 251, 252]], np.uint8)


def test_our_own_file_comes_back(tmp_path):
    write_ply(tmp_path / "face.ply", Mesh(VERTICES, TRIANGLES, colors=COLORS))
    mesh = mesh_files.read_painted(tmp_path / "face.ply")
    np.testing.assert_allclose(mesh.vertices, VERTICES * MILLIMETRES)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)
    np.testing.assert_array_equal(mesh.colors, COLORS)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_another_programs_file_is_read(tmp_path, encoding):
    theirs = trimesh.Trimesh(VERTICES, TRIANGLES, vertex_colors=COLORS, process=False)
    (tmp_path / "scan.ply").write_bytes(theirs.export(file_type="ply", encoding=encoding))
    mesh = mesh_files.read_painted(tmp_path / "scan.ply")
    np.testing.assert_allclose(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)
    np.testing.assert_array_equal(mesh.colors, COLORS)


HEADER = """ply
format {} 1.0
comment of a scanner
element vertex 4
property double x
property double y
property double z
property float quality
element face 2
property uchar flags
property list uchar int vertex_index
end_header
"""


@pytest.mark.parametrize(("name", "order"), [("binary_big_endian", ">"), ("binary_little_endian", "<")])
def test_polygons_of_either_byte_order(tmp_path, name, order):
    rows = np.concatenate([VERTICES, np.ones((4, 1))], 1)
    body = b"".join(row[:3].astype(f"{order}f8").tobytes() + row[3:].astype(f"{order}f4").tobytes() for row in rows)
    for corners in ([0, 1, 2, 3], [3, 1, 0]):
        body += bytes([1, len(corners)]) + np.array(corners, f"{order}i4").tobytes()
    (tmp_path / "scan.ply").write_bytes(HEADER.format(name).encode() + body)
    vertices, triangles = mesh_files.read_mesh(tmp_path / "scan.ply")
    np.testing.assert_array_equal(vertices, VERTICES)
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3], [3, 1, 0]])
    assert mesh_files.read_painted(tmp_path / "scan.ply").colors is None
    for cut in (1, len(body) - 10):
        with pytest.raises(InputError, match="what its header says"):
            ply_files.read_ply((HEADER.format(name).encode() + body)[:-cut], "scan.ply")


FACE = b"ply\nformat ascii 1.0\nelement face 1\nproperty list int int vertex_index\nend_header\n"


VERTEX = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty %s x\nproperty int y\nproperty int z\nend_header\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"solid stl", "must be a PLY file"),
        (b"ply\nformat ascii 1.0\nelement vertex 3\n", "must be a PLY file"),
        (b"ply\nformat morse 1.0\nend_header\n", "header"),
        (b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "header"),
        (b"ply\nformat ascii 1.0\nelement vertex -3\nproperty float x\nend_header\n", "header"),
        (b"ply\nformat ascii 1.0\nelement point 1\nproperty float x\nend_header\n1\n", "x, y and z"),
        (b"ply\nformat ascii 1.0\nelement vertex 1000000000\nproperty float x\nend_header\n1 2\n", "1000000000"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty double x\nend_header\n12",
            "4000000000",
        ),
        (
            b"ply\nformat ascii 1.0\nelement face 1\nproperty list int int vertex_index\nend_header\n-1 2\n",
            "list of -1",
        ),
        (FACE + b"9 2\n", "the end"),
        (b"ply\nformat ascii 1.0\nelement vertex 1000000000000\nend_header\n", "header"),
        (VERTEX % b"uchar" + b"2255 0 0\n", "what its header says"),
        (VERTEX % b"int" + b"1e999 0 0\n", "what its header says"),
        (VERTEX % b"list int int" + b"1 2 0 0\n", "x, list of i4"),
        (FACE.replace(b"list int int", b"int") + b"1\n", "vertex_index, i4"),
        (FACE.replace(b"list int int", b"list int float") + b"1 1\n", "vertex_index, list of f4"),
    ],
)
def test_other_files_are_refused(data, said):
    with pytest.raises(InputError, match=said):
        ply_files.read_ply(data, "scan.ply")
