"""Pixel positions, antialiasing and borders of a crop, against analysis and SciPy's splines."""

import math

import numpy as np
import pytest
from scipy import ndimage

from tests.detection.pictures import noise, ramp
from tf_deep3d.detection import resampling
from tf_deep3d.face.geometry import Similarity


def test_identity_returns_the_pixels():
    photo = noise(40, 40)
    picture = resampling.crop(photo, Similarity(), 40)
    assert picture.dtype == np.float32
    np.testing.assert_array_equal(picture, photo.astype(np.float32) / np.float32(255))
    as_float = (photo / 255).astype(np.float32)
    np.testing.assert_array_equal(resampling.crop(as_float, Similarity(), 40), as_float)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact(quarters):
    photo = noise(30, 30) / 255
    turn = Similarity(1.0, quarters * math.pi / 2)
    x, y = 15 - turn.apply(np.array([15.0, 15.0]))
    picture = resampling.crop(photo, Similarity(1.0, turn.rotation, (x, y)), 30)
    np.testing.assert_allclose(picture, np.rot90(photo, -quarters), atol=1e-5)


@pytest.mark.parametrize("scale", [0.11, 0.37, 0.5, 0.9, 1.0, 2.6])
@pytest.mark.parametrize("rotation", [0.0, 0.4, -2.0])
def test_every_pixel_shows_the_photo_where_the_transform_says(scale, rotation):
    photo = ramp(600, 700)
    turn = Similarity(scale, rotation)
    x, y = 32 - turn.apply(np.array([340.0, 310.0]))
    transform = Similarity(scale, rotation, (x, y))
    picture = resampling.crop(photo, transform, 64)
    centres = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), -1)
    expected = transform.inverse().apply(centres)
    inside = ((expected > 4 / scale) & (expected < np.array([700, 600]) - 4 / scale)).all(-1)
    assert inside.mean() > 0.3
    error = np.abs(picture[..., :2] * 1000 - expected)[inside]
    assert error.max() * scale < 0.02  # crop pixels


def test_whole_shift_moves_whole_pixels_and_leaves_black():
    photo = noise(20, 20)
    picture = resampling.crop(photo, Similarity(1.0, 0.0, (3.0, -5.0)), 20)
    np.testing.assert_array_equal(picture[:15, 3:], photo[5:, :17].astype(np.float32) / np.float32(255))
    assert (picture[15:] == 0).all()
    assert (picture[:, :3] == 0).all()


def test_zeros_do_not_darken_the_photos_border():
    photo = np.full((50, 50, 3), 200, np.uint8)
    picture = resampling.crop(photo, Similarity(0.37, 0.3, (20.0, 20.0)), 60)
    values = np.unique(np.round(picture * 255, 2))
    np.testing.assert_array_equal(values, [0, 200])


def test_shrinking_does_not_alias():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = resampling.crop(stripes, Similarity(0.13, 0.0, (0.0, 0.0)), 50)
    np.testing.assert_allclose(picture[3:-3, 3:-3], 0.5, atol=0.02)


def test_uint8_and_float_photos_give_the_same_crop():
    photo = noise(90, 120) // 2 + 64  # clear of black and white, where bytes clip what the kernel overshoots
    transform = Similarity(0.6, 0.2, (4.0, -3.0))
    from_bytes = resampling.crop(photo, transform, 50)
    from_float = resampling.crop((photo / 255).astype(np.float32), transform, 50)
    np.testing.assert_allclose(from_bytes, from_float, atol=1.5 / 255)


def test_turned_crops_are_cubic_splines_as_scipy_has_them():
    image = np.random.default_rng(5).random((70, 90, 3)).astype(np.float32)
    points = np.random.default_rng(6).uniform([-0.5, -0.5], [89.5, 69.5], (500, 2)).T
    planes = np.moveaxis(image.astype(np.float64), -1, 0)
    expected = [ndimage.map_coordinates(plane, points[::-1], order=3, mode="nearest") for plane in planes]
    np.testing.assert_allclose(resampling._spline(image, points), np.stack(expected, -1), atol=2e-6)


def test_crop_beside_the_photo_is_black_and_costs_little():
    photo = noise(10, 10)
    for transform in (Similarity(1.0, 0.0, (1e6, 1e6)), Similarity(1e-7), Similarity(1e6, 0.0, (-1e9, 0.0))):
        picture = resampling.crop(photo, transform, 16)
        assert picture.shape == (16, 16, 3)
        assert np.isfinite(picture).all()
    assert (resampling.crop(photo, Similarity(1.0, 0.0, (1e6, 1e6)), 16) == 0).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"image": np.zeros((4, 4), np.uint8)},
        {"image": np.zeros((0, 4, 3), np.uint8)},
        {"image": np.zeros((4, 4, 3), np.int32)},
        {"size": 0},
        {"size": 2.5},
        {"transform": Similarity(0.5, 0.0, (float("nan"), 0.0))},
        {"transform": Similarity(-1.0)},
    ],
)
def test_crop_refuses(arguments):
    given = {"image": noise(4, 4), "transform": Similarity(), "size": 4} | arguments
    with pytest.raises(ValueError, match="Received: "):
        resampling.crop(**given)
