import numpy as np
import pytest
from keras import ops

from tf_deep3d import face
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.fitting import descent
from tf_deep3d.fitting.descent import FitSettings, Stage
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
    return coefficients, seen, descent.Observation(images, seen.landmarks, attention, dense)


@pytest.mark.parametrize("yaw", [-80, -40, 0, 40, 80])
def test_landmark_pose_recovers_a_known_pose(tiny_model, yaw):
    points = face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]
    pose = np.array([0.2, np.radians(yaw), -0.3, 0.1, -0.2, 0.4])
    pixels = to_pixels(Camera(), face.pose(points[None], pose[None, :3], pose[None, 3:]))[0][0]
    found = descent.landmark_pose(points, pixels, np.ones(68))
    np.testing.assert_allclose(found, pose, atol=1e-4)


def test_landmark_pose_survives_one_wild_point(tiny_model):
    points = face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]
    pixels = to_pixels(Camera(), points[None])[0][0].copy()
    pixels[5] += 60
    found = descent.landmark_pose(points, pixels, np.ones(68))
    np.testing.assert_allclose(found[:3], 0, atol=0.02)


def test_fit_explains_the_picture(tiny_model, model_file, truth):
    _, seen, observation = truth
    models = morphable_model.load_levels(model_file)
    stages = (Stage(0, 40, 0.1, False), Stage(1, 30, 0.05, False))
    settings = FitSettings(stages)
    steps = []
    fit = descent.fit(models, observation, settings, on_step=lambda: steps.append(1))
    start = descent.initial_coefficients(tiny_model, observation, settings)
    begin = face.reconstruct(tiny_model, start)
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
    alone = descent.fit(models, descent.Observation(*(part[1:] for part in observation)), settings).coefficients
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


def test_initial_pose_is_in_the_rotation_convention(tiny_model, truth):
    coefficients, _, observation = truth
    start = descent.initial_coefficients(tiny_model, observation, FitSettings())
    difference = geometry.rotation_matrix(start.angles) @ geometry.rotation_matrix(coefficients.angles).swapaxes(1, 2)
    turned = np.degrees(np.arccos((np.trace(difference, axis1=1, axis2=2) - 1) / 2))
    assert (turned < 20).all()  # the mean shape is not theirs; a wrong sign would be off by 30 or more


def test_landmarks_that_face_away_count_little(tiny_model, truth):
    model, _, _ = descent._landmark_targets(tiny_model, truth[2], FitSettings())
    pose = tiny_model.layout().zeros(2)
    pose = pose._replace(angles=np.array([[0, 1.2, 0], [0, -1.2, 0]], "float32"))
    left, right = descent._facing(model, pose)
    assert left.shape == (68 + 478,)
    assert left.min() == right.min() == 0
    assert left.max() == right.max() == 1
    across = face.at_landmarks(model.landmarks["fit"], tiny_model.mean_shape[None])[0, :, 0]
    assert (np.corrcoef(across, left)[0, 1] < 0) == (np.corrcoef(across, right)[0, 1] > 0)
