"""Pose and expression from exact landmarks."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face.camera import FOCAL, Camera, to_pixels
from tf_deep3d.fitting import motion

CAMERA = Camera(400, 300, FOCAL, (200.0, 150.0))  # a picture wider than the crop
ANGLES = np.array([[0.1, -0.3, 0.2], [-0.2, 0.5, -2.8]])  # the second hangs
TRANSLATION = np.array([[0.8, -0.4, -1.0], [-1.0, 0.2, 1.5]])


@pytest.fixture(scope="module")
def known():
    model = morphable_model.load(level=0)
    return motion.person(model, np.linspace(-1, 1, len(model.identity_basis)))


@pytest.fixture(scope="module")
def truth(known):
    expression = np.zeros((2, len(known.modes)))
    expression[:, :5] = [[1.5, -1, 0.5, 1, 0.3], [-1, 1, 1, 0, 0.5]]
    return motion.Motion(ANGLES, TRANSLATION, expression)


def test_person_agrees_with_the_face(known, truth):
    model = morphable_model.load(level=0)
    shape = faces.unposed_shape(model, np.linspace(-1, 1, 80)[None], truth.expression[:1])
    posed = faces.pose(shape, ANGLES[:1], TRANSLATION[:1])
    expected = to_pixels(CAMERA, faces.at_landmarks(model.landmarks["ibug68"], posed))[0]
    np.testing.assert_allclose(motion.project(known, truth, CAMERA)[:1, :68], expected, atol=1e-3)
    assert len(known.points) == 68 + 478
    assert known.weights.mean() == pytest.approx(1.0)
    assert not known.weights[-10:].any()  # irises


@pytest.mark.parametrize("frame", [0, 1])
def test_exact_landmarks_give_back_pose_and_expression(known, truth, frame, monkeypatch):
    monkeypatch.setattr(motion, "PRIOR", 1e-7)
    pixels = motion.project(known, truth, CAMERA)[frame]
    angles, translation, expression = motion.solve(known, pixels, CAMERA, steps=15)
    np.testing.assert_allclose(angles, ANGLES[frame], atol=2e-3)
    np.testing.assert_allclose(translation, TRANSLATION[frame], atol=2e-2)
    np.testing.assert_allclose(expression[:5], truth.expression[frame, :5], atol=0.1)


def test_prior_holds_noise_back_and_outliers_hardly_pull(known, truth):
    rng = np.random.default_rng(0)
    pixels = motion.project(known, truth, CAMERA)[0]
    noisy = pixels + rng.normal(scale=1.0, size=pixels.shape)
    noisy[68 + rng.choice(468, 20, replace=False)] += 60.0
    angles, _, expression = motion.solve(known, noisy, CAMERA)
    assert np.degrees(np.abs(angles - ANGLES[0])).max() < 2.0
    assert np.linalg.norm(expression) < 1.5 * np.linalg.norm(truth.expression[0])
    found = motion.Motion(angles[None], motion.solve(known, noisy, CAMERA)[1][None], expression[None])
    error = np.linalg.norm(motion.project(known, found, CAMERA)[0] - pixels, axis=-1)
    assert error.mean() < 1.0


def test_angles_go_on_over_half_a_turn():
    angles = np.array([[0, 0, 3.1], [0, 0, -3.1], [0, 0, -3.0]])
    unwrapped = motion.continuous(angles)
    assert np.abs(np.diff(unwrapped, axis=0)).max() < 0.2
    np.testing.assert_allclose(geometry.rotation_matrix(unwrapped), geometry.rotation_matrix(angles), atol=1e-12)
