import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.face import morphable_model
from tf_deep3d.reconstruction import portraits


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture
def astronaut(tmp_path):
    path = tmp_path / "über den Wolken.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_portrait_of_a_photo(astronaut, model):
    (portrait,) = portraits.portraits_of(astronaut, model)
    photo = data.astronaut()
    x, y = portrait.corner
    height, width = portrait.window.shape[:2]
    np.testing.assert_array_equal(portrait.window, photo[y : y + height, x : x + width])
    landmarks = portrait.landmarks()
    assert (landmarks > 0).all()
    assert (landmarks < 224).all()
    np.testing.assert_allclose(landmarks[27:31, 0].mean(), 112, atol=15)  # the nose is in the middle
    window_points = portrait.detected.landmarks68 - portrait.corner
    assert (window_points > 0).all()
    assert (window_points < (width, height)).all()


def test_observation_has_skin_on_the_face_and_not_on_the_suit(astronaut, model):
    observation = portraits.observe(portraits.portraits_of(astronaut, model))
    x, y = observation.landmarks[0, 30].astype(int)
    attention = observation.attention[0, ..., 0]
    assert attention[y - 20 : y + 10, x - 20 : x + 20].mean() > 0.8
    assert observation.images.shape == (1, 224, 224, 3)
    assert observation.dense.shape == (1, 478, 2)
    np.testing.assert_allclose(observation.dense[0, 4], observation.landmarks[0, 30], atol=1e-3)  # the nose tip


def test_bytes_and_arrays_are_photos_too(astronaut, model):
    """A picture in [0, 1] differs by its rounding to bytes at most, that is by nothing here."""
    picture = data.astronaut()
    kinds = (astronaut, astronaut.read_bytes(), picture, picture / 255)
    found = [portraits.portraits_of(photo, model)[0] for photo in kinds]
    for portrait in found[1:]:
        np.testing.assert_array_equal(portrait.crop.image, found[0].crop.image)
        np.testing.assert_array_equal(portrait.window, found[0].window)


def test_a_photo_without_a_face(model):
    with pytest.raises(portraits.NoFaceError, match="no face found in 90 x 70 px"):
        portraits.portraits_of(np.zeros((70, 90, 3), np.uint8), model)
