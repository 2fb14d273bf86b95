"""The reconstruction of a face that is known, against the equations of `face` and the similarity of its crop."""

import json
import os
from dataclasses import replace

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from tf_deep3d import face as faces
from tf_deep3d.detection.alignment import Crop
from tf_deep3d.detection.detector import Detection
from tf_deep3d.errors import readable
from tf_deep3d.face import blendshapes, expression, lips
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import Similarity, rotation_matrix
from tf_deep3d.face.landmarks import JAW
from tf_deep3d.face.morphable_model import Landmarks
from tf_deep3d.io.photos import photo_name
from tf_deep3d.reconstructed import Appearance, Reconstruction, is_finished

PHOTO_TO_CROP = Similarity(0.5, 0.3, (7.0, -4.0))
DENSE = np.random.default_rng(1).uniform(40, 180, (478, 2))  # px of the crop; on no face


@pytest.fixture(scope="module")
def face(tiny_model):
    """Detected landmarks are those of the mesh, 2 px of the photo to the right of it."""
    rng = np.random.default_rng(0)
    bases = (tiny_model.identity_basis, tiny_model.expression_basis, tiny_model.albedo_basis)
    identity, expression, albedo = (rng.normal(size=(1, len(basis))).astype(np.float32) for basis in bases)
    light = rng.normal(size=(1, 3, 9)).astype(np.float32) * 0.1
    angles, translation = np.float32([[0.1, -0.4, 0.2]]), np.float32([[0.3, 0.1, -1]])
    coefficients = Coefficients(identity, expression, albedo, angles, light, translation)
    built = faces.reconstruct(tiny_model, coefficients)
    detected = PHOTO_TO_CROP.inverse().apply(built.landmarks[0]) + np.array([2, 0])
    dense = np.pad(PHOTO_TO_CROP.inverse().apply(DENSE), ((0, 0), (0, 1)))
    box = np.array([1, 2, 3, 4.0])
    return Reconstruction(
        photo="me.jpg",
        model=tiny_model,
        coefficients=coefficients,
        face=built,
        detected=Detection(0.9, box, dense, detected, np.zeros((5, 2))),
        crop=Crop(np.zeros((224, 224, 3), np.float32), PHOTO_TO_CROP, 0.25),
        units=blendshapes.units(tiny_model),
        report={"method": "rnet"},
    )


def test_landmarks_are_px_of_the_photo(face):
    np.testing.assert_allclose(PHOTO_TO_CROP.apply(face.landmarks), face.face.landmarks[0], atol=1e-4)
    eyes = np.linalg.norm(face.landmarks[36] - face.landmarks[45])
    assert face.landmark_error == pytest.approx(2 / eyes, rel=1e-3)


def test_the_jaw_line_stands_beside_the_contour_where_the_model_knows_it(face):
    assert face.jaw_line is None
    assert "jaw_line17_photo_px" not in face.numbers()
    marks = face.model.landmarks
    line = Landmarks(marks["ibug68"].vertices[JAW], marks["ibug68"].weights[JAW])
    knowing = replace(face, model=replace(face.model, landmarks={**marks, "jaw17": line}))
    np.testing.assert_allclose(knowing.jaw_line, face.landmarks[JAW], atol=1e-3)
    np.testing.assert_allclose(knowing.numbers()["jaw_line17_photo_px"], knowing.jaw_line, atol=1e-6)


def test_the_mesh_is_the_unposed_face(face, tiny_model):
    still = face.coefficients._replace(angles=np.zeros((1, 3)), translation=np.zeros((1, 3)))
    np.testing.assert_allclose(face.mesh.vertices, faces.reconstruct(tiny_model, still).vertices[0], atol=1e-6)
    np.testing.assert_array_equal(face.mesh.triangles, tiny_model.triangles)
    np.testing.assert_allclose(face.mesh.colors, np.clip(face.face.albedo[0], 0, 1))
    assert face.mesh.uv is not None


def test_lips_are_closed_where_the_photo_shows_them_so(face):
    """Detected edges of the lips, 1 px or 8 px of the photo apart, in a face of one colour."""
    points = face.detected.landmarks478.copy()
    for opening, closed in ((1.0, True), (8.0, False)):
        lower, upper = lips.EDGES[1], lips.EDGES[0]
        points[lower] = points[upper] + (0, opening, 0)
        shown = replace(face, detected=face.detected._replace(landmarks478=points))
        assert shown.lips_closed is closed


@pytest.mark.parametrize("tilt", [0.0, 50.0, 130.0, -179.0])
def test_pose_is_the_head_s_in_the_photo(face, tilt):
    """A head that leans by `tilt` more in the photo than in its crop: its axes in the photo are those of the pose."""
    matrix = rotation_matrix(face.coefficients.angles)[0]
    transform = Similarity(
        0.5, np.radians(tilt), (30.0, 20.0)
    )  # from the photo: clockwise as seen, so as to be upright
    leaning = replace(face, crop=face.crop._replace(transform=transform))
    assert leaning.crop_pose.roll_degrees == pytest.approx(np.degrees(0.2))
    turned = rotation_matrix(np.radians([leaning.pose]))[0]
    axes = transform.inverse().apply(matrix[:2].T * (1, -1)) - transform.inverse().apply(np.zeros(2))  # [3, 2], px
    np.testing.assert_allclose(axes * (0.5, -0.5), turned[:2].T, atol=1e-6)  # where right, up and ahead of the head go
    record = leaning.numbers()
    assert record["pose"] == leaning.pose._asdict()
    assert record["crop_pose"] == leaning.crop_pose._asdict()


