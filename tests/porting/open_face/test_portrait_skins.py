"""A portrait's colours go on around the face, and stop at eyes and teeth."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import head as heads
from tf_deep3d.face import morphable_model
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.porting.open_face import benchmark_people, portrait_skins

WANTED = 0.4


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


@pytest.fixture(scope="module")
def head(model):
    return heads.load(model, shoulders=True)


@pytest.fixture(scope="module")
def painted(model, head):
    """A face of one bluish colour, on the head of the first complexion."""
    colors = np.full((head.face, 3), [0.2, 0.25, 0.3])
    inner = portrait_skins.inside(model)
    return portrait_skins.continued(head, model, colors, WANTED, inner, head.complexions[0])


def vertices_of(head, *names):
    chosen = np.zeros(len(head.whole.mean_shape), bool)
    chosen[head.whole.triangles[np.any([head.parts[name] for name in names], axis=0)]] = True
    return chosen


def test_the_face_has_the_wanted_luminance_and_the_tone_that_goes_with_it(model, head, painted):
    """A bluish portrait gets the colour of the one of the model's skins, from dark to light, that is as light."""
    middle = model.regions["skin"] & (portrait_skins.inside(model) == 1)
    np.testing.assert_allclose(painted[: head.face][middle] @ LUMINANCE, WANTED, rtol=1e-5)
    coefficients = np.zeros((61, len(model.albedo_basis)), np.float32)
    coefficients[:, 0] = np.linspace(-3, 3, 61)
    tones = faces.albedo(model, coefficients)[:, model.regions["skin"]].mean(1)
    expected = [np.interp(WANTED, tones @ LUMINANCE, channel) for channel in tones.T]
    np.testing.assert_allclose(painted[: head.face][middle][0], expected, rtol=1e-3)


def test_highlights_and_hair_are_levelled_and_brows_are_not(model):
    """Of a face a tenth as dark or ten times as light as its skin, small differences stay."""
    skin = model.regions["skin"]
    features = model.regions["inner_face"] & ~skin
    dark, light, near = (portrait_skins.levelled(model, np.full((len(skin), 3), value)) for value in (0.1, 10.0, 1.02))
    np.testing.assert_allclose(dark[features], 0.1)
    np.testing.assert_allclose(dark[~features], np.exp(-portrait_skins.EVEN), rtol=1e-3)
    np.testing.assert_allclose(light, np.exp(portrait_skins.EVEN), rtol=1e-3)
    np.testing.assert_allclose(near, 1.02, rtol=1e-3)
    red = portrait_skins.levelled(model, np.full((len(skin), 3), [2.0, 1.0, 0.5]))
    np.testing.assert_allclose(red[features], np.tile([2.0, 1.0, 0.5], (features.sum(), 1)))
    np.testing.assert_allclose(np.log(red[~features])[:, 0], portrait_skins.PURE, rtol=1e-3)


def test_the_neck_has_the_faces_tone(model, head, painted):
    """Where the head's own colour is that of its face, the painted one is the portrait's."""
    base = faces.albedo(head.whole, head.complexions[:1])[0]
    skin = model.regions["skin"] & (portrait_skins.inside(model) > 0)
    alike = vertices_of(head, "shoulders") & ~vertices_of(head, "throat", "sockets")
    ratio = (painted / base)[alike]
    expected = np.median(painted[: head.face][skin], 0) / np.exp(np.median(np.log(base[: head.face][skin]), 0))
    np.testing.assert_allclose(np.median(ratio, 0), expected, rtol=0.02)


def test_eyes_and_teeth_stay_what_they_are(model, head, painted):
    base = np.clip(faces.albedo(head.whole, head.complexions[:1])[0], portrait_skins.DARKEST, 1)
    kept = vertices_of(head, "upper teeth", "lower teeth", "tongue", "eyes")
    np.testing.assert_allclose(painted[kept], base[kept], atol=1e-6)
    np.testing.assert_allclose(painted[: head.face][model.regions["eyes"]], base[: head.face][model.regions["eyes"]])


def test_the_benchmarks_people_wear_held_out_portraits_and_make_known_faces(model):
    assert all(int(name.split("/")[1].removesuffix(".jpg")) % 2 for name in benchmark_people.SKINS)
    units = {name.removesuffix("Left").removesuffix("Right") for name in model.blendshape_names}
    for expression in benchmark_people.EXPRESSIONS:
        assert set(expression) <= units
