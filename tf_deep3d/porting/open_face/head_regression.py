"""Regresses what lies around and inside the face on the face model's coefficients, by least squares over random people.

Coefficients come from the face alone, so that whoever has a face has its head. The regression follows a linear change
of the model's coordinates: calibrated modes give the same heads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from tf_deep3d.arrays import Array
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.porting.open_face import albedo, bones, geometry, people, shape, surface
from tf_deep3d.porting.open_face.canvas import Canvas
from tf_deep3d.porting.open_face.sources import Sources
from tf_deep3d.porting.open_face.surface import Surface

PEOPLE, EXPRESSIONS, COMPLEXIONS = 3_000, 2_000, 1_200  # samples
HELD_OUT = 200  # of each kind, to measure the regression on
FADE = 60  # steps by which the face's colour fades into that of the rest
SEED = 31
_TEETH = ("helper-upper-teeth", "helper-lower-teeth")


class Controls(NamedTuple):
    """The rest's control points beyond the face's, and their modes; dm, model frame.

    Attributes:
      mean: [C, 3]: the rest's inner control points, the tongue, the four controls of the upper teeth and of the lower.
      identity: [Ki, C, 3].
      expression: [Ke, C, 3].
      units: [N, C, 3], of the ARKit units.
      expression_turns: [Ke, 3, 3], rotation vector of each of `bones.NAMES`, radians.
      unit_turns: [N, 3, 3].
      errors: name -> distances [n, P] dm of held-out draws from the truth.
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    units: np.ndarray
    expression_turns: np.ndarray
    unit_turns: np.ndarray
    errors: dict


