"""Photos rendered anew, on rendered people whose coefficients are exact, as if they were fitted photos."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data import records, rendered, rendered_people, rerendered, rerendered_people
from tf_deep3d.data.rendered import Settings
from tf_deep3d.face import camera, geometry, lighting, morphable_model
from tf_deep3d.face.coefficients import Coefficients

S = records.RECORD_SIZE


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


@pytest.fixture(scope="module")
def head(model):
    return rendered_people.load_head(model)


@pytest.fixture(scope="module")
def actor(model, head):
    return rerendered.actor(model, head)


@pytest.fixture(scope="module")
def photos(model, head):
    """Records of people who look into the camera."""
    made = rendered.render_people(Settings(40, 8), model, head, 40)
    frontal = [record for record in made if abs(_person(model, record).angles[1]) < 0.3]
    assert len(frontal) >= 4
    return frontal[:4]


def _person(model, record):
    return Coefficients(*(group[0] for group in model.layout().split(record["coefficients"][None])))


def _look(actor, source, seed):
    rng = np.random.default_rng(seed)
    identity = rerendered_people.sample_identity(source.coefficients.identity, rng)
    return rerendered_people.sample_one(actor.known, source, identity, rng)


def test_the_fitted_look_gives_the_photo_back(model, actor, photos):
    for photo in photos:
        again = rerendered.rerender(actor, rerendered.source_of(actor, photo), _person(model, photo))
        difference = np.abs(again["image"].astype(float) - photo["image"])
        assert np.median(difference) <= 2
        assert difference.mean() < 4
        np.testing.assert_allclose(again["landmarks"], photo["landmarks"], atol=1e-3)
        np.testing.assert_allclose(again["dense"], photo["dense"], atol=1e-3)


def test_landmarks_are_those_of_the_coefficients(model, actor, photos):
    source = rerendered.source_of(actor, photos[0])
    for seed in range(3):
        look = _look(actor, source, seed)
        made = rerendered.rerender(actor, source, look)
        person = Coefficients(*(group[None] for group in look))
        for name, key in (("ibug68", "landmarks"), ("mediapipe478", "dense")):
            points = face.reconstruct(model, person, landmarks=name).landmarks[0] + records.MARGIN
            np.testing.assert_allclose(made[key][:468], points[:468], atol=2e-3)


def test_skin_goes_where_its_vertices_go(model, actor, photos):
    """Spots painted on the photo's skin are found again at the same vertices of other people in other poses."""
    found = 0
    for number, photo in enumerate(photos):
        person = _person(model, photo)
        before = face.reconstruct(model, Coefficients(*(g[None] for g in person)), rendered.camera())
        distance = []
        for seed in range(3):
            look = _look(actor, rerendered.source_of(actor, photo), [number, seed])._replace(
                illumination=person.illumination
            )
            after = face.reconstruct(model, Coefficients(*(g[None] for g in look)), rendered.camera())
            facing = np.minimum(before.normals[0, :, 2], after.normals[0, :, 2])
            chosen = np.flatnonzero(model.regions["skin"] & (facing > 0.8))[::97]
            for vertex in chosen:
                x, y = before.pixels[0, vertex]
                spotted = photo["image"].copy()
                rows, columns = np.indices((S, S)) + 0.5
                spotted[(columns - x) ** 2 + (rows - y) ** 2 < 9] = (255, 0, 255)
                made = rerendered.rerender(actor, rerendered.source_of(actor, {**photo, "image": spotted}), look)
                red, green, blue = np.moveaxis(made["image"].astype(float), -1, 0)
                weight = np.clip(np.minimum(red, blue) - green - 60, 0, None)
                if weight.sum() < 300:
                    continue  # hidden by the nose, by hair
                center = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
                distance.append(np.linalg.norm(center - after.pixels[0, vertex]))
        found += len(distance)
        assert np.median(distance) < 1, number
    assert found > 20


def test_light_changes_by_the_ratio_of_the_irradiance(model, actor, photos):
    """A light twice as dim leaves half of every pixel, face and surroundings."""
    for photo in photos:
        person = _person(model, photo)
        dim = person.illumination.copy()
        dim[:, 0] += lighting.AMBIENT
        dim *= 0.5
        dim[:, 0] -= lighting.AMBIENT
        source = rerendered.source_of(actor, photo)
        bright = rerendered.rerender(actor, source, person)["image"].astype(float)
        dark = rerendered.rerender(actor, source, person._replace(illumination=dim))["image"]
        lit = (bright > 40) & (bright < 250)
        assert np.median(dark[lit] / bright[lit]) == pytest.approx(0.5, abs=0.02)


