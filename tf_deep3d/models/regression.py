"""What R-Net and C-Net say of aligned photos, however they are run: shipped ones by LiteRT, trained ones by Keras.

Letters: B photos, K identity coefficients.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.errors import extra
from tf_deep3d.face.coefficients import GROUPS, Coefficients
from tf_deep3d.litert import Network
from tf_deep3d.models import presets

CONFIDENCE = "confidence"  # output of the shipped networks' file


class Regressor(NamedTuple):
    """R-Net, and its C-Net if there is one.

    Attributes:
      regress: function of aligned photos [B, 224, 224, 3] RGB in [0, 1] that gives the `Coefficients` of B faces,
        NumPy, and C-Net's confidences [B, K or 1], None without one.
      confidences: their number, 0 without a C-Net.
    """

    regress: Callable[[np.ndarray], tuple[Coefficients, np.ndarray | None]]
    confidences: int = 0


def load_regressor(preset: str | Path = presets.DEFAULT, face_model: str | Path | None = None) -> Regressor:
    """The networks of a preset, which start at once; or those of a file or a training, which Keras runs.

    Args:
      preset: see `presets.find_weights`.
      face_model: path of the face model to be used with them; None for the open one.

    Raises:
      FileNotFoundError: if there is no such preset or file.
      weights.WeightsError: for unusable weights, or those of another face model.
    """
    if isinstance(preset, str) and preset in presets.PRESETS:
        if face_model is not None:
            presets.check_face_model(preset, presets.fingerprint(), presets.fingerprint(face_model))
        return _shipped(presets.find_weights(preset, "runtime"))
    with extra("train"):
        from tf_deep3d.models.cnet import WEIGHTS, CNet
        from tf_deep3d.models.rnet import RNet

    rnet = RNet.from_preset(preset, presets.fingerprint(face_model))
    return trained(rnet, CNet.from_preset(preset, rnet) if (Path(preset) / WEIGHTS).is_file() else None)


def trained(rnet: Any, cnet: Any = None) -> Regressor:
    """The `Regressor` of an `RNet` and a `CNet`, or None."""
    from keras import ops

    def regress(images: np.ndarray) -> tuple[Coefficients, np.ndarray | None]:
        found: Any
        found, features = rnet.regress(images)
        confidence = None if cnet is None else np.asarray(ops.convert_to_numpy(cnet(features)))
        return Coefficients(*map(ops.convert_to_numpy, found)), confidence

    return Regressor(regress, 0 if cnet is None else cnet.confidences)


def _shipped(path: Path) -> Regressor:
    network = Network(path)

    def regress(images: np.ndarray) -> tuple[Coefficients, np.ndarray | None]:
        found = network.run(images)
        return Coefficients(*(found[group] for group in GROUPS)), found[CONFIDENCE]

    return Regressor(regress, *network.shapes()[CONFIDENCE])