def test_pose_and_units_have_names(face, tiny_model):
    assert face.crop_pose == pytest.approx(np.degrees([0.1, -0.4, 0.2]), rel=1e-5)
    assert face.pose == pytest.approx(np.degrees([0.1, -0.4, 0.2 + 0.3]), rel=1e-5)  # the crop was turned by .3
    assert list(face.arkit) == list(tiny_model.blendshape_names)
    frame = expression.Frame(DENSE, face.coefficients.angles[0], face.coefficients.translation[0])
    expected = expression.of_photo(tiny_model.blendshape_names, frame, Camera())
    np.testing.assert_allclose(list(face.arkit.values()), expected, atol=1e-6)


def test_units_follow_the_coefficients_of_a_model_without_dense_landmarks(face, tiny_model):
    marks = {name: points for name, points in tiny_model.landmarks.items() if name != expression.LANDMARKS}
    bare = replace(face, model=replace(tiny_model, landmarks=marks))
    expected = blendshapes.weights(face.units, face.coefficients.expression)[0][0]
    np.testing.assert_array_equal(list(bare.arkit.values()), expected)


def test_the_numbers_survive_json(face):
    record = face.numbers()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    np.testing.assert_allclose(record["landmarks68_photo_px"], face.landmarks, atol=1e-6)
    np.testing.assert_allclose(record["detected_landmarks68_photo_px"], face.detected.landmarks68, atol=1e-6)
    for name, group in face.coefficients._asdict().items():
        np.testing.assert_allclose(record["coefficients"][name], group[0], atol=1e-6)
    assert record["crop_from_photo"]["share_outside_photo"] == 0.25
    assert record["method"] == "rnet"


def test_without_a_renderer_the_vertices_have_colours(face, tmp_path):
    assert face.texture is None
    face.write(tmp_path / "me")
    assert sorted(path.name for path in (tmp_path / "me").iterdir()) == [
        "coefficients.json",
        "face.glb",
        "face.obj",
        "face.ply",
    ]
    assert is_finished(tmp_path / "me")
    shaded = trimesh.load(tmp_path / "me" / "face.obj", process=False).visual.vertex_colors[:, :3] / 255
    albedo = trimesh.load(tmp_path / "me" / "face.ply", process=False).visual.vertex_colors[:, :3] / 255
    np.testing.assert_allclose(shaded, np.clip(face.face.colors[0], 0, 1), atol=1 / 255)
    np.testing.assert_allclose(albedo, np.clip(face.face.albedo[0], 0, 1), atol=1 / 255)


def test_the_texture_is_painted_once_and_only_when_asked_for(face, tmp_path):
    from dataclasses import replace

    asked = []

    def paint(found):
        asked.append(found)
        return Appearance({"photo": np.full((8, 8, 3), 0.5)}, "photo", {"overlay.png": np.zeros((4, 6, 3), np.uint8)})

    painted = replace(face, paint=paint)
    assert painted.mesh.vertices.shape == face.mesh.vertices.shape
    assert not asked
    painted.write(tmp_path / "me")
    assert painted.texture.shape == (8, 8, 3)
    assert asked == [painted]
    assert {"face.mtl", "texture.png", "overlay.png"} <= {path.name for path in (tmp_path / "me").iterdir()}


@pytest.mark.parametrize(("shown", "other", "grey"), [("photo", "albedo.png", 64), ("albedo", "texture.png", 191)])
def test_both_textures_are_written_and_the_meshes_say_which_they_show(face, tmp_path, shown, other, grey):
    textures = {"photo": np.full((8, 8, 3), 0.25), "albedo": np.full((8, 8, 3), 0.75)}
    report = {"meshes_show": shown, "size_px": 8}
    replace(face, paint=lambda found: Appearance(textures, shown, report=report)).write(tmp_path / "me")
    for kind, value in (("texture.png", 64), ("albedo.png", 191)):
        with Image.open(tmp_path / "me" / kind) as picture:
            assert np.asarray(picture).mean() == pytest.approx(value, abs=1)
    assert other not in (tmp_path / "me" / "face.mtl").read_text(encoding="utf-8")
    file = pygltflib.GLTF2().load(str(tmp_path / "me" / "face.glb"))
    assert file.asset.extras["texture"] == shown
    for part in trimesh.load(tmp_path / "me" / "face.glb", process=False).geometry.values():
        image = part.visual.material.baseColorTexture
        assert np.asarray(image)[..., :3].mean() == pytest.approx(grey, abs=1)
    assert json.loads((tmp_path / "me" / "coefficients.json").read_text(encoding="utf-8"))["texture"] == report


def test_an_existing_folder_is_kept_unless_told(face, tmp_path):
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="me"):
        face.write(tmp_path / "me")
    assert not is_finished(tmp_path / "me")
    assert (tmp_path / "me" / "mine.txt").read_text() == "mine"
    face.write(tmp_path / "me", overwrite=True)
    assert is_finished(tmp_path / "me")


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", "😀".encode()])
def test_a_folder_of_any_name_is_written_whole(face, tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    replace(face, photo=photo_name(f"{os.fsdecode(name)}.jpg")).write(folder)
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    assert is_finished(folder)
    shown = readable(os.fsdecode(name))
    assert f"o {shown}\n" in (folder / "face.obj").read_text(encoding="utf-8")
    assert json.loads((folder / "coefficients.json").read_text(encoding="utf-8"))["photo"] == f"{shown}.jpg"
    trimesh.load(folder / "face.glb")
