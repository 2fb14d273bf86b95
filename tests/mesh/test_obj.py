import os

import numpy as np
import pytest
import trimesh

from tests.mesh.tube import TUBE, corner_colors, corner_positions, corner_uv
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.mesh.obj import decimals, write_obj


def test_obj_round_trip(tmp_path):
    path = tmp_path / "my face.obj"
    write_obj(path, TUBE, name="two\nlines", licence="CC0-1.0")
    assert sorted(os.listdir(tmp_path)) == ["my face.obj", "my_face.mtl", "my_face.png"]
    text = path.read_text()
    assert "unit: millimetre" in text.splitlines()[0]
    assert "# licence: CC0-1.0" in text
    assert "o two lines" in text
    assert sum(line.startswith("v ") for line in text.splitlines()) == len(TUBE.vertices)
    assert sum(line.startswith("vt ") for line in text.splitlines()) == len(TUBE.uv)

    back = trimesh.load(path, process=False)
    np.testing.assert_allclose(back.vertices[back.faces], corner_positions(TUBE) * 100, atol=1e-4)
    np.testing.assert_allclose(back.visual.uv[back.faces], corner_uv(TUBE), atol=1e-6)
    np.testing.assert_allclose(back.vertex_normals[back.faces], TUBE.normals[TUBE.triangles], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(back.visual.material.image.convert("RGB")), TUBE.texture)
    np.testing.assert_array_equal(back.visual.to_color().vertex_colors[back.faces.ravel(), :3], corner_colors(TUBE))


def test_decimals_are_those_of_printf():
    generator = np.random.default_rng(0)
    for scale in (1e-7, 1e-3, 1.0, 80.0, 1e4, 1e12, 1e20):
        values = (generator.normal(size=(500, 3)) * scale).astype(np.float32)
        values[0] = 0.0, -0.0, -1e-9
        wanted = "".join("v {:.5f} {:.5f} {:.5f}\n".format(*row) for row in values.tolist())
        assert decimals("v", values, 5) == wanted
    assert decimals("vn", np.zeros((0, 3)), 6) == ""


def test_obj_names_its_texture(tmp_path):
    write_obj(tmp_path / "face.obj", TUBE, texture_name="skin.png")
    assert sorted(os.listdir(tmp_path)) == ["face.mtl", "face.obj", "skin.png"]
    back = trimesh.load(tmp_path / "face.obj", process=False)
    np.testing.assert_array_equal(np.asarray(back.visual.material.image.convert("RGB")), TUBE.texture)


def test_obj_with_vertex_colors_only(tmp_path):
    path = tmp_path / "face.obj"
    write_obj(path, Mesh(TUBE.vertices, TUBE.triangles, colors=TUBE.colors / 255))
    assert os.listdir(tmp_path) == ["face.obj"]
    back = trimesh.load(path, process=False)
    np.testing.assert_array_equal(back.visual.vertex_colors[:, :3], TUBE.colors)
    np.testing.assert_array_equal(back.faces, TUBE.triangles)


def test_obj_keeps_a_foreign_picture(tmp_path):
    (tmp_path / "face.png").write_bytes(b"a user's picture")
    with pytest.raises(FileExistsError, match=r"face\.png"):
        write_obj(tmp_path / "face.obj", TUBE)
    assert os.listdir(tmp_path) == ["face.png"]
