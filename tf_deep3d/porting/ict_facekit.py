"""ICT-FaceKit (MIT, USC Institute for Creative Technologies): the folder FaceXModel of its repository.

generic_neutral_mesh.obj, identity000.obj .. identity099.obj (the neutral face plus one standard deviation of a mode)
and one OBJ per expression at full strength, all with the same vertices in the same order, as quads. Centimetres; x to
the person's left, y up, z forward, as ours. vertex_indices.json lists the expressions ("expressions") and the vertices
of the 68 landmarks ("idx_to_landmark_verts", from 0). The repository has changed the order of its vertices: the json
and the OBJ files must come from the same revision.

What is kept goes by the materials of the OBJ: face, gums and tongue, teeth, and the whites of the eyes; the back of the
head, lashes, tear fluid and the irises behind the whites are left out. The light model has no albedo: the colours are
`assemble.PLAIN`.

The expressions are blendshapes with weights from 0 to 1, not modes of a normal distribution. One expression
coefficient of the model file is `SPREAD` of a weight, about the standard deviation of a weight that is mostly 0. They
are kept at full strength as well, under ARKit's names (51 of its 52, without tongueOut), where ARKit has one shape for
two sides their sum.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tf_deep3d.porting import PortingError, landmarks
from tf_deep3d.porting.assemble import Source, crop
from tf_deep3d.porting.containers import Polygons, indices, read_json, read_obj, read_obj_vertices

CENTIMETRES = 10.0  # per dm
SPREAD = 0.25
NEUTRAL, INDEX = "generic_neutral_mesh.obj", "vertex_indices.json"
MOUTH = ("M_GumsTongue", "M_Teeth")
EYES = ("M_ScleraLeft", "M_ScleraRight", "M_EyeballLeft", "M_EyeballRight")
FACE = ("M_Face",)
KEPT = {"face": FACE, "teeth": MOUTH, "eyes": EYES}
SIDES = {"_L": "Left", "_R": "Right"}
BOTH_SIDES = ("browInnerUp", "cheekPuff")  # one shape in ARKit, two here


def read(
    folder: str | Path, landmark_file: str | Path | None = None, identity: int = 100, expression: int = 53
) -> Source:
    """Reads ICT-FaceKit.

    Args:
      folder: FaceXModel.
      landmark_file: 68 landmarks instead of those of vertex_indices.json, see `landmarks.FILE_FORMAT`.
      identity, expression: how many modes to take, at most as many as there are.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if a file is missing.
      PortingError: if a file is not what it should be.
    """
    folder = Path(folder)
    mesh = read_obj(folder / NEUTRAL)
    content = read_json(folder / INDEX)
    names = content.get("expressions") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise PortingError(f"{INDEX} must list the names of the expressions. Received: {str(names)[:80]}")
    if landmark_file is not None:
        points = landmarks.read_landmarks(landmark_file, mesh.vertices, mesh.triangles)
    else:
        listed = content.get("idx_to_landmark_verts", ())
        listed = indices(listed, f"{INDEX}: idx_to_landmark_verts", (68,), len(mesh.vertices))
        points = landmarks.at_vertices(listed, mesh.triangles)
    identities = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))[:identity]
    if not identities or not names:
        raise PortingError(f"{folder} must hold identity modes and expressions. Received: {len(identities)}")
    every = {name: _displacement(folder / f"{name}.obj", mesh.vertices) for name in names}
    arkit = _arkit(every)
    parts = {part: _vertices_of(mesh, part, materials) for part, materials in KEPT.items()}
    source = Source(
        name="ICT-FaceKit",
        licence="MIT",
        origin="ICT-FaceKit FaceXModel (USC Institute for Creative Technologies)",
        vertices=mesh.vertices / CENTIMETRES,
        triangles=mesh.triangles,
        identity=np.stack([_displacement(path, mesh.vertices) for path in identities]),
        expression=SPREAD * np.stack([every[name] for name in names[:expression]]),
        landmarks=points,
        uv=mesh.uv,
        uv_triangles=mesh.uv_triangles,
        regions={"eyes": parts["eyes"], "inner_mouth": parts["teeth"]},
        blendshape_names=tuple(arkit),
        blendshapes=np.stack(list(arkit.values())),
    )
    return crop(source, np.any(list(parts.values()), axis=0))


def _displacement(path: Path, neutral: np.ndarray) -> np.ndarray:
    """What the OBJ adds to the `neutral` vertices: [V, 3] dm."""
    vertices = read_obj_vertices(path)
    if vertices.shape != neutral.shape:
        raise PortingError(f"{path.name} must have the vertices of {NEUTRAL}. Received: {len(vertices)}")
    return (vertices - neutral) / CENTIMETRES


def _vertices_of(mesh: Polygons, part: str, materials: Sequence[str]) -> np.ndarray:
    """The vertices of the triangles of a `part`, those with one of its `materials`: bool [V]."""
    chosen = np.zeros(len(mesh.vertices), bool)
    chosen[mesh.triangles[np.isin(mesh.materials, materials)]] = True
    if not chosen.any():
        received = ", ".join(np.unique(mesh.materials))
        raise PortingError(f"{NEUTRAL} must have {part}, of {' or '.join(materials)}. Received: {received}")
    return chosen


def _arkit(shapes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ICT's shapes under ARKit's names."""
    renamed = {}
    for name, shape in shapes.items():
        base, side = name[:-2], name[-2:]
        if side in SIDES:
            name = base if base in BOTH_SIDES else base + SIDES[side]
        renamed[name] = renamed[name] + shape if name in renamed else shape
    return renamed
