"""The shipped networks are the files that their preset names, and whatever a user names is found."""

import shutil

import numpy as np
import pytest

from tf_deep3d import assets
from tf_deep3d.face import morphable_model
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import presets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.cnet import CNet
from tf_deep3d.models.rnet import RNet


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_is_whole_and_belongs_together(name):
    preset = presets.PRESETS[name]
    for shipped in (preset.rnet, preset.cnet):
        assert shipped.card.is_file()
    model = assets.find(preset.face_model)
    rnet = RNet.from_preset(name, rnets.fingerprint(model))
    assert rnet.layout == morphable_model.load(model, level=0).layout()
    cnet = CNet.from_preset(name, rnet)
    assert cnet.rnet == rnet.signature()


def test_a_training_and_a_file_are_found(tmp_path):
    preset = presets.PRESETS[presets.DEFAULT]
    shutil.copy(preset.rnet.path, tmp_path / rnets.WEIGHTS)
    shutil.copy(preset.cnet.path, tmp_path / cnets.WEIGHTS)
    images = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    expected, features = RNet.from_preset().regress(images)
    confidence = CNet.from_preset()(features)
    assert np.abs(np.asarray(expected.identity)).max() > 0.01
    for place in (tmp_path, str(tmp_path)):
        np.testing.assert_array_equal(RNet.from_preset(place)(images).identity, expected.identity)
        np.testing.assert_array_equal(CNet.from_preset(place)(features), confidence)
    again = RNet.from_preset(tmp_path / rnets.WEIGHTS)
    np.testing.assert_array_equal(again(images).identity, expected.identity)


def test_what_is_missing_or_changed_is_told(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"nor is it a preset \(mobilenet\): resnet"):
        RNet.from_preset("resnet")
    with pytest.raises(FileNotFoundError, match=r"cnet\.keras"):
        CNet.from_preset(tmp_path)
    name = presets.PRESETS["mobilenet"].rnet.file
    (tmp_path / name).write_bytes(assets.find(name).read_bytes()[:-1] + b"x")
    (tmp_path / assets.SUMS).write_text(assets.find(assets.SUMS).read_text())
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    with pytest.raises(assets.AssetError, match=r"must have the SHA-256 [0-9a-f]{64}\. Received: [0-9a-f]{64}$"):
        RNet.from_preset("mobilenet")
