import warnings

import numpy as np
import pytest
from keras import ops

from tests.oracles import central_differences
from tf_deep3d.face import geometry, lighting


def _normals(count=200, seed=0):
    return geometry.normalize(np.random.default_rng(seed).normal(size=(1, count, 3)))


def test_zero_illumination_is_even_ambient_light():
    albedo = np.full((1, 200, 3), 0.5)
    colors = lighting.shade(albedo, _normals(), np.zeros((1, 3, 9)))
    np.testing.assert_allclose(colors, 0.5 * 0.8 * np.sqrt(np.pi) / 2)  # 0.8 a0 c0, a0 c0 = pi / sqrt(4 pi)


def test_light_from_one_side_brightens_that_side():
    normals = np.array([[[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]]])
    light = np.zeros((1, 1, 9))
    light[0, 0, 3] = -0.5  # the basis function is -a1 c1 nx
    received = lighting.irradiance(normals, light)[0, :, 0]
    assert received[0] > received[4] > received[1]
    np.testing.assert_allclose(received[2], received[3])
    np.testing.assert_allclose(received[0] - received[4], 0.5 * 2 * np.pi / np.sqrt(3) * np.sqrt(3 / (4 * np.pi)))


def test_channels_are_independent_and_white_equals_three_equal_channels():
    rng = np.random.default_rng(1)
    normals, light = _normals(), rng.normal(size=(1, 1, 9)) * 0.2
    albedo = rng.uniform(size=(1, 200, 3))
    np.testing.assert_allclose(
        lighting.shade(albedo, normals, light), lighting.shade(albedo, normals, np.repeat(light, 3, axis=1))
    )
    red = np.zeros((1, 3, 9))
    red[0, 0, 0] = 1
    difference = lighting.shade(albedo, normals, red) - lighting.shade(albedo, normals, 0 * red)
    assert (difference[..., 0] > 0).all()
    assert not difference[..., 1:].any()


def test_bands_are_orthogonal_on_the_sphere():
    basis = lighting.sh_basis(_normals(200_000, seed=2))[0]
    gram = 4 * np.pi * basis.T @ basis / len(basis)
    kernel = np.array([np.pi] + [2 * np.pi / np.sqrt(3)] * 3 + [2 * np.pi / np.sqrt(8)] * 5)
    np.testing.assert_allclose(gram / np.outer(kernel, kernel), np.eye(9), atol=0.02)


def test_gradient_is_that_of_central_differences_also_where_every_frontal_nose_points():
    tf = pytest.importorskip("tensorflow")
    normals = np.concatenate([[[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]], _normals(5)], axis=1)
    rng = np.random.default_rng(3)
    light, weights = rng.normal(size=(1, 3, 9)), rng.normal(size=(1, 7, 3))
    variable = tf.Variable(normals)
    with tf.GradientTape() as tape:
        total = ops.sum(lighting.irradiance(variable, tf.constant(light), xp=ops) * weights)
    expected = central_differences(lambda x: (lighting.irradiance(x, light) * weights).sum(), normals)
    np.testing.assert_allclose(tape.gradient(total, variable), expected, atol=1e-6)


def test_values_and_gradients_equal_tensorflow_graphics():
    """The oracle the method's users know. It has no build for Python 3.12+ and its gradient is NaN at the poles."""
    tf = pytest.importorskip("tensorflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        harmonics = pytest.importorskip(
            "tensorflow_graphics.math.spherical_harmonics", reason="tensorflow-graphics needs Python < 3.12"
        )
    normals = tf.Variable(_normals(50, seed=4)[0])
    degree = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
    order = np.array([0, -1, 0, 1, -2, -1, 0, 1, 2])
    kernel = np.array([np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8)])[degree]
    weights = np.random.default_rng(5).normal(size=9)

    with tf.GradientTape(persistent=True) as tape:
        ours = lighting.sh_basis(normals[None], xp=ops)[0]
        x, y, z = tf.unstack(normals, axis=-1)
        theta, phi = tf.acos(z)[:, None], tf.atan2(y, x)[:, None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = harmonics.evaluate_spherical_harmonics(
                degree[None] + np.zeros((50, 1), int), order[None] + np.zeros((50, 1), int), theta, phi
            )
        theirs *= kernel
        ours_total, theirs_total = tf.reduce_sum(ours * weights), tf.reduce_sum(theirs * weights)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    # theirs lives on the sphere: compare the gradients' tangential parts
    tangents = []
    for total in (ours_total, theirs_total):
        gradient = tape.gradient(total, normals).numpy()
        radial = np.sum(gradient * normals.numpy(), -1, keepdims=True) * normals.numpy()
        tangents.append(gradient - radial)
    np.testing.assert_allclose(*tangents, atol=1e-5)
