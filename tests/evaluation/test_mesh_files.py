"""Reading meshes, landmarks and colours of other programs."""

import gzip
import os

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import mesh_files

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.mark.parametrize("text", ["", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"])
def test_unusable_meshes_are_refused(tmp_path, text):
    path = tmp_path / "mesh.obj"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mesh\.obj"):
        mesh_files.read_mesh(path)


@pytest.mark.parametrize("index", [10**22, -(10**22), 2**31, 2**63])
def test_indices_beyond_all_meshes_are_refused_in_one_line(tmp_path, index):
    texts = {
        "mesh.obj": TRIANGLE.replace("f 1", f"f {index}"),
        "mesh.wrl": f"point [ 0 0 0, 1 0 0, 1 1 0 ] coordIndex [ 0, 1, {index}, -1 ]",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=rf"{name}") as caught:
            mesh_files.read_mesh(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    Image.new("RGB", (2, 2)).save(tmp_path / "mesh.png")
    (tmp_path / "mesh.obj").write_text(TRIANGLE.replace("f 1 2 3", f"vt 0 0\nf 1/1 2/1 3/{index}"))
    with pytest.raises(InputError, match="must have texture coordinates"):
        mesh_files.read_painted(tmp_path / "mesh.obj")


def test_large_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_files, "MAX_BYTES", 10)
    path = tmp_path / "mesh.obj"
    path.write_text(TRIANGLE)
    with pytest.raises(InputError, match="10 bytes"):
        mesh_files.read_mesh(path)


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.obj")
    for path in (tmp_path / "pipe.obj", "/dev/zero", tmp_path / "none.obj", tmp_path):
        for read in (mesh_files.read_mesh, mesh_files.read_points, mesh_files.read_landmarks, mesh_files.read_text):
            with pytest.raises(FileNotFoundError, match="No such file"):
                read(path)
        with pytest.raises(FileNotFoundError, match="No such file"):
            mesh_files.read_numbers(path, int)


def test_numbers_are_not_unpacked(tmp_path, monkeypatch):
    """NumPy would, by the suffix; and a small file may unpack to what no memory holds."""
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"1\n" * 1000))
    with pytest.raises(InputError, match=r"must hold whole numbers\. Received"):
        mesh_files.read_numbers(tmp_path / "bomb.txt.gz", int)
    (tmp_path / "few.txt").write_text("1\n2 # two\n3\n")
    assert mesh_files.read_numbers(tmp_path / "few.txt", int).tolist() == [1, 2, 3]


def test_polygons_and_negative_indices(tmp_path):
    path = tmp_path / "mesh.obj"
    path.write_text("v 0 0 0 1 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4//1 2//1 3//1 4//1\n")
    vertices, triangles = mesh_files.read_mesh(path)
    assert vertices.shape == (4, 3)
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3]])


def test_points_need_no_triangles(tmp_path):
    path = tmp_path / "points.obj"
    path.write_text("v 1 2 3\nv 4 5 6\n")
    np.testing.assert_array_equal(mesh_files.read_points(path), [[1, 2, 3], [4, 5, 6]])
    path.write_text("f 1 2 3\n")
    with pytest.raises(InputError, match="finite vertices"):
        mesh_files.read_points(path)


def test_vrml(tmp_path):
    path = tmp_path / "mesh.wrl"
    path.write_text(
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord {\n point [ 0 0 0, 1 0 0,\n 1 1 0, 0 1 0, ] }\n"
        " coordIndex [ 0,1,2,-1, 0, 2, 3, -1 ] texCoord TextureCoordinate { point [ 0 0 ] } } }"
    )
    vertices, triangles = mesh_files.read_mesh(path)
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3]])
    path.write_text("#VRML V2.0 utf8\nShape { }")
    with pytest.raises(InputError, match="coordIndex"):
        mesh_files.read_mesh(path)


