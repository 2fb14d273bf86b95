"""What the page's solver of ARKit's units (`page/expression.js`) takes of `face.expression`: constants and matrices."""

from typing import Any

import numpy as np

from tf_deep3d.face import blendshapes, expression
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.face.morphable_model import MorphableModel


def arrays(model: MorphableModel) -> dict[str, tuple[str, np.ndarray]]:
    """Name -> (type, values) for `face_data`: of `expression.Responses` seenPoints [L, 3], rows [K, F], neutralMean
    and neutralSpread [K], moves and bends [J, K]; dense and denseShares [L, 3], of the landmarks."""
    responses, landmarks = expression.load(), model.landmarks[expression.LANDMARKS]
    made = {
        "seenPoints": responses.points,
        "rows": responses.rows,
        "neutralMean": responses.mean,
        "neutralSpread": responses.spread,
        "moves": responses.moves,
        "bends": responses.bends,
        "denseShares": landmarks.weights,
    }
    return {"dense": ("uint32", landmarks.vertices)} | {name: ("float32", values) for name, values in made.items()}


def constants(model: MorphableModel) -> dict[str, Any]:
    """Data for JSON; `wanted` says where among the responses' units each of the model's stands, or -1."""
    responses = expression.load()
    known = all(name in responses.names for name in expression.CORRECTIVE)
    return {
        "steps": expression.STEPS,
        "pose": expression.POSE,
        "loose": expression.LOOSE,
        "soft": expression.SOFT,
        "start": expression.START,
        "irises": [IRISES.start, IRISES.stop],
        "prices": expression.anybody(responses).prices.tolist(),
        "costs": expression.squares(responses.names).tolist(),
        "corrective": [responses.names.index(name) for name in expression.CORRECTIVE] if known else [-1, -1],
        "wanted": [responses.names.index(n) if n in responses.names else -1 for n in model.blendshape_names],
        "bounded": {"steps": blendshapes.STEPS, "tolerance": blendshapes.TOLERANCE},
    }
