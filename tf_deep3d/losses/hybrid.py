"""The hybrid loss of Deng et al. 2019, section 3: image level, landmarks, perception, and regularisation.

Each term is one function that returns one value for each picture, [B]. `total` is the one place where terms are
weighted and averaged. Everything is `keras.ops`; values and gradients are finite for every finite input, also for
equal pictures, an empty render, and no skin at all.
"""

import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face import lighting
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.losses.weighing import TERMS, LossWeights

_EPSILON = 1e-12  # inside roots: 1e-6 of a colour or a descriptor's length, far below what matters


def photometric(image: Array, rendered: Array, coverage: Array, attention: Array) -> Array:
    """Mean colour distance over the rendered, attended pixels (equation 2).

        sum_i w_i |image_i - rendered_i| / max(sum_i w_i, 1),  w_i = coverage_i attention_i

    The weights get no gradient: they say where to compare, and a face must not improve by hiding. Below one pixel of
    evidence the loss fades out.

    Args:
      image, rendered: [B, H, W, 3] RGB in [0, 1].
      coverage: [B, H, W, 1], what the render covers and the loss compares (front of the face), in [0, 1].
      attention: [B, H, W, 1] or [B, H, W], `skin.skin_attention`.

    Returns:
      [B], in colour units: 0 equal, sqrt(3) black against white.

    Raises:
      ValueError: if the shapes do not fit.
    """
    if len(coverage.shape) != 4 or coverage.shape[-1] != 1 or len(attention.shape) not in (3, 4):
        raise ValueError(
            "coverage must be [B, H, W, 1] and attention [B, H, W, 1] or [B, H, W]. "
            f"Received: shapes {tuple(coverage.shape)} and {tuple(attention.shape)}"
        )
    if len(attention.shape) == 3:
        attention = ops.expand_dims(attention, -1)
    if attention.shape[-1] != 1:
        raise ValueError(f"attention must have one channel. Received: shape {tuple(attention.shape)}")
    weights = ops.stop_gradient(coverage * attention)[..., 0]
    distance = ops.sqrt(ops.sum(ops.square(image - rendered), axis=-1) + _EPSILON)
    return ops.sum(weights * distance, axis=(1, 2)) / ops.maximum(ops.sum(weights, axis=(1, 2)), 1.0)


def landmark(predicted: Array, target: Array, weights: Array, there: Array | None = None) -> Array:
    """Weighted mean squared landmark distance (equation 3): 1/L sum_n w_n |predicted_n - target_n|^2.

    With matrices as weights the summands are Mahalanobis distances: (predicted_n - target_n)' W_n (predicted_n - ...).

    Args:
      predicted, target: [B, L, 2] px of the 224 px picture.
      weights: [L], or [B, L]. `landmark_weights()` for the 68 iBUG points; ones for the 478 points of MediaPipe. Or
        [B, L, 2, 2], positive definite, see `precisions`.
      there: [B, L], 0 where a picture lacks a point, 1 elsewhere; its weight goes to the points that are there, so that
        a picture is judged by what it has. By default none is lacking.

    Returns:
      [B], px^2.

    Raises:
      ValueError: if the numbers of points differ.
    """
    matrices = len(weights.shape) == 4
    counts = (predicted.shape[1], target.shape[1], weights.shape[1 if matrices else -1])
    if len(set(counts)) > 1:
        raise ValueError(f"predicted, target and weights must have equally many landmarks. Received: {counts}")
    weights = ops.cast(weights, predicted.dtype)
    offset = predicted - target
    if matrices:
        squared = ops.sum(offset * ops.matmul(weights, ops.expand_dims(offset, -1))[..., 0], axis=-1)
        weights = ops.ones_like(squared[:1])
    else:
        squared = ops.sum(ops.square(offset), axis=-1)
    if there is not None:
        left = weights * ops.cast(there, predicted.dtype)
        whole = ops.sum(weights, axis=-1, keepdims=True)
        weights = left * whole / ops.maximum(ops.sum(left, axis=-1, keepdims=True), _EPSILON)
    return ops.mean(weights * squared, axis=-1)


def perceptual(features_a: Array, features_b: Array) -> Array:
    """Cosine distance of two descriptors (equation 4): 1 - a.b / (|a| |b|).

    Args:
      features_a, features_b: [B, N] of `models.recognition.describe`.

    Returns:
      [B] in [0, 2]; 1 where a descriptor vanishes.
    """
    return 1.0 - ops.sum(_unit(features_a) * _unit(features_b), axis=-1)


