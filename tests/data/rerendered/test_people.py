"""Whom a photo is made to show: what its pixels can follow."""

from types import SimpleNamespace

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data.rendered import light as lights
from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.data.rerendered import people
from tf_deep3d.detection import alignment
from tf_deep3d.face import blendshapes, camera, landmarks, lighting
from tf_deep3d.face.coefficients import Coefficients


@pytest.fixture(scope="module")
def known(actor):
    return actor.known


@pytest.fixture(scope="module")
def person(model, known):
    return rendered_people.sample_one(model, known.head, np.random.default_rng(4))


def _weights(known, expression):
    return dict(zip(known.solver.names, blendshapes.weights(known.solver, expression[None])[0][0], strict=True))


def _units(known, **weights):
    return sum(value * known.units[known.solver.names.index(name)] for name, value in weights.items())


def test_eyes_stay_as_open_as_they_are_and_the_rest_changes(model, known):
    fitted = _units(known, eyeBlinkLeft=0.6, eyeBlinkRight=0.5, mouthSmileLeft=0.4, mouthSmileRight=0.4)
    lids = landmarks.EYES
    moved = []
    for seed in range(12):
        changed = people.sample_expression(known, fitted, False, np.random.default_rng(seed))
        shapes = face.unposed_shape(model, np.zeros((2, 80)), np.stack([fitted, changed]))
        before, after = face.at_landmarks(model.landmarks["ibug68"], shapes)
        gaps = [[np.linalg.norm(p[e][1:3] - p[e][[5, 4]], axis=-1).mean() for e in lids] for p in (before, after)]
        np.testing.assert_allclose(gaps[1], gaps[0], atol=0.03)  # dm; an eye is 0.1 open
        moved.append(np.abs(after - before)[landmarks.OUTER_LIPS].max())
    assert np.max(moved) > 0.05
    assert np.median(moved) > 0.01


def test_an_open_mouth_stays_open(model, known):
    fitted = _units(known, jawOpen=0.6)
    for seed in range(12):
        changed = people.sample_expression(known, fitted, True, np.random.default_rng(seed))
        weights = _weights(known, changed)
        assert 0.25 < weights["jawOpen"] < 0.95
    opened = [
        _weights(known, people.sample_expression(known, fitted, False, np.random.default_rng(seed)))["jawOpen"]
        for seed in range(12)
    ]
    assert min(opened) < 0.25


def test_a_mouth_is_open_where_its_lips_part(model, known):
    for weight, wanted in ((0.0, False), (0.7, True)):
        shape = face.unposed_shape(model, np.zeros((1, 80)), _units(known, jawOpen=weight)[None])
        points = camera.to_pixels(camera.Camera(), face.at_landmarks(model.landmarks["ibug68"], shape))[0][0]
        assert people.mouth_is_open(points) is wanted


@pytest.mark.parametrize("yaw", [-40, 0, 30])
def test_heads_turn_away_further_than_back(yaw):
    fitted = np.radians([5, yaw, 0])
    drawn = np.degrees([people.sample_angles(fitted, np.random.default_rng(seed)) for seed in range(400)])
    limit, back = np.degrees(people.STEEPEST), np.degrees(people.TURN_BACK)
    assert (np.abs(drawn[:, :2]) <= limit + 1e-6).all()
    assert (np.abs(drawn[:, 1] - yaw) <= 2 * np.degrees(people.TURN_AWAY[1]) + back).all()
    if yaw:
        assert (drawn[:, 1] * np.sign(yaw) >= abs(yaw) - back - 1e-6).all()
    assert np.ptp(drawn[:, 1]) > 20


def test_light_leaves_a_face_about_as_bright(known, person):
    normals = lights.sphere(500)
    front = normals[normals[:, 2] > 0.5][None]
    before = lighting.irradiance(front, person.illumination[None]).mean()
    low, high = people.EXPOSURE
    ratios = []
    for seed in range(60):
        light = people.sample_light(known, person, np.random.default_rng(seed))
        ratios.append(lighting.irradiance(front, light[None]).mean() / before)
    assert low * 0.8 < min(ratios) < max(ratios) < high * 1.25
    assert np.ptp(ratios) > 0.3
    same = people.sample_light(known, person, np.random.default_rng(0)), person.illumination
    assert np.abs(same[0] - same[1]).max() > 1e-3


def test_identities_are_those_of_the_population(person):
    drawn = np.stack([people.sample_identity(person.identity, None, np.random.default_rng(n)) for n in range(3000)])
    near = drawn @ person.identity / (person.identity @ person.identity)
    assert 0.45 < near.mean() < 0.55  # of the way from anybody to the photo's person
    others = drawn - near[:, None] * person.identity
    assert 0.7 < others.std() < 0.85  # a mean variance of 2/3 around it


def test_alignment_puts_them_where_records_have_them(model, known, person):
    frontal = face.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    photo = SimpleNamespace(coefficients=person, mouth_open=False)
    sizes = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        look = people.sample_one(known, photo, people.sample_identity(person.identity, None, rng), rng)
        assert all(group.dtype == np.float32 for group in look)
        points = face.reconstruct(model, Coefficients(*(g[None] for g in look)), landmarks="alignment5").landmarks[0]
        transform, _ = alignment.alignment_transform(points, frontal)
        sizes.append(transform.scale)
        assert np.abs(transform.apply(np.array([112.0, 112.0])) - 112).max() < 8
    assert np.abs(np.array(sizes) - 1).max() < 0.1
