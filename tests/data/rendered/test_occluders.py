"""Glasses, fringes, masks and hands: what they hide, and that the skin mask knows."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data.rendered import occluders
from tf_deep3d.data.rendered.pictures import camera
from tf_deep3d.face.landmarks import EYES, NOSE_TIP

SIZE = camera().width


@pytest.fixture(scope="module")
def pose(model):
    points = face.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0]
    return occluders.Pose(points, np.eye(3), camera(), np.array([0.6, 0.4, 0.3]), np.array([0.1, 0.1, 0.1]))


def hidden(pose, name, seed, monkeypatch):
    """Share of each pixel [S, S] that the occluder `name` hides."""
    for other in ("GLASSES", "FRINGE", "MASK", "FINGERS"):
        monkeypatch.setattr(occluders, other, float(other == name))
    layers = np.ones((SIZE, SIZE, 5), np.float32)
    occluders.draw(layers, pose, np.random.default_rng(seed))
    assert layers.min() >= 0
    assert layers.max() <= 1
    return 1 - layers[..., 4]


def at(pose, share, points):
    pixels = np.array(pose.project(points)) / occluders.DETAIL
    column, row = pixels.astype(int).T
    return share[row, column]


def test_sunglasses_hide_the_eyes_and_glasses_do_not(pose, monkeypatch):
    for dark in (0.0, 1.0):
        monkeypatch.setattr(occluders, "SUNGLASSES", dark)
        shares = [hidden(pose, "GLASSES", n, monkeypatch) for n in range(8)]
        eyes = np.array([at(pose, share, pose.landmarks[group]).mean() for share in shares for group in EYES])
        assert (eyes > 0.6).all() if dark else (np.median(eyes) < 0.15)
        assert all(0 < (share > 0.5).mean() < 0.15 for share in shares)


def test_mask_hides_nose_and_mouth_and_shows_the_eyes(pose, monkeypatch):
    for n in range(5):
        share = hidden(pose, "MASK", n, monkeypatch)
        assert (at(pose, share, pose.landmarks[NOSE_TIP:])[[0, 20, 25, 30]] > 0.9).all()
        assert at(pose, share, pose.landmarks[36:48]).max() == 0


def test_fringe_falls_from_above(pose, monkeypatch):
    for n in range(5):
        share = hidden(pose, "FRINGE", n, monkeypatch)
        rows = np.flatnonzero(share.max(1) > 0.3)
        mouth = pose.project(pose.landmarks[48:49])[0][1] / occluders.DETAIL
        assert len(rows) > 5
        assert rows.mean() < mouth - 30


def test_fingers_hide_a_part(pose, monkeypatch):
    for n in range(5):
        assert 0.005 < hidden(pose, "FINGERS", n, monkeypatch).mean() < 0.6


def test_most_faces_are_free_and_the_same_number_draws_the_same(pose):
    layers = [np.ones((SIZE, SIZE, 5), np.float32) for _ in range(60)]
    for n, each in enumerate(layers):
        occluders.draw(each, pose, np.random.default_rng(n % 30))
    free = [bool((each == 1).all()) for each in layers]
    assert 0.5 < np.mean(free) < 0.9
    for ours, theirs in zip(layers[:30], layers[30:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
