"""ARKit's named units (`jawOpen`, `eyeBlinkLeft`, ..) from expression coefficients: what animation programs ask for.

The network regresses an expression in the model's own modes; the model also holds the units as displacements. The
weights w that show the same surface are the bounded least squares

    min |sum_j w_j u_j - sum_k e_k m_k|^2 + RIDGE mean_j |u_j|^2 |w|^2,   0 <= w <= 1,

over all vertices, with units u_j and modes m_k. Both sums meet in scalar products of displacements only, which are
taken once, so that a face costs a system of J unknowns.

Units push one way and many look alike, so the weights of an expression are not unique; the ridge chooses small ones.
What no weights in [0, 1] can show remains, and is returned.

Letters: N faces, J units, Ke expression modes.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.face.morphable_model import MorphableModel

# ARKit's 52 units, in alphabetical order.
ARKIT = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip

RIDGE = 1e-3  # on the weights, over the mean squared size of a unit: settles units that look alike
STEPS = 100  # of the descent at most; a dozen suffice
TOLERANCE = 1e-9  # of the gradient against the largest scalar product


class Units(NamedTuple):
    """The scalar products that the weights follow from, float64.

    Attributes:
      names: J names.
      gram: [J, J], of the units with each other, with the ridge on the diagonal.
      response: [J, Ke], of the units with the expression modes.
      modes: [Ke, Ke], of the modes with each other.
      ridge: what was added to the diagonal.
      vertices: number of vertices.
    """

    names: tuple[str, ...]
    gram: np.ndarray
    response: np.ndarray
    modes: np.ndarray
    ridge: float
    vertices: int


def units(model: MorphableModel, block: int = 2048) -> Units:
    """The `Units` of a `MorphableModel` with blendshapes, of any level of detail; `block` vertices are taken at a time.

    Raises:
      InputError: if the model has no blendshapes.
    """
    count = len(model.blendshapes)
    if not count:
        raise InputError(f"the face model must have blendshapes. Received: {model.name} without any")
    modes, vertices = count + len(model.expression_basis), len(model.mean_shape)
    products = np.zeros((modes, modes))
    for start in range(0, vertices, block):  # in double precision without a double copy of the model
        part = slice(start, start + block)
        fields = np.concatenate([model.blendshapes[:, part], model.expression_basis[:, part]], dtype=np.float64)
        fields = fields.reshape(len(fields), -1)
        products += fields @ fields.T
    gram = products[:count, :count]
    ridge = RIDGE * np.trace(gram) / count
    gram = gram + ridge * np.eye(count)
    return Units(model.blendshape_names, gram, products[:count, count:], products[count:, count:], ridge, vertices)


def weights(known: Units, expressions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the units for expressions.

    Args:
      known: `Units`.
      expressions: [N, Ke], standard deviations.

    Returns:
      weights [N, J] in [0, 1], and what they leave of each expression, [N], root mean square over the vertices, dm.
    """
    expressions = np.asarray(expressions, np.float64)
    found = np.stack([bounded_least_squares(known.gram, known.response @ one) for one in expressions])
    return found, unexplained(known, expressions, found)


def unexplained(known: Units, expressions: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What weights `found` [N, J] leave of `expressions` [N, Ke]: [N], root mean square over the vertices, dm."""
    plain = known.gram - known.ridge * np.eye(len(known.gram))
    rest = _squares(expressions, known.modes, expressions) + _squares(found, plain, found)
    rest = rest - 2 * _squares(found, known.response, expressions)
    return np.sqrt(np.maximum(rest, 0.0) / known.vertices)


def bounded_least_squares(gram: np.ndarray, target: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """The x in [low, high]^J with the least x^T gram x / 2 - target^T x, for a positive definite `gram`.

    D. Bertsekas: Projected Newton Methods for Optimization Problems with Simple Constraints (1982): a Newton step of
    the unknowns that no bound holds, clipped, and halved until it descends as Armijo asks.

    Args:
      gram: [J, J] float64, symmetric.
      target: [J] float64.
      low, high: bounds of every unknown.

    Returns:
      [J].
    """
    x = np.clip(np.linalg.solve(gram, target), low, high)
    settled = TOLERANCE * max(np.abs(target).max(), np.abs(gram).max())
    for _ in range(STEPS):
        slope = gram @ x - target
        free = ~((x <= low) & (slope > 0) | (x >= high) & (slope < 0))
        if not (np.abs(slope[free]) > settled).any():
            break
        step = np.zeros_like(x)
        step[free] = np.linalg.solve(gram[np.ix_(free, free)], slope[free])
        moved = np.clip(x - step, low, high) - x
        for halving in range(1, 40):
            if slope @ moved + moved @ gram @ moved / 2 <= 1e-4 * (slope @ moved):
                break
            moved = np.clip(x - step * 0.5**halving, low, high) - x
        x = x + moved
    return x


def _squares(a: np.ndarray, products: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N]: a^T products b for each row of `a` and `b`."""
    return np.einsum("nj,jk,nk->n", a, products, b)
