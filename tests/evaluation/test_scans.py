"""Reading meshes, landmarks and colours of other programs, and moving scans into the face model's frame."""

import numpy as np
import pytest
from PIL import Image

from tf_deep3d import face
from tf_deep3d.evaluation import open_benchmark, scans
from tf_deep3d.face import geometry

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def frame(tiny_model):
    return face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0] * 100.0


def write_obj(path, vertices, triangles):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices] + [
        f"f {a} {b} {c}" for a, b, c in np.add(triangles, 1)
    ]
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("text", ["", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"])
def test_unusable_meshes_are_refused(tmp_path, text):
    path = tmp_path / "mesh.obj"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mesh\.obj"):
        scans.read_mesh(path)


def test_large_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(scans, "MAX_BYTES", 10)
    path = tmp_path / "mesh.obj"
    path.write_text(TRIANGLE)
    with pytest.raises(ValueError, match="10 bytes"):
        scans.read_mesh(path)


def test_polygons_and_negative_indices(tmp_path):
    path = tmp_path / "mesh.obj"
    path.write_text("v 0 0 0 1 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4//1 2//1 3//1 4//1\n")
    vertices, triangles = scans.read_mesh(path)
    assert vertices.shape == (4, 3)
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3]])


def test_points_need_no_triangles(tmp_path):
    path = tmp_path / "points.obj"
    path.write_text("v 1 2 3\nv 4 5 6\n")
    np.testing.assert_array_equal(scans.read_points(path), [[1, 2, 3], [4, 5, 6]])
    path.write_text("f 1 2 3\n")
    with pytest.raises(ValueError, match="finite vertices"):
        scans.read_points(path)


def test_vrml(tmp_path):
    path = tmp_path / "mesh.wrl"
    path.write_text(
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord {\n point [ 0 0 0, 1 0 0,\n 1 1 0, 0 1 0, ] }\n"
        " coordIndex [ 0,1,2,-1, 0, 2, 3, -1 ] texCoord TextureCoordinate { point [ 0 0 ] } } }"
    )
    vertices, triangles = scans.read_mesh(path)
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3]])
    path.write_text("#VRML V2.0 utf8\nShape { }")
    with pytest.raises(ValueError, match="coordIndex"):
        scans.read_mesh(path)


def test_landmark_files_of_all_kinds(tmp_path):
    points = np.arange(21.0).reshape(7, 3) + 0.25
    (tmp_path / "plain.txt").write_text("# seven\n" + "\n".join(",".join(map(str, row)) for row in points))
    (tmp_path / "counted.lnd").write_text("\n".join(f"{i} {x} {y} {z}" for i, (x, y, z) in enumerate(points, 1)))
    tags = "\n".join(f'  <point x="{x}" y="{y}" active="1" z="{z}" name="{i}"/>' for i, (x, y, z) in enumerate(points))
    (tmp_path / "picked.pp").write_text(f"<!DOCTYPE PickedPoints>\n<PickedPoints>\n{tags}\n</PickedPoints>")
    np.savetxt(tmp_path / "index.txt", np.arange(7), fmt="%d")
    for name in ("plain.txt", "counted.lnd", "picked.pp", "index.txt"):
        found = scans.read_landmarks(tmp_path / name, points)
        np.testing.assert_array_equal(found[scans.ANCHORS[7]], points)
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
    with pytest.raises(ValueError, match=said):
        scans.read_landmarks(path, np.zeros((3, 3)))


@pytest.mark.parametrize("unit", [1.0, 10.0, 1000.0])
def test_a_scan_moves_into_the_models_frame_in_millimetres(tiny_model, tmp_path, frame, unit):
    turn = geometry.rotation_matrix(np.array([[0.3, -0.5, 0.2]]))[0]
    vertices = tiny_model.mean_shape * 100.0
    path = tmp_path / "scan.obj"
    write_obj(path, (vertices @ turn.T + [300, -20, 1000]) / unit, tiny_model.triangles)
    np.savetxt(tmp_path / "scan.txt", (frame @ turn.T + [300, -20, 1000]) / unit)
    scale = scans.EYES_APART / np.linalg.norm(frame[36] - frame[45])
    assert 0.4 < scale < 2.4, "the synthetic face is of a size that is told apart"
    scan = scans.load_scan(path, frame)
    np.testing.assert_allclose(scan.vertices, vertices, atol=2e-3 * unit)
    np.testing.assert_allclose(scan.landmarks, frame, atol=2e-3 * unit)
    assert scan.normals[:, 2].mean() > 0.5
    doubled = scans.load_scan(path, frame, unit=2 * unit)
    assert np.ptp(doubled.vertices[:, 0]) == pytest.approx(2 * np.ptp(vertices[:, 0]), rel=1e-3)


def test_a_unit_needs_eyes_that_lie_apart(frame):
    assert scans.guessed_unit(frame / 1000) == 1000 * scans.guessed_unit(frame)
    for eye in (np.nan, frame[36]):
        points = frame.copy()
        points[45] = eye
        with pytest.raises(ValueError, match="corners of the eyes"):
            scans.guessed_unit(points)


def test_a_surface_without_a_face_says_what_is_missing(tmp_path, frame):
    path = tmp_path / "scan.obj"
    path.write_text(TRIANGLE)
    with pytest.raises(ValueError, match=r"scan\.txt"):
        scans.load_scan(path, frame)


def test_colors_come_from_the_texture(tmp_path):
    (tmp_path / "scan.obj").write_text(
        "mtllib scan.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0.1 0.9\nvt 0.9 0.9\nvt 0.1 0.1\nf 1/1 2/2 3/3\n"
    )
    (tmp_path / "scan.mtl").write_text("newmtl m\nmap_Kd ../elsewhere/skin.png\n")
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    assert scans.read_colors(tmp_path / "scan.obj", 3) is None
    Image.fromarray(pixels).save(tmp_path / "skin.png")
    np.testing.assert_array_equal(scans.read_colors(tmp_path / "scan.obj", 3), np.eye(3))


@pytest.mark.parametrize("colored", [True, False])
def test_landmarks_are_found_on_a_real_scan(colored):
    """The benchmark's scan, moved aside and in metres, against its own landmarks."""
    who = open_benchmark.load().views[-1].subject
    vertices = who.vertices / 10 + [0.4, 1.6, -0.2]
    found = scans.find_landmarks(vertices, who.triangles, who.colors if colored else None)
    assert np.isnan(found[:17]).all()
    error = np.linalg.norm(found * 1000 - (who.landmarks * 100 + [400, 1600, -200]), axis=1)[17:]
    assert np.isfinite(error).sum() > 40
    assert np.nanmedian(error) < 5  # mm
    seven = np.linalg.norm(found * 1000 - (who.landmarks * 100 + [400, 1600, -200]), axis=1)[scans.ANCHORS[7]]
    assert seven.max() < 12
