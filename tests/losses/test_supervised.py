import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.losses import supervised


def _random(model, seed):
    """`Coefficients` of three faces."""
    layout = model.layout()
    return layout.split(np.random.default_rng(seed).normal(size=(3, layout.total)).astype("float32"))


def test_shape_is_what_alignment_leaves_of_identity_and_the_moves_of_expression(tiny_model):
    mine, truth = _random(tiny_model, 0), _random(tiny_model, 1)
    identity = supervised.shape_metric(tiny_model.identity_basis)
    expression = supervised.shape_metric(tiny_model.expression_basis)
    value = supervised.shape(mine, truth, np.float32([1, 0, 1]), identity, expression)
    expected = 0
    for group in ("identity", "expression"):
        difference = getattr(mine, group) - getattr(truth, group)
        moved = 100 * np.einsum("bk,kvc->bvc", difference, getattr(tiny_model, f"{group}_basis").astype(np.float64))
        expected = expected + (moved**2).sum(-1).mean(-1)
    np.testing.assert_allclose(value, expected * [1, 0, 1], rtol=1e-4)
    distance = supervised.root_mean_square(mine.identity - truth.identity, identity)
    alone = supervised.shape(mine._replace(expression=truth.expression), truth, np.ones(3), identity, expression)
    np.testing.assert_allclose(np.asarray(distance) ** 2, alone, rtol=1e-5)


def test_albedo_is_the_mean_square_over_the_skin(tiny_model):
    mine, truth = _random(tiny_model, 0), _random(tiny_model, 1)
    skin = tiny_model.regions["skin"]
    value = supervised.albedo(mine, truth, np.ones(3), supervised.albedo_metric(tiny_model.albedo_basis, skin))
    colors = [face.albedo(tiny_model, each.albedo)[:, skin] for each in (mine, truth)]
    np.testing.assert_allclose(value, ((colors[0] - colors[1]) ** 2).sum(-1).mean(-1), rtol=1e-3)
    zeros = Coefficients(*(np.zeros_like(group) for group in truth))
    assert np.asarray(supervised.albedo(zeros, zeros, np.ones(3), np.eye(len(tiny_model.albedo_basis)))).max() == 0


def test_shape_metric_is_the_mean_square_in_mm(tiny_model):
    metric = supervised.shape_metric(tiny_model.identity_basis)
    a = np.arange(6, dtype="float32") - 2
    expected = (np.einsum("k,kvc->vc", a, tiny_model.identity_basis) * 100) ** 2
    assert a @ metric @ a == pytest.approx(expected.sum(-1).mean(), rel=1e-4)


def test_shape_metric_counts_what_an_alignment_leaves(tiny_model):
    """A small turn, move and change of size cost nothing; the rest costs what least squares leaves of it."""
    shape = tiny_model.mean_shape.astype(np.float64)
    centred = shape - shape.mean(0)
    moved = np.stack([centred, np.cross([0.3, -1, 2], centred), np.ones_like(centred) * [1, 2, -3]])
    other = tiny_model.identity_basis[:2].astype(np.float64)
    metric = supervised.shape_metric(np.concatenate([moved, other]), shape)
    np.testing.assert_allclose(metric[:3], 0, atol=1e-6)
    design = np.stack(
        [*moved[:1], *(np.cross(a, centred) for a in np.eye(3)), *(np.ones_like(centred) * a for a in np.eye(3))]
    )
    design = design.reshape(7, -1).T
    for index, field in enumerate(other.reshape(2, -1)):
        left = field - design @ np.linalg.lstsq(design, field, rcond=None)[0]
        expected = (100 * left) @ (100 * left) / len(shape)
        assert metric[3 + index, 3 + index] == pytest.approx(expected, rel=1e-4)
