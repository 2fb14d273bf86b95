from dataclasses import replace

import numpy as np
import pytest
from keras import ops
from scipy.spatial import KDTree

from tests.synthetic import IBUG68
from tf_deep3d import face
from tf_deep3d.data import augmentation
from tf_deep3d.data.augmentation import DICE, Augmentation
from tf_deep3d.face import landmarks, morphable_model

NONE = Augmentation(0, 0, 0, False)
SIZE = 320


def _batch(count=3, seed=0):
    """Records with a bright blob at each of four landmarks."""
    rng = np.random.default_rng(seed)
    landmarks = rng.uniform(110, 210, (count, 68, 2)).astype("float32")
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    blobs = np.zeros((count, SIZE, SIZE, 4))
    for i in range(count):
        for j in range(4):
            distance = (x - landmarks[i, j, 0]) ** 2 + (y - landmarks[i, j, 1]) ** 2
            blobs[i, ..., j] = 255 * np.exp(-distance / (2 * 3.0**2))
    dense = np.resize(landmarks, (count, 478, 2)).astype("float32")
    return {"image": blobs[..., :3], "skin": blobs[..., 3:], "landmarks": landmarks, "dense": dense}


def _centroids(picture):
    """[B, C, 2] px: where the blobs are."""
    picture = np.asarray(picture, np.float64)
    y, x = np.mgrid[: picture.shape[1], : picture.shape[2]] + 0.5
    total = picture.sum((1, 2))
    places = [np.einsum("bhwc,hw->bc", picture, axis) / total for axis in (x, y)]
    return np.stack(places, -1)


