import io

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from tests.mesh.tube import COLUMNS, ROWS, SIDE, TUBE, corner_colors, corner_positions, corner_uv
from tf_deep3d.mesh.gltf import RESOLUTION, _narrow, build, split_seams, write_glb
from tf_deep3d.mesh.mesh import Mesh

DTYPES = {5123: "<u2", 5125: "<u4", 5126: "<f4"}


def read_accessor(gltf, index):
    """Values of an accessor, read by the letter of the glTF 2.0 specification, sections 3.6 and 5.1 to 5.4."""
    accessor = gltf.accessors[index]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor.type]

    def view(number, component, count):
        view = gltf.bufferViews[number]
        assert view.byteOffset % 4 == 0
        assert view.byteLength == count * np.dtype(DTYPES[component]).itemsize
        return np.frombuffer(gltf.binary_blob(), DTYPES[component], count, view.byteOffset)

    values = np.zeros(accessor.count * width, DTYPES[accessor.componentType])
    if accessor.bufferView is not None:
        values = view(accessor.bufferView, accessor.componentType, accessor.count * width)
    values = values.reshape(accessor.count, width).copy()
    if accessor.sparse is not None:
        sparse = accessor.sparse
        where = view(sparse.indices.bufferView, sparse.indices.componentType, sparse.count)
        assert (np.diff(where.astype(int)) > 0).all()
        moved = view(sparse.values.bufferView, accessor.componentType, sparse.count * width)
        values[where] = moved.reshape(-1, width)
    if accessor.min:  # pygltflib gives [] where there is none
        np.testing.assert_array_equal(values.min(0), np.float32(accessor.min))
        np.testing.assert_array_equal(values.max(0), np.float32(accessor.max))
    return values


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_glb_round_trip(tmp_path, image_format):
    path = tmp_path / "face.glb"
    extras = {"model": "open"}
    write_glb(path, build(TUBE, name="Jane", licence="CC0-1.0", extras=extras, image_format=image_format))
    data = path.read_bytes()
    assert int.from_bytes(data[8:12], "little") == len(data)
    gltf = pygltflib.GLTF2().load(path)
    assert gltf.asset.copyright == "CC0-1.0"
    assert gltf.asset.extras == {"model": "open"}
    assert gltf.meshes[0].name == gltf.nodes[0].name == "Jane"
    material = gltf.materials[0]
    assert material.doubleSided
    assert material.pbrMetallicRoughness.metallicFactor == 0
    assert material.pbrMetallicRoughness.roughnessFactor == 0.9
    assert material.pbrMetallicRoughness.baseColorFactor in (None, [1, 1, 1, 1])
    primitive = gltf.meshes[0].primitives[0]
    assert primitive.attributes.COLOR_0 is None  # it would multiply the texture
    corners = read_accessor(gltf, primitive.indices)[:, 0].reshape(-1, 3)
    position = read_accessor(gltf, primitive.attributes.POSITION)
    assert len(position) == ROWS * (COLUMNS + 1)  # the seam's column twice
    np.testing.assert_allclose(position[corners], corner_positions(TUBE) * 0.1, atol=1e-7)
    normal = read_accessor(gltf, primitive.attributes.NORMAL)
    np.testing.assert_allclose(normal[corners], TUBE.normals[TUBE.triangles], atol=1e-6)
    from_top = read_accessor(gltf, primitive.attributes.TEXCOORD_0)
    view = gltf.bufferViews[gltf.images[0].bufferView]
    encoded = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    image = Image.open(io.BytesIO(encoded))
    assert image.format == image_format.upper()
    assert gltf.images[0].mimeType == f"image/{image_format}"
    column, row = np.floor(from_top[corners].reshape(-1, 2) * SIDE).astype(int).T
    difference = np.asarray(image)[row, column].astype(int) - corner_colors(TUBE)
    assert abs(difference).max() <= (0 if image_format == "png" else 12)

    back = next(iter(trimesh.load(path, process=False).geometry.values()))
    np.testing.assert_allclose(back.vertices[back.faces], corner_positions(TUBE) * 0.1, atol=1e-7)
    np.testing.assert_allclose(back.visual.uv[back.faces], corner_uv(TUBE), atol=1e-6)


def test_glb_morph_targets(tmp_path):
    rng = np.random.default_rng(0)
    everywhere = rng.normal(size=TUBE.vertices.shape)
    few = np.zeros_like(everywhere)
    few[[3, 14, 59]] = rng.normal(size=(3, 3))
    few[20] = 5e-6  # below a micrometre: left out
    targets = {"jawOpen": everywhere, "eyeBlinkLeft": few, "nothing": np.zeros_like(few)}
    path = tmp_path / "face.glb"
    write_glb(path, build(TUBE, targets, {"eyeBlinkLeft": 0.5}))
    gltf = pygltflib.GLTF2().load(path)
    mesh = gltf.meshes[0]
    assert mesh.extras["targetNames"] == list(targets)
    assert mesh.weights == [0, 0.5, 0]
    corners = read_accessor(gltf, mesh.primitives[0].indices)[:, 0].reshape(-1, 3)
    few[20] = 0
    for target, moved in zip(mesh.primitives[0].targets, targets.values(), strict=True):
        displacement = read_accessor(gltf, target["POSITION"])
        np.testing.assert_allclose(displacement[corners], moved[TUBE.triangles] * 0.1, atol=RESOLUTION / 2 + 1e-7)
        np.testing.assert_array_equal(displacement % RESOLUTION, 0)
    assert [gltf.accessors[t["POSITION"]].sparse is not None for t in mesh.primitives[0].targets] == [0, 1, 0]


def test_glb_vertex_colors_are_linear_light(tmp_path):
    path = tmp_path / "face.glb"
    colors = np.broadcast_to(np.uint8([0, 128, 255]), TUBE.vertices.shape)
    write_glb(path, build(Mesh(TUBE.vertices, TUBE.triangles, colors=colors)))
    gltf = pygltflib.GLTF2().load(path)
    linear = read_accessor(gltf, gltf.meshes[0].primitives[0].attributes.COLOR_0)
    np.testing.assert_allclose(linear, np.broadcast_to([0, 0.2158605, 1], linear.shape), atol=1e-6)


def test_index_types():
    small = np.array([0, 65534])
    assert _narrow(small).dtype == np.uint16
    assert _narrow(small + 1).dtype == np.uint32  # 65535 would restart the primitive


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
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"image_format must be one of.*'webp'"):
        build(TUBE, image_format="webp")
    with pytest.raises(ValueError, match="morph target 'smile' must be"):
        build(TUBE, {"smile": np.zeros((3, 3))})
    with pytest.raises(ValueError, match=r"weights must name morph targets.*'smile'"):
        build(TUBE, weights={"smile": 1.0})
