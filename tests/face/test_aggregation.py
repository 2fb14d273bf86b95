"""The rules of a fused identity (Deng et al. 2019, section 4), in NumPy and in keras.ops."""

import numpy as np
import pytest
from keras import ops

from tf_deep3d.face.aggregation import STRATEGIES, aggregate

B, M, K = 3, 4, 6


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return rng.normal(size=(B, M, K)).astype("float32"), rng.uniform(0.05, 1, (B, M, K)).astype("float32")


def _confidence(strategy, confidence):
    return confidence[..., :1] if strategy == "scalar" else confidence


def test_values_by_hand():
    identity = np.array([[[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]])
    confidence = np.array([[[0.1, 0.6], [0.3, 0.2], [0.1, 0.2]]])  # sums 0.7, 0.5, 0.3
    np.testing.assert_allclose(aggregate(identity, None, None, "average"), [[7 / 3, 70 / 3]])
    np.testing.assert_allclose(aggregate(identity, confidence), [[(0.1 + 0.6 + 0.4) / 0.5, (6 + 4 + 8) / 1.0]])
    np.testing.assert_allclose(aggregate(identity, confidence, None, "summed"), [[2.9 / 1.5, 29 / 1.5]])
    np.testing.assert_allclose(aggregate(identity, confidence, None, "best"), [[1, 10]])
    np.testing.assert_allclose(aggregate(identity, confidence[..., 1:], None, "scalar"), [[1.8, 18]])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_of_photos_does_not_matter(strategy, photos):
    identity, confidence = photos
    order = [2, 0, 3, 1]
    first = aggregate(identity, _confidence(strategy, confidence), None, strategy)
    other = aggregate(identity[:, order], _confidence(strategy, confidence)[:, order], None, strategy)
    np.testing.assert_allclose(first, other, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_absent_photos_do_not_matter(strategy, photos):
    """Whatever stands in their place, also what is not a number."""
    identity, confidence = photos
    padded = np.concatenate([identity, np.full((B, 2, K), np.nan, "float32")], axis=1)
    trust = np.concatenate([confidence, np.full((B, 2, K), 50, "float32")], axis=1)
    present = np.array([[1] * M + [0, 0]] * B, "float32")
    found = aggregate(padded, _confidence(strategy, trust), present, strategy)
    np.testing.assert_allclose(found, aggregate(identity, _confidence(strategy, confidence), None, strategy), atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_photo_is_that_photo_and_equal_confidences_are_the_mean(strategy, photos):
    identity, confidence = photos
    single = aggregate(identity[:, :1], 1e-6 * _confidence(strategy, confidence)[:, :1], None, strategy)
    np.testing.assert_allclose(single, identity[:, 0], rtol=1e-5)
    if strategy != "best":
        equal = aggregate(identity, np.full_like(_confidence(strategy, confidence), 0.3), None, strategy)
        np.testing.assert_allclose(equal, identity.mean(1), atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_repeated_photos_and_empty_sets_break_nothing(strategy, photos):
    identity, confidence = (values[:, :1].repeat(5, axis=1) for values in photos)
    trust = _confidence(strategy, confidence)
    np.testing.assert_allclose(aggregate(identity, trust, None, strategy), identity[:, 0], rtol=1e-5)
    empty = aggregate(identity, trust, np.zeros((B, 5), "float32"), strategy)
    np.testing.assert_array_equal(empty, np.zeros((B, K)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_keras_gives_what_numpy_gives(strategy, photos):
    identity, confidence = photos
    present = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [1, 0, 0, 0]], "float32")
    arguments = (identity, _confidence(strategy, confidence), present)
    theirs = ops.convert_to_numpy(aggregate(*map(ops.convert_to_tensor, arguments), strategy, xp=ops))
    np.testing.assert_allclose(theirs, aggregate(*arguments, strategy), atol=1e-6)


def test_best_is_one_of_the_photos(photos):
    identity, confidence = photos
    for fused, singles, trust in zip(aggregate(*photos, None, "best"), identity, confidence, strict=True):
        np.testing.assert_allclose(fused, singles[trust.sum(1).argmax()], rtol=1e-6)


def test_wrong_arguments_are_named(photos):
    identity, confidence = photos
    with pytest.raises(ValueError, match=r"strategy must be one of average, scalar.*'median'"):
        aggregate(identity, confidence, None, "median")
    with pytest.raises(ValueError, match="needs confidences"):
        aggregate(identity)
    with pytest.raises(ValueError, match=r"must be \[B, 4, 1\].*\(3, 4, 6\)"):
        aggregate(identity, confidence, None, "scalar")
