"""The hybrid loss of Deng et al. 2019, section 3: image level, landmarks, perception, and regularisation.

Each term is one function that returns one value for each picture, [B]. `total` is the one place where terms are
weighted and averaged. Everything is `keras.ops`; values and gradients are finite for every finite input, also for
equal pictures, an empty render, and no skin at all.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face import landmarks, lighting
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import Landmarks, MorphableModel

TERMS = (
    "photometric",
    "landmark",
    "perceptual",
    "prior",
    "albedo_flatness",
    "illumination_whiteness",
    "exposure",
    "shape",
    "albedo",
)

EMPHASIS = 20.0  # weight of the landmarks that decide about nose and mouth

_EPSILON = 1e-12  # inside roots: 1e-6 of a colour or a descriptor's length, far below what matters


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms, and of the coefficient groups inside the prior.

    The defaults are the released codes'; `configs/` has the paper's.

    Attributes:
      photometric, landmark, perceptual, prior, albedo_flatness, illumination_whiteness, exposure, shape, albedo: of
        `TERMS`; the last two are `supervised`, and the last three zero in the paper.
      prior_identity, prior_expression, prior_albedo: factors of the squared norms in `prior`.
    """

    photometric: float = 1.92
    landmark: float = 1.6e-3
    perceptual: float = 0.2
    prior: float = 3e-4
    albedo_flatness: float = 5.0
    illumination_whiteness: float = 10.0
    exposure: float = 0.0
    shape: float = 0.0
    albedo: float = 0.0
    prior_identity: float = 1.0
    prior_expression: float = 0.8
    prior_albedo: float = 1.7e-2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be finite and not negative. Received: {value}")


def landmark_weights(emphasis: float = EMPHASIS, jaw: float = 1.0) -> np.ndarray:
    """Weights of the 68 iBUG landmarks.

    Args:
      emphasis: of nose tip, bridge end and inner lips (Deng et al. 2019, section 3.2.1: 20).
      jaw: of the 17 contour points. Below 1 where the detector follows the visible contour and the model does not.

    Returns:
      [68] float32.
    """
    weights = np.ones(landmarks.COUNT, np.float32)
    weights[landmarks.NOSE_END] = weights[landmarks.INNER_LIPS] = emphasis
    weights[landmarks.JAW] = jaw
    return weights


def joint_landmarks(
    model: MorphableModel, emphasis: float = EMPHASIS, jaw: float = 1.0, dense: float = 0.0
) -> tuple[Landmarks, np.ndarray]:
    """The 68 iBUG landmarks and, where the model has them, the 478 dense ones of MediaPipe, as one set.

    Args:
      model: `MorphableModel`.
      emphasis, jaw: see `landmark_weights`.
      dense: weight of each dense landmark beside those of the 68; with 0 they are left out.

    Returns:
      (`Landmarks`, weights [L]), L = 68 or 546. Of the 68 alone the weights are the paper's. With the dense
      ones, all weights have the mean of the 68's: they share the term, and it grows no larger.
    """
    sets, weights = [model.landmarks["ibug68"]], [landmark_weights(emphasis, jaw)]
    mean = weights[0].mean()
    if dense > 0 and "mediapipe478" in model.landmarks:
        sets.append(model.landmarks["mediapipe478"])
        weights.append(np.full(landmarks.DENSE_COUNT, dense, np.float32))
        weights[1][landmarks.IRISES] = 0
    weights = np.concatenate(weights)
    joint = Landmarks(*(np.concatenate([getattr(s, part) for s in sets]) for part in ("vertices", "weights")))
    return joint, weights * (mean / weights.mean())


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

    Args:
      predicted, target: [B, L, 2] px of the 224 px picture.
      weights: [L], or [B, L]. `landmark_weights()` for the 68 iBUG points; ones for the 478 points of MediaPipe.
      there: [B, L], 0 where a picture lacks a point, 1 elsewhere; its weight goes to the points that are there, so that
        a picture is judged by what it has. By default none is lacking.

    Returns:
      [B], px^2.

    Raises:
      ValueError: if the numbers of points differ.
    """
    counts = (predicted.shape[1], target.shape[1], weights.shape[-1])
    if len(set(counts)) > 1:
        raise ValueError(f"predicted, target and weights must have equally many landmarks. Received: {counts}")
    weights = ops.cast(weights, predicted.dtype)
    if there is not None:
        left = weights * ops.cast(there, predicted.dtype)
        whole = ops.sum(weights, axis=-1, keepdims=True)
        weights = left * whole / ops.maximum(ops.sum(left, axis=-1, keepdims=True), _EPSILON)
    return ops.mean(weights * ops.sum(ops.square(predicted - target), axis=-1), axis=-1)


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
