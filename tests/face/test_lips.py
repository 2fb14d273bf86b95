"""Lips: those of every person meet when they are sealed; a photo tells closed ones from those with teeth between."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import head as heads
from tf_deep3d.face import lips, morphable_model
from tf_deep3d.rendering import still

SLIT = 0.004  # dm, by which lips of the mean face part, at least
SIZE = 400  # px
TEETH = ("upper teeth", "lower teeth")


@pytest.fixture(scope="module")
def levels():
    return morphable_model.load_levels()


@pytest.fixture(scope="module")
def head(levels):
    return heads.load(levels[heads.LEVEL])


def people(model, count, strength=1.0):
    identity = strength * np.random.default_rng(3).normal(size=(count, len(model.identity_basis)))
    return faces.neutral_shape(model, identity.astype(np.float32))


def test_lips_of_all_people_meet(levels):
    for model in levels:
        own = lips.lips_of(model)
        assert np.median(lips.parted(own, model.mean_shape)) > SLIT
        for shape in people(model, 10):
            assert lips.parted(own, lips.sealed(own, shape)).max() < (0.001 if model.level == 0 else 0)  # coarse


def test_only_the_mouth_moves_and_no_farther_than_needed(levels):
    model = levels[-1]
    own = lips.lips_of(model)
    for shape in people(model, 5):
        moved = lips.sealed(own, shape) - shape
        apart = lips.parted(own, shape).max()
        assert not moved[:, [0, 2]].any()
        assert 0.4 * apart < np.abs(moved).max() <= 0.5 * (apart + lips.OVERLAP) + 1e-6
        far = np.abs(model.mean_shape - model.mean_shape[model.regions["lips"]].mean(axis=0)) > (0.35, 0.2, 0.3)
        assert not moved[far.any(axis=1)].any()


def test_upper_lip_sinks_as_the_lower_one_rises(levels):
    """The mean face is symmetric, and so is its sealed mouth."""
    model = levels[-1]
    moved = (lips.sealed(lips.lips_of(model), model.mean_shape) - model.mean_shape)[:, 1]
    height = model.mean_shape[:, 1]
    assert height[moved < -1e-3].mean() > height[moved > 1e-3].mean() + 0.03
    left = model.mean_shape[:, 0] > 0
    for sign in (-1, 1):
        sides = [(sign * moved[side]).clip(0).sum() for side in (left, ~left)]
        np.testing.assert_allclose(*sides, rtol=0.05)


def test_lips_that_overlap_stay(levels):
    model = levels[-1]
    own = lips.lips_of(model)
    pressed = model.mean_shape.copy()
    pressed[own.vertices, 1] += 0.05 * own.follow
    np.testing.assert_array_equal(lips.sealed(own, pressed), pressed)
    wide = lips.sealed(own, model.mean_shape)
    np.testing.assert_allclose(lips.sealed(own, wide), wide, atol=2e-3)


def test_a_model_without_two_lips_stays(levels, tiny_model):
    assert lips.lips_of(tiny_model) is None
    assert lips.lips_of(replace(tiny_model, regions={})) is None
    assert lips.sealed(None, tiny_model.mean_shape) is tiny_model.mean_shape
    model = levels[0]
    upper = model.regions["lips"] & (model.mean_shape[:, 1] > np.median(model.mean_shape[model.regions["lips"], 1]))
    assert lips.lips_of(replace(model, regions={"lips": upper})) is None


def teeth_seen(head, shape, pitch, yaw):
    """Pixels in which a head [V, 3] shows its teeth when it is turned by degrees."""
    angles = np.radians([[pitch, yaw, 0]]).astype(np.float32)
    turned = faces.pose(shape[None], angles, np.zeros((1, 3), np.float32))[0]
    middle, scale = turned[head.whole.regions["lips"]].mean(axis=0), SIZE / 0.8
    pixels = (turned - middle)[:, :2] * (scale, -scale) + SIZE / 2
    seen = still.rasterize(pixels, 10 - turned[:, 2], head.whole.triangles, SIZE, SIZE).triangle
    teeth = np.any([head.parts[name] for name in TEETH], axis=0)
    return np.count_nonzero(teeth[seen[seen >= 0]])


def test_no_tooth_shows_between_closed_lips(head):
    own = lips.lips_of(head.whole)
    views = [(0, 0), (15, 0), (-15, 0), (0, 25), (0, -25)]
    before = after = 0
    for shape in people(head.whole, 4):
        before += sum(teeth_seen(head, shape, *view) for view in views)
        after += sum(teeth_seen(head, lips.sealed(own, shape), *view) for view in views)
    assert before > 2000
    assert after < 0.002 * before


def test_teeth_stay_and_the_face_moves_with_its_head(levels, head):
    own, face = lips.lips_of(head.whole), levels[heads.LEVEL]
    shape = people(head.whole, 1)[0]
    whole = lips.sealed(own, shape)
    teeth = np.unique(head.whole.triangles[np.any([head.parts[name] for name in TEETH], axis=0)])
    np.testing.assert_array_equal(whole[teeth], shape[teeth])
    alone = lips.sealed(lips.lips_of(face), people(face, 1)[0])
    np.testing.assert_allclose(whole[: head.face], alone, atol=1e-5)


LIP, DARK, TEETH_COLOR = (0.7, 0.4, 0.4), (0.25, 0.1, 0.1), (0.8, 0.75, 0.7)


def mouth(opening, inside):
    """A picture of lips that stand `opening` px apart, with a colour between them, and MediaPipe's points in it."""
    picture = np.full((80, 80, 3), 0.6)
    picture[30:55] = LIP
    points = np.zeros((478, 3))
    for place, column in zip((40, 35, 45, 30, 50), lips.EDGES.T, strict=True):
        points[column, 0] = place
        points[column, 1] = 42 - opening / 2, 42 + opening / 2, 30, 55
    half = max(round(opening / 2), 1)
    picture[42 - half : 42 + half] = inside
    return picture, points


@pytest.mark.parametrize(
    ("opening", "inside", "closed"),
    [
        (0.5, DARK, True),  # the shadow between lips
        (2.0, DARK, True),  # as detectors see lips in the dark
        (2.0, LIP, True),
        (2.0, TEETH_COLOR, False),
        (1.0, TEETH_COLOR, False),
        (4.0, DARK, False),
        (8.0, TEETH_COLOR, False),
    ],
)
def test_a_photo_tells_whether_lips_are_closed(opening, inside, closed):
    picture, points = mouth(opening, inside)
    assert lips.shown_closed(picture, points, scale=100.0) is closed
    assert lips.shown_closed(0.3 * picture, points, scale=100.0) is closed, "in less light"
    grey = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    assert lips.shown_closed(grey, points, scale=100.0) is closed, "without colours"


def test_points_beyond_a_picture_are_no_error():
    picture, points = mouth(2.0, DARK)
    assert lips.shown_closed(picture, points - 60, scale=100.0) in (True, False)