def fit(inputs: np.ndarray, outputs: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of `outputs` [n, D] on `inputs` [n, K] and a constant, without the last `held_out` samples.

    Returns:
      (weights [K, D], constant [D], residuals [held_out, D]).
    """
    system = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    known = len(inputs) - held_out
    solution = np.linalg.lstsq(system[:known], outputs[:known], rcond=None)[0]
    return solution[:-1], solution[-1], outputs[known:] - system[known:] @ solution


def coefficients_of(basis: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Coefficients [n, K] with which basis [K, D] comes nearest to offsets [n, D]."""
    return np.linalg.solve(basis @ basis.T, basis @ offsets.T).T


def symmetrized(
    moves: np.ndarray, modes: np.ndarray, mirror: np.ndarray, face_mirror: np.ndarray, flip: Sequence[int] = (-1, 1, 1)
) -> np.ndarray:
    """Gives each of `moves` [K, I, 3] the symmetry that the face's mode has: symmetric or antisymmetric in x.

    Args:
      moves: [K, I, 3], of the rest.
      modes: [K, C, 3], of the face.
      mirror: [I] int, mirrored point of the rest.
      face_mirror: [C] int, of the face.
      flip: signs of a mirrored move; turns are mirrored with (1, -1, -1).
    """
    sign = np.sign((modes * modes[:, face_mirror] * np.array([-1, 1, 1])).sum((1, 2)))
    return (moves + sign[:, None, None] * moves[:, mirror] * np.array(flip)) / 2


def regress_shape(
    sources: Sources,
    face: Surface,
    inner: np.ndarray,
    teeth_center: np.ndarray,
    arrays: dict[str, Array],
    rng: np.random.Generator,
) -> Controls:
    """Mean and modes of the rest's control points.

    Args:
      sources: `Sources`.
      face: `surface.Surface` of the face.
      inner: [I] int, the base mesh's vertices that the rest adds.
      teeth_center: [2, 3] dm, centers of the upper and the lower row, on the base mesh.
      arrays: of the face model's file.
      rng: random generator.

    Returns:
      `Controls`.
    """
    mean, identity, expression = (arrays[n].astype(float) for n in ("mean_shape", "identity_basis", "expression_basis"))
    bands = [np.unique(sources.quads[name]) for name in _TEETH]
    tongue = np.unique(sources.quads["helper-tongue"])
    points = np.concatenate([inner, tongue, *bands])
    soft = len(inner) + len(tongue)
    frames = [
        np.linalg.pinv(bones.affine(sources.vertices[own], c)) for own, c in zip(bands, teeth_center, strict=True)
    ]
    reduce = np.asarray(block_diag(np.eye(soft), *frames))

    crowd = _crowd(sources, face, points, mean, rng)
    count = len(face.offset)
    known = coefficients_of(identity.reshape(len(identity), -1), (crowd[:, :count] - mean).reshape(len(crowd), -1))
    solved, constant, error = fit(known, crowd[:, count:].reshape(len(crowd), -1), HELD_OUT)
    del crowd
    number = np.full(len(sources.vertices), -1)
    number[points] = np.arange(len(points))
    mirror = number[sources.mirror[points]]
    middle = constant.reshape(-1, 3)
    middle = (middle + middle[mirror] * [-1, 1, 1]) / 2
    solved = symmetrized(solved.reshape(len(identity), -1, 3), identity, mirror, face.mirror)

    names = shape.expression_targets(sources)
    mixes = shape.sample_expressions(names, EXPRESSIONS + HELD_OUT, rng)
    on_face = people.SCALE * shape.displacements(sources, face, names).reshape(len(names), -1)
    moves, turns = _moves(sources, points[:soft], names, teeth_center[1])
    known = coefficients_of(expression.reshape(len(expression), -1), mixes @ on_face)
    outputs = mixes @ np.concatenate([moves.reshape(len(names), -1), turns.reshape(len(names), -1)], 1)
    posed, _, left = fit(known, outputs, HELD_OUT)
    posed, turned = posed[:, : moves[0].size].reshape(-1, *moves.shape[1:]), posed[:, moves[0].size :]
    mirror = np.append(mirror[:soft], soft + np.arange(8))
    posed = symmetrized(posed, expression, mirror, face.mirror)
    turned = symmetrized(turned.reshape(-1, 3, 3), expression, bones.MIRRORED, face.mirror, (1, -1, -1))
    units, unit_turns = _moves(sources, points[:soft], [f"faceunits/{name}" for name in people.ARKIT], teeth_center[1])
    errors = {
        "people": np.linalg.norm(error.reshape(HELD_OUT, -1, 3)[:, : len(inner)], axis=2),
        "expressions": np.linalg.norm(left[:, : moves[0].size].reshape(HELD_OUT, -1, 3)[:, : len(inner)], axis=2),
    }
    return Controls(
        reduce @ middle, np.stack([reduce @ mode for mode in solved]), posed, units, turned, unit_turns, errors
    )


def _crowd(
    sources: Sources, face: Surface, points: np.ndarray, mean: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Random people in the model frame: control points of the face, then `points` of the base mesh, [n, C + P, 3]."""
    names = shape.identity_targets(sources)
    weights = shape.sample_people(names, PEOPLE + HELD_OUT, rng)
    base = np.concatenate([face.control(sources.vertices), sources.vertices[points]])
    moves = [shape.displacements(sources, face, names), shape.vertex_displacements(sources, points, names)]
    crowd = people.SCALE * (base + np.tensordot(weights, np.concatenate(moves, 1), 1))
    skin = np.unique(face.quads[face.parts == surface.FACE])
    rotation, shift = shape.rigid_motion(crowd[:, skin], mean[skin])
    return crowd @ rotation + shift[:, None]


def _moves(
    sources: Sources, soft: np.ndarray, names: Sequence[str], teeth_center: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements of the rest's control points [K, C, 3] dm and turns of the bones [K, 3, 3] by targets.

    The four controls of a row of teeth move with its bone: all of the upper row's, and the axes of the lower's, stay.
    """
    moves = people.SCALE * shape.vertex_displacements(sources, soft, names)
    turns, shifts, _ = bones.motions(sources, names, teeth_center)
    rows = np.zeros((len(names), 8, 3))
    rows[:, -1] = people.SCALE * shifts[:, bones.NAMES.index("jaw")]
    return np.concatenate([moves, rows], 1), turns


def regress_albedo(
    grounds: Sequence[Canvas],
    at_face: np.ndarray,
    at_head: np.ndarray,
    near: geometry.Sparse,
    model: MorphableModel,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Albedo of the rest's skin, on the face model's albedo coefficients.

    The sources paint hair beyond the face's border, the face model does not: near the border, the rest takes over the
    border's colour.

    Args:
      grounds: `Canvas` of the face and of the head.
      at_face: [R] int, vertices of the rest's skin among the face's, -1 for none (all but the border).
      at_head: [R] int, among the head's.
      near: [R, R] sparse, see `head_mesh.neighbour_mean`.
      model: `MorphableModel`.

    Returns:
      (modes [Kt, R, 3], mean [R, 3], coefficients [n, Kt], residuals of held-out complexions [n, R * 3]).
    """
    border = at_face >= 0
    basis = model.albedo_basis.reshape(len(model.albedo_basis), -1).astype(float)
    draws = [albedo.sample_albedos(ground, COMPLEXIONS + HELD_OUT, np.random.default_rng(SEED)) for ground in grounds]
    known, colors = [], []
    for on_face, on_head in zip(*draws, strict=True):
        known.append(basis @ (on_face - model.mean_albedo).ravel())
        color = on_head[at_head]
        wanted = np.where(border[:, None], on_face[np.maximum(at_face, 0)] - color, 0)
        change = wanted
        for _ in range(FADE):
            change = np.where(border[:, None], wanted, near @ change)
        colors.append(np.clip(color + change, 0.004, 0.98).astype(np.float32))
    known = np.linalg.solve(basis @ basis.T, np.stack(known).T).T
    modes, mean, error = fit(known, np.stack(colors).reshape(len(colors), -1), HELD_OUT)
    return modes.reshape(len(modes), -1, 3), mean.reshape(-1, 3), known, error
