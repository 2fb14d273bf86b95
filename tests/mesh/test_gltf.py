import io

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from tests.mesh.tube import COLUMNS, ROWS, SIDE, TUBE, corner_colors, corner_positions, corner_uv
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.mesh import face_files
from tf_deep3d.mesh.accessors import narrow, narrowed, share
from tf_deep3d.mesh.gltf import FADE, NORMAL_FADE, PACKINGS, STEP, build, split_seams, write_glb
from tf_deep3d.mesh.mesh import Mesh

DTYPES = {5120: "|i1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


def read_accessor(gltf, index):
    """Values of an accessor, read by the letter of the glTF 2.0 specification, sections 3.6 and 5.1 to 5.4, and of
    KHR_mesh_quantization."""
    accessor = gltf.accessors[index]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor.type]

    def view(number, component, count, columns):
        view, dtype = gltf.bufferViews[number], np.dtype(DTYPES[component])
        assert view.byteOffset % 4 == 0
        stride = view.byteStride or columns * dtype.itemsize
        assert stride % 4 == 0 or view.target != 34962  # of vertices
        assert view.byteLength == count * stride
        rows = np.frombuffer(gltf.binary_blob(), np.uint8, count * stride, view.byteOffset).reshape(count, stride)
        return np.ascontiguousarray(rows[:, : columns * dtype.itemsize]).view(dtype)

    values = np.zeros((accessor.count, width), DTYPES[accessor.componentType])
    if accessor.bufferView is not None:
        values = view(accessor.bufferView, accessor.componentType, accessor.count, width).copy()
    if accessor.sparse is not None:
        sparse = accessor.sparse
        where = view(sparse.indices.bufferView, sparse.indices.componentType, sparse.count, 1)[:, 0]
        assert (np.diff(where.astype(int)) > 0).all()
        values[where] = view(sparse.values.bufferView, accessor.componentType, sparse.count, width)
    if accessor.min:  # pygltflib gives [] where there is none
        np.testing.assert_array_equal(values.min(0), np.float32(accessor.min))
        np.testing.assert_array_equal(values.max(0), np.float32(accessor.max))
    if accessor.normalized:
        return np.maximum(values / np.float64(np.iinfo(values.dtype).max), -1)
    return values


def node_of(gltf, name="face"):
    return next(node for node in gltf.nodes if node.name == name and node.mesh is not None)


def in_metres(gltf, index, name="face"):
    """Positions or displacements of an accessor, as the node's scale says."""
    return read_accessor(gltf, index) * (node_of(gltf, name).scale or [1, 1, 1])


def angles(a, b):
    """Degrees between vectors [N, 3]."""
    a, b = (geometry.normalize(np.asarray(each, float)) for each in (a, b))
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=1) / 2, 0, 1)))


