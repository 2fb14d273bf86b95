import io
import os

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from tf_deep3d.face import geometry
from tf_deep3d.mesh import mesh as meshio
from tf_deep3d.mesh.mesh import Mesh

COLUMNS, ROWS, SIDE = 12, 5, 32
DTYPES = {5123: "<u2", 5125: "<u4", 5126: "<f4"}


def picture(uv):
    """The colour [N, 3] uint8 that the test texture has at `uv` [N, 2]: a step every texel, no symmetry."""
    texel = np.clip(np.floor(np.asarray(uv) * SIDE), 0, SIDE - 1)
    return np.stack([texel[:, 0] * 8, texel[:, 1] * 8, np.full(len(texel), 50)], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def tube():
    """An open tube around y: its first and last column of texture points belong to the same vertices."""
    turn = np.arange(COLUMNS) / COLUMNS * 2 * np.pi
    ring = np.stack([np.sin(turn), np.zeros(COLUMNS), np.cos(turn)], -1)
    vertices = (ring[None] + np.linspace(1, -1, ROWS)[:, None, None] * [0, 1, 0]).reshape(-1, 3) * 0.7
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    uv_index = np.arange(ROWS * (COLUMNS + 1)).reshape(ROWS, COLUMNS + 1)

    def triangles(grid):
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
        return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])

    # Texture points at texel centres, so that the nearest texel is the interpolated colour too.
    u, v = np.meshgrid((np.arange(COLUMNS + 1) * 2 + 3.5) / SIDE, (np.arange(ROWS)[::-1] * 6 + 2.5) / SIDE)
    rows = (SIDE - 0.5 - np.arange(SIDE)) / SIDE
    texture = picture(np.stack(np.meshgrid((np.arange(SIDE) + 0.5) / SIDE, rows), -1).reshape(-1, 2))
    normals = geometry.normalize(vertices * [1, 0, 1])
    colors = np.stack([np.arange(ROWS * COLUMNS)] * 3, -1).astype(np.uint8)
    wrapped = np.concatenate([index, index[:, :1]], axis=1)
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Mesh(vertices, triangles(wrapped), normals, uv, triangles(uv_index), texture.reshape(SIDE, SIDE, 3), colors)


def corner_positions(mesh):
    return mesh.vertices[mesh.triangles]


def corner_uv(mesh):
    return mesh.uv[mesh.uv_triangles]


def corner_colors(mesh):
    return picture(corner_uv(mesh).reshape(-1, 2))


def test_obj_round_trip(tube, tmp_path):
    path = tmp_path / "my face.obj"
    meshio.write_obj(path, tube, name="two\nlines", licence="CC0-1.0")
    assert sorted(os.listdir(tmp_path)) == ["my face.obj", "my_face.mtl", "my_face.png"]
    text = path.read_text()
    assert "unit: millimetre" in text.splitlines()[0]
    assert "# licence: CC0-1.0" in text
    assert "o two lines" in text
    assert sum(line.startswith("v ") for line in text.splitlines()) == len(tube.vertices)
    assert sum(line.startswith("vt ") for line in text.splitlines()) == len(tube.uv)

    back = trimesh.load(path, process=False)
    np.testing.assert_allclose(back.vertices[back.faces], corner_positions(tube) * 100, atol=1e-4)
    np.testing.assert_allclose(back.visual.uv[back.faces], corner_uv(tube), atol=1e-6)
    np.testing.assert_allclose(back.vertex_normals[back.faces], tube.normals[tube.triangles], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(back.visual.material.image.convert("RGB")), tube.texture)
    np.testing.assert_array_equal(back.visual.to_color().vertex_colors[back.faces.ravel(), :3], corner_colors(tube))


def test_obj_names_its_texture(tube, tmp_path):
    meshio.write_obj(tmp_path / "face.obj", tube, texture_name="skin.png")
    assert sorted(os.listdir(tmp_path)) == ["face.mtl", "face.obj", "skin.png"]
    back = trimesh.load(tmp_path / "face.obj", process=False)
    np.testing.assert_array_equal(np.asarray(back.visual.material.image.convert("RGB")), tube.texture)


