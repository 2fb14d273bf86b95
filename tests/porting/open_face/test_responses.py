"""What the detector makes of units, measured on frames of a person who shows known ones."""

import numpy as np
import pytest

from tf_deep3d.face import expression, geometry, morphable_model, responses
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.porting.open_face import responses as measuring


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def measured(model, tmp_path_factory):
    """The responses of three actors before a detector that sees .8 of a unit, .2 of half a blink."""
    known, rng = expression.actor(model), np.random.default_rng(0)
    people, weights, frames = [], [], []
    for shown in measuring.plan(model.blendshape_names):
        if shown.person not in measuring.ACTORS[:3]:
            continue
        weight = np.array([shown.weights.get(name, 0.0) for name in model.blendshape_names])
        seen = 0.8 * weight
        blinks = [name.startswith("eyeBlink") for name in model.blendshape_names]
        seen[(weight == 0.5) & blinks] = 0.2
        own = np.random.default_rng(shown.person).normal(0, 0.01, known.points.shape)
        shape = known.points + own + np.einsum("j,jlc->lc", seen, known.units)
        rotation = geometry.rotation_matrix(shown.angles[None])[0]
        pixels = to_pixels(Camera(), (shape @ rotation.T)[None])[0][0] + rng.normal(0, 0.2, (len(shape), 2))
        people.append(shown.person)
        weights.append(weight)
        frames.append(expression.Frame(pixels, shown.angles, np.zeros(3)))
    seen = measuring.Seen(np.array(people), np.array(weights), frames)
    path = tmp_path_factory.mktemp("responses") / "responses.npz"
    archive.write_arrays(path, measuring.arrays_of(seen, model.blendshape_names, known.points))
    return responses.load(path)


def test_everybody_shows_every_unit_at_two_strengths(model):
    plan = list(measuring.plan(model.blendshape_names))
    units = len(model.blendshape_names) - 1
    actors, sitters = len(measuring.ACTORS), len(measuring.SITTERS)
    assert len(plan) == actors * (2 * units + measuring.STILL) + sitters * measuring.SITTINGS
    shown = {tuple(sorted(one.weights.items())) for one in plan}
    assert len(shown) == 2 * units + 1
    assert all("jawOpen" in one.weights for one in plan if "mouthClose" in one.weights)
    assert not any(measuring.UNSEEN in one.weights for one in plan)


def test_a_unit_is_found_again(measured):
    for weight in (0.5, 1.0):
        change = responses.predicted(measured, [weight], ["mouthSmileLeft"])
        found = dict(zip(measured.names, responses.solve(measured, change, measured.names), strict=True))
        assert max(found, key=found.get) == "mouthSmileLeft"
        assert found["mouthSmileLeft"] == pytest.approx(weight, abs=0.1)


def test_a_half_closed_lid_bends_the_response(measured):
    half, full = (responses.predicted(measured, [weight], ["eyeBlinkLeft"]) for weight in (0.5, 1.0))
    lids = np.argsort(-np.abs(full))[:20]
    assert half[lids] @ full[lids] / (full[lids] @ full[lids]) == pytest.approx(0.25, abs=0.03)


def test_both_sides_are_exactly_alike(measured):
    places = landmarks.mirrored_points(measured.points)
    np.testing.assert_array_equal(measured.points[places] * [-1, 1, 1], measured.points)
    across = [measured.names.index(measuring.other_side(name)) for name in measured.names]
    for rows in (measured.moves, measured.bends, measured.move_products, measured.bend_products):
        np.testing.assert_array_equal(measuring.mirrored_features(rows, places)[across], rows)
