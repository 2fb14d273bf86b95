import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_deep3d.io import archive
from tf_deep3d.models import recognition

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "recognition.json").read_text(encoding="utf-8"))
DAT = os.environ.get("TF_DEEP3D_DLIB_DAT", "")  # path of dlib_face_recognition_resnet_model_v1.dat


def pictures():
    """The golden file's inputs: name -> [150, 150, 3] uint8. Whole numbers only, so that they never change."""
    y, x, channel = np.meshgrid(np.arange(150), np.arange(150), np.arange(3), indexing="ij")
    hashed = (x * 7919 + y * 104729 + channel * 1299709) * 2654435761 % 2**32
    return {
        "black": np.zeros((150, 150, 3), np.uint8),
        "ramp": np.choose(channel, [x * 255 // 149, y * 255 // 149, (x + y) * 255 // 298]).astype(np.uint8),
        "rings": (((x - 75) ** 2 + (y - 60) ** 2) // (20 + 10 * channel) % 256).astype(np.uint8),
        "noise": (hashed >> 24).astype(np.uint8),
        "astronaut": _astronaut()[35:185, 150:300],
    }


def _astronaut():
    return pytest.importorskip("skimage.data", reason="scikit-image is not installed").astronaut()


def _face():
    """[1, 224, 224, 3] float32: the astronaut's face at about the size the alignment gives it."""
    return (_astronaut()[20:185, 140:305] / 255)[None].astype(np.float32)


def _unit(x):
    return np.asarray(x) / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def network():
    return recognition.build_recognition()


@pytest.fixture(scope="module")
def raw_network():
    return recognition.build_recognition(centered=False)


@pytest.fixture(scope="module")
def face():
    return np.asarray(keras.ops.image.resize(_face(), (224, 224)))


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN["descriptors"])
def test_descriptors_are_dlibs(raw_network, name):
    picture = np.ascontiguousarray(pictures()[name])
    assert hashlib.sha256(picture.tobytes()).hexdigest() == GOLDEN["pictures_sha256"][name]
    descriptor = raw_network(picture[None] / np.float32(255))[0]
    np.testing.assert_allclose(descriptor, GOLDEN["descriptors"][name], atol=4e-4)  # half precision weights: 3e-4


def test_descriptors_are_dlibs_live(raw_network):
    dlib = pytest.importorskip("dlib", reason="dlib is not installed")
    if not DAT:
        pytest.skip("TF_DEEP3D_DLIB_DAT does not name dlib's model file")
    oracle = dlib.face_recognition_model_v1(DAT)
    for seed in range(3):
        picture = np.random.default_rng(seed).integers(0, 256, (10, 10, 3)).astype(np.uint8).repeat(15, 0).repeat(15, 1)
        expected = np.array(oracle.compute_face_descriptor(picture))
        np.testing.assert_allclose(raw_network(picture[None] / np.float32(255))[0], expected, atol=5e-4)


def test_the_network_is_frozen_and_has_the_known_size(network):
    assert network.trainable_weights == []
    assert not network.trainable
    assert network.input_shape == (None, 150, 150, 3)
    assert network.output_shape == (None, 128)
    convolutions = [layer for layer in network.layers if layer.name.startswith("convolution")]
    assert len(convolutions) == recognition.CONVOLUTIONS == 29
    # dlib: 5,607,488 weights and biases of convolutions and the matrix (the affine layers are folded in).
    assert network.count_params() == 5_607_488 + 128


def test_single_precision_whatever_the_policy(network):
    picture = pictures()["rings"][None] / np.float32(255)
    expected = network(picture)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        descriptor = recognition.build_recognition()(picture)
    finally:
        keras.config.set_dtype_policy(policy)
    assert descriptor.dtype == "float32"
    np.testing.assert_array_equal(descriptor, expected)


def test_input_gradient(face):
    double = recognition.build_recognition(dtype="float64")
    generator = np.random.default_rng(4)
    image = recognition.crop(tf.constant(face, tf.float64))
    weights = generator.normal(size=128)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = tf.reduce_sum(double(image, training=False) * weights)
    gradient = tape.gradient(value, image).numpy()
    assert np.abs(gradient).max() > 0
    for _ in range(3):
        direction = generator.normal(size=gradient.shape)
        pair = tf.concat([image + 1e-7 * direction, image - 1e-7 * direction], axis=0)
        values = tf.reduce_sum(double(pair, training=False) * weights, axis=-1).numpy()
        assert (gradient * direction).sum() == pytest.approx((values[0] - values[1]) / 2e-7, rel=1e-3)


def test_descriptors_do_not_depend_on_the_batch(network, face):
    other = np.random.default_rng(0).random(face.shape).astype(np.float32)
    both = recognition.describe(network, np.concatenate([face, other]))
    np.testing.assert_allclose(both[0], recognition.describe(network, face)[0], atol=1e-5)
    np.testing.assert_allclose(both[1], recognition.describe(network, other)[0], atol=1e-5)


def test_a_graph_with_unknown_batch_size_gives_the_same(network, face):
    compiled = tf.function(
        lambda images: recognition.describe(network, images),
        input_signature=[tf.TensorSpec((None, 224, 224, 3), tf.float32)],
    )
    np.testing.assert_allclose(compiled(face), recognition.describe(network, face), atol=1e-5)


# --- the mean descriptor ---------------------------------------------------------------------------------------------


def test_centered_descriptors_differ_by_the_stored_mean(network, raw_network, face):
    mean = archive.read_arrays(recognition.RECOGNITION)["mean_descriptor"]
    assert mean.shape == (128,)
    difference = recognition.describe(raw_network, face) - recognition.describe(network, face)
    np.testing.assert_allclose(difference[0], mean, atol=1e-6)


def test_the_mean_makes_cosines_tell_something(network, raw_network, face):
    changed = np.clip(0.8 * face[:, :, ::-1] + 0.05, 0, 1)  # mirrored and darker: still her
    y, x = np.mgrid[:224, :224]
    pattern = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], -1)[None].astype(np.float32) / 2 + 0.5
    images = np.concatenate([face, changed, pattern, np.zeros_like(face)])
    before, after = (_unit(recognition.describe(model, images)) for model in (raw_network, network))
    same, foreign = after[0] @ after[1], after[0] @ after[2:].T
    assert same > 0.6
    assert (foreign < 0.3).all()
    assert (before[0] @ before[2:].T > 0.7).all()  # what the subtraction is for


