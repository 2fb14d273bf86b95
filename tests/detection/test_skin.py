import json

import numpy as np
import pytest

from tf_deep3d.detection import skin


def _posterior(colors, prior):
    """The definition, in double precision: colors [N, 3] in 0..255 -> [N]."""
    mixtures = json.loads(skin.SKIN_MIXTURES.read_text(encoding="utf-8"))
    logs = {}
    for name in ("skin", "nonskin"):
        weights, means, variances = (np.array(mixtures[name][key]) for key in ("weights", "means", "variances"))
        exponents = -((colors[:, None] - means) ** 2 / variances).sum(-1) / 2
        logs[name] = np.logaddexp.reduce(
            np.log(weights / np.sqrt((2 * np.pi) ** 3 * variances.prod(-1))) + exponents, axis=1
        )
    odds = np.clip(np.log((1 - prior) / prior) + logs["nonskin"] - logs["skin"], -500, 500)
    return 1 / (1 + np.exp(odds))


def test_the_mixtures_are_complete_and_cite_their_source():
    mixtures = json.loads(skin.SKIN_MIXTURES.read_text(encoding="utf-8"))
    assert "Jones, J. M. Rehg" in mixtures["source"]
    for name, total in (("skin", 0.9992), ("nonskin", 0.9996)):
        weights, means, variances = (np.array(mixtures[name][key]) for key in ("weights", "means", "variances"))
        assert weights.shape == (16,)
        assert means.shape == variances.shape == (16, 3)
        assert weights.sum() == pytest.approx(total)
        assert weights.min() > 0
        assert means.min() > 0
        assert means.max() < 255
        assert variances.min() > 1
    # First and last row of the publication's skin table, and the first of the other.
    assert mixtures["skin"]["means"][0] == [73.53, 29.94, 17.76]
    assert mixtures["skin"]["variances"][15] == [178.38, 156.27, 404.99]
    assert mixtures["nonskin"]["variances"][0] == [2.77, 2.81, 5.46]


@pytest.mark.parametrize("prior", [0.2, 0.8])
def test_probability_is_the_naive_bayes_posterior(prior):
    generator = np.random.default_rng(0)
    near_white = np.stack(np.meshgrid(*[np.arange(246, 256)] * 3), -1).reshape(-1, 3)  # the narrowest Gaussian
    colors = np.concatenate([generator.integers(0, 256, (9000, 3)), near_white]).astype(np.uint8)
    expected = _posterior(colors.astype(float), prior)
    np.testing.assert_allclose(skin.skin_probability(colors, prior), expected, atol=3e-4)
    assert (expected > 0.9).any()
    assert (expected < 0.1).any()


def test_floats_are_not_quantised():
    colors = np.random.default_rng(1).random((2000, 3))
    np.testing.assert_allclose(skin.skin_probability(colors), _posterior(colors * 255, 0.8), atol=3e-4)


def test_colors_that_every_child_knows():
    pale, brown, dark = (224, 172, 138), (160, 105, 75), (90, 56, 40)
    blue, green, white, black = (0, 0, 255), (0, 255, 0), (255, 255, 255), (0, 0, 0)
    probability = skin.skin_probability(np.array([pale, brown, dark, blue, green, white, black], np.uint8))
    assert (probability[:3] > 0.9).all()
    assert (probability[3:] < 0.01).all()


def test_a_face_is_skin_and_its_surroundings_less():
    photo = pytest.importorskip("skimage.data", reason="scikit-image is not installed").astronaut()
    assert skin.skin_probability(photo[90:150, 200:250]).mean() > 0.9
    assert skin.skin_probability(photo[300:500, 400:500]).mean() < 0.6


def test_shape_and_type_of_the_image_do_not_matter():
    image = np.random.default_rng(2).integers(0, 256, (2, 120, 90, 3)).astype(np.uint8)
    probability = skin.skin_probability(image)  # more pixels than one chunk
    assert probability.shape == (2, 120, 90)
    assert probability.dtype == np.float32
    for dtype in (np.float16, np.float32, np.float64):
        same = skin.skin_probability((image / 255).astype(dtype))
        np.testing.assert_allclose(same, probability, atol=0.05 if dtype == np.float16 else 3e-4)
    np.testing.assert_array_equal(
        skin.skin_probability(image[1, 3, 5]), skin.skin_probability(image[1:2, 3:4, 5])[0, 0]
    )
    assert skin.skin_probability(np.zeros((0, 4, 3))).shape == (0, 4)


def test_floats_outside_the_range_are_clipped():
    np.testing.assert_array_equal(
        skin.skin_probability(np.array([-3.0, 0.4, 7.0])), skin.skin_probability(np.array([0.0, 0.4, 1.0]))
    )


def test_a_larger_prior_means_more_skin():
    image = np.random.default_rng(3).random((50, 3))
    low, high = skin.skin_probability(image, 0.3), skin.skin_probability(image, 0.7)
    assert (high >= low).all()

    def odds(p):
        return p / (1 - p)

    clear = (low > 1e-3) & (high < 0.999)
    np.testing.assert_allclose(odds(high[clear]) / odds(low[clear]), (7 / 3) ** 2, rtol=1e-3)


@pytest.mark.parametrize(
    ("image", "prior", "received"),
    [
        (np.zeros((4, 4)), 0.8, r"shape \(4, 4\)"),
        (np.float32(0), 0.8, r"shape \(\)"),
        (np.zeros((4, 3), np.int64), 0.8, "int64"),
        (np.zeros((4, 3), bool), 0.8, "bool"),
        (np.zeros((4, 3)), 1.0, "1.0"),
        (np.zeros((4, 3)), float("nan"), "nan"),
    ],
)
def test_probability_rejects(image, prior, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        skin.skin_probability(image, prior)


def test_attention_variants():
    probability = np.array([0.0, 0.3, 0.5, 0.51, 1.0])
    np.testing.assert_allclose(skin.skin_attention(probability), probability)
    np.testing.assert_allclose(skin.skin_attention(probability, "paper"), [0, 0.3, 0.5, 1, 1])
    assert skin.skin_attention(probability, "paper").dtype == np.float32
    with pytest.raises(ValueError, match="Received: 'paperr'"):
        skin.skin_attention(probability, "paperr")
