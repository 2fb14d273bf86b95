"""An analytic face that the tests of `porting` write down in other people's formats."""

from typing import NamedTuple

import numpy as np

from tests.synthetic import IBUG68, _grid, _smooth_fields
from tf_deep3d import face as faces
from tf_deep3d.porting.landmarks import positions

PLACE = np.array([0.03, 0.4, 0.9])  # dm, somewhere else than our origin


class Foreign(NamedTuple):
    """In dm and in our axes.

    Attributes:
      vertices: [V, 3]; the first `front` of them are a face that looks along +z, the others the back of its head.
      triangles: [T, 3], counter-clockwise seen from outside.
      identity, expression: [5, V, 3] and [4, V, 3].
      albedo, albedo_basis: [V, 3] and [3, V, 3].
      uv: [V, 2].
      landmarks: [68] vertices.
      places: [68] triangles and [68, 3] barycentrics of the exact landmarks.
      front: number of vertices of the face.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    albedo: np.ndarray
    albedo_basis: np.ndarray
    uv: np.ndarray
    landmarks: np.ndarray
    places: tuple
    front: int


def foreign_face(columns=41, rows=51, back=False, seed=3):
    """A dome with a nose on a grid of `columns` x `rows` vertices, if wanted with a sheet 3 dm behind it."""
    rng = np.random.default_rng(seed)
    grid, triangles = _grid(columns, rows)
    x, y = grid.T
    nose = np.exp(-((x / 0.2) ** 2) - ((y + 0.05) / 0.25) ** 2)
    vertices = np.stack([0.8 * x, 1.0 * y, 0.5 - 0.6 * x**2 - 0.3 * y**2 + 0.25 * nose], -1) + PLACE
    corners = grid[triangles]
    edges = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
    local = np.linalg.solve(edges[None], (IBUG68[:, None] - corners[None, :, 0])[..., None])[..., 0]
    weights = np.concatenate([1 - local.sum(-1, keepdims=True), local], -1)
    best = weights.min(-1).argmax(-1)
    places = best, np.maximum(weights[np.arange(68), best], 0)
    nearest = ((grid[None] - IBUG68[:, None]) ** 2).sum(-1).argmin(1)
    front, uv = len(grid), grid / 2 + 0.5
    if back:
        vertices = np.concatenate([vertices, vertices * [1, 1, 0] + [0, 0, PLACE[2] - 3]])
        triangles = np.concatenate([triangles, triangles[:, ::-1] + front])
        grid, uv = np.tile(grid, (2, 1)), np.concatenate([uv * [0.5, 1], uv * [0.5, 1] + [0.5, 0]])
    return Foreign(
        vertices=vertices,
        triangles=triangles,
        identity=_smooth_fields(rng, grid, 5, 0.012),
        expression=_smooth_fields(rng, grid, 4, 0.012),
        albedo=np.clip(0.5 + _smooth_fields(rng, grid, 1, 0.05)[0], 0.05, 0.95),
        albedo_basis=_smooth_fields(rng, grid, 3, 0.01),
        uv=uv,
        landmarks=nearest,
        places=places,
        front=front,
    )


def assert_model_is(model, face, center=None, keep=None, identity=None, expression=None, tolerance=2e-6):
    """Asserts that `model` makes the vertices that `face` implies, for random coefficients, outside out.

    Args:
      model: `MorphableModel`.
      face: `Foreign`.
      center: [3], what must have become the origin, or None: any one point.
      keep: indices of the kept vertices, by default all.
      identity, expression: [K, V, 3] modes instead of those of `face`.
      tolerance: dm.
    """
    rng = np.random.default_rng(0)
    keep = np.arange(len(face.vertices)) if keep is None else keep
    identity = face.identity if identity is None else identity
    expression = face.expression if expression is None else expression
    assert (len(model.identity_basis), len(model.expression_basis)) == (len(identity), len(expression))
    a, b = rng.normal(size=(2, len(identity))), rng.normal(size=(2, len(expression)))
    wanted = face.vertices + np.tensordot(a, identity, 1) + np.tensordot(b, expression, 1)
    found = faces.unposed_shape(model, a, b)
    center = (face.vertices[keep] - model.mean_shape).mean(0) if center is None else center
    np.testing.assert_allclose(found, wanted[:, keep] - center, atol=tolerance)
    normals = faces.geometry.triangle_normals(model.mean_shape[None], model.triangles)[0]
    front = model.mean_shape[model.triangles].mean(1)[:, 2] > -1
    assert (normals[front, 2] > 0).all()
    assert (normals[~front, 2] < 0).all()


def assert_centered(model):
    """Asserts that the alignment points have their mean where the paper's code has it."""
    points = positions(model.landmarks["alignment5"], model.mean_shape)
    np.testing.assert_allclose(points.mean(0), [0, -0.046, 0.253], atol=1e-5)
    left, right, nose, mouth_left, mouth_right = points
    assert left[0] < 0 < right[0]
    assert mouth_left[0] < 0 < mouth_right[0]
    assert nose[2] == points[:, 2].max()
