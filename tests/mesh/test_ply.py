import numpy as np
import trimesh

from tests.mesh.tube import TUBE
from tf_deep3d.mesh.ply import write_ply


def test_ply_round_trip(tmp_path):
    path = tmp_path / "face.ply"
    write_ply(path, TUBE, licence="CC0-1.0")
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "comment face; unit: millimetre" in header
    assert "comment licence: CC0-1.0" in header
    back = trimesh.load(path, process=False)
    np.testing.assert_allclose(back.vertices, TUBE.vertices * 100, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(back.faces, TUBE.triangles)
    np.testing.assert_allclose(back.vertex_normals, TUBE.normals, atol=1e-6)
    np.testing.assert_array_equal(back.visual.vertex_colors[:, :3], TUBE.colors)
