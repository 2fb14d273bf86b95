"""The jaw's edge of another model is found on the face model."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import JAW, MIRROR
from tf_deep3d.porting.open_face import jaw_line

MODES = 4


@pytest.fixture(scope="module")
def levels():
    return morphable_model.load_levels()


def test_points_of_a_known_person_come_back(levels):
    """The other model is a person of this one who stands elsewhere; its jaw points are this model's own contour."""
    model = replace(levels[1], identity_basis=levels[1].identity_basis[:MODES])
    person = model.mean_shape + np.tensordot([1.0, -0.5, 0.5, 0.3], model.identity_basis, 1) + [0.1, 0.0, -0.05]
    found, off = jaw_line.jaw_line(model, replace(model, mean_shape=person.astype(np.float32)))
    own = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0][JAW]
    assert MILLIMETRES * np.linalg.norm(found - own, axis=1).max() < 1
    assert off < 0.5
    np.testing.assert_allclose(found[::-1] * [-1, 1, 1], found, atol=1e-9)


def test_the_shipped_line_is_the_edge_of_the_jaw(levels):
    for level in levels:
        line = faces.at_landmarks(level.landmarks["jaw17"], level.mean_shape[None])[0]
        contour = faces.at_landmarks(level.landmarks["ibug68"], level.mean_shape[None])[0][JAW]
        np.testing.assert_allclose(line[MIRROR[JAW]] * [-1, 1, 1], line, atol=0.02)
        assert (np.diff(line[:, 0]) > -0.02).all()  # from the picture's left, steep at its ends
        assert line[8, 1] == line[:, 1].min()  # the chin
        assert (line[:7, 2] > contour[:7, 2]).all()  # the contour lies farther back
        apart = MILLIMETRES * np.linalg.norm(line - contour, axis=1)
        assert 2 < apart.mean() < 20


def test_a_file_is_not_replaced_unasked(tmp_path, capsys):
    (tmp_path / "model.npz").write_bytes(b"mine")
    assert jaw_line.main(["--people", "none.npz", str(tmp_path / "model.npz")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "model.npz").read_bytes() == b"mine"
