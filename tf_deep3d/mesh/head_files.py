"""A whole head as a binary glTF: what the face's photo does not show goes on in the colours of its texture.

Face, skin, rows of teeth, tongue and eyeballs are named nodes below `gltf.HEAD`, each with the morph targets that move
it. An eyeball's node lies in its center, so that an engine can turn it. Morph targets have the names of a face's file.

Letters: V vertices, T triangles, S side of the texture in px.
"""

from pathlib import Path

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import geometry, lips
from tf_deep3d.face import head as heads
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.head import Head
from tf_deep3d.mesh import gltf
from tf_deep3d.mesh.accessors import Gltf
from tf_deep3d.mesh.face_files import PHOTO_EXPRESSION, USUAL, Style, say
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.mesh.morphs import SMALLEST_DISPLACEMENT, Morph, morphs

DARKEST = 0.02  # added to colours before the logarithm
SPREADING, FADING = 400, 0.03  # steps by which the texture's light goes on over the skin, and what each loses of it
SKIN = ("skin", "neck cap", "sockets")  # parts in colours of their vertices where the face does not reach
NODES = {  # name -> part of the head, what it is made of
    "teethUpper": ("upper teeth", "teeth"),
    "teethLower": ("lower teeth", "teeth"),
    "tongue": ("tongue", "mouth"),
}


def build(
    head: Head,
    coefficients: Coefficients,
    texture: np.ndarray | None,
    name: str = "head",
    licence: str = "",
    style: Style = USUAL,
) -> Gltf:
    """The neutral head of a face with ARKit's units as morph targets, and its photo's expression where there is one.

    Args:
      head: `Head`.
      coefficients: `Coefficients` of this one face; its pose and light do not matter.
      texture: [S, S, 3] float in [0, 1] or uint8, of the face, in its texture coordinates; None for the albedo alone.
      name: of the node of the face.
      licence: goes to `asset.copyright`.
      style: see there.

    Returns:
      `Gltf`, for `gltf.write_glb`.
    """
    whole = head.whole
    own = lips.lips_of(whole)
    neutral = lips.sealed(own, faces.neutral_shape(whole, coefficients.identity)[0])
    targets = dict(zip(whole.blendshape_names, heads.blendshapes(head, coefficients.identity[0]), strict=True))
    if np.any(coefficients.expression):
        expressive = heads.unposed_shape(head, coefficients.identity, coefficients.expression)[0]
        targets[PHOTO_EXPRESSION] = (lips.sealed(own, expressive) if style.closed else expressive) - neutral
    albedo = faces.albedo(whole, coefficients.albedo)[0]
    mesh = Mesh(
        vertices=neutral,
        triangles=whole.triangles,
        normals=geometry.vertex_normals(neutral[None], whole.triangles, whole.vertex_corners)[0],
        colors=np.clip(albedo, 0, 1) if texture is None else continued(head, albedo, texture),
    )
    moves = morphs(mesh, targets)
    textured = np.arange(len(whole.triangles)) < len(whole.uv_triangles)

    def part(chosen: np.ndarray) -> Mesh:
        return mesh._replace(triangles=whole.triangles[chosen])

    def painted(chosen: np.ndarray) -> Mesh:
        own = whole.uv_triangles[chosen[textured]]
        return part(chosen)._replace(uv=whole.uv, uv_triangles=own, texture=texture)

    file = gltf.start(name, licence, style.packing)

    def add(node: str, parts: dict[str, Mesh], origin: np.ndarray | None = None) -> None:
        moving = _moving(np.concatenate([each.triangles for each in parts.values()]), moves)
        weights = {PHOTO_EXPRESSION: 1.0} if PHOTO_EXPRESSION in moving else {}
        gltf.add_mesh(file, parts, moving, weights, node, np.zeros(3) if origin is None else origin)

    eyes, throat = head.parts["eyes"], head.parts["throat"]
    skin = np.any([head.parts[name] for name in SKIN], axis=0) & ~textured
    add(name, {"skin": painted(textured & ~eyes & ~throat), "mouth": painted(textured & throat)})
    add("skin", {"skin": part(skin), "mouth": part(throat & ~textured)})
    for node, (name_of_part, material) in NODES.items():
        add(node, {material: part(head.parts[name_of_part])})
    uv, uv_triangles = _eye_texture(head)
    for bone in head.bones:
        if bone.name.startswith("eye"):
            own = eyes & np.isin(whole.triangles, bone.vertices).all(1)
            eye = part(own)._replace(uv=uv, uv_triangles=uv_triangles[own[eyes]], texture=texture)
            add(bone.name, {"eyes": eye}, neutral[bone.pivot].mean(0))
    return say(file, style, texture is not None)


