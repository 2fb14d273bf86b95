import numpy as np

from tf_deep3d.texture import fields


def test_pull_push_fills_smoothly_and_keeps_what_is_known():
    value = np.zeros((37, 50, 2), np.float32)
    weight = np.zeros((37, 50, 1), np.float32)
    value[:, :5], weight[:, :5] = [1.0, 3.0], 1
    value[:, 45:], weight[:, 45:] = [2.0, 3.0], 1
    value[:, 5:45] = 99  # unknown
    filled = fields.pull_push(value, weight)
    np.testing.assert_array_equal(filled[:, :5], value[:, :5])
    np.testing.assert_allclose(filled[..., 1], 3.0, rtol=1e-6)
    assert filled[..., 0].min() >= 1
    assert filled[..., 0].max() <= 2
    assert abs(np.diff(filled[..., 0], axis=1)).max() < 0.35


def test_pull_push_is_that_of_pictures_resized_by_pillow():
    def slow(value, weight):
        height, width = weight.shape[:2]
        if max(height, width) == 1:
            return value
        sums = np.concatenate([value * weight, weight], axis=-1)
        sums = np.pad(sums, [(0, height % 2), (0, width % 2), (0, 0)])
        sums = sums[0::2] + sums[1::2]
        sums = sums[:, 0::2] + sums[:, 1::2]
        total = sums[..., -1:]
        coarse = slow(sums[..., :-1] / np.maximum(total, 1e-8), np.minimum(total, 1.0))
        finer = fields.resized(coarse, *(2 * n for n in coarse.shape[:2]))[:height, :width]
        return value * weight + finer * (1.0 - weight)

    generator = np.random.default_rng(0)
    for height, width in ((1, 5), (64, 64), (37, 50)):
        value, weight = (generator.random((height, width, n), np.float32) for n in (3, 1))
        weight = np.where(weight < 0.7, np.float32(0), weight)
        np.testing.assert_array_equal(fields.pull_push(value, weight), slow(value, weight))


def test_bilinear_reads_ramps_exactly_and_repeats_the_border():
    rows, columns = np.mgrid[0:5, 0:7]
    image = np.stack([columns + 0.5, rows + 0.5], -1)
    places = np.array([[0.5, 0.5], [3.25, 2.0], [6.5, 4.5]])
    np.testing.assert_allclose(fields.bilinear(image, places), places)
    np.testing.assert_allclose(fields.bilinear(image, np.array([[-3.0, 99.0]])), [[0.5, 4.5]])


def test_ramp_rises_smoothly_between_its_limits():
    np.testing.assert_allclose(fields.ramp(np.array([-1.0, 1.0, 2.0, 3.0, 9.0]), (1.0, 3.0)), [0, 0, 0.5, 1, 1])


def test_shrink_and_grow_keep_what_is_smooth():
    rows, columns = np.mgrid[0:512, 0:400] / 512
    smooth = np.stack([np.sin(3 * rows), columns], -1)
    weight = np.ones((512, 400, 1))
    means, weights = fields.shrink(smooth, weight)
    assert means.shape == (128, 100, 2)
    np.testing.assert_array_equal(weights, np.ones((128, 100, 1)))
    again = fields.grow(means, 512, 400)
    np.testing.assert_allclose(again[4:-4, 4:-4], smooth[4:-4, 4:-4], atol=1e-3)


def test_shrink_leaves_out_what_has_no_weight():
    value = np.ones((256, 256, 1))
    value[:, 128:] = 77.0
    weight = np.ones((256, 256, 1))
    weight[:, 128:] = 0.0
    filled = fields.spread(value, weight)
    np.testing.assert_allclose(filled, 1.0, atol=1e-6)


def test_a_membrane_is_harmonic_between_what_is_known():
    """Between two sides it is linear; what is known stays; where nothing is known it is finite."""
    columns = np.tile(np.arange(128, dtype=np.float32), (128, 1))
    truth = np.stack([columns / 127, 3.0 - columns / 127], -1)
    weight = np.zeros((128, 128, 1), np.float32)
    weight[:, :20] = weight[:, 100:] = 1
    field = fields.membrane(np.where(weight > 0, truth, 55.0).astype(np.float32), weight)
    np.testing.assert_allclose(field, truth, atol=0.02)
    assert np.isfinite(fields.membrane(truth.astype(np.float32), np.zeros_like(weight))).all()


def test_blurring_leaves_out_what_has_no_weight():
    value = np.ones((256, 256, 1), np.float32)
    value[:, 128:] = 77.0
    weight = np.ones((256, 256, 1), np.float32)
    weight[:, 128:] = 0.0
    np.testing.assert_allclose(fields.blurred(value, weight, 8.0), 1.0, atol=1e-4)


def test_resizing_interpolates_between_centres():
    image = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    np.testing.assert_allclose(
        fields.resized(image, 2, 8)[0, :, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6
    )
