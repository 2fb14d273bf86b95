"""What known people add to the hybrid loss: the distance from coefficients that are known, in mm and in colours.

Each term is one function that returns one value for each picture, [B]; `hybrid.total` weighs them.
"""

import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.face import geometry
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel

ALONG = 0.3  # share of a squared distance along the surface that counts in `surface_metric`
_EPSILON = 1e-12  # mm^2, inside the root


def shape_metric(basis: np.ndarray) -> np.ndarray:
    """The Gram matrix [K, K] that turns a difference of coefficients into mm^2, for `shape`.

    Args:
      basis: [K, V, 3], dm for one standard deviation.
    """
    flat = 100.0 * np.asarray(basis, np.float64).reshape(len(basis), -1)
    return (flat @ flat.T / basis.shape[1]).astype(np.float32)


def surface_metric(model: MorphableModel) -> np.ndarray:
    """`shape_metric` [K, K] of the identities of `model`, as scans are measured: every part of the skin counts by its
    area, eyes and the inside of the mouth not at all, distances from the surface more than those along it. What moves,
    turns or scales the face as a whole does not count, as after an alignment: one photo does not tell how large it is.
    """
    shape = np.asarray(model.mean_shape, np.float64)
    corners = shape[model.triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    weights = np.bincount(model.triangles.ravel(), np.repeat(areas, 3), len(shape))
    weights *= ~(model.regions["eyes"] | model.regions["inner_mouth"])
    weights /= weights.sum()
    centred = shape - weights @ shape
    moves = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
    turns = [np.cross(axis, centred) for axis in np.eye(3)]
    root = np.sqrt(weights)[:, None]
    similarities = np.linalg.qr((np.stack([*moves, *turns, centred]) * root).reshape(7, -1).T)[0]
    flat = (100.0 * model.identity_basis.astype(np.float64) * root).reshape(len(model.identity_basis), -1)
    flat = flat - (flat @ similarities) @ similarities.T
    normals = geometry.vertex_normals(shape[None], model.triangles, model.vertex_corners)[0]
    away = (flat.reshape(model.identity_basis.shape) * normals).sum(-1)
    return (ALONG * flat @ flat.T + (1 - ALONG) * away @ away.T).astype(np.float32)


def all_known(known: Array) -> Array:
    """1 where all coefficients of a group are known, else 0: [B] of [B, K]."""
    return ops.min(known, axis=-1)


def root_mean_square(difference: Array, metric: Array) -> Array:
    """Root mean square distance of the vertices, for a `difference` of coefficients [B, K]: [B], mm."""
    return ops.sqrt(_quadratic(difference, metric) + _EPSILON)


def shape(
    coefficients: Coefficients,
    truth: Coefficients,
    known: Coefficients,
    identity_metric: Array,
    expression_metric: Array,
) -> Array:
    """Mean squared distance of the vertices from the true ones: identity and expression apart, each where it is known.

    Args:
      coefficients, truth: `Coefficients`.
      known: `Coefficients` of 1 where the truth is known; a group of which something is not known costs nothing.
      identity_metric: of `surface_metric`.
      expression_metric: of `shape_metric`.

    Returns:
      [B], mm^2.
    """
    identity = _quadratic(coefficients.identity - truth.identity, identity_metric)
    expression = _quadratic(coefficients.expression - truth.expression, expression_metric)
    return all_known(known.identity) * identity + all_known(known.expression) * expression


def albedo_metric(basis: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """The Gram matrix [K, K] that turns a difference of coefficients into squared colours, for `albedo`.

    Args:
      basis: [K, V, 3], RGB for one standard deviation.
      skin: [V] bool.
    """
    flat = np.asarray(basis, np.float64)[:, skin].reshape(len(basis), -1)
    return (flat @ flat.T / np.sum(skin)).astype(np.float32)


def albedo(coefficients: Coefficients, truth: Coefficients, known: Array, metric: Array) -> Array:
    """Mean squared distance of the skin's albedo from the true one, summed over RGB, for rendered faces: pictures alone
    hardly tell a dark skin from a dark light.

    Args:
      coefficients, truth: `Coefficients`.
      known: [B], 1 where the truth is known; the loss is 0 elsewhere.
      metric: of `albedo_metric`.

    Returns:
      [B].
    """
    return known * _quadratic(coefficients.albedo - truth.albedo, metric)


def _quadratic(x: Array, metric: Array) -> Array:
    return ops.sum(ops.matmul(x, metric) * x, axis=-1)
