"""Measures bundles beside other methods: `python -m export.methods open --bundle NAME=DIR --out results`.

The command is `python -m tf_deep3d.evaluate` with one option more. It lives here because `tf_deep3d` imports nothing of
this package: the evaluation takes further methods, and does not know where they come from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export import device, device_bundle
from tf_deep3d import evaluate
from tf_deep3d.evaluation.options import MESHES, ForeignMethods, named_folder

if TYPE_CHECKING:
    from tf_deep3d.evaluation.benchmark import Case, Method
    from tf_deep3d.evaluation.measuring import Prediction

PROGRAM = "python -m export.methods"
EXAMPLES = """
examples:
  python -m export.methods open --methods rnet:0 --bundle phone=bundle --out results
  python -m export.methods open --bundle small=bundle:int8 --bundle exact=bundle:float32 --compare small exact --out out

Everything else is as `python -m tf_deep3d.evaluate BENCHMARK --help` says.
"""


def bundle(name: str, folder: str | Path, quantization: str | None = None) -> Method:
    """What `python -m export` wrote for devices: its networks on LiteRT, its face model, its way to weigh photos.

    Args:
      name: of the method.
      folder: the bundle.
      quantization: of the networks, None for the bundle's default.

    Returns:
      `Method`.

    Raises:
      device_bundle.BundleError, FileNotFoundError: if the folder is no usable bundle.
    """
    # Keras and TensorFlow load for seconds, and the help needs neither.
    from tf_deep3d.evaluation.benchmark import Method
    from tf_deep3d.evaluation.methods import prediction
    from tf_deep3d.face.aggregation import aggregate
    from tf_deep3d.models import rnet

    runtime = device.load(folder, quantization, confidence=True)

    def answer(case: Case) -> Prediction | str:
        if not case.portraits:
            return "no face found"
        coefficients, weights = runtime.regress(np.stack([portrait.crop.image for portrait in case.portraits]))
        if weights is None:
            return prediction(runtime.model, coefficients, case.portraits, case.neutral)
        fused = aggregate(coefficients.identity[None], weights[None])[0]
        found = prediction(runtime.model, coefficients, case.portraits, case.neutral, fused)
        return found if isinstance(found, str) else found._replace(confidence=weights.mean(0))

    manifest = rnet.fingerprint(Path(folder) / device_bundle.MANIFEST)
    identity = {"bundle": manifest, "quantization": quantization}
    return Method(name, lambda cases: [answer(case) for case in cases], identity)


def parse(text: str) -> tuple[str, Path, str | None]:
    """NAME=DIR or NAME=DIR:KIND as (name, folder, quantization or None); a colon within the path is none of ours."""
    name, place = named_folder(text)
    folder, _, kind = str(place).rpartition(":")
    return (name, Path(folder), kind) if folder and re.fullmatch(r"\w+", kind) else (name, place, None)


BUNDLES = ForeignMethods(
    flag="--bundle",
    metavar="NAME=DIR[:KIND]",
    help="networks of python -m export; KIND is float32, float16, dynamic or int8",
    parse=parse,
    make=bundle,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return evaluate.main(arguments, (MESHES, BUNDLES), PROGRAM, EXAMPLES)


if __name__ == "__main__":
    sys.exit(main())
