import zipfile

import keras
import numpy as np
import pytest

from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import Layout
from tf_deep3d.models import mobilenet
from tf_deep3d.models import rnet as rnets

LAYOUT = Layout(6, 4, 5)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 224, 224, 3)).astype("float32")


@pytest.fixture(scope="module")
def trained():
    """A mobile R-Net with weights in its heads."""
    rnet = rnets.RNet("mobilenet", LAYOUT, "0123456789abcdef", {"steps": 3})
    rnets.load_start(rnet, "shipped")
    rng = np.random.default_rng(1)
    for group in ("identity", "illumination"):
        kernel = rnet.network.get_layer(group).kernel
        kernel.assign(rng.normal(size=kernel.shape) * 0.05)
    return rnet


@pytest.mark.parametrize("backbone", rnets.BACKBONES)
def test_starts_at_the_mean_face(backbone, images):
    rnet = rnets.RNet(backbone, LAYOUT, "x")
    coefficients, (stage, pooled) = rnet.regress(images)
    for group, shape, values in zip(coefficients._fields, LAYOUT.shapes, coefficients, strict=True):
        np.testing.assert_array_equal(values, np.zeros((2, *shape)), err_msg=group)
    assert tuple(stage.shape[:3]) == (2, 56, 56)
    assert len(pooled.shape) == 2


def test_resnet50_has_the_papers_size():
    layout = morphable_model.load(level=0).layout()
    assert rnets.RNet("resnet50", layout, "x").count_params() == pytest.approx(24.03e6, rel=0.005)


def test_resnet50_is_normalised_as_its_weights_expect(images):
    """Caffe's convention: BGR in 0..255 minus the mean, by Keras' own preprocessing."""
    backbone = rnets.RNet("resnet50", LAYOUT, "x").network.get_layer("backbone")
    (normalize,) = (layer for layer in backbone.layers if isinstance(layer, keras.layers.Rescaling))
    scaled = keras.Model(backbone.inputs[0], normalize.output)
    expected = keras.applications.resnet50.preprocess_input(images * 255.0)
    np.testing.assert_allclose(scaled(images), expected, atol=1e-3)


def test_shipped_start_tells_pictures_apart(trained, images):
    pooled = np.asarray(trained.regress(images)[1][1])
    assert pooled.std() > 0.01
    assert np.abs(pooled[0] - pooled[1]).max() > 0.01
    blank = rnets.RNet("mobilenet", LAYOUT, "x")
    rnets.load_start(blank, "random")
    assert not np.allclose(blank.network.get_layer("conv1").kernel, trained.network.get_layer("conv1").kernel)


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-6), (True, 2e-3)])
def test_round_trip(tmp_path, trained, images, half, tolerance):
    path = tmp_path / "rnet.keras"
    rnets.save_rnet(trained, path, half=half)
    loaded = rnets.load_rnet(path, "0123456789abcdef")
    assert (loaded.backbone, loaded.layout, loaded.recipe) == ("mobilenet", LAYOUT, {"steps": 3})
    assert all(weight.dtype == "float32" for weight in loaded.weights)
    for mine, theirs in zip(trained(images), loaded(images), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=tolerance)
    assert path.stat().st_size < (8e6 if half else 15e6)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileExistsError):
        rnets.save_rnet(trained, path)


def test_another_face_model_is_refused(tmp_path, trained):
    path = tmp_path / "rnet.keras"
    rnets.save_rnet(trained, path)
    with pytest.raises(
        rnets.WeightsError, match=r"another face model than this one .feed.* Received: 0123456789abcdef"
    ):
        rnets.load_rnet(path, "feed")


def test_start_from_a_file(tmp_path, trained, images):
    path = tmp_path / "rnet.keras"
    rnets.save_rnet(trained, path)
    same = rnets.RNet("mobilenet", LAYOUT, "0123456789abcdef")
    rnets.load_start(same, str(path))
    np.testing.assert_allclose(same(images).identity, trained(images).identity, atol=1e-6)
    other = rnets.RNet("mobilenet", Layout(7, 4, 5), "another")
    rnets.load_start(other, str(path))
    np.testing.assert_allclose(other.regress(images)[1][1], trained.regress(images)[1][1], atol=1e-6)
    np.testing.assert_array_equal(other(images).identity, 0)
    with pytest.raises(rnets.WeightsError, match=r"must be of backbone mobilenet_small. Received: mobilenet"):
        rnets.load_start(rnets.RNet("mobilenet_small", LAYOUT, "x"), str(path))


@pytest.mark.parametrize(
    ("backbone", "start"), [("resnet50", "shipped"), ("mobilenet", "imagenet"), ("mobilenet", "x")]
)
def test_starts_that_do_not_exist(backbone, start):
    with pytest.raises(rnets.WeightsError, match=r"start must be"):
        rnets.load_start(rnets.RNet(backbone, LAYOUT, "x"), start)


def test_files_that_are_no_rnet(tmp_path):
    with pytest.raises(FileNotFoundError):
        rnets.load_rnet(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(rnets.WeightsError, match=r"no readable .keras file"):
        rnets.load_rnet(tmp_path / "text.keras")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(rnets.WeightsError, match=r"no readable .keras file"):
        rnets.load_rnet(tmp_path / "zip.keras")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(rnets.WeightsError, match=r"must hold weights of RNet. Received: Sequential"):
        rnets.load_rnet(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"backbone must be one of"):
        rnets.RNet("vgg", LAYOUT, "x")


def test_fingerprint_names_the_contents(model_file):
    assert len(rnets.fingerprint()) == 16
    assert rnets.fingerprint(model_file) != rnets.fingerprint()


def test_half_precision_network_gives_single_precision_coefficients(images):
    rnet = rnets.RNet("mobilenet", LAYOUT, "x", dtype="mixed_bfloat16")
    assert rnet.network.get_layer("conv1").compute_dtype == "bfloat16"
    assert all(
        str(group.dtype.name if hasattr(group.dtype, "name") else group.dtype) == "float32" for group in rnet(images)
    )


def test_kernel_shapes_are_the_layers(trained):
    for name, shape in mobilenet.kernel_shapes().items():
        assert tuple(trained.network.get_layer(name).kernel.shape) == shape
