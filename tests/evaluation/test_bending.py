"""The face model is bent onto surfaces that it can take, and that it cannot."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.evaluation import metrics
from tf_deep3d.evaluation.bending import bend
from tf_deep3d.evaluation.measuring import Truth
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face.camera import MILLIMETRES

MODES = 6


@pytest.fixture(scope="module")
def model():
    shipped = morphable_model.load(level=1)
    return replace(shipped, identity_basis=shipped.identity_basis[:MODES])


def surface(model, shape):
    """The `Truth` of every vertex that is seen from the front."""
    points = shape * MILLIMETRES
    seen = metrics.visible(points, model.triangles)
    normals = geometry.vertex_normals(points[None], model.triangles, model.vertex_corners)[0]
    return Truth(points[seen], normals[seen], faces.at_landmarks(model.landmarks["ibug68"], points[None])[0])


def test_known_coefficients_are_found_and_a_smaller_residual_finds_them_better(model):
    known = np.array([1.5, -1, 0.5, 1, -0.5, 0.8])
    truth = surface(model, model.mean_shape + np.tensordot(known, model.identity_basis, 1))
    found = [bend(model, model.identity_basis, truth, residual) for residual in (2.0, 0.1)]
    errors = [np.abs(each.coefficients - known).max() for each in found]
    assert errors[1] < 0.03 < errors[0] < 0.6
    np.testing.assert_allclose(
        found[1].shape, (model.mean_shape + np.tensordot(found[1].coefficients, model.identity_basis, 1)) * MILLIMETRES,
        atol=1e-3,
    )  # fmt: skip


def test_other_modes_than_identities_bend_too(model):
    basis = model.expression_basis[:3]
    known = np.array([0.8, -0.5, 0.6])
    truth = surface(model, model.mean_shape + np.tensordot(known, basis, 1))
    np.testing.assert_allclose(bend(model, basis, truth, 0.1).coefficients, known, atol=0.05)
