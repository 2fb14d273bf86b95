"""Names of the TFLite files."""

import pytest

from export.variants import QUANTIZATIONS, Variant, variants
from tf_deep3d.errors import InputError


def test_files_of_both_networks_in_order():
    assert [variant.file for variant in variants(("int8", "float16"), confidence=True)] == [
        "rnet_float16.tflite",
        "rnet_int8.tflite",
        "rnet_int8_uint8.tflite",
        "cnet_float16.tflite",
        "cnet_int8.tflite",
        "cnet_int8_uint8.tflite",
    ]
    assert {variant.network for variant in variants()} == {"rnet"}
    assert [v.quantization for v in variants() if v.dtype == "float32"] == list(QUANTIZATIONS)
    assert Variant("rnet", "int8", "uint8") in variants(("int8",))


@pytest.mark.parametrize(("names", "received"), [(("int3", "int8"), "'int3'"), ((), "none")])
def test_unknown_names(names, received):
    with pytest.raises(InputError, match=f"some of float32, float16, dynamic, int8. Received: {received}"):
        variants(names)
