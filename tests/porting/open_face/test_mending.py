"""The units of the shipped face: blinks close the mean face's eyes, gazes turn its eyeballs about their centers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES

# Upper and lower points of the lids among the 478, across the middle of each eye.
LIDS = {"eyeBlinkLeft": ((386, 374), (385, 380), (387, 373)), "eyeBlinkRight": ((159, 145), (158, 153), (160, 144))}
MET = 1.2  # mm, between those points when an eye is closed: they lie on the round edges of the lids
STILL = 0.1  # mm


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


def unit(model, name):
    return model.blendshapes[model.blendshape_names.index(name)]


@pytest.mark.parametrize("name", LIDS)
def test_a_blink_closes_the_eye_and_stops_there(model, name):
    points = faces.at_landmarks(model.landmarks["mediapipe478"], (model.mean_shape + unit(model, name))[None])[0]
    for upper, lower in LIDS[name]:
        assert -MET / 2 < MILLIMETRES * (points[upper, 1] - points[lower, 1]) < MET


def test_modes_close_eyes_like_units(model):
    """The expression modes are mended with the units that they are sums of: both blinks, told by the modes alone."""
    basis = model.expression_basis.reshape(len(model.expression_basis), -1)
    both = unit(model, "eyeBlinkLeft") + unit(model, "eyeBlinkRight")
    told = np.linalg.lstsq(basis.T, both.ravel(), rcond=None)[0]
    shut = model.mean_shape + np.tensordot(told, model.expression_basis, 1)
    points = faces.at_landmarks(model.landmarks["mediapipe478"], shut[None])[0]
    gaps = [MILLIMETRES * (points[a, 1] - points[b, 1]) for pairs in LIDS.values() for a, b in pairs]
    assert np.abs(gaps).max() < 2 * MET


@pytest.mark.parametrize("side", ["Left", "Right"])
@pytest.mark.parametrize("direction", ["Up", "Down", "In", "Out"])
def test_a_gaze_turns_the_eyeball_about_its_center(model, side, direction):
    eyes = np.flatnonzero(model.regions["eyes"])
    own = eyes[model.mean_shape[eyes, 0] * (1 if side == "Left" else -1) > 0]
    ball = model.mean_shape[own].astype(float)
    system = np.concatenate([2 * ball, np.ones((len(ball), 1))], 1)
    center = np.linalg.lstsq(system, (ball**2).sum(1), rcond=None)[0][:3]  # of the sphere through the eyeball
    moved = ball + unit(model, f"eyeLook{direction}{side}")[own]
    turn = Rotation.align_vectors(moved - moved.mean(0), ball - ball.mean(0))[0]
    rigid = turn.apply(ball - ball.mean(0)) + moved.mean(0)
    assert MILLIMETRES * np.linalg.norm(moved - rigid, axis=1).max() < STILL
    shift = turn.apply(center - ball.mean(0)) + moved.mean(0) - center
    assert MILLIMETRES * np.linalg.norm(shift) < 5 * STILL, shift  # the sphere is only near the cornea
    assert np.degrees(turn.magnitude()) > 8
