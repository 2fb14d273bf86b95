"""The meshes of a face, against the equations of `face`."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import lips, morphable_model
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.mesh import face_files


@pytest.fixture(scope="module")
def coefficients(tiny_model):
    rng = np.random.default_rng(0)
    bases = (tiny_model.identity_basis, tiny_model.expression_basis, tiny_model.albedo_basis)
    identity, expression, albedo = (rng.normal(size=(1, len(basis))).astype(np.float32) for basis in bases)
    light = rng.normal(size=(1, 3, 9)).astype(np.float32) * 0.1
    return Coefficients(
        identity, expression, albedo, np.float32([[0.1, -0.4, 0.2]]), light, np.float32([[0.3, 0.1, -1]])
    )


def test_the_meshes_are_the_unposed_face_with_and_without_its_expression(tiny_model, coefficients):
    expressive, neutral, targets = face_files.meshes(tiny_model, coefficients)
    still = coefficients._replace(angles=np.zeros((1, 3)), translation=np.zeros((1, 3)))
    for mesh, group in ((expressive, still), (neutral, still._replace(expression=0 * still.expression))):
        expected = faces.reconstruct(tiny_model, group)
        np.testing.assert_allclose(mesh.vertices, expected.vertices[0], atol=1e-6)
        np.testing.assert_allclose(mesh.normals, expected.normals[0], atol=1e-5)
        np.testing.assert_array_equal(mesh.triangles, tiny_model.triangles)
    assert list(targets) == [*tiny_model.blendshape_names, face_files.PHOTO_EXPRESSION]
    np.testing.assert_allclose(neutral.vertices + targets[face_files.PHOTO_EXPRESSION], expressive.vertices, atol=1e-6)
    np.testing.assert_array_equal(targets["jawOpen"], tiny_model.blendshapes[0])


def test_lips_meet_in_the_neutral_face_and_where_they_are_closed_in_the_photo():
    model = morphable_model.load(level=0)
    own, zeros = lips.lips_of(model), model.layout().zeros(1)
    modes = model.expression_basis.reshape(len(model.expression_basis), -1)
    parting, *_ = np.linalg.lstsq(modes.T, 0.1 * model.blendshapes[model.blendshape_names.index("jawOpen")].ravel())
    coefficients = zeros._replace(expression=parting[None].astype(np.float32))
    for closed in (False, True):
        expressive, neutral, targets = face_files.meshes(model, coefficients, closed=closed)
        assert lips.parted(own, neutral.vertices).max() < 1e-3
        assert (np.median(lips.parted(own, expressive.vertices)) < 1e-3) == closed
        shown = neutral.vertices + targets[face_files.PHOTO_EXPRESSION]
        np.testing.assert_allclose(shown, expressive.vertices, atol=1e-6)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        face_files.write_json(tmp_path / "face.json", {"depth": float("nan")})
    assert not list(tmp_path.iterdir())
