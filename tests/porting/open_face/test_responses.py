"""What the detector makes of units and of neutral faces, measured on frames of people who show known ones."""

import numpy as np
import pytest

from tf_deep3d.detection.networks import BLENDSHAPES
from tf_deep3d.face import expression, geometry, morphable_model
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.face.reconstruction import at_landmarks
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.porting.open_face import responses as measuring


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def points(model):
    return at_landmarks(model.landmarks[expression.LANDMARKS], model.mean_shape[None])[0].astype(np.float64)


@pytest.fixture(scope="module")
def seen(model, points):
    """Three actors and three sitters before a detector that sees .8 of a unit, .2 of half a blink."""
    rng = np.random.default_rng(0)
    units = at_landmarks(model.landmarks[expression.LANDMARKS], model.blendshapes).astype(np.float64)
    people, weights, frames = [], [], []
    for shown in measuring.plan(model.blendshape_names):
        if shown.person not in (*measuring.ACTORS[:3], *measuring.SITTERS[:3]):
            continue
        weight = np.array([shown.weights.get(name, 0.0) for name in model.blendshape_names])
        share = 0.8 * weight
        blinks = [name.startswith("eyeBlink") for name in model.blendshape_names]
        share[(weight == 0.5) & blinks] = 0.2
        own = np.random.default_rng(shown.person).normal(0, 0.01, points.shape)
        people.append(shown.person)
        weights.append(weight)
        frames.append(_frame(points + own + np.einsum("j,jlc->lc", share, units), shown.angles, rng))
    return measuring.Seen(np.array(people), np.array(weights), frames)


def _frame(shape, angles, rng):
    pixels = to_pixels(Camera(), (shape @ geometry.rotation_matrix(angles[None])[0].T)[None])[0][0]
    return expression.Frame(pixels + rng.normal(0, 0.2, (len(shape), 2)), angles, np.zeros(3))


@pytest.fixture(scope="module")
def measured(seen, model, points, tmp_path_factory):
    """Of all coordinates: three people have too few for a choice."""
    path = tmp_path_factory.mktemp("responses") / "responses.npz"
    archive.write_arrays(path, measuring.arrays_of(seen, model.blendshape_names, points, kept=961))
    return expression.load(path)


def test_everybody_shows_every_unit_and_those_that_bend_at_half_strength(model):
    plan = list(measuring.plan(model.blendshape_names))
    units = len(model.blendshape_names) - 1
    actors, sitters = len(measuring.ACTORS), len(measuring.SITTERS)
    each = units + len(measuring.BENT) + measuring.STILL
    assert len(plan) == actors * each + sitters * measuring.SITTINGS
    shown = {tuple(sorted(one.weights.items())) for one in plan}
    assert len(shown) == units + len(measuring.BENT) + 1
    assert all("jawOpen" in one.weights for one in plan if "mouthClose" in one.weights)
    assert not any(measuring.UNSEEN in one.weights for one in plan)


def test_a_unit_is_found_again(measured):
    person = expression.anybody(measured)
    for weight in (0.5, 1.0):
        change = expression.expected(measured, [weight], ["mouthSmileLeft"])
        found = dict(zip(measured.names, expression.solve(measured, change, person, measured.names), strict=True))
        assert max(found, key=found.get) == "mouthSmileLeft"
        assert found["mouthSmileLeft"] == pytest.approx(weight, abs=0.1)


def test_a_half_closed_lid_bends_the_response(measured):
    half, full = (expression.expected(measured, [weight], ["eyeBlinkLeft"]) for weight in (0.5, 1.0))
    assert half @ full / (full @ full) == pytest.approx(0.25, abs=0.03)


def test_both_sides_are_exactly_alike(measured):
    places = landmarks.mirrored_points(measured.points)
    np.testing.assert_array_equal(measured.points[places] * [-1, 1, 1], measured.points)
    mirrored = measuring.mirrored_features(measured.rows, places)
    own, crooked = (np.all(mirrored == sign * measured.rows, 1) for sign in (1, -1))
    assert np.all(own ^ crooked)
    assert 0 < own.sum() < len(own)
    across = [measured.names.index(measuring.other_side(name)) for name in measured.names]
    np.testing.assert_allclose(measured.moves[across] * np.where(own, 1, -1), measured.moves, atol=1e-4)
    np.testing.assert_allclose(measured.mean[crooked], 0, atol=1e-4)


def test_coordinates_make_both_covariances_diagonal(points):
    rng, places = np.random.default_rng(0), landmarks.mirrored_points(points)
    count = 2 * len(points) + expression.POSES

    def covariance(rank):
        rows = rng.normal(0, 1, (rank, count))
        rows = np.concatenate([rows, measuring.mirrored_features(rows, places)])
        return rows.T @ rows / rank

    error, differ = covariance(30) + np.eye(count), covariance(20)
    rows, spread = measuring.diagonal(error, differ, places)
    np.testing.assert_allclose(rows @ error @ rows.T, np.eye(count), atol=1e-8)
    np.testing.assert_allclose(rows @ differ @ rows.T, np.diag(spread), atol=1e-7)


def test_calm_photos_widen_what_a_neutral_face_may_look_like(seen, measured, model, points, tmp_path):
    """Real people whose brows lie a lot higher or lower, and who look anywhere: brows count less, gazes as much."""
    brows = [landmark for landmark in range(len(points)) if points[landmark, 1] > 0.35]
    rng, calm = np.random.default_rng(1), []
    for _ in range(60):
        shape = points + rng.normal(0, 0.002, points.shape)
        shape[brows, 1] += rng.normal(0, 0.08)
        shape[468:] += [rng.normal(0, 0.05), rng.normal(0, 0.02), 0]
        calm.append(_frame(shape, np.zeros(3), rng))
    path = tmp_path / "wider.npz"
    archive.write_arrays(path, measuring.arrays_of(seen, model.blendshape_names, points, calm, kept=961))
    wider = expression.load(path)

    def sure(responses, name):
        return responses.moves[responses.names.index(name)] ** 2 @ (1 / (1 + responses.spread))

    assert sure(wider, "browInnerUp") < 0.75 * sure(measured, "browInnerUp")
    assert sure(wider, "eyeLookOutLeft") > 0.9 * sure(measured, "eyeLookOutLeft")


def test_who_smiles_blinks_or_turns_away_is_not_calm():
    ahead, still = np.zeros(3), dict.fromkeys(BLENDSHAPES, 0.05)
    assert measuring.is_calm(np.array(list(still.values())), ahead)
    assert measuring.is_calm(np.array(list((still | {"browInnerUp": 0.8, "eyeLookInLeft": 0.9}).values())), ahead)
    for shown in ({"mouthSmileLeft": 0.3}, {"eyeBlinkRight": 0.5}, {"jawOpen": 0.2}):
        assert not measuring.is_calm(np.array(list((still | shown).values())), ahead)
    assert not measuring.is_calm(np.array(list(still.values())), np.array([0.0, 0.5, 0.0]))