def test_a_lamp_from_the_side_lights_that_side(model, actor, photos):
    person = _person(model, photos[0])
    normals = geometry.normalize(np.random.default_rng(0).normal(size=(1, 500, 3)))
    lamp = 0.5 + np.maximum(normals[0, :, 0], 0)
    light = np.linalg.lstsq(lighting.sh_basis(normals)[0], lamp, rcond=None)[0]
    light[0] -= lighting.AMBIENT
    source = rerendered.source_of(actor, photos[0])
    shown = [
        rerendered.rerender(actor, source, person._replace(illumination=np.tile(one, (3, 1)).astype(np.float32)))
        for one in (light, light * np.array([1, 1, 1, -1, -1, 1, 1, -1, 1]))
    ]
    right, left = (picture["image"].astype(float).mean(-1) for picture in shown)
    cheeks = np.rint(photos[0]["landmarks"][[14, 2]] * 0.6 + photos[0]["landmarks"][[33, 33]] * 0.4).astype(int)
    ratios = [right[y, x] / max(left[y, x], 1) for x, y in cheeks]
    assert ratios[0] > 1.15 > 1 / 1.15 > ratios[1], ratios


def test_closed_lips_open_before_teeth_and_tongue(model, actor, head, photos):
    """What is behind them is no skin, and lies between the inner lips."""
    person = _person(model, photos[1])
    closed = person._replace(expression=np.zeros_like(person.expression))
    points = actor.face.whole
    source = rerendered.source_of(actor, photos[1])._replace(mouth_open=False)
    opened = closed._replace(expression=head.units["jawOpen"].astype(np.float32) * 0.8)
    pictures = {name: rerendered.rerender(actor, source, look) for name, look in (("closed", closed), ("open", opened))}
    assert points.mean_shape.shape[0] > head.face
    lips = pictures["open"]["landmarks"][60:68]
    x, y = np.rint(lips.mean(0)).astype(int)
    assert pictures["open"]["skin"][y, x, 0] == 0
    whole = rerendered.source_of(actor, {**photos[1], "skin": np.full((S, S, 1), 255, np.uint8)})
    behind = rerendered.rerender(actor, whole._replace(mouth_open=False), opened)["skin"][..., 0] < 128
    rows, columns = np.nonzero(behind)
    assert len(rows) > 100
    low, high = lips.min(0) - 2, lips.max(0) + 2
    assert (columns > low[0]).all()
    assert (columns < high[0]).all()
    assert (rows > low[1]).all()
    assert (rows < high[1]).all()


def test_beyond_a_photo_it_stays_black(actor, photos):
    cut = {**photos[2], "image": photos[2]["image"].copy()}
    cut["image"][:, :20] = 0
    cut["image"][-14:] = 0
    cut["image"][:-14, 20:] = np.maximum(cut["image"][:-14, 20:], 40)
    source = rerendered.source_of(actor, cut)
    for seed in range(3):
        image = rerendered.rerender(actor, source, _look(actor, source, seed))["image"]
        assert not image[:, :19].any()
        assert not image[-13:].any()
        assert (image[:-16, 24:].max(-1) > 12).mean() > 0.99


def test_texture_is_pulled_to_the_detected_landmarks(model, actor, photos):
    """A fit that is three pixels off leaves no trace: the photo's points lie at the landmarks of the new face."""
    photo = photos[3]
    person = _person(model, photo)
    off = person._replace(translation=person.translation + np.float32([0.03, -0.02, 0]))
    row = model.layout().join(Coefficients(*(g[None] for g in off)))[0]
    right = rerendered.rerender(actor, rerendered.source_of(actor, photo), person)
    source = rerendered.source_of(actor, {**photo, "coefficients": row})
    pulled = rerendered.rerender(actor, source, person)
    loose = rerendered.rerender(actor, source._replace(view=source.view._replace(
        place=rerendered.pose(actor.face, off).pixels)), person)  # fmt: skip
    x, y = np.rint(photo["landmarks"][27:60]).astype(int).T
    errors = [np.abs(one["image"].astype(float) - right["image"])[y, x].mean() for one in (pulled, loose)]
    assert camera.FOCAL * 0.03 / 10 > 3
    assert errors[0] < 0.6 * errors[1], errors
