"""A head's GLB: named nodes below the face, each with the morph targets that move it, joined without a step."""

import numpy as np
import pygltflib
import pytest
from scipy import spatial

from tests.mesh.test_gltf import in_metres, node_of
from tf_deep3d import face as faces
from tf_deep3d.face import head as heads
from tf_deep3d.face import lips, morphable_model
from tf_deep3d.face.camera import METRES
from tf_deep3d.mesh import face_files, gltf, head_files
from tf_deep3d.mesh.face_files import PHOTO_EXPRESSION

SIDE = 64


@pytest.fixture(scope="module")
def head():
    return heads.load(morphable_model.load(level=heads.LEVEL))


@pytest.fixture(scope="module")
def coefficients(head):
    rng, zeros = np.random.default_rng(0), head.whole.layout().zeros(1)
    return zeros._replace(
        identity=rng.normal(size=zeros.identity.shape).astype(np.float32),
        expression=rng.normal(size=zeros.expression.shape).astype(np.float32),
        albedo=head.complexions[:1],
    )


@pytest.fixture(scope="module")
def texture():
    """Reddish, brighter to the right."""
    image = np.zeros((SIDE, SIDE, 3))
    image[..., 0] = np.linspace(0.4, 0.8, SIDE)
    image[..., 1:] = 0.3
    return image


