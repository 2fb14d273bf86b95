"""People of the open face model: the statistics of its shapes, and single persons with their exact geometry."""

from typing import NamedTuple

import numpy as np

from tf_deep3d.face.blendshapes import ARKIT
from tf_deep3d.porting.open_face import albedo, geometry, shape, surface
from tf_deep3d.porting.open_face.canvas import canvas
from tf_deep3d.porting.open_face.mesh import Mesh, subdivide
from tf_deep3d.porting.open_face.sources import Sources

IDENTITY, EXPRESSION = 80, 64  # modes
CROWD, EXPRESSIONS = 12_000, 8_000  # samples
SEED = 20
SCALE = 1.07  # the base mesh's heads are smaller than people's
CENTER = (0.0, -0.046, 0.253)  # dm, where the mean of the eyes, nose tip and mouth corners lies, as in BFM 2009


class Shapes(NamedTuple):
    """Geometry of the model, at its control points, dm, model frame.

    Attributes:
      face: `surface.Surface`.
      mesh: `Mesh`.
      mean: [C, 3].
      identity: [Ki, C, 3].
      expression: [Ke, C, 3].
      blendshapes: [52, C, 3].
      origin: [3] dm, the model's origin in the sources' frame, where `SCALE` is applied first.
      shares: share of the variance that the identity and the expression modes hold.
    """

    face: surface.Surface
    mesh: Mesh
    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    blendshapes: np.ndarray
    origin: np.ndarray
    shares: tuple


def build_shapes(sources: Sources) -> Shapes:
    """Samples sculpted people and expressions and finds their modes: `Shapes`."""
    face = surface.face_surface(sources)
    mesh = subdivide(face, sources.vertices)
    rng = np.random.default_rng(SEED)
    names = shape.identity_targets(sources)
    moves = shape.displacements(sources, face, names)
    skin = np.unique(face.quads[face.parts == surface.FACE])
    crowd = shape.people(face.control(sources.vertices), moves, shape.sample_people(names, CROWD, rng), skin)
    mean, identity, share = shape.symmetric_modes(crowd, face.mirror, IDENTITY)
    del crowd
    names = shape.expression_targets(sources)
    moves = shape.displacements(sources, face, names).reshape(len(names), -1)
    mixes = shape.sample_expressions(names, EXPRESSIONS, rng) @ moves
    mixes = mixes.astype(np.float32).reshape(EXPRESSIONS, *mean.shape)
    _, expression, expression_share = shape.symmetric_modes(mixes, face.mirror, EXPRESSION, center=False)
    units = shape.displacements(sources, face, [f"faceunits/{name}" for name in ARKIT])
    units[ARKIT.index("tongueOut")] = shape.tongue_out(face, mean)
    origin = SCALE * five_points(face, mean).mean(0) - CENTER
    return Shapes(
        face, mesh, SCALE * mean - origin, SCALE * identity, SCALE * expression, SCALE * units, origin,
        (share, expression_share),
    )  # fmt: skip


def five_points(face: surface.Surface, mean: np.ndarray) -> np.ndarray:
    """Fronts of the eyeballs, nose tip and mouth corners among control points [C, 3]: [5, 3]."""
    eyes = np.unique(face.quads[face.parts == surface.EYE])
    fronts = [side[mean[side, 2].argmax()] for side in (eyes[mean[eyes, 0] < 0], eyes[mean[eyes, 0] > 0])]
    lips = np.intersect1d(face.quads[face.parts == surface.FACE], face.quads[face.parts == surface.MOUTH])
    corners = [lips[mean[lips, 0].argmin()], lips[mean[lips, 0].argmax()]]
    return mean[[*fronts, mean[:, 2].argmax(), *corners]]


class People(NamedTuple):
    """People straight from the targets, not from the modes.

    Attributes:
      faces: [n, V, 3] float32 dm, finest level of the model, model frame.
      heads: [n, H, 3] float32 dm, the same people with ears and neck.
      triangles: [S, 3] int32 of the heads.
      colors: [n, H, 3] float32 albedo of the heads.
    """

    faces: np.ndarray
    heads: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray


def sample_identities(
    sources: Sources, shapes: Shapes, seed: int, count: int, expressions: np.ndarray | None = None
) -> People:
    """Random people with their exact geometry and full heads, for tests and for realistic renders: `People`.

    Args:
      sources: `open_face_sources.Sources`.
      shapes: `Shapes`, for the model's frame.
      seed: of the random numbers.
      count: number of people n.
      expressions: [n, K] weights of `open_face_shape.expression_targets`; by default neutral faces.
    """
    rng = np.random.default_rng(seed)
    names, units = shape.identity_targets(sources), shape.expression_targets(sources)
    weights = shape.sample_people(names, count, rng)
    expressions = np.zeros((count, len(units))) if expressions is None else expressions
    skin = np.unique(shapes.face.quads[shapes.face.parts == surface.FACE])
    reference = ((shapes.mean + shapes.origin) / SCALE)[skin]
    head = surface.head_surface(sources)
    meshes = (shapes.mesh, subdivide(head, sources.vertices))
    controls = []
    for each in (shapes.face, head):
        neutral = each.control(sources.vertices) + np.tensordot(weights, shape.displacements(sources, each, names), 1)
        controls.append((neutral, np.tensordot(expressions, shape.displacements(sources, each, units), 1)))
    rotation, shift = shape.rigid_motion(controls[0][0][:, skin], reference)
    results = []
    for mesh, (neutral, moved) in zip(meshes, controls, strict=True):
        posed = SCALE * ((neutral + moved) @ rotation + shift[:, None]) - shapes.origin
        results.append(np.stack([mesh.refine(person) for person in posed]).astype(np.float32))
    ground = canvas(sources, meshes[1], crop=False)
    colors = np.stack(list(albedo.sample_albedos(ground, count, rng)))
    quads = meshes[1].quads[-1]
    faces, heads = results
    return People(faces, heads, geometry.split_quads(quads, quads, heads[0])[0], colors)
