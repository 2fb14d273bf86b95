"""Fits without a descent, on rendered people: R-Net's identity, the landmarks' pose, the light of the photo."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data import records
from tf_deep3d.data.rendered import people, pictures
from tf_deep3d.data.rendered.pictures import Settings
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import nme
from tf_deep3d.reconstruction import regressed


@pytest.fixture(scope="module")
def prepared():
    """Records of people who are not in profile."""
    model = morphable_model.load(level=1)
    made = pictures.render_people(Settings(8, 5), model, people.load_head(model), 8)
    return [one for one in made if abs(model.layout().split(one["coefficients"][None]).angles[0, 1]) < 0.8][:4]


def test_an_observation_is_the_middle_of_a_record(prepared):
    seen = regressed.observe(prepared)
    assert seen.images.shape == (len(prepared), IMAGE_SIZE, IMAGE_SIZE, 3)
    assert seen.attention.shape == (len(prepared), IMAGE_SIZE, IMAGE_SIZE, 1)
    x, y = (int(value) for value in prepared[0]["landmarks"][30])
    corner = records.MARGIN
    np.testing.assert_allclose(seen.images[0, y - corner, x - corner] * 255, prepared[0]["image"][y, x], atol=1e-3)
    np.testing.assert_allclose(seen.landmarks[0] + corner, prepared[0]["landmarks"], atol=1e-4)
    np.testing.assert_allclose(seen.dense[0] + corner, prepared[0]["dense"], atol=1e-4)


def test_a_fit_has_the_pose_the_landmarks_and_the_light_of_its_photo(prepared):
    fitter = regressed.load_fitter()
    found = fitter.fit(prepared)
    model, seen = fitter.model, regressed.observe(prepared)
    truth = model.layout().split(np.stack([record["coefficients"] for record in prepared]))
    assert all(group.dtype == np.float32 and np.isfinite(group).all() for group in found)
    fitted = face.reconstruct(model, found)
    assert nme(fitted.landmarks, seen.landmarks).max() < 0.03
    assert np.degrees(np.abs(found.angles - truth.angles)).max() < 8
    for index in range(len(prepared)):
        chosen = model.regions["skin"] & (fitted.normals[index, :, 2] > 0.5)
        x, y = np.clip(fitted.pixels[index, chosen], 0, IMAGE_SIZE - 1).astype(int).T
        photo = seen.images[index, y, x]
        unlit = Coefficients(*(group[index : index + 1] for group in found))
        unlit = unlit._replace(illumination=np.zeros_like(unlit.illumination))
        plain = face.reconstruct(model, unlit).colors[0, chosen]
        errors = [np.median(np.abs(colors - photo)) for colors in (fitted.colors[index, chosen], plain)]
        assert errors[0] < 0.1, index
        assert errors[0] < errors[1], index
