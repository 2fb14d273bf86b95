import numpy as np
import pytest
from keras import ops

from tf_deep3d import face
from tf_deep3d.face import lighting
from tf_deep3d.face.camera import Camera


def _random(model, batch=3, seed=0):
    layout = model.layout()
    vector = np.random.default_rng(seed).normal(size=(batch, layout.total)).astype("float32") * 0.2
    return layout.split(vector)


def test_zero_coefficients_are_the_mean_face(tiny_model):
    built = face.reconstruct(tiny_model, tiny_model.layout().zeros(2))
    np.testing.assert_allclose(built.vertices, np.stack([tiny_model.mean_shape] * 2))
    np.testing.assert_allclose(built.albedo[0], tiny_model.mean_albedo)


def test_modes_add_up(tiny_model):
    coefficients = tiny_model.layout().zeros(1)
    coefficients.identity[0, 1], coefficients.expression[0, 2], coefficients.albedo[0, 3] = 2.0, -1.0, 0.5
    built = face.reconstruct(tiny_model, coefficients)
    expected = tiny_model.mean_shape + 2 * tiny_model.identity_basis[1] - tiny_model.expression_basis[2]
    np.testing.assert_allclose(built.vertices[0], expected, atol=1e-6)
    np.testing.assert_allclose(built.albedo[0], tiny_model.mean_albedo + 0.5 * tiny_model.albedo_basis[3], atol=1e-6)


def test_the_head_turns_about_the_origin_then_moves(tiny_model):
    coefficients = tiny_model.layout().zeros(1)
    coefficients.angles[0, 1] = np.pi / 2
    coefficients.translation[0] = [0.1, 0.2, 0.3]
    built = face.reconstruct(tiny_model, coefficients)
    x, y, z = tiny_model.mean_shape.T
    np.testing.assert_allclose(built.vertices[0], np.stack([z + 0.1, y + 0.2, -x + 0.3], -1), atol=1e-6)


def test_landmarks_are_the_projected_surface_points(tiny_model):
    built = face.reconstruct(tiny_model, _random(tiny_model))
    points = tiny_model.landmarks["ibug68"]
    corners = built.vertices[1][points.vertices[30]]
    x, y, z = points.weights[30] @ corners
    camera = Camera()
    expected = [112 + camera.focal * x / (10 - z), 112 - camera.focal * y / (10 - z)]
    np.testing.assert_allclose(built.landmarks[1, 30], expected, rtol=1e-5)
    assert face.reconstruct(tiny_model, _random(tiny_model), landmarks="alignment5").landmarks.shape == (3, 5, 2)


def test_normals_turn_with_the_head(tiny_model):
    still, turned = tiny_model.layout().zeros(1), tiny_model.layout().zeros(1)
    turned.angles[0] = [0.3, -0.5, 0.2]
    a, b = face.reconstruct(tiny_model, still), face.reconstruct(tiny_model, turned)
    rotation = face.geometry.rotation_matrix(turned.angles)[0]
    np.testing.assert_allclose(b.normals[0], a.normals[0] @ rotation.T, atol=1e-5)


def test_colours_are_the_albedo_in_a_light_that_stays_when_the_head_turns(tiny_model):
    coefficients = _random(tiny_model)
    turned = coefficients._replace(angles=coefficients.angles + np.float32([0.3, -0.5, 0.2]))
    still, built = (face.reconstruct(tiny_model, each) for each in (coefficients, turned))
    expected = built.albedo * lighting.irradiance(built.normals, coefficients.illumination)
    np.testing.assert_allclose(built.colors, expected, atol=1e-6)
    np.testing.assert_array_equal(built.albedo, still.albedo)
    assert np.abs(built.colors - still.colors).max() > 0.05


@pytest.mark.parametrize("channels", ["rgb", "white"])
def test_numpy_and_keras_build_the_same_face(tiny_model, channels):
    layout = tiny_model.layout(channels)
    vector = np.random.default_rng(5).normal(size=(2, layout.total)).astype("float32") * 0.2
    here = face.reconstruct(tiny_model, layout.split(vector))
    there = face.reconstruct(tiny_model, layout.split(ops.convert_to_tensor(vector), ops), xp=ops)
    for name, a, b in zip(here._fields, here, there, strict=True):
        # 6e-5 px is what float32 leaves of a 224 px picture
        np.testing.assert_allclose(a, ops.convert_to_numpy(b), atol=2e-4 if name in ("pixels", "landmarks") else 5e-6)
