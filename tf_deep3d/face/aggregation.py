"""Many photos of one person become one shape: how their identity coefficients are weighed.

The one function of training, export and the device (Deng et al. 2019, section 4 and table 5).

Letters: B sets, M photos of a set, K identity coefficients.
"""

import numpy as np

from tf_deep3d.arrays import Array, Namespace
from tf_deep3d.errors import InputError

# How the photos are weighed -> what the paper calls it.
STRATEGIES = {
    "average": "shape averaging: every photo counts the same",
    "scalar": "S1: one confidence for each photo, of a network of its own",
    "summed": "S2: the sum of a photo's confidences",
    "best": "S3: the photo with the largest sum alone",
    "elementwise": "S4: every coefficient has its own confidence",
}
# Of albums whose user names none, where there is a C-Net that serves it; else they are averaged.
DEFAULT = "elementwise"
_LEAST = 1e-12  # of a sum of weights that is divided by


def aggregate(
    identity: Array,
    confidence: Array | None = None,
    present: Array | None = None,
    strategy: str = DEFAULT,
    xp: Namespace = np,
) -> Array:
    """The identity of each set: a = sum_j w_j a_j / sum_j w_j, over its photos j (Deng et al. 2019, section 4.1).

    Args:
      identity: [B, M, K], of each photo.
      confidence: [B, M, K], positive; for "scalar" [B, M, 1]. "average" needs none.
      present: [B, M], 0 where a set has no photo, 1 elsewhere; by default every photo counts. What stands in the place
        of an absent photo does not matter.
      strategy: name in `STRATEGIES`.
      xp: array namespace.

    Returns:
      [B, K]; zeros for a set without photos.

    Raises:
      InputError: if the strategy is unknown or the confidences do not fit.
    """
    weights = photo_weights(identity, confidence, present, strategy, xp)
    identity = xp.where(weights > 0, identity, xp.zeros_like(identity))
    return xp.sum(weights * identity, axis=1) / xp.maximum(xp.sum(weights, axis=1), _LEAST)


def photo_weights(
    identity: Array,
    confidence: Array | None = None,
    present: Array | None = None,
    strategy: str = DEFAULT,
    xp: Namespace = np,
) -> Array:
    """The weights [B, M, 1 or K] of `aggregate`, not yet divided by their sum; arguments and errors as there."""
    if strategy not in STRATEGIES:
        raise InputError(f"strategy must be one of {', '.join(STRATEGIES)}. Received: {strategy!r}")
    if strategy == "average":
        weights = xp.ones_like(identity[..., :1])
    elif confidence is None:
        raise InputError(f"the strategy {strategy!r} needs confidences. Received: none")
    else:
        expected = (*identity.shape[1:-1], 1 if strategy == "scalar" else identity.shape[-1])
        if tuple(confidence.shape[1:]) != expected:
            wanted = ", ".join(map(str, expected))
            received = tuple(confidence.shape)
            raise InputError(f"confidences for {strategy!r} must be [B, {wanted}]. Received: {received}")
        weights = confidence if strategy in ("scalar", "elementwise") else xp.sum(confidence, axis=-1, keepdims=True)
    if present is not None:
        there = xp.expand_dims(present, -1) > 0
        weights = xp.where(there, weights, xp.zeros_like(weights))
    if strategy == "best":
        number = xp.reshape(xp.arange(weights.shape[1]), (1, -1, 1))
        best = xp.expand_dims(xp.argmax(weights, axis=1), 1)
        weights = xp.where(number == best, weights, xp.zeros_like(weights))
    return weights
