"""From coefficients to a face: the one set of equations of training, fitting, export and the device."""

from typing import NamedTuple

import numpy as np

from tf_deep3d.arrays import Array, Namespace
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import Landmarks, MorphableModel


class Face(NamedTuple):
    """A batch of posed and lit faces.

    Attributes:
      vertices: [B, V, 3], world, dm.
      normals: [B, V, 3], unit, world.
      albedo: [B, V, 3], RGB, mostly in [0, 1].
      colors: [B, V, 3], albedo under the illumination, not clipped.
      pixels: [B, V, 2], projected vertices in px.
      depth: [B, V], dm from the camera plane.
      landmarks: [B, L, 2], px.
    """

    vertices: Array
    normals: Array
    albedo: Array
    colors: Array
    pixels: Array
    depth: Array
    landmarks: Array


def combine(mean: Array, basis: Array, weights: Array, xp: Namespace = np) -> Array:
    """The linear model: mean [V, 3] + weights [B, K] . basis [K, V, 3], a sum [B, V, 3]."""
    modes, vertices = basis.shape[0], basis.shape[1]
    offset = xp.matmul(weights, xp.reshape(basis, (modes, vertices * 3)))
    return mean + xp.reshape(offset, (-1, vertices, 3))


def neutral_shape(model: MorphableModel, identity: Array, xp: Namespace = np) -> Array:
    """Unposed shape [B, V, 3] in dm of identity coefficients [B, Ki], without expression."""
    return combine(model.mean_shape, model.identity_basis, identity, xp)


def unposed_shape(model: MorphableModel, identity: Array, expression: Array, xp: Namespace = np) -> Array:
    """S = S_mean + B_id a + B_exp b (Deng et al., equation 1): [B, V, 3] in dm."""
    return combine(neutral_shape(model, identity, xp), model.expression_basis, expression, xp)


def albedo(model: MorphableModel, weights: Array, xp: Namespace = np) -> Array:
    """T = T_mean + B_t d (Deng et al., equation 2): [B, V, 3], RGB."""
    return combine(model.mean_albedo, model.albedo_basis, weights, xp)


def pose(points: Array, angles: Array, translation: Array, xp: Namespace = np) -> Array:
    """Rotates `points` [B, N, 3] by `angles` [B, 3] about the world's origin and moves them by `translation` [B, 3]."""
    rotation = geometry.rotation_matrix(angles, xp)
    return xp.matmul(points, xp.swapaxes(rotation, 1, 2)) + xp.expand_dims(translation, 1)


def at_landmarks(landmarks: Landmarks, attributes: Array, xp: Namespace = np) -> Array:
    """Values [B, L, C] of vertex `attributes` [B, V, C] at surface points (`morphable_model.Landmarks`)."""
    corners = xp.take(attributes, landmarks.vertices, axis=1)  # [B, L, 3, C]
    return xp.sum(corners * xp.expand_dims(landmarks.weights, -1), axis=2)


def reconstruct(
    model: MorphableModel,
    coefficients: Coefficients,
    camera: Camera | None = None,
    xp: Namespace = np,
    landmarks: str = "ibug68",
    shape: Array | None = None,
) -> Face:
    """Builds the faces of `coefficients`.

    Args:
      model: `MorphableModel`.
      coefficients: `Coefficients` of B faces.
      camera: `Camera`, by default that of the aligned 224 px photo.
      xp: array namespace.
      landmarks: name of the model's landmark set.
      shape: [B, V, 3] dm, unposed, in place of that of the coefficients.

    Returns:
      `Face`.

    Raises:
      KeyError: if the model has no such landmark set.
    """
    camera = camera or Camera()
    if shape is None:
        shape = unposed_shape(model, coefficients.identity, coefficients.expression, xp)
    vertices = pose(shape, coefficients.angles, coefficients.translation, xp)
    normals = geometry.vertex_normals(vertices, model.triangles, model.vertex_corners, xp)
    reflectance = albedo(model, coefficients.albedo, xp)
    colors = lighting.shade(reflectance, normals, coefficients.illumination, xp)
    pixels, depth = cameras.to_pixels(camera, vertices, xp)
    points = at_landmarks(model.landmarks[landmarks], vertices, xp)
    return Face(vertices, normals, reflectance, colors, pixels, depth, cameras.to_pixels(camera, points, xp)[0])
