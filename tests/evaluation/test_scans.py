"""Moving scans into the face model's frame, by landmarks that are given or found."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import open_benchmark, scans
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE, JAW, OUTER_EYE_CORNERS, eye_distance

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def frame(tiny_model):
    return face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0] * MILLIMETRES


def write_obj(path, vertices, triangles):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices] + [
        f"f {a} {b} {c}" for a, b, c in np.add(triangles, 1)
    ]
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("unit", [1.0, 10.0, 1000.0])
def test_a_scan_moves_into_the_models_frame_in_millimetres(tiny_model, tmp_path, frame, unit):
    turn = geometry.rotation_matrix(np.array([[0.3, -0.5, 0.2]]))[0]
    vertices = tiny_model.mean_shape * MILLIMETRES
    path = tmp_path / "scan.obj"
    write_obj(path, (vertices @ turn.T + [300, -20, 1000]) / unit, tiny_model.triangles)
    np.savetxt(tmp_path / "scan.txt", (frame @ turn.T + [300, -20, 1000]) / unit)
    scale = scans.EYES_APART / eye_distance(frame)
    assert 0.4 < scale < 2.4, "the synthetic face is of a size that is told apart"
    scan = scans.load_scan(path, frame)
    np.testing.assert_allclose(scan.vertices, vertices, atol=2e-3 * unit)
    np.testing.assert_allclose(scan.landmarks, frame, atol=2e-3 * unit)
    assert scan.normals[:, 2].mean() > 0.5
    larger = scans.load_scan(path, frame, unit=1.5 * unit)
    assert np.ptp(larger.vertices[:, 0]) == pytest.approx(1.5 * np.ptp(vertices[:, 0]), rel=1e-3)


def test_a_unit_needs_eyes_that_lie_apart(frame):
    assert scans.guessed_unit(frame / 1000) == 1000 * scans.guessed_unit(frame)
    right, left = OUTER_EYE_CORNERS
    for eye in (np.nan, frame[right]):
        points = frame.copy()
        points[left] = eye
        with pytest.raises(InputError, match="corners of the eyes"):
            scans.guessed_unit(points)


def test_a_surface_without_a_face_says_what_is_missing(tmp_path, frame):
    path = tmp_path / "scan.obj"
    path.write_text(TRIANGLE)
    with pytest.raises(InputError, match=r"scan\.txt"):
        scans.load_scan(path, frame)


@pytest.mark.parametrize("colored", [True, False])
def test_landmarks_are_found_on_a_real_scan(colored):
    """The benchmark's scan, moved aside and in metres, against its own landmarks."""
    who = open_benchmark.load().views[-1].subject
    vertices = who.vertices / 10 + [0.4, 1.6, -0.2]
    found = scans.find_landmarks(vertices, who.triangles, who.colors if colored else None)
    assert np.isnan(found[JAW]).all()
    distance = np.linalg.norm(found * 1000 - (who.landmarks * MILLIMETRES + [400, 1600, -200]), axis=1)
    error = distance[INNER_FACE]
    assert np.isfinite(error).sum() > 40
    assert np.nanmedian(error) < 5  # mm
    assert distance[ANCHORS[7]].max() < 12
