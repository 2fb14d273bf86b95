"""Weights of ARKit's units: round trips through the measured responses; the neutral face is known, found or unknown."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.face import expression, geometry, morphable_model
from tf_deep3d.face.blendshapes import ARKIT
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.porting.open_face import responses as measuring

ANGLES, TRANSLATION = np.array([0.05, -0.2, 0.1]), np.array([0.1, -0.05, 0.3])


@pytest.fixture(scope="module")
def measured():
    return expression.load()


@pytest.fixture(scope="module", params=["unknown", "known"])
def person(request, measured):
    """What is known of somebody who has the mean neutral face."""
    unknown = expression.anybody(measured)
    if request.param == "unknown":
        return unknown
    return unknown._replace(variance=0 * unknown.variance)


def shown(measured, **weights):
    """Coordinates of weights by name."""
    return expression.expected(measured, list(weights.values()), list(weights))


def solved(measured, seen, person):
    return dict(zip(ARKIT, expression.solve(measured, seen, person, ARKIT), strict=True))


def frame(measured, offsets=0.0, angles=ANGLES):
    """The frame of a face whose landmarks are `offsets` [L, 3] dm off the mean neutral ones."""
    rotation = geometry.rotation_matrix(angles[None])[0]
    pixels = to_pixels(Camera(), ((measured.points + offsets) @ rotation.T + TRANSLATION)[None])[0][0]
    return expression.Frame(pixels, angles + 0.1, TRANSLATION - 0.1)


def test_all_units_that_landmarks_see_are_known(measured):
    assert set(measured.names) == set(ARKIT) - {"tongueOut"}


def test_a_neutral_face_shows_nothing(measured, person):
    assert max(solved(measured, shown(measured), person).values()) == 0


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("name", ["jawOpen", "mouthSmile", "eyeBlink", "browInnerUp", "mouthLeft", "mouthFrown"])
def test_a_unit_is_named_with_its_weight(measured, person, name, weight):
    doubtful = name in ("browInnerUp", "mouthFrown") and person.variance.any()
    ends = [name] if name in ARKIT else [name + "Left", name + "Right"]
    found = solved(measured, shown(measured, **dict.fromkeys(ends, weight)), person)
    assert max(value for unit, value in found.items() if unit not in ends) < 0.1
    if doubtful:  # somebody unknown may look like this: less than is shown, or nothing
        assert max(found.values()) <= weight
    else:
        assert max(found, key=found.get) in ends
        np.testing.assert_allclose([found[end] for end in ends], weight, atol=0.15)


def test_a_wink_closes_one_eye(measured, person):
    found = solved(measured, shown(measured, eyeBlinkLeft=1.0), person)
    assert found["eyeBlinkLeft"] > 0.9
    assert found["eyeBlinkRight"] < 0.1


def test_the_eyes_look_to_one_side(measured, person):
    found = solved(measured, shown(measured, eyeLookOutLeft=0.9, eyeLookInRight=0.9), person)
    assert min(found["eyeLookOutLeft"], found["eyeLookInRight"]) > 0.7
    assert max(found["eyeLookInLeft"], found["eyeLookOutRight"]) == 0


def test_lips_that_close_open_the_jaw_as_far(measured, person):
    found = solved(measured, shown(measured, jawOpen=0.9, mouthClose=0.9), person)
    assert found["mouthClose"] > 0.6
    assert found["jawOpen"] >= found["mouthClose"]


def test_weights_stay_within_bounds(measured, person):
    seen = 3 * shown(measured, jawOpen=1.0, mouthSmileLeft=1.0) - shown(measured, eyeBlinkLeft=1.0)
    found = solved(measured, seen, person)
    assert min(found.values()) >= 0
    assert found["jawOpen"] == 1


def test_a_mirrored_face_has_mirrored_weights(measured, person):
    rng, places = np.random.default_rng(0), landmarks.mirrored_points(measured.points)
    points = rng.normal(0, 0.01, 2 * len(places) + expression.POSES)
    toward = np.linalg.pinv(measured.rows) @ shown(measured, mouthSmileLeft=0.8, eyeBlinkRight=0.7, mouthLeft=0.4)
    straight = points + toward
    mirror = measuring.mirrored_features(straight[None], places)[0]
    plain, other = (solved(measured, measured.rows @ each - measured.mean, person) for each in (straight, mirror))
    np.testing.assert_allclose([other[measuring.other_side(name)] for name in ARKIT], list(plain.values()), atol=1e-4)
    assert max(plain.values()) > 0.5


def test_unknown_units_stay_zero_and_known_ones_keep_their_weight(measured, person):
    seen = shown(measured, jawOpen=0.7)
    few = expression.solve(measured, seen, person, ["myOwn", "jawOpen"])
    assert few.tolist() == [0.0, solved(measured, seen, person)["jawOpen"]]


def test_features_do_not_depend_on_the_pose_but_for_the_pose_itself(measured):
    offsets = np.random.default_rng(0).normal(0, 0.02, measured.points.shape) * [1, 1, 0]
    plain, turned = (
        expression.features(measured.points, frame(measured, offsets, angles), Camera())
        for angles in (ANGLES, -2 * ANGLES)
    )
    apart = (plain - turned)[: -expression.POSES]
    assert np.linalg.norm(apart) < 0.3 * np.linalg.norm(offsets)  # of what the depth that is not known moves
    neutral = expression.features(measured.points, frame(measured), Camera())
    np.testing.assert_allclose(neutral[: -expression.POSES], 0, atol=1e-6)
    np.testing.assert_allclose(neutral[-expression.POSES :][:3], expression.POSE * ANGLES, atol=1e-6)


def test_a_photo_is_a_frame_of_somebody_unknown(measured):
    offsets = np.random.default_rng(0).normal(0, 0.01, measured.points.shape)
    one = frame(measured, offsets)
    seen = expression.coordinates(measured, one, Camera())
    features = expression.features(measured.points, one, Camera())
    np.testing.assert_array_equal(seen, measured.rows @ features - measured.mean)
    expected = expression.solve(measured, seen, expression.anybody(measured), ARKIT)
    np.testing.assert_array_equal(expression.of_photo(ARKIT, one, Camera()), expected)


def test_what_may_be_the_neutral_face_of_somebody_unknown_is_no_expression(measured):
    """The same offsets, half a unit's, along what neutral faces differ by most: an expression of a known person."""
    unknown = expression.anybody(measured)
    known = unknown._replace(variance=0 * unknown.variance)
    seen = shown(measured, browInnerUp=0.5) * (measured.spread > np.median(measured.spread))
    here, there = (solved(measured, seen, person)["browInnerUp"] for person in (known, unknown))
    assert here > there + 0.1