def test_obj_with_vertex_colors_only(tube, tmp_path):
    path = tmp_path / "face.obj"
    meshio.write_obj(path, Mesh(tube.vertices, tube.triangles, colors=tube.colors / 255))
    assert os.listdir(tmp_path) == ["face.obj"]
    back = trimesh.load(path, process=False)
    np.testing.assert_array_equal(back.visual.vertex_colors[:, :3], tube.colors)
    np.testing.assert_array_equal(back.faces, tube.triangles)


def test_ply_round_trip(tube, tmp_path):
    path = tmp_path / "face.ply"
    meshio.write_ply(path, tube, licence="CC0-1.0")
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "comment face; unit: millimetre" in header
    assert "comment licence: CC0-1.0" in header
    back = trimesh.load(path, process=False)
    np.testing.assert_allclose(back.vertices, tube.vertices * 100, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(back.faces, tube.triangles)
    np.testing.assert_allclose(back.vertex_normals, tube.normals, atol=1e-6)
    np.testing.assert_array_equal(back.visual.vertex_colors[:, :3], tube.colors)


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
def test_glb_round_trip(tube, tmp_path, image_format):
    path = tmp_path / "face.glb"
    meshio.write_glb(path, tube, name="Jane", licence="CC0-1.0", extras={"model": "open"}, image_format=image_format)
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
    np.testing.assert_allclose(position[corners], corner_positions(tube) * 0.1, atol=1e-7)
    normal = read_accessor(gltf, primitive.attributes.NORMAL)
    np.testing.assert_allclose(normal[corners], tube.normals[tube.triangles], atol=1e-6)
    from_top = read_accessor(gltf, primitive.attributes.TEXCOORD_0)
    view = gltf.bufferViews[gltf.images[0].bufferView]
    encoded = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    image = Image.open(io.BytesIO(encoded))
    assert image.format == image_format.upper()
    assert gltf.images[0].mimeType == f"image/{image_format}"
    column, row = np.floor(from_top[corners].reshape(-1, 2) * SIDE).astype(int).T
    difference = np.asarray(image)[row, column].astype(int) - corner_colors(tube)
    assert abs(difference).max() <= (0 if image_format == "png" else 12)

    back = next(iter(trimesh.load(path, process=False).geometry.values()))
    np.testing.assert_allclose(back.vertices[back.faces], corner_positions(tube) * 0.1, atol=1e-7)
    np.testing.assert_allclose(back.visual.uv[back.faces], corner_uv(tube), atol=1e-6)


def test_glb_morph_targets(tube, tmp_path):
    rng = np.random.default_rng(0)
    everywhere = rng.normal(size=tube.vertices.shape)
    few = np.zeros_like(everywhere)
    few[[3, 14, 59]] = rng.normal(size=(3, 3))
    few[20] = 5e-6  # below a micrometre: left out
    targets = {"jawOpen": everywhere, "eyeBlinkLeft": few, "nothing": np.zeros_like(few)}
    path = tmp_path / "face.glb"
    meshio.write_glb(path, tube, targets, weights={"eyeBlinkLeft": 0.5})
    gltf = pygltflib.GLTF2().load(path)
    mesh = gltf.meshes[0]
    assert mesh.extras["targetNames"] == list(targets)
    assert mesh.weights == [0, 0.5, 0]
    corners = read_accessor(gltf, mesh.primitives[0].indices)[:, 0].reshape(-1, 3)
    few[20] = 0
    for target, moved in zip(mesh.primitives[0].targets, targets.values(), strict=True):
        displacement = read_accessor(gltf, target["POSITION"])
        np.testing.assert_allclose(displacement[corners], moved[tube.triangles] * 0.1, atol=1e-7)
    assert [gltf.accessors[t["POSITION"]].sparse is not None for t in mesh.primitives[0].targets] == [0, 1, 0]


def test_glb_vertex_colors_are_linear_light(tube, tmp_path):
    path = tmp_path / "face.glb"
    colors = np.broadcast_to(np.uint8([0, 128, 255]), tube.vertices.shape)
    meshio.write_glb(path, Mesh(tube.vertices, tube.triangles, colors=colors))
    gltf = pygltflib.GLTF2().load(path)
    linear = read_accessor(gltf, gltf.meshes[0].primitives[0].attributes.COLOR_0)
    np.testing.assert_allclose(linear, np.broadcast_to([0, 0.2158605, 1], linear.shape), atol=1e-6)


def test_index_types():
    small = np.array([0, 65534])
    assert meshio._narrow(small).dtype == np.uint16
    assert meshio._narrow(small + 1).dtype == np.uint32  # 65535 would restart the primitive


def test_split_seams_without_uv_drops_unused_vertices():
    owner, texture_point, triangles = meshio.split_seams(np.array([[5, 2, 9]]))
    np.testing.assert_array_equal(owner, [2, 5, 9])
    assert texture_point is None
    np.testing.assert_array_equal(owner[triangles], [[5, 2, 9]])


def test_zero_normals_become_unit(tube, tmp_path):
    path = tmp_path / "face.glb"
    meshio.write_glb(path, tube._replace(normals=tube.normals * 0))
    gltf = pygltflib.GLTF2().load(path)
    normals = read_accessor(gltf, gltf.meshes[0].primitives[0].attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1)


@pytest.mark.parametrize(
    ("suffix", "write"), [("obj", meshio.write_obj), ("ply", meshio.write_ply), ("glb", meshio.write_glb)]
)
def test_existing_files_are_kept_unless_told(tube, tmp_path, suffix, write):
    path = tmp_path / f"face.{suffix}"
    write(path, tube)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    moved = tube._replace(vertices=tube.vertices * 2)
    with pytest.raises(FileExistsError, match="Received: "):
        write(path, moved)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    write(path, moved, overwrite=True)
    assert path.read_bytes() != before[path.name]


def test_obj_keeps_a_foreign_picture(tube, tmp_path):
    (tmp_path / "face.png").write_bytes(b"a user's picture")
    with pytest.raises(FileExistsError, match=r"face\.png"):
        meshio.write_obj(tmp_path / "face.obj", tube)
    assert os.listdir(tmp_path) == ["face.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((4, 2))}, "vertices must be numbers of shape"),
        ({"vertices": np.full((60, 3), np.nan)}, "vertices must be finite"),
        ({"triangles": np.zeros((4, 3))}, "triangles must be integers"),
        ({"triangles": np.full((96, 3), 60)}, r"triangles must lie in \[0, 60\)"),
        ({"triangles": np.zeros((0, 3), int)}, "must have a triangle"),
        ({"normals": np.zeros((59, 3))}, "normals must be"),
        ({"uv": None}, "go together"),
        ({"uv": None, "uv_triangles": None}, "a texture needs them"),
        ({"uv_triangles": np.zeros((95, 3), int)}, "uv_triangles must be"),
        ({"texture": np.zeros((8, 8))}, "texture must be"),
        ({"colors": np.zeros((60, 4))}, "colors must be"),
        ({"colors": np.zeros((60, 3), int)}, "Colours must be uint8"),
    ],
)
def test_wrong_arrays_are_named(tube, tmp_path, change, message):
    for suffix, write in (("obj", meshio.write_obj), ("ply", meshio.write_ply), ("glb", meshio.write_glb)):
        with pytest.raises(ValueError, match=f"{message}.*Received: "):
            write(tmp_path / f"face.{suffix}", tube._replace(**change))
    assert not os.listdir(tmp_path)


def test_wrong_options_are_named(tube, tmp_path):
    with pytest.raises(ValueError, match=r"image_format must be one of.*'webp'"):
        meshio.write_glb(tmp_path / "face.glb", tube, image_format="webp")
    with pytest.raises(ValueError, match="morph target 'smile' must be"):
        meshio.write_glb(tmp_path / "face.glb", tube, {"smile": np.zeros((3, 3))})
    with pytest.raises(ValueError, match=r"weights must name morph targets.*'smile'"):
        meshio.write_glb(tmp_path / "face.glb", tube, weights={"smile": 1.0})
    assert not os.listdir(tmp_path)