def test_no_augmentation_is_the_centre():
    batch = _batch()
    dice = np.random.default_rng(1).random((3, DICE)).astype("float32")
    moved, still = augmentation.augment(batch, dice, NONE), augmentation.center(batch)
    for name, value in still.items():
        np.testing.assert_allclose(moved[name], value, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(still["landmarks"], batch["landmarks"] - 48)


@pytest.mark.parametrize(
    "settings",
    [
        Augmentation(flip=False),
        Augmentation(20, 0, 0, False),
        Augmentation(0, 0.3, 0, False),
        Augmentation(0, 0, 45, False),
    ],
)
def test_landmarks_and_masks_follow_the_picture(settings):
    batch = _batch()
    dice = np.random.default_rng(2).random((3, DICE)).astype("float32")
    result = augmentation.augment(batch, dice, settings)
    seen = np.concatenate([_centroids(result["images"]), _centroids(result["skin"])], axis=1)
    np.testing.assert_allclose(seen, np.asarray(result["landmarks"])[:, :4], atol=0.05)


def test_flip_mirrors_the_picture_and_renames_the_points():
    batch = _batch()
    dice = np.full((3, DICE), 0.5, "float32")
    dice[:, 4] = [0.0, 0.9, 0.2]
    order = np.arange(478)[::-1]
    result = augmentation.augment(batch, dice, Augmentation(0, 0, 0), order)
    np.testing.assert_array_equal(result["flipped"], [1, 0, 1])
    still = augmentation.center(batch)
    np.testing.assert_allclose(result["images"][0], np.asarray(still["images"])[0, :, ::-1], atol=1e-4)
    np.testing.assert_allclose(result["images"][1], still["images"][1], atol=1e-4)
    mirrored = np.asarray(still["landmarks"])[0, landmarks.MIRROR] * [-1, 1] + [224, 0]
    np.testing.assert_allclose(result["landmarks"][0], mirrored, atol=1e-3)
    dense = np.asarray(still["dense"])[0, order] * [-1, 1] + [224, 0]
    np.testing.assert_allclose(result["dense"][0], dense, atol=1e-3)


def test_flip_needs_the_order_of_the_dense_points():
    with pytest.raises(ValueError, match="must have dense landmarks"):
        augmentation.augment(_batch(1), np.zeros((1, DICE), "float32"), Augmentation())


def test_mirrored_ibug68_is_the_mirror_of_a_symmetric_face():
    np.testing.assert_array_equal(landmarks.MIRROR[landmarks.MIRROR], np.arange(68))
    np.testing.assert_allclose(IBUG68[landmarks.MIRROR] * [-1, 1], IBUG68, atol=0.03)


def test_scale_and_shift_stay_within_their_bounds():
    batch = _batch(2)
    for extreme in (0.0, 1.0 - 1e-7):
        dice = np.full((2, DICE), extreme, "float32")
        moved = np.asarray(augmentation.augment(batch, dice, Augmentation(10, 0.1, 0, False))["landmarks"])
        sign = 2 * round(extreme) - 1
        expected = (1 + 0.1 * sign) * (batch["landmarks"] - 160) + 112 + 10 * sign
        np.testing.assert_allclose(moved, expected, atol=1e-2)


def test_occluders_hide_the_input_alone():
    batch = _batch(8)
    dice = np.random.default_rng(3).random((8, DICE)).astype("float32")
    result = augmentation.augment(batch, dice, Augmentation(0, 0, 0, False, occluders=0.5))
    changed = np.abs(np.asarray(result["inputs"]) - np.asarray(result["images"])).max((1, 2, 3)) > 0
    np.testing.assert_array_equal(changed, dice[:, 11] < 0.5)
    np.testing.assert_allclose(result["images"], augmentation.center(batch)["images"], atol=1e-4)


def test_dark_takes_the_same_share_of_light_from_the_whole_input():
    batch = _batch(8)
    dice = np.random.default_rng(3).random((8, DICE)).astype("float32")
    result = augmentation.augment(batch, dice, Augmentation(0, 0, 0, False, dark=0.5))
    images = np.asarray(augmentation.center(batch)["images"])
    light = np.where(dice[:, 28] < 0.5, 0.08 + 0.42 * dice[:, 29], 1.0)
    np.testing.assert_allclose(result["inputs"], images * light[:, None, None, None], atol=1e-4)
    np.testing.assert_allclose(result["images"], images, atol=1e-4)
    assert 2 <= (light < 1).sum() <= 6


def test_blur_spreads_the_input_and_keeps_its_light():
    """The peak of a blob of standard deviation 3 px falls as by a Gaussian of 4 px that ends after twice that."""
    batch = _batch(8)
    dice = np.random.default_rng(5).random((8, DICE)).astype("float32")
    result = augmentation.augment(batch, dice, Augmentation(0, 0, 0, False, blur=0.5))
    images, inputs = np.asarray(result["images"]), np.asarray(result["inputs"])
    blurred = dice[:, 26] < 0.5
    assert 2 <= blurred.sum() <= 6
    np.testing.assert_allclose(images, augmentation.center(batch)["images"], atol=1e-4)
    np.testing.assert_allclose(inputs[~blurred], images[~blurred], atol=1e-6)
    np.testing.assert_allclose(inputs.sum((1, 2)), images.sum((1, 2)), rtol=1e-2)
    amount = (0.5 + 0.5 * dice[:, 27])[blurred, None]
    reach = np.arange(-8, 9)
    gaussian = np.exp(-(reach**2) / (2 * 4**2))
    expected = 1 - amount + amount * np.sum(gaussian / gaussian.sum() * np.exp(-(reach**2) / (2 * 3**2))) ** 2
    ratio = inputs[blurred].max((1, 2)) / images[blurred].max((1, 2))
    np.testing.assert_allclose(ratio, np.broadcast_to(expected, ratio.shape), atol=0.03)


def test_jitter_keeps_the_range_and_depends_on_the_dice_alone():
    batch = _batch(2)
    settings = Augmentation(0, 0, 0, False, jitter=0.5)
    dice = np.random.default_rng(4).random((2, DICE)).astype("float32")
    first, again = (ops.convert_to_numpy(augmentation.augment(batch, dice, settings)["images"]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.abs(first - augmentation.center(batch)["images"]).max() > 0.05


@pytest.mark.parametrize("wrong", [{"shift": -1}, {"shift": 100}, {"scale": 0.9}, {"occluders": 2}])
def test_settings_have_bounds(wrong):
    with pytest.raises(ValueError, match="Received"):
        Augmentation(**wrong)


def test_mirror_pairs_the_sides():
    model = morphable_model.load(level=0)
    order = augmentation.mirror(model, model.layout()).dense
    np.testing.assert_array_equal(order[order], np.arange(478))
    assert (order[[33, 133, 61, 1, 468]] == [263, 362, 291, 1, 473]).all()
    places = face.at_landmarks(model.landmarks["mediapipe478"], model.mean_shape[None])[0]
    np.testing.assert_allclose(places[order] * [-1, 1, 1], places, atol=0.01)
    assert augmentation.mirror(replace(model, landmarks={}), model.layout()).dense is None


@pytest.mark.parametrize("lighting", ["rgb", "white"])
def test_mirrored_coefficients_are_the_mirrored_face(lighting):
    """Shape, pose and light: what the signs make of them is, vertex by vertex, the face in a mirror."""
    model = morphable_model.load(level=0)
    layout = model.layout(lighting)
    signs = augmentation.mirror(model, layout).signs
    rng = np.random.default_rng(0)
    vector = rng.normal(0, 0.5, (3, layout.total)).astype(np.float32)
    groups = layout.split(signs[None])
    assert np.isfinite(np.concatenate([groups.identity, groups.expression, groups.angles], 1)).all()
    vector[:, np.isnan(signs)] = 0
    ours = face.reconstruct(model, layout.split(vector))
    theirs = face.reconstruct(model, layout.split(vector * np.nan_to_num(signs)))
    other = KDTree(model.mean_shape).query(model.mean_shape * [-1, 1, 1])[1]
    np.testing.assert_allclose(theirs.vertices, ours.vertices[:, other] * [-1, 1, 1], atol=1e-4)
    np.testing.assert_allclose(theirs.pixels, [224, 0] + ours.pixels[:, other] * [-1, 1], atol=0.02)
    np.testing.assert_allclose(theirs.colors, ours.colors[:, other], atol=5e-3)


def test_a_crooked_mode_has_no_mirror_image():
    model = morphable_model.load(level=0)
    crooked = model.identity_basis.copy()
    crooked[3, :50] += 0.1
    signs = augmentation.mirror(replace(model, identity_basis=crooked), model.layout()).signs
    assert np.flatnonzero(np.isnan(signs[: len(crooked)])).tolist() == [3]
