"""Which networks are exported, and what they say."""

import shutil

import numpy as np
import pytest

from export import networks
from tests.exported import smooth_pictures
from tf_deep3d.errors import InputError
from tf_deep3d.face import aggregation
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.weights import WeightsError


def test_a_run_brings_its_own_cnet(exported, model_file):
    loaded = networks.load_networks(exported.run, model_file)
    pictures = smooth_pictures(2).astype(np.float32) / 255
    found, expected = (networks.regress(each, pictures) for each in (loaded, exported.networks))
    assert list(found) == list(networks.output_shapes(loaded))
    for name, shape in networks.output_shapes(loaded).items():
        assert found[name].shape == (2, *shape)
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    assert np.ptp(found["identity"], axis=0).max() > 0.01, "pictures differ"
    assert np.ptp(found["confidence"]) > 0.1


def test_the_shipped_cnet_is_taken_where_it_fits(exported, model_file, tmp_path, monkeypatch):
    mine = exported.networks.cnet
    other = cnets.CNet(**{**mine.get_config(), "rnet": "0" * 16})
    cnets.save_cnet(other, tmp_path / "other.keras")
    monkeypatch.setattr(rnets, "load_rnet", lambda path, face_model: exported.networks.rnet)
    for shipped, fits in (("nothing", False), ("other.keras", False), (exported.run / cnets.WEIGHTS, True)):
        monkeypatch.setattr(cnets, "SHIPPED", tmp_path / shipped)
        assert (networks.load_networks(tmp_path / "rnet.keras", model_file).cnet is not None) == fits
        assert (networks.load_networks(None, model_file).cnet is not None) == fits
    shutil.copy(tmp_path / "other.keras", tmp_path / cnets.WEIGHTS)
    with pytest.raises(WeightsError, match="another R-Net"):
        networks.load_networks(tmp_path, model_file)


def test_one_confidence_for_each_photo_aggregates_as_one_for_each_number(exported):
    scalar = cnets.build_cnet(exported.networks.rnet, scalar=True)
    layer = scalar.network.get_layer("confidence")
    layer.set_weights([np.random.default_rng(1).normal(0, 0.1, weight.shape) for weight in layer.get_weights()])
    both = networks.Networks(exported.networks.rnet, scalar)
    found = networks.regress(both, smooth_pictures(3).astype(np.float32) / 255)
    identity, confidence = (np.asarray(found[name])[None] for name in ("identity", "confidence"))
    assert confidence.shape == identity.shape
    assert np.ptp(confidence) > 1e-3
    expected = aggregation.aggregate(identity, confidence[..., :1], strategy="scalar")
    np.testing.assert_allclose(aggregation.aggregate(identity, confidence), expected, atol=1e-6)


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(networks.keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="Received: 'jax'"):
        networks.load_networks()
