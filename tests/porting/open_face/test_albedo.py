"""Complexions and their modes."""

import numpy as np
import pytest

from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.porting.open_face import albedo


def samples_of(count, vertices, modes, seed=4):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(modes, vertices, 3)) * 0.05
    return (0.5 + np.tensordot(rng.normal(size=(count, modes)), basis, 1)).astype(np.float32)


def test_modes_reproduce_their_samples():
    samples = samples_of(200, 6, 3)
    kept = samples.copy()
    skin = np.array([1, 1, 1, 0, 0, 0], bool)
    mean, modes, scale, share = albedo.albedo_modes(samples, np.arange(6), skin, 3)
    assert modes.dtype == np.int8
    assert share == pytest.approx(1, abs=1e-5)
    full = (modes * scale[:, None, None]).reshape(3, -1)
    rest = (kept - mean).reshape(200, -1)
    rest -= rest @ np.linalg.pinv(full) @ full
    assert np.abs(rest).max() < 0.02
    coefficients = (kept - mean).reshape(200, -1) @ np.linalg.pinv(full)
    np.testing.assert_allclose(coefficients.T @ coefficients / 200, np.eye(3), atol=0.03)


def test_the_first_mode_holds_all_of_the_skins_luminance():
    samples = samples_of(300, 8, 5)
    skin, mirror = np.array([1, 1, 0, 0, 1, 1, 0, 0], bool), np.array([1, 0, 3, 2, 5, 4, 7, 6])
    samples = np.concatenate([samples, samples[:, mirror]])  # so that tone and mean are symmetric
    tone = samples[:, skin].mean(1) @ LUMINANCE
    mean, modes, scale, share = albedo.albedo_modes(samples, mirror, skin, 5)
    of_skin = (modes * scale[:, None, None])[:, skin].mean(1) @ LUMINANCE
    assert mean[skin].mean(0) @ LUMINANCE == pytest.approx(tone.mean(), abs=1e-5)
    assert of_skin[0] == pytest.approx(tone.std(), rel=0.02)
    np.testing.assert_allclose(of_skin[1:], 0, atol=5e-4)
    np.testing.assert_array_equal(modes[0], modes[0, mirror])
    assert 0.5 < share < 1  # mirror images double the five directions


def test_tones_have_the_luminance_that_was_asked_for():
    rng = np.random.default_rng(0)
    for wanted in (0.2, 0.4, 0.52, 0.634, 0.75):
        colors = np.exp(-np.stack([albedo._tone(wanted, rng) for _ in range(300)]))
        luminance = colors @ LUMINANCE
        assert luminance.mean() == pytest.approx(wanted, abs=0.008)
        assert luminance.std() < 0.02
        assert (np.diff(colors.mean(0)) < 0).all()  # red above green above blue