@pytest.fixture(scope="module")
def file(head, coefficients, texture, tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head.glb"
    gltf.write_glb(path, head_files.build(head, coefficients, texture, "Jane", "CC0-1.0"))
    return pygltflib.GLTF2().load(path)


def mesh_of(file, name):
    return file.meshes[next(node.mesh for node in file.nodes if node.name == name)]


def positions(file, name):
    """In metres, of the mesh's first primitive, in the head's node."""
    values = in_metres(file, mesh_of(file, name).primitives[0].attributes.POSITION, name)
    return values + (node_of(file, name).translation or [0, 0, 0])


def displacements(file, name, target):
    mesh = mesh_of(file, name)
    index = mesh.extras["targetNames"].index(target)
    return in_metres(file, mesh.primitives[0].targets[index]["POSITION"], name)


def test_nodes_are_named_and_hang_on_the_head(file):
    names = [node.name for node in file.nodes]
    assert names == ["head", "Jane", "skin", "teethUpper", "teethLower", "tongue", "eyeLeft", "eyeRight"]
    assert file.nodes[gltf.HEAD].children == [1, 2, 3, 4, 5, 6, 7]
    assert file.scenes[0].nodes == [gltf.HEAD]
    assert len(file.images) == 1


def test_materials_are_those_of_skin_eyes_teeth_and_mouth(file):
    made = {node.name: [file.materials[p.material].name for p in file.meshes[node.mesh].primitives]
            for node in file.nodes[1:]}  # fmt: skip
    assert made["Jane"] == made["skin"] == ["skin", "mouth"]
    assert made["teethUpper"] == made["teethLower"] == ["teeth"]
    assert made["tongue"] == ["mouth"]
    assert made["eyeLeft"] == made["eyeRight"] == ["eyes"]
    assert not any(material.doubleSided for material in file.materials)  # the head is closed


def test_an_eyeball_turns_about_its_node(file):
    """All of its vertices are as far from the node as eyes are large, so that a turn of the node leaves it in place."""
    for name in ("eyeLeft", "eyeRight"):
        radius = np.linalg.norm(in_metres(file, mesh_of(file, name).primitives[0].attributes.POSITION, name), axis=1)
        assert 0.010 < radius.min() <= radius.max() < 0.018
    left, right = (node_of(file, name).translation for name in ("eyeLeft", "eyeRight"))
    assert left[0] > 0.02, "the person's left is +x"
    assert right[0] < -0.02


def test_every_unit_moves_what_anatomy_says(file, head):
    """Each node lists the units that move it; together they are all 52 and the photo's expression."""
    targets = {node.name: set((file.meshes[node.mesh].extras or {}).get("targetNames", ())) for node in file.nodes[1:]}
    assert set.union(*targets.values()) == {*head.whole.blendshape_names, PHOTO_EXPRESSION}
    assert not targets["teethUpper"]
    assert targets["teethLower"] == {"jawForward", "jawLeft", "jawOpen", "jawRight", PHOTO_EXPRESSION}
    assert "tongueOut" in targets["tongue"]
    for side in ("Left", "Right"):
        looks = {f"eyeLook{way}{side}" for way in ("Up", "Down", "In", "Out")}
        assert targets[f"eye{side}"] == looks | {PHOTO_EXPRESSION}


def test_open_jaw_keeps_the_lower_teeth_s_form(file):
    still, moved = positions(file, "teethLower"), displacements(file, "teethLower", "jawOpen")
    before, after = (np.linalg.norm(each[1:] - each[0], axis=1) for each in (still, still + moved))
    np.testing.assert_allclose(before, after, atol=2 * gltf.STEP)
    assert np.linalg.norm(moved.mean(0)) > 0.015


def test_face_and_skin_meet(file, head, coefficients):
    """At the shared border, positions are the same and colours are the texture's."""
    face, skin = positions(file, "Jane"), positions(file, "skin")
    shape = faces.neutral_shape(head.whole, coefficients.identity)[0] * METRES
    textured = head.whole.triangles[: len(head.whole.uv_triangles)]
    outside = head.whole.triangles[len(textured) :][head.parts["skin"][len(textured) :]]
    for place in shape[np.intersect1d(textured, outside)]:
        for mesh in (face, skin):
            assert np.linalg.norm(mesh - place, axis=1).min() < 1e-6


def test_lips_of_a_head_meet(head, coefficients, tmp_path):
    """In the neutral head, and with the photo's expression where its lips are closed; the model's own part."""
    own = lips.lips_of(head.whole)
    parts = {}
    for closed in (False, True):
        path = tmp_path / f"{closed}.glb"
        style = face_files.Style("plain", closed=closed)
        gltf.write_glb(path, head_files.build(head, coefficients, None, "Jane", style=style))
        file = pygltflib.GLTF2().load(path)
        neutral = positions(file, "Jane")
        parts[closed] = neutral + displacements(file, "Jane", PHOTO_EXPRESSION)
    shape = faces.neutral_shape(head.whole, coefficients.identity)[0]
    assert lips.parted(own, shape).max() > 0.003
    sealed = lips.sealed(own, shape) * METRES
    moved = own.vertices[head.whole.regions["lips"][own.vertices]]
    assert spatial.cKDTree(neutral).query(sealed[moved])[0].max() < 1e-6
    assert 1e-4 < np.linalg.norm(parts[True] - parts[False], axis=1).max() < 5e-3


@pytest.mark.parametrize(("tint", "warm"), [((0.4, 0.3, 0.8), False), ((0.7, 0.5, 0.3), True)])
def test_teeth_are_as_warm_as_the_light_and_never_cold(tint, warm, head, coefficients, texture):
    albedo = faces.albedo(head.whole, coefficients.albedo)[0]
    colors = head_files.continued(head, albedo, texture * tint)
    teeth = np.unique(head.whole.triangles[head.parts["upper teeth"]])
    light = np.log(colors[teeth] + head_files.DARKEST) - np.log(albedo[teeth] + head_files.DARKEST)
    assert light.mean() < -0.3, "dark, as the face is"
    red, green, blue = (light - light.mean(axis=1, keepdims=True)).T
    np.testing.assert_allclose(green, 0, atol=1e-5)
    np.testing.assert_allclose(red, -blue, atol=1e-5)
    assert (red > 0.1).all() if warm else (np.abs(red) < 1e-5).all()


def test_colours_go_on_from_the_texture(head, coefficients, texture):
    albedo = faces.albedo(head.whole, coefficients.albedo)[0]
    colors = head_files.continued(head, albedo, texture)
    textured = head.whole.triangles[: len(head.whole.uv_triangles)]
    outside = head.whole.triangles[len(textured) :][head.parts["skin"][len(textured) :]]
    border = np.intersect1d(textured, outside)
    np.testing.assert_allclose(colors[border, 1:], 0.3, atol=1e-5)
    assert (colors[border, 0] > 0.39).all()
    edges = np.concatenate([outside[:, [0, 1]], outside[:, [1, 2]]])
    across = edges[np.isin(edges, border).sum(1) == 1]
    assert np.abs(np.diff(colors[across], axis=1)).mean() < 0.05
    scalp = head.scalp > 0.9
    assert (colors[scalp, 0] > colors[scalp, 2]).mean() > 0.9, "the light's hue reaches the scalp"


def test_the_neck_is_in_the_light_of_the_face_and_not_of_its_border(head, coefficients):
    """A texture as the albedo is, but half as bright at its border: the neck keeps the albedo."""
    albedo = faces.albedo(head.whole, coefficients.albedo)[0]
    textured = head.whole.triangles[: len(head.whole.uv_triangles)]
    outside = head.whole.triangles[len(textured) :][head.parts["skin"][len(textured) :]]
    border = np.zeros(len(albedo), bool)
    border[np.intersect1d(textured, outside)] = True
    size = 64
    picture = np.full((size, size, 3), 0.5)
    places = np.zeros((head.face, 2))
    places[textured] = head.whole.uv[head.whole.uv_triangles]
    column, row = (np.clip(places * (1, -1) + (0, 1), 0, 1) * (size - 1)).round().astype(int).T
    picture[row[border[: head.face]], column[border[: head.face]]] = 0.25
    even = np.full_like(albedo, 0.5)
    colors = head_files.continued(head, even, picture)
    neck = np.setdiff1d(outside, textured)
    neck = neck[head.whole.mean_shape[neck, 1] < head.whole.mean_shape[textured, 1].min() - 0.3]
    assert len(neck) > 20
    assert colors[border].mean() < 0.3
    assert colors[neck].mean() > 0.45


def test_texture_of_bytes_is_the_same(head, coefficients, texture):
    albedo = faces.albedo(head.whole, coefficients.albedo)[0]
    rounded = np.rint(255 * texture).astype(np.uint8)
    one, two = (head_files.continued(head, albedo, each) for each in (rounded, rounded / 255.0))
    np.testing.assert_allclose(one, two, atol=1e-6)
