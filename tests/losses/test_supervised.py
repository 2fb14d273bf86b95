from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.face import geometry
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
    layout = tiny_model.layout()
    exact = np.ones((3, layout.total), np.float32)
    exact[1] = 0
    value = supervised.shape(mine, truth, layout.split(exact), identity, expression)
    expected = 0
    for group in ("identity", "expression"):
        difference = getattr(mine, group) - getattr(truth, group)
        moved = 100 * np.einsum("bk,kvc->bvc", difference, getattr(tiny_model, f"{group}_basis").astype(np.float64))
        expected = expected + (moved**2).sum(-1).mean(-1)
    np.testing.assert_allclose(value, expected * [1, 0, 1], rtol=1e-4)
    distance = supervised.root_mean_square(mine.identity - truth.identity, identity)
    exact[:], exact[1:] = 1, 0
    exact[1:, : layout.sizes[0]] = 1  # of two only who they are is known, and of the last not all of it
    exact[2, 1] = 0
    first = np.float32([[1], [0], [0]])
    half = mine._replace(expression=first * truth.expression + (1 - first) * mine.expression)
    alone = supervised.shape(half, truth, layout.split(exact), identity, expression)
    np.testing.assert_allclose(alone, np.asarray(distance) ** 2 * [1, 1, 0], rtol=1e-5)


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


def test_surface_metric_counts_what_an_alignment_leaves_of_the_skin(tiny_model):
    """A small turn, move and change of size cost nothing; the rest costs what weighted least squares leaves of it: by
    area, without eyes and mouth, and less along the surface than away from it."""
    shape = tiny_model.mean_shape.astype(np.float64)
    centred = shape - shape.mean(0)
    moved = np.stack([centred, np.cross([0.3, -1, 2], centred), np.ones_like(centred) * [1, 2, -3]])
    hidden = tiny_model.regions["eyes"] | tiny_model.regions["inner_mouth"]
    other = tiny_model.identity_basis[:2].astype(np.float64)
    unseen = np.where(hidden[:, None], 1.0, 0.0)[None] * [3.0, -2.0, 5.0]
    metric = supervised.surface_metric(replace(tiny_model, identity_basis=np.concatenate([moved, unseen, other])))
    assert hidden.any()
    np.testing.assert_allclose(metric[:4], 0, atol=1e-6)
    corners = shape[tiny_model.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = np.zeros(len(shape))
    for triangle, size in zip(tiny_model.triangles, area, strict=True):
        weight[triangle] += size
    root = np.sqrt(np.where(hidden, 0, weight) / weight[~hidden].sum())
    design = np.stack(
        [*moved[:1], *(np.cross(a, centred) for a in np.eye(3)), *(np.ones_like(centred) * a for a in np.eye(3))]
    )
    design = (design * root[:, None]).reshape(7, -1).T
    normals = geometry.vertex_normals(shape[None], tiny_model.triangles, tiny_model.vertex_corners)[0]
    for index, field in enumerate(other):
        field = (field * root[:, None]).ravel()
        left = 100 * (field - design @ np.linalg.lstsq(design, field, rcond=None)[0]).reshape(shape.shape)
        away = (left * normals).sum(-1)
        expected = 0.3 * (left**2).sum() + 0.7 * (away**2).sum()
        assert metric[4 + index, 4 + index] == pytest.approx(expected, rel=1e-4)
