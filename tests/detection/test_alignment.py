"""The scaled orthographic fit of five points, and where it puts the face."""

import math

import numpy as np
import pytest

from tests.detection.pictures import noise, ramp
from tf_deep3d import face as faces
from tf_deep3d.detection import alignment, detector
from tf_deep3d.face import head, morphable_model
from tf_deep3d.face.geometry import rotation_matrix
from tf_deep3d.porting.open_face.landmarks import picture

# Right eye, left eye, nose tip, right and left mouth corner; dm, y up, z out of the face.
MODEL5 = np.array([[-0.32, 0.3, 0.35], [0.32, 0.3, 0.35], [0.0, 0.0, 0.75], [-0.25, -0.35, 0.4], [0.25, -0.35, 0.4]])


def view_of(angles, scale, origin, model=MODEL5):
    """Scaled orthographic picture of the model, in pixels with y down."""
    turned = model @ rotation_matrix(np.array([angles]))[0].T
    return origin + scale * turned[:, :2] * [1, -1]


# weak perspective


@pytest.mark.parametrize("yaw", [-1.5, -0.8, 0.0, 0.8, 1.5])
@pytest.mark.parametrize("pitch", [-0.4, 0.0, 0.4])
@pytest.mark.parametrize("roll", [-0.7, 0.0, 2.5])
def test_scale_and_origin_are_recovered_at_every_pose(yaw, pitch, roll):
    points = view_of([pitch, yaw, roll], 83.0, [310.0, 205.0])
    found = alignment.weak_perspective(points, MODEL5)
    assert found.scale == pytest.approx(83.0)
    np.testing.assert_allclose(found.origin, [310.0, 205.0])


@pytest.mark.parametrize("roll", [-3.0, -1.0, 0.0, 0.5, 3.0])
def test_roll_is_recovered(roll):
    for yaw in (-1.2, 0.0, 1.2):
        found = alignment.weak_perspective(view_of([0.0, yaw, roll], 50.0, [0.0, 0.0]), MODEL5)
        assert found.roll == pytest.approx(roll)


def test_noise_of_a_pixel_moves_scale_and_origin_little():
    rng = np.random.default_rng(0)
    for yaw in (0.0, 0.7, 1.4):
        points = view_of([0.1, yaw, 0.1], 100.0, [112.0, 112.0])
        found = [alignment.weak_perspective(points + rng.normal(0, 1, (5, 2)), MODEL5) for _ in range(300)]
        assert np.std([view.scale for view in found]) < 4
        assert np.std([view.origin for view in found], axis=0).max() < 4


@pytest.mark.parametrize(
    ("points", "model"),
    [
        (np.zeros((5, 2)), MODEL5),
        (np.zeros((4, 2)), MODEL5),
        (np.full((5, 2), np.nan), MODEL5),
        (view_of([0, 0, 0], 9.0, [0, 0]), MODEL5[:, :2]),
        (view_of([0, 0, 0], 9.0, [0, 0]), MODEL5 * [1, 1, 0]),
    ],
)
def test_unusable_points_are_refused(points, model):
    with pytest.raises(ValueError, match="Received: "):
        alignment.weak_perspective(points, model)


# align


@pytest.mark.parametrize("size", [224, 150])
def test_frontal_face_lands_where_the_model_is_drawn(size):
    points = view_of([0.0, 0.0, 0.0], 40.0, [130.0, 90.0])
    crop = alignment.align(noise(200, 260), points, MODEL5, size=size)
    expected = size / 2 + alignment.MODEL_SCALE * size / 224 * MODEL5[:, :2] * [1, -1]
    np.testing.assert_allclose(crop.transform.apply(points), expected)
    assert crop.image.shape == (size, size, 3)
    assert crop.image.dtype == np.float32
    assert crop.transform.rotation == 0


def test_transform_goes_back_to_the_photo():
    points = view_of([0.1, 0.5, 1.3], 40.0, [130.0, 90.0])
    transform = alignment.align(noise(200, 260), points, MODEL5).transform
    np.testing.assert_allclose(transform.inverse().apply(transform.apply(points)), points)


