"""Which TFLite files an export makes, and what they are called; imports nothing heavy."""

from collections.abc import Sequence
from typing import NamedTuple

from tf_deep3d.errors import InputError

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")
NETWORKS = ("rnet", "cnet")


class Variant(NamedTuple):
    """One TFLite file.

    Attributes:
      network: "rnet", or "cnet" for both networks in one.
      quantization: name in `QUANTIZATIONS`.
      dtype: of the input, "float32" or "uint8".
    """

    network: str
    quantization: str
    dtype: str = "float32"

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.network}_{self.quantization}{'_uint8' if self.dtype == 'uint8' else ''}.tflite"


def variants(quantizations: Sequence[str] = QUANTIZATIONS, confidence: bool = False) -> list[Variant]:
    """The `Variant`s to write, in the order of `QUANTIZATIONS`, those of int8 also with an input of bytes.

    Args:
      quantizations: names.
      confidence: there is a C-Net.

    Raises:
      InputError: for an unknown name, or none.
    """
    unknown = [name for name in quantizations if name not in QUANTIZATIONS]
    if unknown or not quantizations:
        received = ", ".join(map(repr, unknown)) or "none"
        raise InputError(f"quantisations must be some of {', '.join(QUANTIZATIONS)}. Received: {received}")
    kinds = [(name, "float32") for name in QUANTIZATIONS if name in quantizations]
    kinds += [("int8", "uint8")] if "int8" in quantizations else []
    return [Variant(network, *kind) for network in NETWORKS[: 1 + confidence] for kind in kinds]