@pytest.mark.parametrize("packing", PACKINGS)
def test_glb_round_trip(tmp_path, packing):
    path = tmp_path / "face.glb"
    write_glb(path, build(TUBE, name="Jane", licence="CC0-1.0", packing=packing))
    data = path.read_bytes()
    assert int.from_bytes(data[8:12], "little") == len(data)
    gltf = pygltflib.GLTF2().load(path)
    assert gltf.asset.copyright == "CC0-1.0"
    assert gltf.asset.generator.startswith("tf_deep3d ")
    assert "metre" in gltf.asset.extras["axes"]
    assert gltf.scenes[0].nodes == [0]
    assert [node.name for node in gltf.nodes] == ["head", "Jane"]
    assert gltf.nodes[0].children == [1]
    assert gltf.meshes[0].name == gltf.scenes[0].name == "Jane"
    assert gltf.extensionsRequired == (["KHR_mesh_quantization"] if packing == "compact" else [])
    material = gltf.materials[0]
    assert material.name == "skin"
    assert material.doubleSided
    assert material.pbrMetallicRoughness.metallicFactor == 0
    assert material.pbrMetallicRoughness.baseColorFactor in (None, [1, 1, 1, 1])
    primitive = gltf.meshes[0].primitives[0]
    assert primitive.attributes.COLOR_0 is None  # it would multiply the texture
    corners = read_accessor(gltf, primitive.indices)[:, 0].reshape(-1, 3)
    position = in_metres(gltf, primitive.attributes.POSITION, "Jane")
    assert len(position) == ROWS * (COLUMNS + 1)  # the seam's column twice
    np.testing.assert_allclose(position[corners], corner_positions(TUBE) * 0.1, atol=1e-7)
    normal = read_accessor(gltf, primitive.attributes.NORMAL)
    np.testing.assert_allclose(normal[corners], TUBE.normals[TUBE.triangles], atol=0.004)
    from_top = read_accessor(gltf, primitive.attributes.TEXCOORD_0)
    view = gltf.bufferViews[gltf.images[0].bufferView]
    encoded = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    image = Image.open(io.BytesIO(encoded))
    assert image.format == {"compact": "JPEG", "plain": "PNG"}[packing]
    assert gltf.images[0].mimeType == f"image/{image.format.lower()}"
    column, row = np.floor(from_top[corners].reshape(-1, 2) * SIDE).astype(int).T
    difference = np.asarray(image)[row, column].astype(int) - corner_colors(TUBE)
    assert abs(difference).max() <= (0 if packing == "plain" else 24)

    if packing == "plain":
        back = trimesh.load(path, process=False).to_geometry()
        np.testing.assert_allclose(back.vertices[back.faces], corner_positions(TUBE) * 0.1, atol=1e-7)
        np.testing.assert_allclose(back.visual.uv[back.faces], corner_uv(TUBE), atol=1e-6)


@pytest.mark.parametrize("packing", PACKINGS)
def test_glb_morph_targets(tmp_path, packing):
    rng = np.random.default_rng(0)
    everywhere = rng.normal(size=TUBE.vertices.shape)
    few = np.zeros_like(everywhere)
    few[[3, 14, 59]] = rng.normal(size=(3, 3))
    few[20] = FADE / 2, 0, 0
    targets = {"jawOpen": everywhere, "eyeBlinkLeft": few, "nothing": np.zeros_like(few)}
    path = tmp_path / "face.glb"
    write_glb(path, build(TUBE, targets, {"eyeBlinkLeft": 0.5}, packing=packing))
    gltf = pygltflib.GLTF2().load(path)
    mesh = gltf.meshes[0]
    assert mesh.extras["targetNames"] == list(targets)
    assert mesh.weights == [0, 0.5, 0]
    corners = read_accessor(gltf, mesh.primitives[0].indices)[:, 0].reshape(-1, 3)
    if packing == "compact":
        few[20] = 0  # too little to be kept
    for target, moved in zip(mesh.primitives[0].targets, targets.values(), strict=True):
        displacement = in_metres(gltf, target["POSITION"])
        most = 1e-7 if packing == "plain" else STEP / 2 + 1e-7
        np.testing.assert_allclose(displacement[corners], moved[TUBE.triangles] * 0.1, atol=most)
    stored = [gltf.accessors[target["POSITION"]] for target in mesh.primitives[0].targets]
    assert [accessor.sparse is not None for accessor in stored] == [0, packing == "compact", 0]


@pytest.mark.parametrize("packing", PACKINGS)
def test_normals_of_morph_targets_are_those_of_the_moved_surface(packing, model):
    """On the shipped face, of every unit: the angle between the normals that a viewer adds up and the true ones."""
    coefficients = model.layout().zeros(1)
    rng = np.random.default_rng(1)
    coefficients = coefficients._replace(expression=rng.normal(size=coefficients.expression.shape).astype(np.float32))
    file = face_files.build(model, coefficients, style=face_files.Style(packing))
    gltf = pygltflib.GLTF2.from_json(pygltflib.json.dumps(file.tree))
    gltf.set_binary_blob(bytes(file.binary))
    mesh = gltf.meshes[0]
    _, still, targets = face_files.meshes(model, coefficients)
    assert mesh.extras["targetNames"] == list(targets)
    for number, moved in enumerate(targets.values()):
        vertices = (still.vertices + moved)[None]
        true = geometry.vertex_normals(vertices, model.triangles, model.vertex_corners)[0]
        without, left = [], []
        for primitive, part in zip(mesh.primitives, face_files.parts(model, still).values(), strict=True):
            owner = split_seams(part.triangles)[0]
            base = read_accessor(gltf, primitive.attributes.NORMAL)
            shown = base + read_accessor(gltf, primitive.targets[number]["NORMAL"])
            moving = np.linalg.norm(moved[owner], axis=1) > FADE
            without.append(angles(base, true[owner])[moving])
            left.append(angles(shown, true[owner])[moving])
        limit = np.degrees(NORMAL_FADE) if packing == "compact" else 0.5
        assert np.percentile(np.concatenate(left), 90) < limit
        assert np.mean(np.concatenate(left)) < np.mean(np.concatenate(without))


