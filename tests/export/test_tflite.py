"""TFLite files say what Keras says, with builtin operations only, and one run of the backbone for both networks."""

import collections

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export import networks, parity, tflite
from tests.exported import smooth_pictures


@pytest.fixture(scope="module")
def pictures():
    return smooth_pictures(24, seed=1)


@pytest.fixture(scope="module")
def expected(exported, pictures):
    return parity.keras_answers(exported.networks, pictures[:6])


def _operations(path):
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    # Without a delegate's own nodes:
    return collections.Counter(
        each["op_name"] for each in interpreter._get_ops_details() if each["op_name"] != "DELEGATE"
    )


def test_every_file_takes_one_picture_and_names_its_outputs(exported):
    for path in sorted(exported.folder.glob("*.tflite")):
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        kind = np.uint8 if path.stem.endswith("_uint8") else np.float32
        assert given["shape"].tolist() == [1, 224, 224, 3]
        assert given["dtype"] == kind
        shapes = networks.output_shapes(exported.networks)
        if path.name.startswith("rnet"):
            shapes.pop("confidence")
        outputs = interpreter.get_signature_runner(tflite.SIGNATURE).get_output_details()
        assert {name: tuple(each["shape"]) for name, each in outputs.items()} == {n: (1, *s) for n, s in shapes.items()}
        assert {each["dtype"] for each in outputs.values()} == {np.float32}


def test_float32_is_keras(exported, pictures, expected):
    for network in ("rnet", "cnet"):
        found = parity.tflite_answers(exported.folder / f"{network}_float32.tflite", pictures[:6])
        assert ("confidence" in found) == (network == "cnet")
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name], atol=1e-5, err_msg=name)


def test_quantized_files_are_near(exported, pictures, expected):
    plain = (exported.folder / "cnet_float32.tflite").read_bytes()
    sizes = {}
    for name, share in (("float16", 0.01), ("dynamic", 0.3), ("int8", 0.3)):
        data = tflite.quantize(plain, name, pictures[6:])
        sizes[name] = len(data) / len(plain)
        for group, values in parity.tflite_answers(data, pictures[:6]).items():
            worst = np.abs(values - expected[group]).max()
            assert 0 < worst < share * np.abs(expected[group]).max(), (name, group)
    assert sizes["float16"] < 0.51
    assert sizes["dynamic"] < 0.27
    assert sizes["int8"] < 0.5
    assert tflite.quantize(plain, "float32") is plain


def test_bytes_are_the_same_picture(exported, pictures):
    found, expected = (
        parity.tflite_answers(exported.folder / f"rnet_int8{suffix}.tflite", pictures[:6]) for suffix in ("_uint8", "")
    )
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=0.1 * np.abs(expected[name]).max(), err_msg=name)


def test_operations_are_builtin_and_the_backbone_runs_once(exported):
    alone, both = (_operations(exported.folder / f"{network}_float32.tflite") for network in ("rnet", "cnet"))
    assert not [name for name in both if name.startswith("Flex") or name == "CUSTOM"]
    assert alone["CONV_2D"] == 14
    assert alone["DEPTHWISE_CONV_2D"] == 13
    assert both["CONV_2D"] == 14 + 3, "C-Net's own three"
    assert both["DEPTHWISE_CONV_2D"] == 13 + 3