def test_crop_shows_the_photo_at_the_transform():
    photo = ramp(200, 260)
    crop = alignment.align(photo, view_of([0.0, 0.3, 0.2], 55.0, [140.0, 100.0]), MODEL5)
    expected = crop.transform.inverse().apply(np.array([60.5, 150.5]))
    np.testing.assert_allclose(crop.image[150, 60, :2] * 1000, expected, atol=0.02)


@pytest.mark.parametrize("roll", [0.3, -0.7])
def test_small_roll_stays_in_the_pose(roll):
    transform, _ = alignment.alignment_transform(view_of([0.0, 0.2, roll], 40.0, [0.0, 0.0]), MODEL5)
    assert transform.rotation == 0


@pytest.mark.parametrize("roll", [0.9, -1.6, 3.0])
def test_large_roll_is_set_upright(roll):
    points = view_of([0.1, 0.2, roll], 40.0, [70.0, 80.0])
    transform, side = alignment.alignment_transform(points, MODEL5)
    upright = alignment.weak_perspective(transform.apply(points), MODEL5)
    assert upright.roll == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(upright.origin, [side / 2, side / 2])
    assert alignment.alignment_transform(points, MODEL5, roll_limit=math.inf)[0].rotation == 0


def test_margin_adds_photo_at_the_same_scale():
    photo = noise(300, 300)
    points = view_of([0.0, 0.1, 0.0], 60.0, [150.0, 150.0])
    plain, wide = alignment.align(photo, points, MODEL5), alignment.align(photo, points, MODEL5, margin=0.25)
    assert wide.image.shape == (336, 336, 3)
    assert wide.transform.scale == plain.transform.scale
    np.testing.assert_allclose(wide.image[56:-56, 56:-56], plain.image, atol=2 / 255)


def test_face_at_the_border_says_how_much_is_missing():
    photo = noise(200, 200)
    crop = alignment.align(photo, view_of([0.0, 0.0, 0.0], alignment.MODEL_SCALE, [0.0, 100.0]), MODEL5)
    beyond = np.zeros((224, 224), bool)  # the photo's left border is the crop's middle, its height 12..212
    beyond[:, :112] = beyond[:12] = beyond[212:] = True
    assert crop.outside == pytest.approx(beyond.mean())
    assert (crop.image[beyond] == 0).all()
    assert crop.image[~beyond].mean() > 0.3


def test_negative_margin_is_refused():
    with pytest.raises(ValueError, match="margin"):
        alignment.align(noise(9, 9), view_of([0, 0, 0], 9.0, [4, 4]), MODEL5, margin=-0.1)


# a face that blinks

BLINK_SCALE, BLINK_SHIFT = 0.01, 1.0  # share of the crop's scale, px of the crop; means of faces


def test_a_blink_leaves_the_crop_where_it_is():
    """People rendered with open eyes and with closed ones are cut out alike: the eyes' corners stay where they are."""
    model = morphable_model.load(level=1)
    anatomy = head.load(model, shoulders=True)
    points5 = faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    blink = np.isin(model.blendshape_names, ["eyeBlinkLeft", "eyeBlinkRight"]).astype(np.float32)
    rng = np.random.default_rng(0)
    changes = []
    for yaw in (-0.35, -0.2, 0.0, 0.0, 0.2, 0.35):
        identity = rng.normal(size=(1, len(model.identity_basis))).astype(np.float32)
        colors = np.clip(faces.albedo(anatomy.whole, anatomy.complexions[rng.integers(20)][None])[0], 0, 1)
        crops = []
        for weights in (0 * blink, blink):
            vertices = head.with_units(anatomy, identity, weights[None])[0]
            image = picture(vertices, colors, anatomy.whole.triangles, (0.0, yaw))
            (found,) = detector.detect(image)
            crops.append(alignment.alignment_transform(found.points5, points5)[0])
        opened, closed = crops
        middle = opened.inverse().apply(np.full(2, alignment.CROP_SIZE / 2))
        changes.append([closed.scale / opened.scale - 1, *(closed.apply(middle) - alignment.CROP_SIZE / 2)])
    changes = np.abs(changes)
    assert changes[:, 0].mean() < BLINK_SCALE, changes
    assert changes[:, 0].max() < 2 * BLINK_SCALE, changes
    assert np.linalg.norm(changes[:, 1:], axis=1).mean() < BLINK_SHIFT, changes