# --- the crop --------------------------------------------------------------------------------------------------------


def test_crop_samples_the_stated_square():
    y, x = np.mgrid[:224, :224] + 0.5  # every pixel holds the position of its centre
    image = np.stack([x, y, np.full_like(x, 7.0)], -1)[None]
    cropped = np.asarray(recognition.crop(image.astype(np.float32)))
    assert cropped.shape == (1, 150, 150, 3)
    position = (np.arange(150) + 0.5) * 177 / 150
    np.testing.assert_allclose(cropped[0, :, :, 0], np.broadcast_to(23.4 + position, (150, 150)), rtol=1e-5)
    np.testing.assert_allclose(cropped[0, :, :, 1], np.broadcast_to(30.4 + position[:, None], (150, 150)), rtol=1e-5)
    np.testing.assert_allclose(cropped[..., 2], 7, rtol=1e-5)


def test_crop_is_bilinear_interpolation():
    from scipy.ndimage import map_coordinates

    image = np.random.default_rng(1).random((2, 224, 224, 3))
    position = (np.arange(150) + 0.5) * 177 / 150 - 0.5
    grid = np.meshgrid(30.4 + position, 23.4 + position, indexing="ij")
    expected = np.stack(
        [[map_coordinates(channel, grid, order=1) for channel in one.transpose(2, 0, 1)] for one in image]
    )
    cropped = recognition.crop(tf.constant(image))
    assert cropped.dtype == tf.float64
    np.testing.assert_allclose(cropped, expected.transpose(0, 2, 3, 1), atol=1e-12)


def test_crop_rejects_other_sizes():
    with pytest.raises(ValueError, match=r"Received: shape \(1, 150, 150, 3\)"):
        recognition.crop(np.zeros((1, 150, 150, 3), np.float32))


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("schema", np.int64(2), "schema 1. Received: 2"),
        ("schema", None, "schema 1. Received: None"),
        ("convolution_3_kernel", None, "convolution_3_kernel.*Received: nothing"),
        ("convolution_0_bias", np.zeros(31, np.float32), r"convolution_0_bias.*\(32,\).*Received: float32 \(31,\)"),
        ("mean_descriptor", np.zeros(128, np.int64), r"mean_descriptor.*Received: int64 \(128,\)"),
        ("descriptor_kernel", np.full((256, 128), np.nan), "finite"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, array, message):
    arrays = archive.read_arrays(recognition.RECOGNITION)
    arrays = {
        key: np.zeros(value.shape, value.dtype) if value.dtype.kind == "f" else value for key, value in arrays.items()
    }
    arrays[name] = array
    archive.write_arrays(tmp_path / "damaged.npz", {key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(archive.ArchiveError, match=message):
        recognition.build_recognition(tmp_path / "damaged.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        recognition.build_recognition(tmp_path / "none.npz")


# --- JAX -------------------------------------------------------------------------------------------------------------

_JAX = """
import sys
import jax, numpy as np
from tf_deep3d.models import recognition

network = recognition.build_recognition()
image, weights = (np.load(path) for path in sys.argv[1:3])
function = lambda image: (recognition.describe(network, image) * weights).sum()
value, gradient = jax.jit(jax.value_and_grad(function))(image)
np.savez(sys.argv[3], value=np.asarray(value), gradient=np.asarray(gradient))
assert "tensorflow" not in sys.modules
"""


def test_jax_computes_the_same_descriptor_and_gradient(network, face, tmp_path):
    pytest.importorskip("jax", reason="jax is not installed")
    weights = np.random.default_rng(6).normal(size=128).astype(np.float32)
    paths = [str(tmp_path / name) for name in ("image.npy", "weights.npy", "jax.npz")]
    np.save(paths[0], face)
    np.save(paths[1], weights)
    process = subprocess.run(
        [sys.executable, "-c", _JAX, *paths],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    image = tf.constant(face)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = tf.reduce_sum(recognition.describe(network, image) * weights)
    gradient = tape.gradient(value, image).numpy()
    with np.load(paths[2]) as jax:
        assert float(jax["value"]) == pytest.approx(float(value), rel=1e-4)
        np.testing.assert_allclose(jax["gradient"], gradient, atol=1e-3 * np.abs(gradient).max())
