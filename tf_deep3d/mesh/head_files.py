"""A whole head as a binary glTF: what the face's photo does not show goes on in the colours of its texture.

The node of the face is the root; skin, rows of teeth, tongue and eyeballs are named nodes below it, each with the morph
targets that move it. Names of morph targets are those of a face's file.

Letters: V vertices, T triangles, S side of the texture in px.
"""

from pathlib import Path

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import geometry
from tf_deep3d.face import head as heads
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.head import Head
from tf_deep3d.mesh import gltf
from tf_deep3d.mesh.face_files import PHOTO_EXPRESSION
from tf_deep3d.mesh.gltf import Gltf
from tf_deep3d.mesh.mesh import Mesh

DARKEST = 0.02  # added to colours before the logarithm
SPREADING = 400  # steps by which the texture's light goes on over the skin
FACE = 0  # the material with the face's texture
PAINTED = ("skin", "neck cap", "throat", "sockets")  # parts in colours of their vertices where the face does not reach
NODES = {"teethUpper": "upper teeth", "teethLower": "lower teeth", "tongue": "tongue"}  # name -> part of the head


def build(
    head: Head,
    coefficients: Coefficients,
    texture: np.ndarray | None,
    name: str = "head",
    licence: str = "",
    kind: str = "photo",
) -> Gltf:
    """The neutral head of a face with ARKit's units as morph targets, and its photo's expression where there is one.

    Args:
      head: `Head`.
      coefficients: `Coefficients` of this one face; its pose and light do not matter.
      texture: [S, S, 3] float in [0, 1] or uint8, of the face, in its texture coordinates; None for the albedo alone.
      name: of the file's root node.
      licence: goes to `asset.copyright`.
      kind: of the texture, as of `face_files.write_meshes`.

    Returns:
      `Gltf`, for `gltf.write_glb`.
    """
    whole = head.whole
    neutral = faces.neutral_shape(whole, coefficients.identity)
    targets = dict(zip(whole.blendshape_names, heads.blendshapes(head, coefficients.identity[0]), strict=True))
    if np.any(coefficients.expression):
        expressive = heads.unposed_shape(head, coefficients.identity, coefficients.expression)
        targets[PHOTO_EXPRESSION] = (expressive - neutral)[0]
    albedo = faces.albedo(whole, coefficients.albedo)[0]
    mesh = Mesh(
        vertices=neutral[0],
        triangles=whole.triangles,
        normals=geometry.vertex_normals(neutral, whole.triangles, whole.vertex_corners)[0],
        colors=np.clip(albedo, 0, 1) if texture is None else continued(head, albedo, texture),
    )
    textured = np.arange(len(whole.triangles)) < len(whole.uv_triangles)
    eyes = head.parts["eyes"]
    skin = textured & ~eyes
    shown = mesh._replace(
        triangles=whole.triangles[skin], uv=whole.uv, uv_triangles=whole.uv_triangles[skin[textured]], texture=texture
    )
    extras = None if texture is None else {"texture": kind}
    file = gltf.build(shown, *_moving(shown, targets), name, licence, extras)
    outside = np.any([head.parts[part] for part in PAINTED], axis=0) & ~textured
    for node, chosen in {"skin": outside, **{node: head.parts[part] for node, part in NODES.items()}}.items():
        part = mesh._replace(triangles=whole.triangles[chosen])
        gltf.add_mesh(file, part, *_moving(part, targets), node)
    uv, uv_triangles = _eye_texture(head)
    for bone in head.bones:
        if bone.name.startswith("eye"):
            own = eyes & np.isin(whole.triangles, bone.vertices).all(1)
            part = shown._replace(triangles=whole.triangles[own], uv=uv, uv_triangles=uv_triangles[own[eyes]])
            gltf.add_mesh(file, part, *_moving(part, targets), bone.name, material=FACE)
    return file


def write_head(
    folder: Path,
    name: str,
    head: Head,
    coefficients: Coefficients,
    texture: np.ndarray | None = None,
    kind: str = "photo",
) -> None:
    """Writes head.glb of a face into a folder; the other arguments are those of `build`."""
    gltf.write_glb(folder / "head.glb", build(head, coefficients, texture, name, head.whole.licence, kind))


def continued(head: Head, albedo: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Colours [V, 3] in [0, 1] of the head's vertices under the light of the face's texture.

    At the face's border they are the texture's own. From there the ratio of texture to albedo, the light of the photo,
    goes on smoothly over the skin; inside the head it is the mean, and nothing there is brighter than its albedo.

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
    column, row = (np.clip(whole.uv[point[border]] * (1, -1) + (0, 1), 0, 1) * (size - 1)).round().astype(int).T
    seen = np.asarray(texture)[row, column] / (255.0 if texture.dtype == np.uint8 else 1.0)
    light = np.log(seen + DARKEST) - np.log(np.clip(albedo[border], 0, 1) + DARKEST)

    edges = np.concatenate([outside[:, [0, 1]], outside[:, [1, 2]], outside[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    count = np.maximum(np.bincount(edges[:, 0], minlength=len(albedo)), 1)[:, None]
    offset = np.tile(np.minimum(light.mean(0), 0), (len(albedo), 1))
    offset[outside] = light.mean(0)
    for _ in range(SPREADING):
        offset[border] = light
        sums = [np.bincount(edges[:, 0], offset[edges[:, 1], c], len(albedo)) for c in range(3)]
        offset = np.where(count > 1, np.stack(sums, 1) / count, offset)
    offset[border] = light
    return np.clip(np.exp(np.log(np.clip(albedo, 0, 1) + DARKEST) + offset) - DARKEST, 0, 1)


def _moving(mesh: Mesh, targets: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The morph targets that move the mesh, and the weights that it is shown with."""
    used = np.unique(mesh.triangles)
    own = {
        name: moved
        for name, moved in targets.items()
        if np.linalg.norm(moved[used], axis=1).max() >= gltf.SMALLEST_DISPLACEMENT
    }
    return own, {PHOTO_EXPRESSION: 1.0} if PHOTO_EXPRESSION in own else {}


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
