"""Known degradations of known pictures."""

import math

import numpy as np
import pytest

from tf_deep3d.evaluation import degradation


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (80, 60, 3)) / 255).astype(np.float32)


def test_no_degradation_changes_nothing(picture):
    for same in (
        degradation.blurred(picture, 0),
        degradation.darkened(picture, 1),
        degradation.occluded(picture, 0, np.random.default_rng(0)),
        degradation.shrunk(picture, 1),
    ):
        np.testing.assert_allclose(same, picture, atol=1e-6)
        assert same.dtype == np.float32


def test_blur_turns_an_edge_into_the_gaussian_integral():
    edge = np.zeros((9, 40, 3), np.float32)
    edge[:, 20:] = 1
    expected = [0.5 * (1 + math.erf((j + 0.5 - 20) / (2 * math.sqrt(2)))) for j in range(40)]
    np.testing.assert_allclose(degradation.blurred(edge, 2)[4, :, 0], expected, atol=0.006)
    flat = np.full((20, 20, 3), 0.4, np.float32)
    np.testing.assert_allclose(degradation.blurred(flat, 5), flat, atol=1e-6)


def test_darkness_scales_and_loses_steps(picture):
    dark = degradation.darkened(picture, 0.1)
    np.testing.assert_allclose(dark, 0.1 * picture, atol=0.5 / 255 + 1e-6)
    assert len(np.unique(dark)) <= 27


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_an_ellipse_covers_the_share_of_the_face(share):
    grey = np.full((224, 224, 3), 0.5, np.float32)
    for seed in range(5):
        covered = (degradation.occluded(grey, share, np.random.default_rng(seed)) != degradation.darkened(grey, 1)).any(
            -1
        )
        assert covered.sum() == pytest.approx(share * (degradation.FACE * 224) ** 2, rel=0.03)
        rows, columns = np.nonzero(covered)
        middle = np.array([columns.mean(), rows.mean()]) / 224
        assert (np.abs(middle - 0.5) < degradation.FACE / 2).all()
    again = [degradation.occluded(grey, share, np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_an_occluder_keeps_to_the_given_face():
    grey = np.zeros((100, 100, 3), np.float32)
    box = (60, 10, 90, 40)
    covered = degradation.occluded(grey, 0.3, np.random.default_rng(1), box).any(-1)
    rows, columns = np.nonzero(covered)
    assert covered.sum() == pytest.approx(0.3 * 900, rel=0.06)
    assert columns.min() >= 60
    assert columns.max() < 90
    assert rows.min() >= 10
    assert rows.max() < 40


def test_compression_loses_more_at_lower_quality(picture):
    losses = [np.abs(degradation.compressed(picture, quality) - picture).mean() for quality in (95, 40, 5)]
    assert losses[0] < losses[1] < losses[2]


def test_a_shrunk_picture_has_fewer_pixels_of_the_same_colour():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None] * np.ones((48, 1, 3), np.float32)
    small = degradation.shrunk(ramp, 4)
    assert small.shape == (12, 16, 3)
    np.testing.assert_allclose(small[6, 2:-2, 0], ramp[0].reshape(16, 4, 3).mean(1)[2:-2, 0], atol=0.01)