def write_head(
    folder: Path,
    name: str,
    head: Head,
    coefficients: Coefficients,
    texture: np.ndarray | None = None,
    style: Style = USUAL,
) -> None:
    """Writes head.glb of a face into a folder; the other arguments are those of `build`."""
    gltf.write_glb(folder / "head.glb", build(head, coefficients, texture, name, head.whole.licence, style))


def continued(head: Head, albedo: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Colours [V, 3] in [0, 1] of the head's vertices under the light of the face's texture.

    At the face's border they are the texture's own. From there the ratio of texture to albedo, the light of the photo,
    goes on smoothly over the skin to what is usual in the face, whose border is often in the shade; inside the head it
    is as strong and as warm, but never cold, and nothing there is brighter than its albedo.

    Args:
      head: `Head`.
      albedo: [V, 3] in [0, 1].
      texture: [S, S, 3] float in [0, 1] or uint8.
    """
    whole = head.whole
    outside = whole.triangles[len(whole.uv_triangles) :][head.parts["skin"][len(whole.uv_triangles) :]]
    border = np.intersect1d(outside, np.arange(head.face))
    point = np.zeros(head.face, int)  # a texture point of each vertex of the face
    point[whole.triangles[: len(whole.uv_triangles)]] = whole.uv_triangles
    size = len(texture)
    column, row = (np.clip(whole.uv[point] * (1, -1) + (0, 1), 0, 1) * (size - 1)).round().astype(int).T
    seen = np.asarray(texture)[row, column] / (255.0 if texture.dtype == np.uint8 else 1.0)
    light = np.log(seen + DARKEST) - np.log(np.clip(albedo[: head.face], 0, 1) + DARKEST)
    usual, light = np.median(light, axis=0), light[border]

    edges = np.concatenate([outside[:, [0, 1]], outside[:, [1, 2]], outside[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    ends, others = np.ascontiguousarray(edges.T, np.intp)
    count = np.maximum(np.bincount(ends, minlength=len(albedo)), 1)[:, None]
    warmth = max(usual[0] - usual[2], 0) / 2  # what looks cold is mostly an albedo that is too red: white teeth show it
    offset = np.full_like(albedo, min(usual.mean(), 0)) + np.array([warmth, 0, -warmth])
    offset[outside] = usual
    for _ in range(SPREADING):
        offset[border] = light
        sums = [np.bincount(ends, offset[:, c].take(others), len(albedo)) for c in range(3)]
        offset = np.where(count > 1, np.stack(sums, 1) / count * (1 - FADING) + usual * FADING, offset)
    offset[border] = light
    return np.clip(np.exp(np.log(np.clip(albedo, 0, 1) + DARKEST) + offset) - DARKEST, 0, 1)


def _moving(triangles: np.ndarray, moves: dict[str, Morph]) -> dict[str, Morph]:
    """The morph targets that move what `triangles` [T, 3] cover."""
    used = np.unique(triangles)

    def moved(morph: Morph) -> bool:
        mine = morph.displacements[np.isin(morph.vertices, used)]
        return bool(np.linalg.norm(mine, axis=1).max(initial=0) >= SMALLEST_DISPLACEMENT)

    return {name: morph for name, morph in moves.items() if moved(morph)}


def _eye_texture(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates [U, 2] of whole eyeballs, and their triangles in them: behind they go on as on their ring."""
    whole = head.whole
    triangles = whole.triangles[head.parts["eyes"]]
    vertices, corners = np.unique(triangles, return_inverse=True)
    front = whole.triangles[: len(whole.uv_triangles)]
    point = np.full(len(whole.mean_shape), -1)
    point[front] = whole.uv_triangles
    known = vertices[point[vertices] >= 0]
    rings = np.concatenate([bone.pivot for bone in head.bones if bone.name.startswith("eye")])
    rings = np.intersect1d(rings, known)
    behind = vertices[point[vertices] < 0]
    distance = np.linalg.norm(whole.mean_shape[behind, None] - whole.mean_shape[None, rings], axis=2)
    point[behind] = point[rings[distance.argmin(1)]]
    return whole.uv[point[vertices]], corners.reshape(triangles.shape).astype(np.int32)
