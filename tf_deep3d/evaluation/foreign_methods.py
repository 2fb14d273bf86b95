"""Methods of `evaluation` that are not our networks in Keras: exported ones, and meshes of other programs."""

from pathlib import Path

import numpy as np

from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.methods import prediction
from tf_deep3d.evaluation.scans import read_landmarks, read_mesh
from tf_deep3d.face.aggregation import aggregate
from tf_deep3d.face.landmarks import INNER_FACE
from tf_deep3d.models import rnet


def bundle(name, folder, quantization=None):
    """What `python -m export` wrote for devices: its networks on LiteRT, its face model, its way to weigh photos.

    Args:
      name: of the method.
      folder: the bundle.
      quantization: of the networks, None for the bundle's default.

    Returns:
      `Method`.

    Raises:
      ValueError, FileNotFoundError: if the folder is no usable bundle.
    """
    from export import device, device_bundle  # nothing else here needs it

    runtime = device.load(folder, quantization, confidence=True)

    def answer(case):
        if not case.portraits:
            return "no face found"
        coefficients, weights = runtime.regress([portrait.crop.image for portrait in case.portraits])
        if weights is None:
            return prediction(runtime.model, coefficients, case.portraits, case.neutral)
        fused = aggregate(coefficients.identity[None], weights[None])[0]
        found = prediction(runtime.model, coefficients, case.portraits, case.neutral, fused)
        return found._replace(confidence=weights.mean(0))

    manifest = rnet.fingerprint(Path(folder) / device_bundle.MANIFEST)
    return Method(
        name, lambda cases: [answer(case) for case in cases], {"bundle": manifest, "quantization": quantization}
    )


def mesh_folder(name, folder):
    """Meshes that another program made: NAME.obj for each case, in any unit.

    A case of several photos has one mesh, named after the case. Where the meshes lie is said by landmarks.txt, which
    holds the indices of 68, 51 or 7 vertices for all of them, or by NAME.txt beside a mesh, with as many rows x y z. 68
    and 51 are the ibug points, with and without the jaw; 7 are those of `scans.ANCHORS`.

    Args:
      name: of the method.
      folder: path.

    Returns:
      `Method`.

    Raises:
      FileNotFoundError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of meshes. Received: {folder}")

    def run(cases):
        return [_read_prediction(folder, case.name) for case in cases]

    return Method(name, run, {"meshes": str(folder.resolve())}, detects=False, retries=True)


def _read_prediction(folder, name):
    try:
        vertices, triangles = read_mesh(folder / f"{name}.obj")
        own = folder / f"{name}.txt"
        points = read_landmarks(own if own.is_file() else folder / "landmarks.txt", vertices)
    except FileNotFoundError as error:
        return f"no such file: {error.filename}"
    except (ValueError, OSError) as error:
        return str(error)
    known = np.flatnonzero(np.isfinite(points[:, 0]))
    known = known[known >= INNER_FACE.start] if len(known) == len(points) else known
    return Prediction(vertices, triangles, points[known], known)