def prior(coefficients: Coefficients, weights: LossWeights | None = None) -> Array:
    """The coefficients' distance from the mean face (equation 5): w_a |a|^2 + w_b |b|^2 + w_d |d|^2.

    Args:
      coefficients: `coefficients.Coefficients`, standard deviations.
      weights: `LossWeights`, of which the three `prior_*` count; the defaults if None.

    Returns:
      [B].
    """
    weights = weights or LossWeights()
    return (
        weights.prior_identity * _squared_norm(coefficients.identity)
        + weights.prior_expression * _squared_norm(coefficients.expression)
        + weights.prior_albedo * _squared_norm(coefficients.albedo)
    )


def albedo_flatness(albedo: Array, skin: Array) -> Array:
    """Variance of the albedo over the skin, summed over RGB (equation 6): shadows belong to the light.

    Args:
      albedo: [B, V, 3] in [0, 1].
      skin: [V] bool, or weights; cheeks, nose and forehead.

    Returns:
      [B]; 0 without skin.
    """
    share = ops.expand_dims(ops.cast(skin, albedo.dtype), -1)
    share = share / ops.maximum(ops.sum(share), _EPSILON)
    deviation = albedo - ops.sum(share * albedo, axis=1, keepdims=True)
    return ops.sum(share * ops.square(deviation), axis=(1, 2))


def illumination_whiteness(illumination: Array) -> Array:
    """Mean squared distance of the light from its mean over RGB (released codes only).

    Args:
      illumination: [B, C, 9] with C = 3 (rgb), or 1 (white: the loss is 0).

    Returns:
      [B].
    """
    return ops.mean(ops.square(illumination - ops.mean(illumination, axis=1, keepdims=True)), axis=(1, 2))


def exposure(illumination: Array, normals: Array, skin: Array) -> Array:
    """Squared distance of the light on the skin from that of photos, in standard deviations.

    Without it nothing says how bright the light is: the picture stays the same when the albedo darkens as the light
    grows, and `albedo_flatness` gains by that. The normals get no gradient: a face must not turn for the light's sake.

    Args:
      illumination: [B, C, 9] with C = 3 (rgb), or 1 (white).
      normals: [B, V, 3], unit, world frame.
      skin: [V] bool, or weights; cheeks, nose and forehead.

    Returns:
      [B]; 0 where the mean luminance of the irradiance is `lighting.EXPOSURE`.
    """
    share = ops.expand_dims(ops.cast(skin, illumination.dtype), -1)
    share = share / ops.maximum(ops.sum(share), _EPSILON)
    light = lighting.irradiance(ops.stop_gradient(normals), illumination, ops)
    mean = ops.sum(share * light, axis=1)
    channels = lighting.LUMINANCE if illumination.shape[1] == len(lighting.LUMINANCE) else np.ones(1)
    luminance = ops.sum(mean * ops.cast(channels, mean.dtype), axis=-1)
    return ops.square((luminance - lighting.EXPOSURE) / lighting.EXPOSURE_SPREAD)


def total(terms: dict[str, Array], weights: LossWeights | None = None, replicas: int = 1) -> Array:
    """The scalar that training minimises: sum over terms of weight * mean over the batch / replicas.

    Distribution sums the replicas' gradients. With equal shares of the batch, and `replicas` the strategy's
    `num_replicas_in_sync`, that sum is exactly the gradient of the undivided batch. No term looks at another picture
    of its batch, so no other correction is needed.

    Args:
      terms: dict of name in `TERMS` -> [B]. Terms that do not apply may be absent.
      weights: `LossWeights`; the defaults if None. A term of weight 0 is left out altogether.
      replicas: number of replicas whose gradients are summed.

    Returns:
      Scalar.

    Raises:
      ValueError: if a name is unknown, a term is not [B], no term has a weight, or `replicas` is below 1.
    """
    weights = weights or LossWeights()
    if set(terms) - set(TERMS):
        raise ValueError(f"terms must be of {TERMS}. Received: {sorted(terms)}")
    for name, term in terms.items():
        if len(term.shape) != 1:
            raise ValueError(f"{name} must be [B]. Received: shape {tuple(term.shape)}")
    if replicas < 1:
        raise ValueError(f"replicas must be at least 1. Received: {replicas}")
    weighted = [name for name in TERMS if name in terms and getattr(weights, name) > 0]
    if not weighted:
        raise InputError(f"at least one term must have a positive weight. Received: {sorted(terms)} with {weights}")
    return sum(getattr(weights, name) * ops.mean(terms[name]) for name in weighted) / replicas


def _unit(x: Array) -> Array:
    """Rows of length 1; (almost) zero rows stay zero, with a finite gradient."""
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + _EPSILON)


def _squared_norm(x: Array) -> Array:
    return ops.sum(ops.square(x), axis=-1)
