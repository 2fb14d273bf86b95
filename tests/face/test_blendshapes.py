"""Weights of the ARKit units: known mixtures come back, and the bounded least squares are SciPy's."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from tf_deep3d.face import blendshapes, morphable_model

OUTSIDE_THE_MODES = ("tongueOut",)  # units that the open face model's expression modes cannot show


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def known(model):
    return blendshapes.units(model)


def expression_of(model, displacements):
    """Expression coefficients [Ke] that come nearest to displacements [V, 3]."""
    modes = model.expression_basis.reshape(len(model.expression_basis), -1).astype(np.float64)
    return np.linalg.solve(modes @ modes.T, modes @ displacements.reshape(-1))


def test_mixtures_of_units_are_exact_where_modes_and_units_are_the_same(tiny_model):
    model = replace(tiny_model, expression_basis=tiny_model.blendshapes)
    weights, rest = blendshapes.weights(blendshapes.units(model), np.array([[0.3, 0.8], [0.0, 1.0], [-0.5, 2.0]]))
    np.testing.assert_allclose(weights, [[0.3, 0.8], [0.0, 1.0], [0.0, 1.0]], atol=0.02)
    assert rest[:2].max() < 0.02 * np.abs(model.blendshapes).max()
    assert rest[2] > 10 * rest[:2].max()


def test_round_trip_of_random_mixtures(model, known):
    """Units -> surface -> expression coefficients -> units: the surface comes back to 5 %, the weights to 0.2."""
    rng = np.random.default_rng(0)
    usable = [index for index, name in enumerate(known.names) if name not in OUTSIDE_THE_MODES]
    for _ in range(20):
        truth = np.zeros(len(known.names))
        truth[rng.choice(usable, 5, replace=False)] = rng.uniform(0.3, 1.0, 5)
        surface = np.tensordot(truth, model.blendshapes.astype(np.float64), 1)
        weights, rest = blendshapes.weights(known, expression_of(model, surface)[None])
        shown = np.tensordot(weights[0], model.blendshapes.astype(np.float64), 1)
        size = np.sqrt(np.square(surface).sum(-1).mean())
        assert np.sqrt(np.square(shown - surface).sum(-1).mean()) < 0.05 * size
        assert rest[0] < 0.1 * size
        np.testing.assert_allclose(weights[0], truth, atol=0.2)


def test_each_unit_answers_to_its_own_name(model, known):
    for index, name in enumerate(known.names):
        if name not in OUTSIDE_THE_MODES:
            expression = expression_of(model, 0.7 * model.blendshapes[index].astype(np.float64))
            weights, _ = blendshapes.weights(known, expression[None])
            assert known.names[weights[0].argmax()] == name
            assert weights[0, index] == pytest.approx(0.7, abs=0.1)


def test_what_the_units_leave_is_measured_on_the_surface(model, known):
    expression = np.random.default_rng(1).normal(size=(3, len(model.expression_basis))) * 2
    weights, rest = blendshapes.weights(known, expression)
    shown = np.tensordot(weights, model.blendshapes.astype(np.float64), 1)
    asked = np.tensordot(expression, model.expression_basis.astype(np.float64), 1)
    np.testing.assert_allclose(rest, np.sqrt(np.square(asked - shown).sum(-1).mean(-1)), rtol=1e-6)
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert np.isin([0.0, 1.0], weights).all()  # both bounds are met


def test_bounded_least_squares_are_those_of_scipy(known):
    rng = np.random.default_rng(2)
    root = np.linalg.cholesky(known.gram).T
    for scale in np.linspace(0.1, 4.0, 30):
        target = known.response @ (rng.normal(size=known.response.shape[1]) * scale)
        expected = lsq_linear(root, np.linalg.solve(root.T, target), (0.0, 1.0), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(blendshapes.bounded_least_squares(known.gram, target), expected, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_bounded_least_squares_meet_the_optimality_conditions(size):
    rng = np.random.default_rng(size)
    for _ in range(50):
        factor = rng.normal(size=(size, size + 2)) * 10.0 ** rng.uniform(-2, 1, size)[:, None]
        gram, target = factor @ factor.T, rng.normal(size=size)
        x = blendshapes.bounded_least_squares(gram, target, -0.5, 2.0)
        slope = gram @ x - target
        close = 1e-7 * max(np.abs(gram).max(), 1.0)
        assert (x >= -0.5).all()
        assert (x <= 2.0).all()
        assert (slope[x > -0.5] < close).all()
        assert (slope[x < 2.0] > -close).all()


def test_a_model_without_units_is_refused(tiny_model):
    with pytest.raises(ValueError, match="must have blendshapes"):
        blendshapes.units(replace(tiny_model, blendshapes=tiny_model.blendshapes[:0], blendshape_names=()))
