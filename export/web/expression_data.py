"""What the page's solver of ARKit's units (`page/expression.js`) takes of `face.expression`: constants and matrices."""

from typing import Any

import numpy as np

from tf_deep3d.face import blendshapes, expression, uncertainty
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.face.morphable_model import MorphableModel


def arrays(model: MorphableModel) -> dict[str, tuple[str, np.ndarray]]:
    """Name -> (type, values) for `face_data`: dense and denseShares [L, 3], the corners and weights of the landmarks,
    smooth [L, 9] px, and moments [Y, P, L, 3] where the model has them."""
    landmarks = model.landmarks[expression.LANDMARKS]
    smooth = expression.bases(expression.actor(model))[1][:, 0]
    made = {
        "dense": ("uint32", landmarks.vertices),
        "denseShares": ("float32", landmarks.weights),
        "smooth": ("float32", smooth[:, : smooth.shape[1] // 2]),
    }
    return made if landmarks.moments is None else made | {"moments": ("float32", landmarks.moments)}


def constants(model: MorphableModel) -> dict[str, Any]:
    """Data for JSON."""
    names, moments = model.blendshape_names, model.landmarks[expression.LANDMARKS].moments
    known = all(name in names for name in expression.CORRECTIVE)
    yaws, pitches = (1, 1) if moments is None else moments.shape[:2]
    return {
        "steps": expression.STEPS,
        "modes": expression.MODES,
        "stray": expression.STRAY,
        "iris": expression.IRIS,
        "irises": [IRISES.start, IRISES.stop],
        "outlier": expression.OUTLIER,
        "doubt": expression.DOUBT,
        "seen": expression.SEEN,
        "rare": expression.RARE,
        "soft": expression.SOFT,
        "loose": expression.LOOSE,
        "closed": expression.CLOSED,
        "open": expression.OPEN,
        "hidden": uncertainty.HIDDEN,
        "cosines": list(uncertainty.COSINES),
        "grid": {"yaw": uncertainty.YAW, "pitch": uncertainty.PITCH, "yaws": yaws, "pitches": pitches},
        "corrective": [names.index(name) for name in expression.CORRECTIVE] if known else [-1, -1],
        "bonds": expression.squares(names).tolist(),
        "bounded": {"steps": blendshapes.STEPS, "tolerance": blendshapes.TOLERANCE},
        "eyes": [
            {"iris": [iris.start, iris.stop], "corners": list(corners), "upper": list(upper), "lower": list(lower)}
            for iris, corners, upper, lower in expression.EYES
        ],
    }
