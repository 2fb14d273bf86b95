"""The meshes of a face in two expressions, as every runtime writes them.

Letters: V vertices.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d import face as faces
from tf_deep3d.face import lips
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import vertex_normals
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.mesh import gltf
from tf_deep3d.mesh.accessors import Gltf
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.mesh.obj import write_obj
from tf_deep3d.mesh.ply import write_ply

TEXTURES = {"photo": "texture.png", "albedo": "albedo.png"}  # in the photo's light, and without it -> file
PHOTO_EXPRESSION = "photoExpression"  # the morph target that turns the neutral mesh into the photo's expression


class Style(NamedTuple):
    """How the files of a face are written, and what they say of it.

    Attributes:
      packing: of the GLB, one of `gltf.PACKINGS`.
      texture: kind of the texture, one of `TEXTURES`: names its file, and the GLB says it (`asset.extras.texture`).
      arkit: weights of ARKit's units in the photo, which the GLB's mesh carries (`extras.arkit`): its expression is
        already shown by that of the photo.
      closed: the lips meet in the photo's expression, too (`face.lips`), as they always do in the neutral face.
    """

    packing: str = "compact"
    texture: str = "photo"
    arkit: Mapping[str, float] | None = None
    closed: bool = False


USUAL = Style()


def meshes(
    model: MorphableModel, coefficients: Coefficients, texture: np.ndarray | None = None, closed: bool = False
) -> tuple[Mesh, Mesh, dict[str, np.ndarray]]:
    """The meshes of one face, unposed, facing +z.

    Args:
      model: `MorphableModel`.
      coefficients: `Coefficients` of this one face.
      texture: [S, S, 3] in the model's texture coordinates, or None.
      closed: the lips meet in the photo's expression, too.

    Returns:
      (`Mesh` with the photo's expression, neutral `Mesh`, whose lips meet, morph targets of the neutral one: the
      model's blendshapes and `PHOTO_EXPRESSION`, name -> [V, 3] dm).
    """
    own = lips.lips_of(model)
    neutral = faces.neutral_shape(model, coefficients.identity)
    shape = faces.combine(neutral, model.expression_basis, coefficients.expression)[0]
    neutral = lips.sealed(own, neutral[0])
    shape = lips.sealed(own, shape) if closed else shape
    expressive, still = (
        Mesh(
            vertices=vertices,
            triangles=model.triangles,
            normals=vertex_normals(vertices[None], model.triangles, model.vertex_corners)[0],
            uv=model.uv,
            uv_triangles=model.uv_triangles,
            texture=texture,
        )
        for vertices in (shape, neutral)
    )
    targets = dict(zip(model.blendshape_names, model.blendshapes, strict=True))
    return expressive, still, targets | {PHOTO_EXPRESSION: shape - neutral}


def write_meshes(
    folder: Path,
    name: str,
    model: MorphableModel,
    coefficients: Coefficients,
    texture: np.ndarray | None = None,
    colors: np.ndarray | None = None,
    style: Style = USUAL,
) -> None:
    """Writes face.obj, face.ply and face.glb of a face, facing the viewer.

    OBJ and PLY have its expression. GLB is neutral, with the blendshapes, and the expression where there is one, as
    morph targets. Without a texture OBJ and GLB have colours of the vertices, as the PLY always has.

    Args:
      folder: to write into; a texture becomes a PNG beside the OBJ.
      name: of the face.
      model: `MorphableModel`.
      coefficients: `Coefficients` of this one face; its pose and light do not matter.
      texture: [S, S, 3] in the model's texture coordinates, or None.
      colors: [V, 3] in [0, 1] of the OBJ without a texture; by default the albedo, as in PLY and GLB.
      style: see there.
    """
    expressive = meshes(model, coefficients, texture, style.closed)[0]
    reflectance = np.clip(faces.albedo(model, coefficients.albedo)[0], 0, 1)
    bare = expressive._replace(texture=None, uv=None, uv_triangles=None, colors=reflectance)
    if texture is None:
        expressive = bare if colors is None else bare._replace(colors=colors)
    write_obj(folder / "face.obj", expressive, name, model.licence, texture_name=TEXTURES[style.texture])
    write_ply(folder / "face.ply", bare, name, model.licence)
    gltf.write_glb(folder / "face.glb", build(model, coefficients, texture, name, style))


def build(
    model: MorphableModel,
    coefficients: Coefficients,
    texture: np.ndarray | None = None,
    name: str = "face",
    style: Style = USUAL,
) -> Gltf:
    """The neutral face with the model's blendshapes as morph targets, and its photo's expression where there is one.

    Args:
      model, coefficients, texture, name, style: as of `write_meshes`.

    Returns:
      `Gltf`, for `gltf.write_glb`.
    """
    _, still, targets = meshes(model, coefficients, texture, style.closed)
    if texture is None:
        reflectance = np.clip(faces.albedo(model, coefficients.albedo)[0], 0, 1)
        still = still._replace(uv=None, uv_triangles=None, colors=reflectance)
    weights = {PHOTO_EXPRESSION: 1.0}
    if not np.any(coefficients.expression):
        targets.pop(PHOTO_EXPRESSION)
        weights = {}
    document = gltf.build(parts(model, still), targets, weights, name, model.licence, style.packing)
    return say(document, style, texture is not None)


def say(document: Gltf, style: Style, textured: bool) -> Gltf:
    """A `Gltf` of a face that says, in the `extras` of the asset and of its first mesh, what its `Style` knows."""
    if textured:
        document.tree["asset"]["extras"]["texture"] = style.texture
    if style.arkit:
        document.tree["meshes"][0].setdefault("extras", {})["arkit"] = dict(style.arkit)
    return document


def parts(model: MorphableModel, mesh: Mesh) -> dict[str, Mesh]:
    """A face's `mesh` by what it is made of: the triangles of skin, eyes and the inner mouth (`gltf.MATERIALS`)."""
    eyes, mouth = (model.regions[region][mesh.triangles].all(1) for region in ("eyes", "inner_mouth"))
    return {
        material: mesh._replace(
            triangles=mesh.triangles[mine],
            uv_triangles=None if mesh.uv_triangles is None else mesh.uv_triangles[mine],
        )
        for material, mine in {"skin": ~eyes & ~mouth, "eyes": eyes, "mouth": mouth & ~eyes}.items()
        if mine.any()
    }


def write_json(path: Path, record: Any) -> None:
    """Writes `record`, which JSON can hold, to a new file `path`; ValueError for numbers that are not finite."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def numbers(array: ArrayLike) -> list[Any]:
    """An array as lists of numbers of six decimals, for JSON."""
    return np.round(np.asarray(array, np.float64), 6).tolist()
