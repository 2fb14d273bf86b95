"""What a seen landmark is worth, by pose."""

import keras
import numpy as np
import pytest

from tf_deep3d.face import uncertainty

ANGLES = np.float32([[0, 0, 0], [0.1, 0.5, 0], [-0.2, -1.0, 0.4], [2.0, -3.0, 0]])


@pytest.fixture
def moments():
    """Second moments [9, 3, 5, 3] of random offsets, dm^2."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9, 3, 5, 40))
    x, y = 0.02 * x, 0.05 * y + 0.01 * x
    return np.stack([(x * x).mean(-1), (x * y).mean(-1), (y * y).mean(-1)], -1).astype(np.float32)


def matrices(moments):
    return np.stack([moments[..., [0, 1]], moments[..., [1, 2]]], -2)


def test_shares_are_bilinear_and_end_at_the_border():
    found = uncertainty.shares(ANGLES, 9, 3)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert found[0].reshape(9, 3)[4, 1] == 1  # the middle node is the frontal view
    assert found[3].reshape(9, 3)[0, 2] == 1  # beyond the grid
    yaws, pitches = np.linspace(-1, 1, 9) * uncertainty.YAW, np.linspace(-1, 1, 3) * uncertainty.PITCH
    shares = found.reshape(-1, 9, 3)[1:2]
    np.testing.assert_allclose([shares.sum(2) @ yaws, shares.sum(1) @ pitches], [[0.5], [0.1]], atol=1e-6)


def test_precision_is_the_inverse_of_the_moments(moments):
    found = uncertainty.precision(moments, ANGLES[:1])
    wanted = np.linalg.inv(matrices(moments[4, 1]))
    size = np.trace(wanted, axis1=1, axis2=2).mean() / 2
    np.testing.assert_allclose(found[0], wanted / size, rtol=1e-3)
    assert np.trace(found[0], axis1=1, axis2=2).mean() / 2 == pytest.approx(1, rel=1e-5)


def test_a_quarter_turn_exchanges_the_axes(moments):
    upright, turned = uncertainty.precision(moments, np.float32([[0, 0.3, 0], [0, 0.3, np.pi / 2]]))
    np.testing.assert_allclose(turned[:, 0, 0], upright[:, 1, 1], rtol=1e-3)
    np.testing.assert_allclose(turned[:, 0, 1], -upright[:, 0, 1], rtol=1e-3, atol=1e-4)


def test_the_weak_direction_turns_with_the_face():
    """Upright, x is sure and y is not; a face that is rolled counter-clockwise, as seen, carries its axes along."""
    moments = np.broadcast_to(np.float32([1e-4, 0, 1e-2]), (9, 3, 1, 3))
    roll = 0.5
    found = uncertainty.precision(moments, np.float32([[0, 0, roll]]))[0, 0]
    right = np.array([np.cos(roll), -np.sin(roll)])  # the face's x axis in the picture, y down
    down = np.array([np.sin(roll), np.cos(roll)])
    assert right @ found @ right == pytest.approx(100 * (down @ found @ down), rel=1e-3)


def test_both_namespaces_agree(moments):
    found = keras.ops.convert_to_numpy(uncertainty.precision(moments, keras.ops.convert_to_tensor(ANGLES), keras.ops))
    np.testing.assert_allclose(found, uncertainty.precision(moments, ANGLES), rtol=2e-3, atol=1e-4)
