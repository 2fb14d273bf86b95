"""What R-Net and C-Net say of aligned photos, however they are run: shipped ones by LiteRT, trained ones by Keras.

Letters: B photos, K identity coefficients.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.errors import extra
from tf_deep3d.face.coefficients import GROUPS, Coefficients
from tf_deep3d.io import archive
from tf_deep3d.litert import Network
from tf_deep3d.models import presets

CONFIDENCE = "confidence"  # output of the shipped networks' file
ERRORS_SCHEMA = 1


class Regressor(NamedTuple):
    """R-Net, and its C-Net if there is one.

    Attributes:
      regress: function of aligned photos [B, 224, 224, 3] RGB in [0, 1] that gives the `Coefficients` of B faces,
        NumPy, and C-Net's confidences [B, K or 1], None without one.
      confidences: their number, 0 without a C-Net.
      errors: of `read_errors`, None where nobody measured them.
    """

    regress: Callable[[np.ndarray], tuple[Coefficients, np.ndarray | None]]
    confidences: int = 0
    errors: np.ndarray | None = None


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
        shipped = _shipped(presets.find_weights(preset, "runtime"))
        return shipped._replace(errors=read_errors(presets.find_weights(preset, "errors")))
    with extra("train"):
        from tf_deep3d.models.cnet import WEIGHTS, CNet
        from tf_deep3d.models.rnet import RNet

    rnet = RNet.from_preset(preset, presets.fingerprint(face_model))
    return trained(rnet, CNet.from_preset(preset, rnet) if (Path(preset) / WEIGHTS).is_file() else None)


def read_errors(path: Path) -> np.ndarray:
    """How an R-Net errs: the covariance [K, K] of what its identities lack of the true ones.

    Args:
      path: file of `python -m export preset --records`.

    Raises:
      FileNotFoundError: if there is no such file.
      archive.ArchiveError: if it is damaged, or holds no covariance.
    """
    arrays = archive.read_arrays(path, max_bytes=1 << 22)
    found = arrays.get("covariance", np.zeros(0))
    fits = found.dtype.kind == "f" and found.ndim == 2 and found.shape[0] == found.shape[1]
    if int(arrays.get("schema", 0)) != ERRORS_SCHEMA or not fits or np.linalg.eigvalsh(found)[0] <= 0:
        received = f"schema {arrays.get('schema')}, a covariance {found.shape}"
        raise archive.ArchiveError(
            f"{path} must hold schema {ERRORS_SCHEMA} and a positive definite covariance. Received: {received}"
        )
    return found.astype(np.float64)


def trained(rnet: Any, cnet: Any = None, errors: np.ndarray | None = None) -> Regressor:
    """The `Regressor` of an `RNet`, a `CNet` or None, and the R-Net's errors if they are known."""
    from keras import ops

    def regress(images: np.ndarray) -> tuple[Coefficients, np.ndarray | None]:
        found: Any
        found, features = rnet.regress(images)
        confidence = None if cnet is None else np.asarray(ops.convert_to_numpy(cnet(features)))
        return Coefficients(*map(ops.convert_to_numpy, found)), confidence

    return Regressor(regress, 0 if cnet is None else cnet.confidences, errors)


def _shipped(path: Path) -> Regressor:
    network = Network(path)

    def regress(images: np.ndarray) -> tuple[Coefficients, np.ndarray | None]:
        found = network.run(images)
        return Coefficients(*(found[group] for group in GROUPS)), found[CONFIDENCE]

    return Regressor(regress, *network.shapes()[CONFIDENCE])
