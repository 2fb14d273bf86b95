"""Methods that make one shape of several photos, with a small R-Net and C-Net."""

import numpy as np
import pytest
from keras import ops

from tf_deep3d.detection import alignment, detector
from tf_deep3d.evaluation import methods
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.face import aggregation, geometry
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.models.weights import WeightsError
from tf_deep3d.reconstruction import photo


class Network:
    """Coefficients of a picture: its mean colours; counts the pictures that it has seen."""

    def __init__(self, layout):
        self.layout, self.seen = layout, 0

    def regress(self, images):
        self.seen += len(images)
        rows = self.layout.zeros(len(images))
        mean = np.asarray(images).mean((1, 2, 3))
        return rows._replace(identity=rows.identity + mean[:, None]), (ops.convert_to_tensor(images), mean)


def judge(features):
    """[M, 6]: the first coefficient trusts bright pictures, the others all alike."""
    weight = np.full((len(features[1]), 6), 0.5, np.float32)
    weight[:, 0] = features[1]
    return weight


@pytest.fixture
def photos(tmp_path):
    """Portraits of mean colour 0.1, 0.3 and 0.8."""
    detected = detector.Detection(1.0, np.zeros(4), np.zeros((478, 3)), np.zeros((68, 2)), np.zeros((5, 2)))
    return tuple(
        photo.Portrait(
            tmp_path / f"{value}.png",
            np.zeros((4, 4, 3), np.uint8),
            (0, 0),
            alignment.Crop(np.full((224, 224, 3), value, np.float32), geometry.Similarity(1.0, 0.0, (0.0, 0.0)), 0.0),
            detected,
        )
        for value in (0.1, 0.3, 0.8)
    )


def case(portraits):
    return Case("set", "person", None, tuple(each.photo for each in portraits), None, (), True, portraits)


@pytest.mark.parametrize(
    ("name", "first", "others"),
    [
        ("average", 0.4, 0.4),
        ("elementwise", (0.01 + 0.09 + 0.64) / 1.2, 0.4),
        ("summed", (0.26 + 0.84 + 2.64) / 8.7, None),
        ("best", 0.8, 0.8),
        ("scalar", (0.01 + 0.09 + 0.64) / 1.2, (0.01 + 0.09 + 0.64) / 1.2),
    ],
)
def test_strategies_give_the_fused_shape(tiny_model, photos, name, first, others):
    network = Network(tiny_model.layout())
    judges = {"elementwise": judge, "scalar": lambda features: judge(features)[:, :1]}
    regress = methods.regressor(network, judges)
    method = methods.set_method(name, tiny_model, regress, {"weights": "a"})
    found, nothing = method.run([case(photos), case(())])
    assert nothing == "no face found"
    identity = np.full(6, first if others is None else others)
    identity[0] = first
    expected = tiny_model.mean_shape + np.tensordot(identity, tiny_model.identity_basis.reshape(6, -1, 3), 1)
    np.testing.assert_allclose(found.vertices, expected, atol=1e-5)
    if name == "average":
        assert found.confidence is None
    else:
        np.testing.assert_allclose(found.confidence[0], 0.4, atol=1e-6)
    assert method.identity == {"method": name, "weights": "a"}


def test_single_photos_are_shapes_of_their_own_and_seen_once(tiny_model, photos):
    network = Network(tiny_model.layout())
    regress = methods.regressor(network, {})
    single = methods.set_method(methods.SINGLE, tiny_model, regress, {})
    average = methods.set_method("average", tiny_model, regress, {})
    (shapes,) = single.run([case(photos)])
    for shape, portrait in zip(shapes, photos, strict=True):
        (alone,) = average.run([case((portrait,))])
        np.testing.assert_array_equal(shape.vertices, alone.vertices)
    assert network.seen == 3


def test_a_long_album_is_forgotten(tiny_model, photos, monkeypatch):
    monkeypatch.setattr(methods, "KEPT", 2)
    network = Network(tiny_model.layout())
    regress = methods.regressor(network, {"elementwise": judge})
    coefficients, confidences = regress(photos)
    assert isinstance(coefficients, Coefficients)
    np.testing.assert_allclose(coefficients.identity[:, 0], [0.1, 0.3, 0.8], rtol=1e-5)
    np.testing.assert_allclose(confidences["elementwise"][:, 0], [0.1, 0.3, 0.8], rtol=1e-5)
    np.testing.assert_allclose(regress(photos[:1])[0].identity[:, 0], 0.1, rtol=1e-5)


def test_what_is_compared_by_default(monkeypatch, tmp_path):
    monkeypatch.setattr(methods.cnets, "SHIPPED", tmp_path / "none.keras")
    assert methods.set_methods() == ["single", "average"]
    assert methods.set_methods("cnet", "scalar") == ["single", *aggregation.STRATEGIES]
    assert "scalar" not in methods.usual("sets", "cnet")
    assert methods.usual("open") == ["mean", "fit", "rnet"]


def test_networks_that_do_not_fit_are_refused(tmp_path, tiny_model):
    with pytest.raises(FileNotFoundError):
        methods.own_methods(["elementwise"], (tiny_model,), cnet=tmp_path / "none.keras")
    with pytest.raises(ValueError, match="--scalar"):
        methods.own_methods(["scalar"], (tiny_model,))
    (tmp_path / "cnet.keras").write_bytes(b"no network")
    with pytest.raises(WeightsError):
        methods.own_methods(["best"], (tiny_model,), cnet=tmp_path / "cnet.keras")
