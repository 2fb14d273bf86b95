"""The SavedModel's signatures say what Keras and NumPy say, and a bad picture spoils no other one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from export import parity, saved_model
from export.bundle import SAVED
from tests.exported import encode, smooth_pictures
from tf_deep3d import face as faces
from tf_deep3d.face import aggregation
from tf_deep3d.face.coefficients import GROUPS, Coefficients


@pytest.fixture(scope="module")
def folder(exported):
    return exported.folder / SAVED


@pytest.fixture(scope="module")
def signatures(folder):
    loaded = tf.saved_model.load(str(folder))
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="module")
def pictures():
    return smooth_pictures(3, seed=2)


@pytest.fixture(scope="module")
def expected(exported, pictures):
    return parity.keras_answers(exported.networks, pictures)


def _equal(found, expected):
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5, err_msg=name)


def test_coefficients_in_batches_of_any_size(signatures, pictures, expected):
    images = pictures.astype(np.float32) / 255
    _equal(signatures["coefficients"](images=tf.constant(images)), expected)
    first = {name: values[:1] for name, values in expected.items()}
    _equal(signatures["coefficients"](images=tf.constant(images[:1])), first)


def test_good_pictures_are_read_and_bad_ones_named(signatures, pictures, expected):
    png, jpeg = encode(pictures[0]), encode(pictures[1], "JPEG", quality=95)
    bad = {
        b"": "neither a JPEG nor a PNG file. Received: 0 bytes",
        b"<html>": "neither a JPEG nor a PNG file. Received: 6 bytes",
        png[:3000]: "damaged",
        jpeg[:400]: "damaged",
        b"\x89PNG\r\n\x1a\n" + bytes(9): "damaged",
        encode(np.zeros((5001, 5000, 3), np.uint8)): "more than 25000000 pixels",
        b"\xff\xd8\xff" + bytes(saved_model.MAX_BYTES): "may have 16777216 bytes at most. Received: 16777219 bytes",
    }
    found = signatures["serving_default"](image_bytes=tf.constant([png, *bad, jpeg]))
    errors = [text.decode() for text in found.pop("error").numpy()]
    assert errors[0] == errors[-1] == ""
    for error, reason in zip(errors[1:-1], bad.values(), strict=True):
        assert reason in error
    for name, values in found.items():
        assert np.isnan(values[1:-1]).all(), name
        np.testing.assert_allclose(values[0], expected[name][0], atol=1e-5)
        np.testing.assert_allclose(values[-1], expected[name][1], atol=0.05)


def test_another_size_is_resized(signatures):
    grey = np.full((224, 224, 3), 90, np.uint8)
    found = signatures["serving_default"](image_bytes=tf.constant([encode(grey), encode(grey[:100, :50])]))
    for name in GROUPS:
        np.testing.assert_allclose(found[name][0], found[name][1], atol=1e-4)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_give_nan_and_spoil_no_other_picture(signatures, pictures, expected, wrong):
    images = pictures.astype(np.float32) / 255
    images[1, 100, 50, 2] = wrong
    found = signatures["coefficients"](images=tf.constant(images))
    for name, values in found.items():
        np.testing.assert_allclose(values.numpy()[[0, 2]], expected[name][[0, 2]], atol=1e-5, err_msg=name)
        assert np.isnan(values.numpy()[1]).all()


def test_requests_of_nothing_are_refused_in_words(signatures, expected):
    empty = {name: tf.constant(values[:0]) for name, values in expected.items()}
    asked = {
        "coefficients": {"images": tf.zeros((0, 224, 224, 3))},
        "serving_default": {"image_bytes": tf.constant([], tf.string)},
        "face": {name: empty[name] for name in GROUPS},
        "aggregate": {
            "identity": empty["identity"][None][:0],
            "confidence": empty["confidence"][None][:0],
            "present": tf.zeros((0, 1)),
        },
    }
    for name, inputs in asked.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have at least one element"):
            signatures[name](**inputs)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_that_its_exif_turns_is_refused(pictures, kind, order):
    """The decoder alone: all orientations but upright, in both byte orders, as Pillow writes them."""
    files = []
    for orientation in (1, 6, 3, 8, 2):
        exif = Image.Exif()
        exif.endian = "<" if order == "II" else ">"
        exif[0x010F], exif[0x0112] = "maker of cameras", orientation
        files.append(encode(pictures[0], kind, exif=exif))
        assert order.encode() in files[-1][:200] or kind == "PNG"
    images, errors = saved_model.decode(tf.constant([encode(pictures[0], kind), *files]))
    errors = [text.decode() for text in errors.numpy()]
    assert errors[:2] == ["", ""]
    assert all("the picture's EXIF turns it" in error for error in errors[2:])
    np.testing.assert_array_equal(images[0], images[1])
    assert not images[2:].numpy().any()


def test_face_is_the_one_of_numpy(exported, signatures, expected):
    groups = {name: tf.constant(expected[name]) for name in GROUPS}
    found = signatures["face"](**groups)
    built = faces.reconstruct(exported.model, Coefficients(**{name: expected[name] for name in GROUPS}))
    assert set(found) == set(saved_model.FACE)
    for name, values in found.items():
        np.testing.assert_allclose(values, getattr(built, name), atol=2e-3 if name == "landmarks" else 2e-5)


def test_aggregate_is_the_one_of_numpy(signatures, expected):
    identity, confidence = expected["identity"][None], expected["confidence"][None]
    present = np.float32([[1, 0, 1]])
    given = {"identity": identity, "confidence": confidence, "present": present}
    found = signatures["aggregate"](**{name: tf.constant(value) for name, value in given.items()})["identity"]
    np.testing.assert_allclose(found, aggregation.aggregate(identity, confidence, present), atol=1e-6)
    assert not np.allclose(found, identity[:, [0, 2]].mean(1), atol=1e-4), "weighed"


def test_wrong_requests_are_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="100,100,3"):
        signatures["coefficients"](images=tf.zeros([1, 100, 100, 3]))


def test_warm_up_is_read_by_the_servers_messages(folder, signatures):
    asked = {}
    for record in tf.data.TFRecordDataset(str(folder / saved_model.WARM_UP)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "face"
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        asked[request.model_spec.signature_name] = signatures[request.model_spec.signature_name](**inputs)
    assert set(asked) == set(signatures)
    assert asked["serving_default"]["error"].numpy().tolist() == [b""]
    assert all(np.isfinite(values).all() for found in asked.values() for n, values in found.items() if n != "error")


def test_pictures_of_many_clients_are_joined_in_the_graph(folder):
    """After each request was looked at; `tests.export.test_client` asks with good and bad ones at once."""
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    functions = message.meta_graphs[0].graph_def.library.function
    joined = [node.attr["max_batch_size"].i for function in functions for node in function.node_def
              if node.op == "BatchFunction"]  # fmt: skip
    assert joined
    assert min(joined) > 1


def test_the_c_api_answers_without_python_tensorflow(folder, pictures, expected, tmp_path):
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signature = message.meta_graphs[0].signature_def["serving_default"]
    names = [name for name in expected if name in signature.outputs]
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(encode(picture))
    tensors = ",".join(signature.outputs[name].name for name in names)
    given = [Path(tf.__file__).parent, folder, signature.inputs[saved_model.BYTES].name, tensors, *paths]
    script = Path(__file__).parents[1] / "c_api.py"
    done = subprocess.run([sys.executable, script, *map(str, given)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *rows, loaded = map(json.loads, done.stdout.splitlines())
    assert loaded == []
    for name, row in zip(names, rows, strict=True):
        np.testing.assert_allclose(np.reshape(row, expected[name].shape), expected[name], atol=1e-5)
