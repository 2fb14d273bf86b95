"""Weights of ARKit's units of a person whose neutral face is known."""

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.face import expression, geometry, morphable_model, responses
from tf_deep3d.face.blendshapes import ARKIT
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.porting.open_face import responses as measuring

ANGLES, TRANSLATION = np.array([0.05, -0.2, 0.1]), np.array([0.1, -0.05, 0.3])


@pytest.fixture(scope="module")
def seen():
    return responses.load()


def change(seen, **weights):
    return responses.predicted(seen, list(weights.values()), list(weights))


def solved(seen, moved):
    return dict(zip(ARKIT, responses.solve(seen, moved, ARKIT), strict=True))


def frame(seen, offsets=0.0, angles=ANGLES):
    """The frame of a face whose landmarks are `offsets` [L, 3] dm off the mean neutral ones."""
    rotation = geometry.rotation_matrix(angles[None])[0]
    pixels = to_pixels(Camera(), ((seen.points + offsets) @ rotation.T + TRANSLATION)[None])[0][0]
    return expression.Frame(pixels, angles + 0.1, TRANSLATION - 0.1)


def shown(seen, **weights):
    """The same, [L, 3] dm, of weights by name."""
    return np.pad(change(seen, **weights)[: -responses.POSES].reshape(-1, 2), ((0, 0), (0, 1)))


def test_all_units_that_landmarks_see_are_known(seen):
    assert set(seen.names) == set(ARKIT) - {"tongueOut"}


def test_a_neutral_face_shows_nothing(seen):
    assert max(solved(seen, change(seen)).values()) == 0


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("name", ["jawOpen", "mouthSmile", "eyeBlink", "browInnerUp", "mouthLeft", "mouthFrown"])
def test_a_unit_is_named_with_its_weight(seen, name, weight):
    ends = [name] if name in ARKIT else [name + "Left", name + "Right"]
    found = solved(seen, change(seen, **dict.fromkeys(ends, weight)))
    assert max(found, key=found.get) in ends
    np.testing.assert_allclose([found[end] for end in ends], weight, atol=0.1)
    assert max(value for unit, value in found.items() if unit not in ends) < 0.1


def test_a_wink_closes_one_eye(seen):
    found = solved(seen, change(seen, eyeBlinkLeft=1.0))
    assert found["eyeBlinkLeft"] > 0.9
    assert found["eyeBlinkRight"] < 0.1


def test_lips_that_close_open_the_jaw_as_far(seen):
    found = solved(seen, change(seen, jawOpen=0.9, mouthClose=0.9))
    assert found["mouthClose"] > 0.6
    assert found["jawOpen"] >= found["mouthClose"]


def test_weights_stay_within_bounds(seen):
    found = solved(seen, 3 * change(seen, jawOpen=1.0, mouthSmileLeft=1.0) - change(seen, eyeBlinkLeft=1.0))
    assert min(found.values()) >= 0
    assert found["jawOpen"] == 1


def test_a_mirrored_face_has_mirrored_weights(seen):
    rng = np.random.default_rng(0)
    moved = change(seen, mouthSmileLeft=0.8, eyeBlinkRight=0.7, mouthLeft=0.4) + rng.normal(
        0, 0.003, seen.moves[0].shape
    )
    mirror = measuring.mirrored_features(moved[None], landmarks.mirrored_points(seen.points))[0]
    plain, other = solved(seen, moved), solved(seen, mirror)
    np.testing.assert_allclose([other[measuring.other_side(name)] for name in ARKIT], list(plain.values()), atol=1e-6)
    assert max(plain.values()) > 0.5


def test_unknown_units_stay_zero_and_known_ones_keep_their_weight(seen):
    moved = change(seen, jawOpen=0.7)
    few = responses.solve(seen, moved, ["myOwn", "jawOpen"])
    assert few.tolist() == [0.0, solved(seen, moved)["jawOpen"]]


def test_features_do_not_depend_on_the_pose_but_for_the_pose_itself(seen):
    offsets = shown(seen, jawOpen=0.5, mouthSmileLeft=0.5)
    plain, turned = (
        responses.features(seen.points, frame(seen, offsets, angles), Camera()) for angles in (ANGLES, -2 * ANGLES)
    )
    apart = plain[: -responses.POSES] - turned[: -responses.POSES]
    assert np.linalg.norm(apart) < 0.3 * np.linalg.norm(offsets)  # of what the depth that is not known moves
    neutral = responses.features(seen.points, frame(seen), Camera())
    np.testing.assert_allclose(neutral[: -responses.POSES], 0, atol=1e-6)
    np.testing.assert_allclose(neutral[-responses.POSES :][:3], responses.POSE * ANGLES, atol=1e-6)


def test_the_calmer_half_of_the_frames_is_the_neutral_face(seen):
    own = np.random.default_rng(0).normal(0, 0.02, seen.points.shape) * [1, 1, 0]
    turns = [ANGLES + np.array([0, turn, 0]) for turn in np.linspace(-0.1, 0.3, 10)]
    jaw = np.array([0, 0.4, 0, 0.8, 0, 0, 0.6, 0, 0.2, 0])
    frames = [frame(seen, own + shown(seen, jawOpen=each), turn) for each, turn in zip(jaw, turns, strict=True)]
    known = expression.actor(morphable_model.load(level=0))
    calm = responses.at_rest(seen, known, frames, Camera())
    found = [solved(seen, responses.features(seen.points, each, Camera()) - calm) for each in frames]
    np.testing.assert_allclose([one["jawOpen"] for one in found], jaw, atol=0.1)
    assert max(value for one in found for unit, value in one.items() if unit != "jawOpen") < 0.1


def test_another_file_is_refused(tmp_path, seen):
    path = tmp_path / "other.npz"
    archive.write_arrays(path, {"schema": np.array(1)})
    with pytest.raises(InputError, match=r"must hold responses to units. Received: a file without"):
        responses.load(path)
    stored = {field: getattr(seen, field) for field in ("points", "moves", "bends", "move_products", "bend_products")}
    archive.write_arrays(path, stored | {"schema": np.array(2), "names": np.array(seen.names)}, overwrite=True)
    with pytest.raises(InputError, match=r"must be of schema 1, of \(51, 961\) products. Received: 2,"):
        responses.load(path)
