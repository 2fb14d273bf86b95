"""Another surface is found in the identity modes of the face model."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d.data.rendered.people import read_scanned
from tf_deep3d.face import morphable_model
from tf_deep3d.face.geometry import rotation_matrix
from tf_deep3d.porting.open_face import scanned_people
from tf_deep3d.porting.open_face.scanned_people import register

MODES = 6


@pytest.fixture(scope="module")
def model():
    shipped = morphable_model.load(level=1)
    return replace(shipped, identity_basis=shipped.identity_basis[:MODES])


def test_people_of_the_model_are_found_wherever_they_stand(model):
    """The surface of known coefficients, turned and moved, with two of the modes and their sum as modes."""
    known = np.array([1.5, -1, 0.5, 1, -0.5, 0.8])
    mixes = np.eye(MODES)[[0, 1, 0]] + np.eye(MODES)[[0, 1, 1]]
    turn = rotation_matrix(np.array([[0.05, -0.08, 0.1]]))[0]
    shape = model.mean_shape + np.tensordot(known, model.identity_basis, 1)
    moved = replace(
        model,
        mean_shape=(shape @ turn.T + [0.1, -0.2, 0.05]).astype(np.float32),
        identity_basis=(np.tensordot(mixes, model.identity_basis, 1) @ turn.T).astype(np.float32),
    )
    found = register(model, moved)
    np.testing.assert_allclose(found.mean, known, atol=0.1)
    np.testing.assert_allclose(found.modes, mixes, atol=0.1)
    assert found.residual < 0.1


def test_what_the_modes_cannot_follow_is_left(model):
    """A dent of 3 mm in the forehead and chin, which six modes lack."""
    dented = model.mean_shape.copy()
    dented[:, 2] -= 0.03 * np.sin(40 * dented[:, 1])
    found = register(model, replace(model, mean_shape=dented))
    assert np.abs(found.mean).max() < 1
    assert 0.3 < found.residual < 3


def test_the_command_writes_people_that_can_be_drawn(tmp_path, monkeypatch, model, capsys):
    """Of a model whose modes are the face model's own; the same file is not overwritten unasked."""
    monkeypatch.setattr(scanned_people.morphable_model, "load", lambda *_, **__: model)
    out = tmp_path / "people.npz"
    assert scanned_people.main(["model.npz", str(out)]) == 0
    assert "mm of their mean" in capsys.readouterr().out
    found = read_scanned(out, MODES)
    np.testing.assert_allclose(found.mean, 0, atol=0.1)
    np.testing.assert_allclose(found.modes, np.eye(MODES), atol=0.1)
    assert scanned_people.main(["model.npz", str(out)]) == 1
