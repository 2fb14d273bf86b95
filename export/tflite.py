"""TFLite models for phones: one photo, one output for each group of coefficients, builtin operations only.

`rnet_*` gives the coefficients; `cnet_*` gives the confidences with them, out of one run of the backbone. The input is
float32 in [0, 1], or plain bytes 0..255 in the files whose name ends in `_uint8`. Outputs are float32.

Heads and what stands around them stay in single precision under int8: one scale for an output whose numbers differ in
range costs ten times the error, and they are one per cent of the work.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from litert_quantizer import calibrator, qtyping, quantizer, recipe, recipe_manager
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.utils import qsv_utils
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from export.networks import INPUT, Networks, input_shape, regress
from tf_deep3d import command_line
from tf_deep3d.arrays import Array

SIGNATURE = "serving_default"
# What int8 leaves in float32: these operations, and the layers of these names. MobileNet's first two make a third of
# all the error, and take less than 0.2 ms.
_FLOAT = ("INPUT", "OUTPUT", "MUL", "FULLY_CONNECTED", "MEAN", "RESHAPE", "LOGISTIC", "CONCATENATION")
_FLOAT_LAYERS = r"/(normalize|rescaling|conv1|conv_dw_1)(_\d+)?/"


def convert(networks: Networks, dtype: str = "float32") -> bytes:
    """The networks as a float32 TFLite model, bytes; all that `networks` holds is in it.

    Args:
      networks: `Networks`; without C-Net the model has no confidence.
      dtype: of the input, see `variants.Variant`.
    """

    def network(images: Array) -> dict[str, Array]:
        return regress(networks, images if dtype == "float32" else tf.cast(images, tf.float32) / 255.0)

    return convert_function(network, dtype)


def convert_function(network: Callable[[Array], dict[str, Array]], dtype: str = "float32") -> bytes:
    """A function of one aligned photo [1, 224, 224, 3] that gives named outputs, as a float32 TFLite model, bytes."""
    spec = tf.TensorSpec(input_shape(1), dtype, INPUT)
    network = tf.function(network, input_signature=[spec])
    concrete = network.get_concrete_function()  # pyright: ignore[reportFunctionMemberAccess]
    frozen, names = convert_variables_to_constants_v2(concrete), sorted(concrete.structured_outputs)

    @tf.function(input_signature=[spec])
    def named(images: Array) -> dict[str, Array]:  # freezing drops the names of the outputs
        return dict(zip(names, frozen(images), strict=True))

    with command_line.quiet((1, 2)):
        concrete = named.get_concrete_function()  # pyright: ignore[reportFunctionMemberAccess]
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
        return converter.convert()


def quantize(model: bytes, quantization: str, crops: Iterable[np.ndarray] = ()) -> bytes:
    """A float32 model of `convert` in another precision, bytes.

    Args:
      model: bytes.
      quantization: name in `variants.QUANTIZATIONS`.
      crops: iterable of aligned photos [224, 224, 3] uint8, by which "int8" chooses the ranges of the activations.
    """
    if quantization == "float32":
        return model
    with command_line.quiet((1, 2)):  # progress bars
        worker = quantizer.Quantizer(model, _recipe(quantization))
        ranges = _calibrate(model, crops) if worker.need_calibration else None
        return bytes(worker.quantize(ranges, enable_progress_report=False).quantized_model)


def _recipe(quantization: str) -> Any:
    """What litert-quantizer is told."""
    if quantization == "dynamic":
        return recipe.dynamic_wi8_afp32()
    manager = recipe_manager.RecipeManager()
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    if quantization == "float16":
        manager.add_weight_only_config(".*", everything, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    else:
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        for name in _FLOAT:
            kind = qtyping.TFLOperationName[name]
            manager.add_quantization_config(".*", kind, algorithm_key=AlgorithmName.NO_QUANTIZE)
        manager.add_quantization_config(_FLOAT_LAYERS, everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return manager.get_quantization_recipe()


def _calibrate(model: bytes, crops: Iterable[np.ndarray]) -> dict[str, Any]:
    """Least and greatest value of every activation over `crops`."""
    keep = calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    worker = calibrator.Calibrator(model, num_threads=1, mode=keep, qsv_update_func=qsv_utils.min_max_update)
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    dtype = worker._tfl_interpreter.get_input_details()[0]["dtype"]
    samples = [{INPUT: as_input(crop[None], dtype)} for crop in crops]
    worker.calibrate({SIGNATURE: samples}, manager)
    return worker.get_model_qsvs()


def as_input(crops: np.ndarray, dtype: Any) -> np.ndarray:
    """Photos uint8 in the form an input of `dtype` takes."""
    return crops if np.dtype(dtype) == np.uint8 else crops.astype(np.float32) / np.float32(255)
