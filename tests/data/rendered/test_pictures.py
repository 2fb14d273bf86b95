"""Rendered people: the pictures show exactly what their coefficients say."""

import numpy as np
import pytest
from PIL import Image

from tf_deep3d import face
from tf_deep3d.data import records
from tf_deep3d.data.rendered import pictures
from tf_deep3d.data.rendered.pictures import Settings

IRISES = 468  # the points of the 478 from here on lie on the eyeballs


@pytest.fixture(scope="module")
def made(model, head):
    return list(pictures.render_people(Settings(6, 3), model, head, 6, batch=4))


def test_records_have_the_schema(made, model):
    for record in made:
        assert len(records.encode(record)) > 5_000
        np.testing.assert_array_equal(record["transform"], [1, 0, 0, 0])
        assert record["coefficients"].shape == (model.layout().total,)
    assert len({record["person"] for record in made}) == 6


def test_coefficients_give_the_landmarks(made, model):
    """Through `face.reconstruct` in the 224 px camera, moved by the margin; the irises turn with rigid eyeballs."""
    people = model.layout().split(np.stack([record["coefficients"] for record in made]))
    for name, key in (("ibug68", "landmarks"), ("mediapipe478", "dense")):
        points = face.reconstruct(model, people, landmarks=name).landmarks + records.MARGIN
        pixels = np.stack([record[key] for record in made])
        np.testing.assert_allclose(pixels[:, :IRISES], points[:, :IRISES], atol=2e-3)
        np.testing.assert_allclose(pixels[:, IRISES:], points[:, IRISES:], atol=1.5)


def test_picture_shows_the_coefficients_colours(model, head):
    """At skin in the middle of the visible skin, the picture is about what the equations give under the harmonics; they
    know no shadow, no highlight, and no developing of the photo."""
    errors = []
    for record in pictures.render_people(Settings(8, 11), model, head, 8):
        people = model.layout().split(record["coefficients"][None])
        posed = face.reconstruct(model, people, pictures.camera())
        seen = (record["skin"][..., 0] > 250).astype(float)
        core = np.lib.stride_tricks.sliding_window_view(np.pad(seen, 4), (9, 9)).min((2, 3))
        facing = model.regions["skin"] & (posed.normals[0, :, 2] > 0.7)
        column, row = np.floor(posed.pixels[0, facing].T).astype(int)
        shown = core[row, column] > 0
        wanted = np.clip(posed.colors[0, facing][shown], 0, 1)
        errors.append(np.abs(record["image"][row[shown], column[shown]] / 255 - wanted).mean())
    assert np.median(errors) < 0.1, errors


def test_skin_lies_inside_the_projected_skin_region(made, model):
    for record in made:
        mask = record["skin"][..., 0]
        assert 1_500 < (mask > 127).sum() < 20_000
        posed = face.reconstruct(model, model.layout().split(record["coefficients"][None]), pictures.camera())
        low, high = (f(posed.pixels[0, model.regions["skin"]], axis=0) for f in (np.min, np.max))
        rows, columns = np.nonzero(mask)
        assert columns.min() >= low[0] - 1
        assert columns.max() <= high[0] + 1
        assert rows.min() >= low[1] - 1
        assert rows.max() <= high[1] + 1


def test_pictures_depend_on_the_seed_alone(made, model, head):
    again = list(pictures.render_people(Settings(6, 3), model, head, 6, batch=1))
    for ours, theirs in zip(made, again, strict=True):
        assert records.encode(ours) == records.encode(theirs)
    other = next(pictures.render_people(Settings(1, 4), model, head, 1))
    assert (other["image"] != made[0]["image"]).any()
    third = next(pictures.render_people(Settings(1, 3), model, head, 1, start=2))
    assert records.encode(third) == records.encode(made[2])


def test_background_takes_corners_of_photos(tmp_path):
    path = tmp_path / "green.png"
    Image.new("RGB", (90, 60), (0, 200, 0)).save(path)
    shown = [pictures.background(32, (path,), np.random.default_rng(n)) for n in range(12)]
    green = [np.abs(picture - np.array([0, 200 / 255, 0])).max() < 1e-3 for picture in shown]
    assert 3 <= sum(green) <= 11
    assert all(picture.shape == (32, 32, 3) and 0 <= picture.min() <= picture.max() <= 1 for picture in shown)