def test_a_face_s_parts_have_their_materials(tmp_path, model):
    """Skin, eyes and the inner mouth of the shipped face; eyes shine, and all show one texture."""
    texture = np.full((8, 8, 3), 0.5)
    write_glb(tmp_path / "face.glb", face_files.build(model, model.layout().zeros(1), texture))
    gltf = pygltflib.GLTF2().load(tmp_path / "face.glb")
    assert [material.name for material in gltf.materials] == ["skin", "eyes", "mouth"]
    roughness = [material.pbrMetallicRoughness.roughnessFactor for material in gltf.materials]
    assert roughness[1] < roughness[2] < roughness[0]
    assert [material.pbrMetallicRoughness.baseColorTexture.index for material in gltf.materials] == [0, 0, 0]
    counts = [gltf.accessors[primitive.indices].count // 3 for primitive in gltf.meshes[0].primitives]
    assert sum(counts) == len(model.triangles)
    assert counts[1] == model.regions["eyes"][model.triangles].all(1).sum()


@pytest.mark.parametrize("packing", PACKINGS)
def test_glb_vertex_colors_are_linear_light(tmp_path, packing):
    path = tmp_path / "face.glb"
    colors = np.broadcast_to(np.uint8([0, 128, 255]), TUBE.vertices.shape)
    write_glb(path, build(Mesh(TUBE.vertices, TUBE.triangles, colors=colors), packing=packing))
    gltf = pygltflib.GLTF2().load(path)
    linear = read_accessor(gltf, gltf.meshes[0].primitives[0].attributes.COLOR_0)
    np.testing.assert_allclose(linear, np.broadcast_to([0, 0.2158605, 1], linear.shape), atol=1e-5)


def test_index_types():
    small = np.array([0, 65534])
    assert narrow(small).dtype == np.uint16
    assert narrow(small + 1).dtype == np.uint32  # 65535 would restart the primitive


def test_whole_numbers_and_shares():
    assert narrowed(np.array([-127.0, 127.0])).tolist() == [-127, 127]
    assert narrowed(np.array([-127.0, 127.0])).dtype == np.int8
    assert narrowed(np.array([-128.0])).dtype == np.int16
    assert share(np.array([-2, -1, 0, 0.5, 1]), "|i1").tolist() == [-127, -127, 0, 64, 127]
    assert share(np.array([-1, 0, 2]), "<u2").tolist() == [0, 0, 65535]


def test_split_seams_without_uv_drops_unused_vertices():
    owner, texture_point, triangles = split_seams(np.array([[5, 2, 9]]))
    np.testing.assert_array_equal(owner, [2, 5, 9])
    assert texture_point is None
    np.testing.assert_array_equal(owner[triangles], [[5, 2, 9]])


def test_zero_normals_become_unit(tmp_path):
    path = tmp_path / "face.glb"
    write_glb(path, build(TUBE._replace(normals=TUBE.normals * 0)))
    gltf = pygltflib.GLTF2().load(path)
    normals = read_accessor(gltf, gltf.meshes[0].primitives[0].attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=0.01)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"packing must be one of.*'draco'"):
        build(TUBE, packing="draco")
    with pytest.raises(ValueError, match="morph target 'smile' must be"):
        build(TUBE, {"smile": np.zeros((3, 3))})
    with pytest.raises(ValueError, match=r"weights must name morph targets.*'smile'"):
        build(TUBE, weights={"smile": 1.0})