def test_a_clip_tells_the_neutral_face(measured):
    """Of a person who opens the jaw in some frames."""
    rng = np.random.default_rng(0)
    own = rng.normal(0, 1, len(measured.spread)) * np.sqrt(measured.spread)
    jaw = np.tile([0, 0.4, 0, 0.8, 0, 0, 0.6, 0, 0.2, 0], 3)
    noise = rng.normal(0, 0.1, (len(jaw), len(own)))
    seen = own + noise + np.array([shown(measured, jawOpen=weight) for weight in jaw])
    person = expression.neutral_of(measured, seen)
    assert np.all(np.abs(person.mean - own) <= 4 * np.sqrt(person.variance))
    assert np.all(person.variance <= measured.spread)
    assert np.all(person.variance < 0.1)
    found = [solved(measured, each, person) for each in seen]
    np.testing.assert_allclose([one["jawOpen"] for one in found], jaw, atol=0.1)
    assert max(value for one in found for unit, value in one.items() if unit != "jawOpen") < 0.1


def test_few_frames_tell_no_neutral_face(measured):
    seen = np.tile(shown(measured, mouthSmileLeft=0.4, mouthSmileRight=0.4), (expression.FRAMES[0] - 1, 1))
    for found, unknown in zip(expression.neutral_of(measured, seen), expression.anybody(measured), strict=True):
        np.testing.assert_array_equal(found, unknown)


def test_another_file_is_refused(tmp_path, measured):
    path = tmp_path / "other.npz"
    archive.write_arrays(path, {"schema": np.array(1)})
    with pytest.raises(InputError, match=r"must hold responses to units. Received: a file without"):
        expression.load(path)
    stored = measured._asdict() | {"schema": np.array(1), "names": np.array(measured.names)}
    archive.write_arrays(path, stored, overwrite=True)
    with pytest.raises(InputError, match=r"must be of schema 2, of 961 features. Received: 1,"):
        expression.load(path)


def test_a_model_must_have_units():
    model = morphable_model.load(level=0)
    assert expression.shows_units(model)
    assert not expression.shows_units(replace(model, blendshape_names=(), blendshapes=model.blendshapes[:0]))
    assert not expression.shows_units(replace(model, landmarks={}))
