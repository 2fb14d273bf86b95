"""Photos rendered anew, on photos whose coefficients are exact."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data import records
from tf_deep3d.data.rendered.pictures import camera
from tf_deep3d.data.rerendered import people, pictures
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.camera import FOCAL
from tf_deep3d.face.coefficients import Coefficients

S = records.RECORD_SIZE


def _batched(person):
    return Coefficients(*(group[None] for group in person))


def _look(actor, source, seed):
    rng = np.random.default_rng(seed)
    return people.sample_one(actor.known, source, people.sample_identity(source.coefficients.identity, None, rng), rng)


def test_the_fitted_look_gives_the_photo_back(actor, photo):
    record = photo(0)
    source = pictures.source_of(actor, record)._replace(mouth_open=True)
    again = pictures.rerender(actor, source, source.coefficients)
    difference = np.abs(again["image"].astype(float) - record["image"])
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.999) < 12
    np.testing.assert_allclose(again["landmarks"], record["landmarks"], atol=2e-3)
    np.testing.assert_allclose(again["dense"][:468], record["dense"][:468], atol=2e-3)


def test_skin_goes_where_its_vertices_go(model, actor, photo):
    """Spots on the photo's skin are found again at the same vertices of another person in another pose; the landmarks
    are those of the new coefficients."""
    blank = photo(1)
    person = pictures.source_of(actor, blank).coefficients
    before = face.reconstruct(model, _batched(person), camera())
    chosen = []
    for vertex in np.flatnonzero(model.regions["skin"] & (before.normals[0, :, 2] > 0.8)):
        near = np.linalg.norm(before.pixels[0, chosen] - before.pixels[0, vertex], axis=-1)
        if len(near) == 0 or near.min() > 20:
            chosen.append(vertex)
    rows, columns = np.indices((S, S)) + 0.5
    spots = [np.hypot(columns - x, rows - y) < 3 for x, y in before.pixels[0, chosen]]
    image = np.full((S, S, 3), 90, np.uint8)
    image[np.any(spots, axis=0)] = 230
    source = pictures.source_of(actor, photo(1, image))
    distances = []
    for seed in range(2):
        look = _look(actor, source, seed)
        made = pictures.rerender(actor, source, look)
        after = face.reconstruct(model, _batched(look), camera())
        np.testing.assert_allclose(made["landmarks"], after.landmarks[0], atol=2e-3)
        relative = made["image"].max(-1) / np.median(made["image"].max(-1))
        for (x, y), normal in zip(after.pixels[0, chosen], after.normals[0, chosen], strict=True):
            near = np.hypot(columns - x, rows - y) < 9
            weight = np.clip(relative - 1.6, 0, None) * near
            if normal[2] > 0.7 and weight.sum() > 2:
                center = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
                distances.append(np.linalg.norm(center - [x, y]))
    assert len(distances) > 10
    assert np.median(distances) < 0.8
    assert max(distances) < 3


def test_light_changes_by_the_ratio_of_the_irradiance(actor, photo):
    """A light half as bright leaves half of every pixel, face and surroundings; a lamp from a side lights that side."""
    record = photo(2)
    normals = geometry.normalize(np.random.default_rng(0).normal(size=(1, 500, 3)))
    basis = lighting.sh_basis(normals)[0]

    def lit(values):
        light = np.linalg.lstsq(basis, values, rcond=None)[0]
        light[0] -= lighting.AMBIENT
        return np.tile(light, (3, 1)).astype(np.float32)

    lamp = np.maximum(normals[0, :, 0], 0)
    lights = {
        "even": lit(np.ones(500)),
        "dim": lit(np.full(500, 0.5)),
        "right": lit(0.5 + lamp),
        "left": lit(0.5 + lamp),
    }
    lights["left"][:, [3, 4, 7]] *= -1  # odd in x
    source = pictures.source_of(actor, record)
    person = source.coefficients._replace(illumination=lights["even"])
    even = face.reconstruct(actor.known.head.whole, _batched(person), camera()).normals[0, actor.kept]
    source = source._replace(view=source.view._replace(light=lighting.irradiance(even[None], lights["even"][None])[0]))
    shown = {
        name: pictures.rerender(actor, source, person._replace(illumination=light))["image"].astype(float)
        for name, light in lights.items()
    }
    bright = shown["even"] > 40
    assert np.median(shown["dim"][bright] / shown["even"][bright]) == pytest.approx(0.5, abs=0.02)
    assert np.quantile(np.abs(shown["dim"][bright] / shown["even"][bright] - 0.5), 0.99) < 0.06
    points = record["landmarks"]
    cheeks = np.rint(0.6 * points[[14, 2]] + 0.4 * points[[33, 33]]).astype(int)
    ratios = [shown["right"][y, x].mean() / shown["left"][y, x].mean() for x, y in cheeks]
    assert ratios[0] > 1.15 > 1 / 1.15 > ratios[1], ratios


def test_closed_lips_open_before_teeth_and_tongue(actor, head, photo):
    """What is behind them is no skin, and lies between the inner lips; a photo's own open mouth is kept."""
    source = pictures.source_of(actor, photo(3))
    opened = source.coefficients._replace(expression=np.float32(0.8) * head.units["jawOpen"].astype(np.float32))
    made = pictures.rerender(actor, source._replace(mouth_open=False), opened)
    rows, columns = np.nonzero(made["skin"][..., 0] < 128)
    lips = made["landmarks"][60:68]
    assert len(rows) > 100
    assert (columns > lips[:, 0].min() - 2).all()
    assert (columns < lips[:, 0].max() + 2).all()
    assert (rows > lips[:, 1].min() - 2).all()
    assert (rows < lips[:, 1].max() + 2).all()
    assert (pictures.rerender(actor, source._replace(mouth_open=True), opened)["skin"] > 250).all()
    closed = source.coefficients._replace(expression=np.zeros_like(opened.expression))
    made = pictures.rerender(actor, source._replace(mouth_open=False), closed)
    assert (made["skin"] < 128).sum() < len(rows) / 10


def test_beyond_a_photo_it_stays_black(actor, photo):
    picture = photo(4)["image"].copy()
    picture[:, :20] = 0
    picture[-14:] = 0
    source = pictures.source_of(actor, photo(4, picture))
    image = pictures.rerender(actor, source, _look(actor, source, 1))["image"]
    assert not image[:, :20].any()
    assert not image[-14:].any()
    assert (image[:-15, 21:].max(-1) > 12).all()


def test_the_texture_is_pulled_to_the_detected_landmarks(model, actor, photo):
    """A fit that is three pixels off leaves little trace on the face."""
    record = photo(5)
    source = pictures.source_of(actor, record)._replace(mouth_open=True)
    person = source.coefficients
    off = person._replace(translation=person.translation + np.float32([0.03, -0.02, 0]))
    assert FOCAL * 0.03 / 10 > 3
    row = model.layout().join(_batched(off))[0]
    view = pictures.source_of(actor, {**record, "coefficients": row}).view
    middle = actor.follow.sum(1) > 0.8
    errors = np.linalg.norm(view.place - source.view.place, axis=-1)[middle]
    assert middle.sum() > 1000
    assert np.median(errors) < 0.6
    loose = np.linalg.norm(pictures.pose(actor.face, off).pixels - source.view.place, axis=-1)[middle]
    assert np.median(loose) > 3
