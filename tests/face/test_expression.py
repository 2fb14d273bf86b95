"""Weights of ARKit's units from landmarks that are projected from known ones."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.face import expression, geometry, morphable_model
from tf_deep3d.face.camera import Camera, to_pixels

ANGLES, TRANSLATION = np.array([0.05, -0.2, 0.1]), np.array([0.1, -0.05, 0.3])
LIDS = [160, 158, 144, 153, 387, 385, 373, 380]


@pytest.fixture(scope="module")
def known():
    model = morphable_model.load(level=0)
    return expression.actor(model, np.linspace(-1, 1, len(model.identity_basis)))


def seen(known, weights, angles=ANGLES, offset=0.0):
    """The frame in which a detector that follows the share `SEEN` of the units sees weights by name."""
    shape = known.points + offset
    for name, weight in weights.items():
        shape = shape + expression.SEEN * weight * known.units[known.names.index(name)]
    rotation = geometry.rotation_matrix(angles[None])[0]
    pixels = to_pixels(Camera(), (shape @ rotation.T + TRANSLATION)[None])[0][0]
    return expression.Frame(pixels, angles + 0.02, TRANSLATION - 0.03)


def solved(known, frame):
    return dict(zip(known.names, expression.solve(known, frame, Camera()).weights, strict=True))


def test_a_neutral_face_shows_nothing(known):
    found = expression.solve(known, seen(known, {}), Camera())
    assert found.weights.max() < 0.01
    np.testing.assert_allclose(geometry.angles_of(found.rotation[None])[0], ANGLES, atol=0.01)
    np.testing.assert_allclose(found.translation[:2], TRANSLATION[:2], atol=0.01)


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmile", "eyeBlink", "mouthLeft"])
def test_a_unit_is_named(known, name):
    ends = [name] if name in known.names else [name + "Left", name + "Right"]
    found = solved(known, seen(known, dict.fromkeys(ends, 0.8)))
    assert max(found, key=found.get) in ends
    assert min(found[end] for end in ends) > 0.4


def test_a_wink_closes_one_eye(known):
    found = solved(known, seen(known, {"eyeBlinkLeft": 1.0}))
    assert found["eyeBlinkLeft"] > 0.7
    assert found["eyeBlinkRight"] < 0.1


def test_weights_stay_within_bounds(known):
    found = expression.solve(known, seen(known, {"jawOpen": 1.6, "eyeBlinkLeft": -0.5}), Camera()).weights
    assert found.min() >= 0
    assert found.max() == 1
    assert known.names[int(found.argmax())] == "jawOpen"


def test_lips_that_close_open_the_jaw_as_far(known):
    found = solved(known, seen(known, {"jawOpen": 0.8, "mouthClose": 0.5}))
    assert found["mouthClose"] > 0.2
    assert found["jawOpen"] >= found["mouthClose"]
    assert found["jawOpen"] == pytest.approx(0.8, abs=0.2)


def test_closed_lids_hide_the_irises(known):
    frame = seen(known, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})
    upper, lower = LIDS[:2] + LIDS[4:6], LIDS[2:4] + LIDS[6:]
    frame.pixels[upper] = frame.pixels[lower]
    plain = expression.solve(known, frame, Camera()).weights
    frame.pixels[468:] += 6.0
    np.testing.assert_array_equal(expression.solve(known, frame, Camera()).weights, plain)


def test_the_eyes_look_where_the_irises_are(known):
    found = solved(known, seen(known, {"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9}))
    assert min(found["eyeLookOutLeft"], found["eyeLookInRight"]) > 0.5
    assert max(found["eyeLookInLeft"], found["eyeLookOutRight"]) == 0


def test_a_model_must_have_units():
    model = morphable_model.load(level=0)
    bare = replace(model, blendshape_names=(), blendshapes=model.blendshapes[:0])
    assert not expression.shows_units(bare)
    with pytest.raises(InputError, match=r"must have units and the landmarks mediapipe478. Received: "):
        expression.actor(bare, np.zeros(len(model.identity_basis)))