def test_landmark_files_of_all_kinds(tmp_path):
    points = np.arange(21.0).reshape(7, 3) + 0.25
    (tmp_path / "plain.txt").write_text("# seven\n" + "\n".join(",".join(map(str, row)) for row in points))
    (tmp_path / "counted.lnd").write_text("\n".join(f"{i} {x} {y} {z}" for i, (x, y, z) in enumerate(points, 1)))
    tags = "\n".join(f'  <point x="{x}" y="{y}" active="1" z="{z}" name="{i}"/>' for i, (x, y, z) in enumerate(points))
    (tmp_path / "picked.pp").write_text(f"<!DOCTYPE PickedPoints>\n<PickedPoints>\n{tags}\n</PickedPoints>")
    np.savetxt(tmp_path / "index.txt", np.arange(7), fmt="%d")
    for name in ("plain.txt", "counted.lnd", "picked.pp", "index.txt"):
        found = mesh_files.read_landmarks(tmp_path / name, points)
        np.testing.assert_array_equal(found[mesh_files.ANCHORS[7]], points)
        assert np.isnan(found).all(1).sum() == 61


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3\n" * 8, "68, 51 or 7"),
        ("a b c\n" * 7, "Received"),
        ("9\n" * 7, "indices below 3"),
        ("1 2 inf\n" * 7, "finite"),
    ],
)
def test_other_landmark_files_are_refused(tmp_path, text, said):
    path = tmp_path / "marks.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        mesh_files.read_landmarks(path, np.zeros((3, 3)))


def test_a_texture_comes_from_the_material_and_from_nowhere_else(tmp_path):
    (tmp_path / "scan.obj").write_text(
        "mtllib scan.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nvt 0.1 0.9\nvt 0.9 0.9\nvt 0.1 0.1\nf 1/1 2/2 4/-1 3/3\n"
    )
    (tmp_path / "scan.mtl").write_text("newmtl m\nmap_Kd ../elsewhere/skin.png\n")
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    assert mesh_files.read_painted(tmp_path / "scan.obj").texture is None
    Image.fromarray(pixels).save(tmp_path / "skin.png")
    mesh = mesh_files.read_painted(tmp_path / "scan.obj")
    np.testing.assert_array_equal(mesh.texture, pixels)
    np.testing.assert_array_equal(mesh.uv, [[0.1, 0.9], [0.9, 0.9], [0.1, 0.1]])
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 3], [0, 3, 2]])
    np.testing.assert_array_equal(mesh.uv_triangles, [[0, 1, 2], [0, 2, 2]])
    (tmp_path / "scan.obj").write_text((tmp_path / "scan.obj").read_text().replace("4/-1", "4/7"))
    with pytest.raises(InputError, match="texture coordinates"):
        mesh_files.read_painted(tmp_path / "scan.obj")


@pytest.mark.parametrize("white", [1, 255])
def test_vertices_may_have_colours_of_two_scales(tmp_path, white):
    rows = [f"v {i} {i * i} 0 {white} 0 {white * i / 2:g}" for i in range(3)]
    (tmp_path / "scan.obj").write_text("\n".join([*rows, "f 1 2 3"]))
    mesh = mesh_files.read_painted(tmp_path / "scan.obj")
    np.testing.assert_array_equal(mesh.colors, [[255, 0, 0], [255, 0, 128], [255, 0, 255]])
    (tmp_path / "scan.obj").write_text("\n".join([*rows, "v 5 5 0", "f 1 2 3"]))
    assert mesh_files.read_painted(tmp_path / "scan.obj").colors is None


def test_indices_are_those_of_vertices(tmp_path):
    (tmp_path / "part.txt").write_text("3\n0\n")
    assert mesh_files.read_indices(tmp_path / "part.txt", 4).tolist() == [True, False, False, True]
    with pytest.raises(InputError, match="below 3"):
        mesh_files.read_indices(tmp_path / "part.txt", 3)
