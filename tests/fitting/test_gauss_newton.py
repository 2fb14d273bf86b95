"""Gauss-Newton steps against the loss that they lower, by central differences, and on faces whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import Camera, together
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import gauss_newton, judging
from tf_deep3d.fitting.settings import Observation
from tf_deep3d.losses.weighing import LossWeights
from tf_deep3d.rendering import still

SETTINGS = gauss_newton.SETTINGS


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def surface(model):
    return gauss_newton.surface_of(model)


def _drawn(model, seed, batch=2, lighting="rgb"):
    layout = model.layout(lighting)
    drawn = layout.split(np.random.default_rng(seed).normal(size=(batch, layout.total)).astype(np.float32))
    return drawn._replace(
        expression=drawn.expression * 0.5,
        angles=drawn.angles * 0.15,
        translation=drawn.translation * 0.05,
        illumination=drawn.illumination * 0.05,
    )


def _seen(model, coefficients, camera=None):
    """The `Observation` of rendered faces before grey."""
    face = faces.reconstruct(model, coefficients, camera)
    dense = faces.reconstruct(model, coefficients, camera, landmarks="mediapipe478").landmarks
    images = []
    for pixels, depth, colors in zip(face.pixels, face.depth, face.colors, strict=True):
        fragments = still.rasterize(pixels, depth, model.triangles, 224, 224)
        image = still.interpolate(fragments, colors, model.triangles)
        images.append(np.where(fragments.triangle[..., None] >= 0, image, 0.5))
    attention = np.ones((len(images), 224, 224, 1), np.float32)
    return Observation(np.stack(images).astype(np.float32), face.landmarks, attention, dense, camera)


def _perturbed(coefficients, seed, by=0.3):
    rng = np.random.default_rng(seed)
    scales = Coefficients(by, by, by, 0.02, 0.03, 0.02)
    moved = (g + s * rng.normal(size=g.shape) for g, s in zip(coefficients, scales, strict=True))
    return Coefficients(*(np.asarray(group, np.float32) for group in moved))


@pytest.mark.parametrize("lighting", ["rgb", "white"])
def test_steps_lower_every_data_term_and_come_nearer_to_the_truth(model, surface, lighting):
    truth = _drawn(model, 1, lighting=lighting)
    observation, start = _seen(model, truth), _perturbed(truth, 2)
    settings = replace(SETTINGS, lighting=lighting)
    done = []
    found = gauss_newton.refine(surface, observation, start, settings, 5, lambda: done.append(1))
    assert len(done) == 5
    before, after = (judging.terms(model, observation, each, settings) for each in (start, found))
    for old, new in zip(before, after, strict=True):
        assert new["photometric"] < 0.5 * old["photometric"]
        assert new["landmark"] < 0.25 * old["landmark"]
    meshes = [faces.reconstruct(model, each).vertices for each in (start, found, truth)]
    first, last, wanted = (mesh - mesh.mean(1, keepdims=True) for mesh in meshes)
    errors = [np.linalg.norm(each - wanted, axis=-1).mean() for each in (first, last)]
    assert errors[1] < 0.7 * errors[0]


def _change(part, layout, photo, vector, column, step):
    """Central difference [N] of the residuals of `part` by one coefficient."""
    ends = []
    for sign in (-1, 1):
        moved = vector.copy()
        moved[column] += sign * step
        ends.append(part(gauss_newton._pose(photo, layout.split(moved[None].astype(np.float32))))[1])
    return (ends[1].astype(np.float64) - ends[0]) / (2 * step)


@pytest.mark.parametrize("group", Coefficients._fields)
def test_derivatives_are_central_differences(model, surface, monkeypatch, group):
    """Of landmarks, and of the colours that are rendered at points that keep their place on the surface."""
    truth = _drawn(model, 4, batch=1)
    observation, start = _seen(model, truth), _perturbed(truth, 5, by=0.1)
    layout = model.layout()
    columns = range(*getattr(gauss_newton._places(layout), group).indices(layout.total))[:3]
    photo = gauss_newton._Photo.of(surface, observation, start, 0, SETTINGS)
    photo = photo._replace(slopes=0 * photo.slopes)
    vector = layout.join(start)[0].astype(np.float64)
    posed = gauss_newton._pose(photo, start)
    pixels, depth = posed.face.pixels[0] / gauss_newton.EVERY, posed.face.depth[0]
    kept = still.rasterize(pixels, depth, model.triangles, *photo.attention.shape)
    monkeypatch.setattr(still, "rasterize", lambda *arguments: kept)
    monkeypatch.setattr(gauss_newton, "FLOOR", 1e3)  # weights that stay

    def landmarks(posed):
        return gauss_newton._landmarks(layout, photo, posed)

    def colors(posed):
        return gauss_newton._colors(surface, layout, SETTINGS, photo, posed)

    for part, exact in ((landmarks, True), (colors, group in ("albedo", "illumination", "angles", "translation"))):
        found = part(posed)[0]
        for column in columns:
            wanted = _change(part, layout, photo, vector, column, 2e-3)
            if exact:
                np.testing.assert_allclose(found[:, column], wanted, atol=0.03 * max(np.abs(wanted).max(), 1e-3))
            else:  # the normal of a point is smooth, its derivative that of its triangle
                assert np.corrcoef(found[:, column], wanted)[0, 1] > 0.8
                assert np.linalg.norm(found[:, column]) == pytest.approx(np.linalg.norm(wanted), rel=0.3)


def test_colours_of_the_photo_change_along_its_gradient(model, surface):
    """A face that moves to the right over a photo which brightens to the right sees brighter colours."""
    observation = _seen(model, _drawn(model, 4, batch=1))
    ramp = np.broadcast_to(np.arange(224, dtype=np.float32)[:, None] / 224, (1, 224, 224, 3))
    start = model.layout().zeros(1)
    photo = gauss_newton._Photo.of(surface, observation._replace(images=ramp), start, 0, SETTINGS)
    np.testing.assert_allclose(photo.slopes[5:-5, 5:-5, :, 0], 1 / 224, rtol=1e-4)
    np.testing.assert_allclose(photo.slopes[..., 1], 0, atol=1e-6)
    columns, _ = gauss_newton._colors(surface, model.layout(), SETTINGS, photo, gauss_newton._pose(photo, start))
    right, up, _ = np.moveaxis(columns[:, gauss_newton._places(model.layout()).translation], -1, 0)
    assert (right > 0).all()
    np.testing.assert_allclose(up, 0, atol=1e-6)


def test_the_pull_keeps_a_face_where_it_started(model, surface):
    truth = _drawn(model, 6, batch=1)
    observation, start = _seen(model, truth), _perturbed(truth, 7)
    ways = []
    for pull in (0.0, SETTINGS.pull, 1e6):
        found = gauss_newton.refine(surface, observation, start, replace(SETTINGS, pull=pull), 2)
        ways.append(np.linalg.norm(found.identity - start.identity))
    assert ways[0] > ways[1] > 0.05 > 1e-3 > ways[2]


def test_faces_do_not_influence_each_other(model, surface):
    truth = _drawn(model, 8, batch=3)
    observation, start = _seen(model, truth), _perturbed(truth, 9)
    both = gauss_newton.refine(surface, observation, start, SETTINGS, 2)
    alone = gauss_newton.refine(
        surface, observation.one(1), Coefficients(*(group[1:2] for group in start)), SETTINGS, 2
    )
    for mine, theirs in zip(both, alone, strict=True):
        np.testing.assert_array_equal(mine[1:2], theirs)


def test_a_photo_in_its_own_perspective_is_fitted_in_it(model, surface):
    camera = together([Camera(focal=700.0, center=(100.0, 120.0)), Camera()])
    truth = _drawn(model, 10)
    observation, start = _seen(model, truth, camera), _perturbed(truth, 11)
    found = gauss_newton.refine(surface, observation, start, SETTINGS, 4)
    errors = [
        np.abs(faces.reconstruct(model, each, camera).landmarks - observation.landmarks).mean()
        for each in (start, found)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_an_unusable_photo_does_not_spoil_its_neighbour(model, surface):
    truth = _drawn(model, 12)
    observation = _seen(model, truth)
    observation.images[0] = np.nan
    found = gauss_newton.refine(surface, observation, truth, SETTINGS, 1)
    assert not np.isfinite(found.identity[0]).all()
    assert all(np.isfinite(group[1]).all() for group in found)


def test_a_photo_without_skin_is_fitted_by_its_landmarks(model, surface):
    truth = _drawn(model, 13, batch=1)
    observation = _seen(model, truth)._replace(attention=np.zeros((1, 224, 224, 1), np.float32))
    start = _perturbed(truth, 14)
    found = gauss_newton.refine(surface, observation, start, SETTINGS, 3)
    errors = [
        np.abs(faces.reconstruct(model, each).landmarks - observation.landmarks).mean() for each in (start, found)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_without_a_data_term_the_start_stays_but_for_the_priors(model, surface):
    """With no weight but the pull nothing moves."""
    nothing = LossWeights(**dict.fromkeys(vars(LossWeights()), 0.0))
    truth = _drawn(model, 15, batch=1)
    found = gauss_newton.refine(surface, _seen(model, truth), truth, replace(SETTINGS, weights=nothing), 2)
    for mine, theirs in zip(found, truth, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_photos_that_share_groups_step_where_all_of_them_are_fitted_best():
    """The step is that of one system of all coefficients, those that are shared being one and the same."""
    rng = np.random.default_rng(16)
    roots, gradients = rng.normal(size=(3, 9, 7)), rng.normal(size=(3, 7))
    matrices = np.einsum("bij,bik->bjk", roots, roots)
    shared, own = np.array([1, 4]), np.array([0, 2, 3, 5, 6])
    where = np.zeros((3, 7, 2 + 3 * 5))  # from the unknowns of all photos to those of each
    for photo in range(3):
        where[photo, shared, [0, 1]] = 1
        where[photo, own, 2 + 5 * photo + np.arange(5)] = 1
    matrix = np.einsum("bij,bik,bkl->jl", where, matrices, where)
    expected = where @ np.linalg.solve(matrix, np.einsum("bij,bi->j", where, gradients))
    systems = list(zip(matrices, gradients, strict=True))
    np.testing.assert_allclose(gauss_newton._solve(systems, shared), expected, rtol=1e-6)
    alone = gauss_newton._solve(systems, np.zeros(0, int))
    np.testing.assert_allclose(alone, np.linalg.solve(matrices, gradients[..., None])[..., 0], rtol=1e-6)


def test_photos_of_one_person_share_who_it_is_and_tell_it_better_together(model, surface):
    truth = _drawn(model, 17, batch=4)
    turned = truth.angles + np.float32([[0, -0.5, 0], [0, 0.5, 0], [0.2, 0, 0], [-0.2, 0.2, 0]])
    one = {name: np.repeat(getattr(truth, name)[:1], 4, axis=0) for name in ("identity", "albedo")}
    truth = truth._replace(angles=turned, **one)
    observation, start = _seen(model, truth), _perturbed(truth, 18, by=0.8)
    alone = gauss_newton.refine(surface, observation, start, SETTINGS, 5)
    found = gauss_newton.refine(surface, observation, start, replace(SETTINGS, shared=("identity", "albedo")), 5)
    for name in Coefficients._fields:
        rows = getattr(found, name)
        assert (np.ptp(rows, axis=0).max() == 0) == (name in one)
    apart = np.concatenate([found.identity[:1], alone.identity]) - truth.identity[0]
    together, *each = np.linalg.norm(np.tensordot(apart, model.identity_basis, 1), axis=-1).mean(-1)
    assert together < 0.9 * np.mean(each)
