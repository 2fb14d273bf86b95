"""Shipped networks on LiteRT against the same weights in Keras."""

import numpy as np
import pytest
from skimage import data

from tf_deep3d.errors import InputError, WeightsError
from tf_deep3d.litert import Network
from tf_deep3d.models import cnet, likeness, presets, recognition, regression, rnet


@pytest.fixture(scope="module")
def images():
    """Aligned size; what they show does not matter."""
    astronaut = data.astronaut()[:448:2, 64:512:2] / np.float32(255)
    return np.stack([astronaut, astronaut[:, ::-1], 0.2 + 0.1 * astronaut]).astype(np.float32)


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_a_preset_says_what_keras_says(images, preset):
    shipped = regression.load_regressor(preset)
    network = rnet.RNet.from_preset(preset)
    trained = regression.trained(network, cnet.CNet.from_preset(preset, network))
    assert shipped.confidences == trained.confidences == network.layout.identity
    mine, theirs = (each.regress(images) for each in (shipped, trained))
    for name, group in mine[0]._asdict().items():
        assert group.dtype == np.float32
        np.testing.assert_allclose(group, getattr(theirs[0], name), atol=2e-4, err_msg=name)
    np.testing.assert_allclose(mine[1], theirs[1], atol=2e-4)


def test_a_picture_s_answer_does_not_depend_on_its_neighbours(images):
    shipped = regression.load_regressor()
    together, alone = shipped.regress(images), shipped.regress(images[1:2])
    for mine, theirs in zip((*together[0], together[1]), (*alone[0], alone[1]), strict=True):
        np.testing.assert_array_equal(mine[1:2], theirs)


def test_descriptors_are_those_of_keras(images):
    wanted = np.asarray(recognition.describe(recognition.build_recognition(), images))
    found = likeness.describe(images)
    np.testing.assert_allclose(found, wanted, atol=5e-4)  # biases are in half precision, too
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((found * wanted).sum(1) / lengths > 0.9999).all()


def test_another_face_model_is_refused(model_file):
    with pytest.raises(WeightsError, match="another face model"):
        regression.load_regressor(face_model=model_file)


def test_a_file_that_is_no_network_is_an_input_error(tmp_path):
    (tmp_path / "no.tflite").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"no\.tflite must be a network for LiteRT"):
        Network(tmp_path / "no.tflite")
