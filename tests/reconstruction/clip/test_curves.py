"""Gaps and smoothing against what is known of polynomials and noise."""

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.reconstruction.clip import curves

RNG = np.random.default_rng(0)
TIMES = np.cumsum(RNG.uniform(0.01, 0.07, 60))  # uneven
WHOLE = np.zeros(60, np.int32)


def test_parabolas_pass_unchanged_also_at_the_ends():
    values = np.stack([TIMES, 3 * TIMES**2 - TIMES, np.ones(60)], axis=-1)
    np.testing.assert_allclose(curves.smooth(TIMES, WHOLE, values, 0.2), values, atol=1e-9)


def test_noise_shrinks_and_nothing_lags():
    truth = np.sin(2 * np.pi * 0.5 * TIMES)[:, None]
    noise = RNG.normal(scale=0.1, size=truth.shape)
    smoothed = curves.smooth(TIMES, WHOLE, truth + noise, 0.12)
    assert np.std(smoothed - truth) < 0.6 * np.std(noise)
    lags = np.linspace(-0.1, 0.1, 81)
    errors = [np.square(smoothed[8:-8, 0] - np.sin(np.pi * (TIMES[8:-8] - lag))).sum() for lag in lags]
    assert abs(lags[np.argmin(errors)]) < 0.02


def test_no_smoothing_keeps_the_values():
    values = RNG.normal(size=(60, 2))
    np.testing.assert_array_equal(curves.smooth(TIMES, WHOLE, values, 0.0), values)


def test_stretches_do_not_mix():
    stretches = np.repeat([0, 1], 30).astype(np.int32)
    values = np.repeat([[0.0], [5.0]], 30, axis=0)
    np.testing.assert_allclose(curves.smooth(TIMES, stretches, values, 0.3), values, atol=1e-12)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_senseless_time_of_smoothing(seconds):
    with pytest.raises(InputError, match="Received"):
        curves.smooth(TIMES, WHOLE, np.zeros((60, 1)), seconds)


def test_short_gaps_are_filled_and_long_ones_split():
    times = np.arange(12) / 10
    present = np.array([0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0], bool)
    np.testing.assert_array_equal(curves.fill_gaps(times, present, 0.3), [-1, 0, 0, 0, 0, -1, -1, -1, -1, 1, 1, -1])
    np.testing.assert_array_equal(curves.fill_gaps(times, present, 1.0), [-1] + [0] * 10 + [-1])
    np.testing.assert_array_equal(curves.fill_gaps(times, np.zeros(12, bool), 1.0), [-1] * 12)


def test_interpolation_is_linear_in_time():
    times = np.array([0.0, 0.1, 0.4, 0.5])
    present = np.array([True, False, False, True])
    values = np.array([[0.0, 1.0], [9, 9], [9, 9], [5.0, 1.0]])
    np.testing.assert_allclose(curves.interpolate(times, present, values), [[0, 1], [1, 1], [4, 1], [5, 1]])


def test_jitter_is_the_second_difference():
    landmarks = np.array([0.0, 0.0, 3.0, 0.0, 0.0])[:, None, None] * [1.0, 0.0]
    everywhere = np.ones(5, bool)
    assert curves.jitter(landmarks, everywhere) == pytest.approx(np.sqrt((9 + 36 + 9) / 3))
    assert curves.jitter(np.arange(5.0)[:, None, None] * [1.0, 2.0], everywhere) == 0.0
    assert curves.jitter(landmarks, np.array([1, 1, 0, 1, 1], bool)) == 0.0


def test_a_held_value_is_the_last_one_before():
    present = np.array([False, True, False, False, True, False])
    values = np.arange(6.0)[:, None]
    np.testing.assert_array_equal(curves.hold(present, values)[:, 0], [1, 1, 1, 1, 4, 4])


def test_an_animation_that_holds_moves_on_just_before_the_face_is_back():
    """Straight lines between the key frames are the held curve, whose steps they make one frame long."""
    stretches = np.array([-1, 0, 0, -1, -1, -1, 1, 1, -1])
    times, values = np.arange(9.0), np.array([3.0, 3, 4, 4, 4, 4, 8, 9, 9])
    shown = curves.keys(stretches, held=True)
    np.testing.assert_array_equal(np.interp(times, times[shown], values[shown])[1:], values[1:])
    assert shown.tolist() == [False, True, True, False, False, True, True, True, False]
    np.testing.assert_array_equal(curves.keys(stretches, held=False), stretches >= 0)
