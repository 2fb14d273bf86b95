import keras
import numpy as np
import pytest

from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import Layout
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.weights import WeightsError

LAYOUT = Layout(6, 4, 5)


@pytest.fixture(scope="module")
def rnet():
    rnet = rnets.RNet("mobilenet", LAYOUT, "0123456789abcdef")
    rnets.load_start(rnet, "shipped")
    return rnet


@pytest.fixture(scope="module")
def features(rnet):
    images = np.random.default_rng(0).random((3, 224, 224, 3)).astype("float32")
    return rnet.regress(images)[1]


def _trained(rnet, seed=1, **options):
    cnet = cnets.build_cnet(rnet, recipe={"steps": 3}, **options)
    kernel = cnet.network.get_layer("confidence").kernel
    kernel.assign(np.random.default_rng(seed).normal(size=kernel.shape) * 0.1)
    return cnet


@pytest.mark.parametrize("backbone", rnets.BACKBONES)
@pytest.mark.parametrize("scalar", [False, True])
def test_starts_at_plain_averaging(backbone, scalar):
    """Every confidence is the same; on every backbone."""
    rnet = rnets.RNet(backbone, LAYOUT, "x")
    outputs = rnet.network.output
    stage, pooled = (np.random.default_rng(1).random((2, *outputs[name].shape[1:])) for name in ("stage", "pooled"))
    confidence = cnets.build_cnet(rnet, scalar)((stage, pooled))
    np.testing.assert_array_equal(confidence, np.full((2, 1 if scalar else 6), 0.5))


def test_resnet50_has_the_papers_size():
    rnet = rnets.RNet("resnet50", morphable_model.load(level=0).layout(), "x")
    cnet = cnets.build_cnet(rnet)
    assert cnet.count_params() == pytest.approx(cnets.PAPERS_WEIGHTS, rel=0.005)
    assert "2.99 M weights, 1/8.1 of R-Net's 24.11 M" in cnets.cost(rnet, cnet)


def test_multiplications_of_known_layers():
    inputs = keras.Input((8, 8, 2))
    convolved = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4 x 4 places of 3 x 3 x 2 x 4
    network = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(convolved)))
    assert cnets._multiplications(network) == 16 * 72 + 64 * 5


def test_confidences_tell_photos_apart(rnet, features):
    confidence = np.asarray(_trained(rnet)(features))
    assert confidence.shape == (3, 6)
    assert ((confidence > 0) & (confidence < 1)).all()
    assert np.abs(confidence[0] - confidence[1]).max() > 1e-3


def test_bounded_confidences_keep_their_bound_and_the_papers_have_none(rnet, features):
    """Both are a sigmoid of the last layer, ours of 2 tanh of it."""
    papers = cnets.build_cnet(rnet, bound=None)
    papers.network.get_layer("confidence").kernel.assign(np.random.default_rng(1).normal(size=(cnets.HIDDEN, 6)) * 3)
    made = {}
    for bound in (None, 2.0, 0.5):
        cnet = cnets.build_cnet(rnet, bound=bound)
        cnet.set_weights(papers.get_weights())
        made[bound] = np.asarray(cnet(features), np.float64)
    last = np.log(made[None] / (1 - made[None]))
    assert np.abs(last).max() > 2.5
    for bound in (2.0, 0.5):
        np.testing.assert_allclose(made[bound], 1 / (1 + np.exp(-bound * np.tanh(last))), atol=1e-4)
    with pytest.raises(ValueError, match=r"bound must be above 0, or None\. Received: 0"):
        cnets.build_cnet(rnet, bound=0)


def test_files_from_before_the_bound_was_a_setting_have_ours(rnet, features):
    cnet = _trained(rnet)
    old = {name: value for name, value in cnet.get_config().items() if name != "bound"}
    again = cnets.CNet.from_config(old)
    again.set_weights(cnet.get_weights())
    assert again.bound == 2.0
    np.testing.assert_array_equal(again(features), cnet(features))


@pytest.mark.parametrize("bound", [None, 2.0])
@pytest.mark.parametrize("half", [False, True])
def test_file_gives_the_network_back(half, bound, rnet, features, tmp_path):
    cnet = _trained(rnet, bound=bound)
    cnets.save_cnet(cnet, tmp_path / cnets.WEIGHTS, half=half)
    again = cnets.load_cnet(tmp_path, rnet)
    assert again.get_config() == {**cnet.get_config(), "dtype": again.get_config()["dtype"]}
    np.testing.assert_allclose(again(features), cnet(features), atol=2e-3 if half else 1e-7)
    with pytest.raises(FileExistsError):
        cnets.save_cnet(cnet, tmp_path / cnets.WEIGHTS)


def test_belongs_to_one_rnet(rnet, tmp_path):
    """In single and in half precision; not to another."""
    cnets.save_cnet(_trained(rnet), tmp_path / "c.keras")
    rnets.save_rnet(rnet, tmp_path / "r.keras", half=True)
    cnets.load_cnet(tmp_path / "c.keras", rnets.load_rnet(tmp_path / "r.keras"))
    other = rnets.RNet("mobilenet", LAYOUT, "x")
    with pytest.raises(WeightsError, match=rf"another R-Net.*Received: {rnet.signature()}"):
        cnets.load_cnet(tmp_path / "c.keras", other)


def test_other_files_are_refused(rnet, tmp_path):
    rnets.save_rnet(rnet, tmp_path / "r.keras")
    with pytest.raises(WeightsError, match=r"must hold weights of CNet. Received: RNet"):
        cnets.load_cnet(tmp_path / "r.keras")
    with pytest.raises(FileNotFoundError, match="No such file"):
        cnets.load_cnet(tmp_path / "none.keras")


def test_mixed_precision_gives_single(rnet, features):
    cnet = cnets.build_cnet(rnet, dtype=keras.DTypePolicy("mixed_bfloat16"))
    assert np.asarray(cnet(features)).dtype == np.float32
