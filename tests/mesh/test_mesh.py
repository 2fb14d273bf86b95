"""What all formats promise: existing files stay, and wrong arrays are named before anything is written."""

import os

import numpy as np
import pytest

from tests.mesh.tube import TUBE
from tf_deep3d.mesh import gltf
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.mesh.obj import write_obj
from tf_deep3d.mesh.ply import write_ply


def write_glb(path, mesh, overwrite=False):
    gltf.write_glb(path, gltf.build(mesh), overwrite)


WRITERS = [("obj", write_obj), ("ply", write_ply), ("glb", write_glb)]


@pytest.mark.parametrize(("suffix", "write"), WRITERS)
def test_existing_files_are_kept_unless_told(tmp_path, suffix, write):
    path = tmp_path / f"face.{suffix}"
    write(path, TUBE)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    moved = TUBE._replace(vertices=TUBE.vertices * 2)
    with pytest.raises(FileExistsError, match="Received: "):
        write(path, moved)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    write(path, moved, overwrite=True)
    assert path.read_bytes() != before[path.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((4, 2))}, "vertices must be numbers of shape"),
        ({"vertices": np.full((60, 3), np.nan)}, "vertices must be finite"),
        ({"triangles": np.zeros((4, 3))}, "triangles must be integers"),
        ({"triangles": np.full((96, 3), 60)}, r"triangles must lie in \[0, 60\)"),
        ({"triangles": np.zeros((0, 3), int)}, "must have a triangle"),
        ({"normals": np.zeros((59, 3))}, "normals must be"),
        ({"uv": None}, "go together"),
        ({"uv": None, "uv_triangles": None}, "a texture needs them"),
        ({"uv_triangles": np.zeros((95, 3), int)}, "uv_triangles must be"),
        ({"texture": np.zeros((8, 8))}, "texture must be"),
        ({"colors": np.zeros((60, 4))}, "colors must be"),
        ({"colors": np.zeros((60, 3), int)}, "Colours must be uint8"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, change, message):
    for suffix, write in WRITERS:
        with pytest.raises(ValueError, match=f"{message}.*Received: "):
            write(tmp_path / f"face.{suffix}", TUBE._replace(**change))
    assert not os.listdir(tmp_path)


def test_colours_become_bytes_rounded_and_clipped():
    np.testing.assert_array_equal(to_uint8([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0]), [0, 0, 0, 1, 255, 255])
    given = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(given / 255), given)
    np.testing.assert_array_equal(to_uint8(given), given)
