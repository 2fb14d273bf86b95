from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from tf_deep3d import face
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model, uncertainty
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.fitting import descent, pose
from tf_deep3d.fitting.settings import FitSettings, Observation, Stage
from tf_deep3d.fitting.targets import landmark_targets
from tf_deep3d.rendering import renderer


@pytest.fixture(scope="module")
def truth(tiny_model):
    """Two synthetic faces with known coefficients, and what a camera sees of them."""
    layout = tiny_model.layout()
    drawn = layout.split(np.random.default_rng(0).normal(size=(2, layout.total)).astype("float32"))
    coefficients = drawn._replace(
        angles=drawn.angles * 0.2, translation=drawn.translation * 0.05, illumination=drawn.illumination * 0.1
    )
    seen = face.reconstruct(tiny_model, coefficients)
    images = ops.convert_to_numpy(renderer.render(seen, tiny_model.triangles, Camera()).image)
    dense = face.reconstruct(tiny_model, coefficients, landmarks="mediapipe478").landmarks
    attention = np.ones((2, 224, 224, 1), "float32")
    return coefficients, seen, Observation(images, seen.landmarks, attention, dense)


def test_fit_explains_the_picture(tiny_model, model_file, truth):
    _, seen, observation = truth
    models = morphable_model.load_levels(model_file)
    stages = (Stage(0, 40, 0.1, False), Stage(1, 30, 0.05, False))
    settings = FitSettings(stages)
    steps = []
    fit = descent.fit(models, observation, settings, on_step=lambda: steps.append(1))
    begin = face.reconstruct(tiny_model, pose.initial_coefficients(tiny_model, observation.landmarks, "rgb"))
    end = face.reconstruct(tiny_model, fit.coefficients)
    assert len(steps) == settings.steps == 70

    def landmark_distance(built):
        return np.linalg.norm(built.landmarks - seen.landmarks, axis=-1).mean(-1)

    def shape_error(built):
        """Mean distance of the posed shapes, about their centroids, dm: the depth of the whole is ambiguous."""
        delta = built.vertices - seen.vertices
        return np.linalg.norm(delta - delta.mean(1, keepdims=True), axis=-1).mean(-1)

    assert (landmark_distance(end) < 0.6 * landmark_distance(begin)).all()
    assert (shape_error(end) < shape_error(begin)).all()
    assert shape_error(end).mean() < 0.7 * shape_error(begin).mean()
    assert (fit.terms["photometric"] < 0.06).all()


def test_faces_of_a_batch_do_not_influence_each_other(model_file, truth):
    observation = truth[2]
    models = morphable_model.load_levels(model_file)[:1]
    settings = FitSettings(stages=(Stage(0, 5, 0.1, False),))
    both = descent.fit(models, observation, settings).coefficients
    alone = descent.fit(models, Observation(*(part[1:] for part in observation[:4])), settings).coefficients
    for a, b in zip(both, alone, strict=True):
        np.testing.assert_allclose(a[1:], b, atol=0.02)  # five steps of 0.1: Adam turns rounding into some of it


def test_fit_is_deterministic(model_file, truth):
    models = morphable_model.load_levels(model_file)[:1]
    settings = FitSettings(stages=(Stage(0, 5, 0.1, False),), lighting="white")
    one, two = (descent.fit(models, truth[2], settings).coefficients for _ in range(2))
    assert one.illumination.shape == (2, 1, 9)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unusable_photo_does_not_spoil_its_neighbour(model_file, truth):
    observation = truth[2]
    images = observation.images.copy()
    images[0] = np.nan
    models = morphable_model.load_levels(model_file)[:1]
    settings = FitSettings(stages=(Stage(0, 3, 0.1, False),))
    fit = descent.fit(models, observation._replace(images=images), settings)
    assert not np.isfinite(fit.coefficients.albedo[0]).all()
    assert all(np.isfinite(group[1]).all() for group in fit.coefficients)


def test_landmarks_that_face_away_count_little(tiny_model, truth):
    start = tiny_model.layout().zeros(2)
    start = start._replace(angles=np.array([[0, 1.2, 0], [0, -1.2, 0]], "float32"))
    settings = FitSettings(hidden=0.25)
    weights = ops.convert_to_numpy(descent.FaceFitter(tiny_model, truth[2], start, settings).constants.point_weights)
    model, _, plain = landmark_targets(tiny_model, truth[2], FitSettings(hidden=1.0), start)
    assert weights.shape == plain.shape == (2, 68 + 478)
    plain = plain[0]
    counted = plain > 0  # irises do not count
    share = weights[:, counted] / plain[counted]
    np.testing.assert_allclose([share.min(), share.max()], [0.25, 1.0], rtol=1e-5)
    cosine = pose.facing(model, "fit", start)[:, counted]
    np.testing.assert_allclose(share[cosine < uncertainty.COSINES[0]], 0.25, rtol=1e-5)
    np.testing.assert_allclose(share[cosine > uncertainty.COSINES[1]], 1.0, rtol=1e-5)


def test_landmarks_are_weighed_by_how_far_the_detector_strays(tiny_model, truth):
    """In each face's own pose, the dense ones alone; a model that does not know it has plain weights."""
    moments = np.tile(np.float32([1e-4, 0, 4e-4]), (9, 3, 478, 1))
    moments[-1] *= 9  # turned far to one side
    dense = replace(tiny_model.landmarks["mediapipe478"], moments=moments)
    knowing = replace(tiny_model, landmarks={**tiny_model.landmarks, "mediapipe478": dense})
    start = tiny_model.layout().zeros(2)
    start = start._replace(angles=np.array([[0, 0, 0], [0, 1.5, 0]], "float32"))
    settings = FitSettings(strays=True)
    known = descent.FaceFitter(knowing, truth[2], start, settings).constants
    weights = ops.convert_to_numpy(known.point_weights)
    assert weights.shape == (2, 478, 2, 2)
    np.testing.assert_allclose(weights[0, 0], [[1.6, 0], [0, 0.4]], rtol=1e-4)
    np.testing.assert_allclose(weights[1, 0], weights[0, 0] / 9, rtol=1e-4)
    assert not weights[:, IRISES].any()
    np.testing.assert_array_equal(known.points, truth[2].dense)
    plain = descent.FaceFitter(tiny_model, truth[2], start, settings).constants
    assert plain.point_weights.shape == (2, 68 + 478)


def test_groups_that_are_fixed_stay_and_shared_ones_are_one(model_file, tiny_model, truth):
    models = morphable_model.load_levels(model_file)[:1]
    start = pose.initial_coefficients(tiny_model, truth[2].landmarks, "rgb")
    start = start._replace(identity=np.float32([[0.5] * 6, [-0.1] * 6]))
    settings = FitSettings((Stage(0, 3, 0.1, False),), shared=("identity",), fixed=("albedo", "angles"))
    found = descent.fit(models, truth[2], settings, start=start).coefficients
    np.testing.assert_allclose(found.angles, start.angles, atol=1e-6)
    np.testing.assert_array_equal(found.albedo, start.albedo)
    np.testing.assert_array_equal(found.identity[0], found.identity[1])
    assert np.abs(found.identity - 0.2).max() > 0.01
    assert np.abs(found.expression[0] - found.expression[1]).max() > 0.01


def test_an_unknown_group_is_named():
    with pytest.raises(InputError, match=r"name groups of .*Received: \('pose',\)"):
        FitSettings(shared=("pose",))
