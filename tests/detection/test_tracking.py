"""Gaps and smoothing against what is known of polynomials and noise; following a face through a real photo."""

import numpy as np
import pytest
from skimage import data

from tf_deep3d.detection import alignment, detector, tracking
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.reconstruction.clip.video import Frame

RNG = np.random.default_rng(0)
TIMES = np.cumsum(RNG.uniform(0.01, 0.07, 60))  # uneven
WHOLE = np.zeros(60, np.int32)


def test_parabolas_pass_unchanged_also_at_the_ends():
    values = np.stack([TIMES, 3 * TIMES**2 - TIMES, np.ones(60)], axis=-1)
    np.testing.assert_allclose(tracking.smooth(TIMES, WHOLE, values, 0.2), values, atol=1e-9)


def test_noise_shrinks_and_nothing_lags():
    truth = np.sin(2 * np.pi * 0.5 * TIMES)[:, None]
    noise = RNG.normal(scale=0.1, size=truth.shape)
    smoothed = tracking.smooth(TIMES, WHOLE, truth + noise, 0.12)
    assert np.std(smoothed - truth) < 0.6 * np.std(noise)
    lags = np.linspace(-0.1, 0.1, 81)
    errors = [np.square(smoothed[8:-8, 0] - np.sin(np.pi * (TIMES[8:-8] - lag))).sum() for lag in lags]
    assert abs(lags[np.argmin(errors)]) < 0.02


def test_no_smoothing_keeps_the_values():
    values = RNG.normal(size=(60, 2))
    np.testing.assert_array_equal(tracking.smooth(TIMES, WHOLE, values, 0.0), values)


def test_stretches_do_not_mix():
    stretches = np.repeat([0, 1], 30).astype(np.int32)
    values = np.repeat([[0.0], [5.0]], 30, axis=0)
    np.testing.assert_allclose(tracking.smooth(TIMES, stretches, values, 0.3), values, atol=1e-12)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_senseless_time_of_smoothing(seconds):
    with pytest.raises(ValueError, match="Received"):
        tracking.smooth(TIMES, WHOLE, np.zeros((60, 1)), seconds)


def test_short_gaps_are_filled_and_long_ones_split():
    times = np.arange(12) / 10
    present = np.array([0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0], bool)
    np.testing.assert_array_equal(tracking.fill_gaps(times, present, 0.3), [-1, 0, 0, 0, 0, -1, -1, -1, -1, 1, 1, -1])
    np.testing.assert_array_equal(tracking.fill_gaps(times, present, 1.0), [-1] + [0] * 10 + [-1])
    np.testing.assert_array_equal(tracking.fill_gaps(times, np.zeros(12, bool), 1.0), [-1] * 12)


def test_interpolation_is_linear_in_time():
    times = np.array([0.0, 0.1, 0.4, 0.5])
    present = np.array([True, False, False, True])
    values = np.array([[0.0, 1.0], [9, 9], [9, 9], [5.0, 1.0]])
    np.testing.assert_allclose(tracking.interpolate(times, present, values), [[0, 1], [1, 1], [4, 1], [5, 1]])


def test_jitter_is_the_second_difference():
    landmarks = np.array([0.0, 0.0, 3.0, 0.0, 0.0])[:, None, None] * [1.0, 0.0]
    everywhere = np.ones(5, bool)
    assert tracking.jitter(landmarks, everywhere) == pytest.approx(np.sqrt((9 + 36 + 9) / 3))
    assert tracking.jitter(np.arange(5.0)[:, None, None] * [1.0, 2.0], everywhere) == 0.0
    assert tracking.jitter(landmarks, np.array([1, 1, 0, 1, 1], bool)) == 0.0


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:300, 60:400]


def _moved(photo, shift, scale=1.0):
    turn = Similarity(scale, 0.0, tuple(shift))
    picture = alignment.crop(photo, turn, 340)
    return turn, (picture[:300] * 255).astype(np.uint8)


def test_followed_face_is_where_it_would_be_detected(photo):
    (start,) = detector.detect(photo)
    turn, image = _moved(photo, (12, 7), 1.03)
    found = tracking.follow(image, start)
    expected = turn.apply(start.landmarks68)
    assert np.linalg.norm(found.landmarks68 - expected, axis=-1).mean() < 1.0
    assert found.score > 0.5


def test_lost_faces_come_back_and_far_ones_wait(photo, monkeypatch):
    empty = np.full_like(photo, 90)
    near, far = _moved(photo, (20, 0))[1], _moved(photo, (-130, 120))[1]
    frames = [photo, empty, near, empty, far, far, far]
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.8, 0.9]
    tracked = list(tracking.track(Frame(time, image) for time, image in zip(times, frames, strict=True)))
    assert [found is not None for _, found in tracked] == [True, False, True, False, False, True, True]
    calls = []
    monkeypatch.setattr(detector, "detect", lambda image: calls.append(1) or [])
    assert tracking.find_face(near, tracked[2][1]) is not None
    assert not calls  # followed without a search


def test_of_several_faces_the_nearest_goes_on(photo, monkeypatch):
    (face,) = detector.detect(photo)
    other = face._replace(box=face.box + 60)
    monkeypatch.setattr(detector, "detect", lambda image: [other, face])
    monkeypatch.setattr(tracking, "follow", lambda image, last: None)
    assert tracking.find_face(photo) is other  # the first is the largest
    assert tracking.find_face(photo, face) is face
    assert tracking.find_face(photo, face._replace(box=face.box + 900)) is None
