"""Animated GLB files, read back and evaluated by an independent reader."""

import json

import numpy as np
import pygltflib
import pytest
from scipy.spatial.transform import Rotation

from tf_deep3d.face.camera import Camera
from tf_deep3d.face.geometry import rotation_matrix
from tf_deep3d.mesh import gltf as glb
from tf_deep3d.mesh.animation import Animation, animate
from tf_deep3d.mesh.mesh import Mesh

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])
TARGETS = {"jawOpen": np.ones((4, 3)) * 0.1, "mouthClose": np.eye(4, 3), "unused": np.eye(4, 3)}
CAMERA = Camera(400, 300, 1015.0, (200.0, 150.0))
ANIMATION = Animation(
    times=np.array([0.0, 0.04, 0.1]),
    weights={"mouthClose": np.array([0.0, 0.5, 1.0]), "jawOpen": np.array([0.2, 0.3, 0.4])},
    angles=np.array([[0.1, 0.2, 3.0], [0.1, 0.2, 3.2], [0.1, 0.3, 3.4]]),
    translation=np.array([[0.0, 1.0, -2.0], [0.0, 1.0, -2.5], [0.5, 1.0, -3.0]]),
)


def still():
    return glb.build(Mesh(VERTICES, TRIANGLES), TARGETS, {"unused": 0.7})


@pytest.fixture
def moving(tmp_path):
    """The animated file, read back."""
    document = still()
    animate(document, ANIMATION, CAMERA)
    glb.write_glb(tmp_path / "moving.glb", document)
    return pygltflib.GLTF2().load(str(tmp_path / "moving.glb"))


def _values(gltf, index):
    accessor = gltf.accessors[index]
    view = gltf.bufferViews[accessor.bufferView]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
    assert accessor.componentType == pygltflib.FLOAT
    assert view.byteLength == accessor.count * width * 4
    assert view.byteOffset % 4 == 0
    return np.frombuffer(gltf.binary_blob(), "<f4", accessor.count * width, view.byteOffset).reshape(-1, width)


def test_curves_are_read_back(moving):
    gltf = moving
    (animation,) = gltf.animations
    curves = {}
    for channel in animation.channels:
        moving = gltf.nodes[channel.target.node]
        assert (moving.mesh is not None) == (channel.target.path == "weights")
        assert moving.name == ("face" if channel.target.path == "weights" else "head")
        sampler = animation.samplers[channel.sampler]
        np.testing.assert_allclose(_values(gltf, sampler.input)[:, 0], ANIMATION.times)
        assert gltf.accessors[sampler.input].min == [0.0]
        assert gltf.accessors[sampler.input].max == pytest.approx([0.1])
        curves[channel.target.path] = _values(gltf, sampler.output)
    weights = curves["weights"].reshape(3, 3)
    expected = [
        ANIMATION.weights["jawOpen"],
        ANIMATION.weights["mouthClose"],
        np.full(3, 0.7),
    ]  # the last keeps its weight
    np.testing.assert_allclose(weights, np.stack(expected, axis=-1), atol=1e-7)
    np.testing.assert_allclose(curves["translation"], ANIMATION.translation / 10, atol=1e-7)  # metres
    matrices = Rotation.from_quat(curves["rotation"]).as_matrix()
    np.testing.assert_allclose(matrices, rotation_matrix(ANIMATION.angles), atol=1e-6)
    assert (np.sum(curves["rotation"][1:] * curves["rotation"][:-1], axis=-1) > 0).all()  # the short way round


def test_camera_sees_what_the_clips_camera_saw(moving):
    lens = moving.cameras[0].perspective
    node = moving.nodes[moving.scenes[0].nodes[1]]
    assert node.camera == 0
    assert node.rotation is None  # looks down -z, like the clip's
    assert node.translation == [0.0, 0.0, 1.0]  # metres
    # A point at the picture's upper right corner, by glTF's projection and by the camera's:
    height = 2 * np.tan(lens.yfov / 2)
    assert height * lens.aspectRatio == pytest.approx(CAMERA.width / CAMERA.focal)
    assert height == pytest.approx(CAMERA.height / CAMERA.focal)


def test_mesh_is_that_of_the_still_file(moving, tmp_path):
    glb.write_glb(tmp_path / "still.glb", still())
    before = pygltflib.GLTF2().load(str(tmp_path / "still.glb"))
    assert moving.meshes[0].extras["targetNames"] == list(TARGETS)
    was, now = (json.loads(gltf.to_json()) for gltf in (before, moving))
    for name in ("meshes", "materials", "accessors", "bufferViews"):
        assert now[name][: len(was[name])] == was[name]
    size = before.buffers[0].byteLength
    assert moving.binary_blob()[:size] == before.binary_blob()[:size]


def test_a_mesh_without_targets_moves_as_a_whole(tmp_path):
    document = glb.build(Mesh(VERTICES, TRIANGLES))
    animate(document, ANIMATION._replace(weights={}), CAMERA)
    glb.write_glb(tmp_path / "a.glb", document)
    (animation,) = pygltflib.GLTF2().load(str(tmp_path / "a.glb")).animations
    assert [channel.target.path for channel in animation.channels] == ["rotation", "translation"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": np.array([0.0, 0.1, 0.1])}, "rise"),
        ({"times": np.array([-0.1, 0.0, 0.1])}, "rise"),
        ({"times": np.zeros(0)}, "rise"),
        ({"weights": {"nose": np.zeros(3)}}, "morph targets"),
        ({"weights": {"jawOpen": np.array([0, np.nan, 0])}}, "finite"),
        ({"angles": np.zeros((2, 3))}, "angles"),
        ({"translation": np.full((3, 3), np.inf)}, "translation"),
    ],
)
def test_wrong_animations_are_named_and_change_nothing(change, message):
    document = still()
    with pytest.raises(ValueError, match=rf"(?s){message}.*Received"):
        animate(document, ANIMATION._replace(**change), CAMERA)
    assert (document.tree, document.binary) == (still().tree, still().binary)
