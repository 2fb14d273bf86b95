"""Our methods with a small R-Net and C-Net, and meshes of another program."""

import json

import numpy as np
import pytest
from keras import ops

from tests.evaluation.conftest import portrait_of
from tf_deep3d import face
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark, methods
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.measuring import Truth
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.reconstruction import photo


class Network:
    """Coefficients of a picture: its mean colours; counts the pictures that it has seen."""

    def __init__(self, layout):
        self.layout, self.seen = layout, 0

    def regress(self, images):
        self.seen += len(images)
        rows = self.layout.zeros(len(images))
        mean = np.asarray(images).mean((1, 2, 3))
        return rows._replace(identity=rows.identity + mean[:, None]), (ops.convert_to_tensor(images), mean)


def judge(features):
    """[M, 6]: the first coefficient trusts bright pictures, the others all alike."""
    weight = np.full((len(features[1]), 6), 0.5, np.float32)
    weight[:, 0] = features[1]
    return weight


@pytest.fixture
def photos(tmp_path):
    """Portraits of mean colour 0.1, 0.3 and 0.8."""
    return tuple(
        portrait_of(tmp_path / f"{value}.png", np.zeros((68, 2)), np.full((224, 224, 3), value, np.float32))
        for value in (0.1, 0.3, 0.8)
    )


def case(portraits):
    return Case("set", "person", None, tuple(each.photo for each in portraits), None, (), True, portraits)


@pytest.mark.parametrize(
    ("name", "first", "others"),
    [
        ("average", 0.4, 0.4),
        ("elementwise", (0.01 + 0.09 + 0.64) / 1.2, 0.4),
        ("summed", (0.26 + 0.84 + 2.64) / 8.7, None),
        ("best", 0.8, 0.8),
        ("scalar", (0.01 + 0.09 + 0.64) / 1.2, (0.01 + 0.09 + 0.64) / 1.2),
    ],
)
def test_strategies_give_the_fused_shape(tiny_model, photos, name, first, others):
    network = Network(tiny_model.layout())
    judges = {"elementwise": judge, "scalar": lambda features: judge(features)[:, :1]}
    regress = methods.regressor(network, judges)
    method = methods.set_method(name, tiny_model, regress, {"weights": "a"})
    found, nothing = method.run([case(photos), case(())])
    assert nothing == "no face found"
    identity = np.full(6, first if others is None else others)
    identity[0] = first
    expected = tiny_model.mean_shape + np.tensordot(identity, tiny_model.identity_basis.reshape(6, -1, 3), 1)
    np.testing.assert_allclose(found.vertices, expected, atol=1e-5)
    if name == "average":
        assert found.confidence is None
    else:
        np.testing.assert_allclose(found.confidence[0], 0.4, atol=1e-6)
    assert method.identity == {"method": name, "weights": "a"}


def test_single_photos_are_shapes_of_their_own_and_seen_once(tiny_model, photos):
    network = Network(tiny_model.layout())
    regress = methods.regressor(network, {})
    single = methods.set_method(methods.SINGLE, tiny_model, regress, {})
    average = methods.set_method("average", tiny_model, regress, {})
    (shapes,) = single.run([case(photos)])
    for shape, portrait in zip(shapes, photos, strict=True):
        (alone,) = average.run([case((portrait,))])
        np.testing.assert_array_equal(shape.vertices, alone.vertices)
    assert network.seen == 3


def test_two_faces_of_one_photo_have_two_answers(tiny_model, tmp_path):
    """The same photo, with faces of mean colour 0.2 at one place and 0.6 at another."""
    network = Network(tiny_model.layout())
    dark, bright = (
        portrait_of(tmp_path / "two.png", np.full((68, 2), 10 * value), np.full((224, 224, 3), value, np.float32))
        for value in (0.2, 0.6)
    )
    regress = methods.regressor(network, {"elementwise": judge})
    for shown, expected in (((dark,), [0.2]), ((bright,), [0.6]), ((bright, dark), [0.6, 0.2])):
        coefficients, confidences = regress(shown)
        np.testing.assert_allclose(coefficients.identity[:, 0], expected, rtol=1e-5)
        np.testing.assert_allclose(confidences["elementwise"][:, 0], expected, rtol=1e-5)
    assert network.seen == 2
    answers = methods.set_method("average", tiny_model, regress, {}).run([case((dark,)), case((bright,))])
    assert np.abs(answers[0].vertices - answers[1].vertices).max() > 1e-3


def test_a_long_album_is_forgotten(tiny_model, photos, monkeypatch):
    monkeypatch.setattr(methods, "KEPT", 2)
    network = Network(tiny_model.layout())
    regress = methods.regressor(network, {"elementwise": judge})
    coefficients, confidences = regress(photos)
    assert isinstance(coefficients, Coefficients)
    np.testing.assert_allclose(coefficients.identity[:, 0], [0.1, 0.3, 0.8], rtol=1e-5)
    np.testing.assert_allclose(confidences["elementwise"][:, 0], [0.1, 0.3, 0.8], rtol=1e-5)
    np.testing.assert_allclose(regress(photos[:1])[0].identity[:, 0], 0.1, rtol=1e-5)


def test_predictions_are_in_the_photos_frame(tiny_model, cases):
    coefficients = tiny_model.layout().zeros(1)._replace(angles=np.float32([[0.1, 0.2, 0.3]]))
    portrait = portrait_of(cases[0].photos[0], np.zeros((68, 2)))
    good = methods.prediction(tiny_model, coefficients, [portrait])
    np.testing.assert_allclose(good.angles, np.degrees([0.1, 0.2, 0.6]), rtol=1e-5)
    crop = face.reconstruct(tiny_model, coefficients).landmarks[0]
    np.testing.assert_allclose(portrait.crop.transform.apply(good.landmarks), crop, atol=1e-3)
    np.testing.assert_allclose(good.vertices, tiny_model.mean_shape, atol=1e-6)
    photo, rendering = good.likeness()
    assert photo.shape == rendering.shape == (224, 224, 3)
    assert rendering.max() > 0.1
    assert (rendering == photo).all(-1).mean() > 0.1, "the photo shows around the face"


def test_photos_of_one_person_make_one_shape(tiny_model, cases):
    zeros = tiny_model.layout().zeros(3)
    identity, expression = zeros.identity.copy(), zeros.expression.copy()
    identity[:, 0], expression[:, 0] = [1, 3, np.nan], 2
    coefficients = zeros._replace(identity=identity, expression=expression)
    portraits = [portrait_of(cases[0].photos[0], np.zeros((68, 2)))] * 3
    calm = methods.prediction(tiny_model, coefficients, portraits, neutral=True)
    expected = tiny_model.mean_shape + 2 * tiny_model.identity_basis[0].reshape(-1, 3)
    np.testing.assert_allclose(calm.vertices, expected, atol=1e-6)
    np.testing.assert_allclose(calm.neutral, MILLIMETRES * expected, atol=1e-4)
    assert calm.landmarks is None
    assert calm.angles is None
    moved = methods.prediction(tiny_model, coefficients, portraits)
    expected = expected + 2 * tiny_model.expression_basis[0].reshape(-1, 3)
    np.testing.assert_allclose(moved.vertices, expected, atol=1e-6)
    lost = coefficients._replace(identity=np.full_like(identity, np.nan))
    assert methods.prediction(tiny_model, lost, portraits) == "the fit of the face diverged"
    assert methods.prediction(tiny_model, zeros, []) == "no face found"


def test_the_mean_face_takes_the_pose_of_the_landmarks(tiny_model, cases, landmarks):
    angles = np.float32([[0.05, 0.4, -0.1]])
    posed = face.reconstruct(tiny_model, tiny_model.layout().zeros(1)._replace(angles=angles)).landmarks[0]
    transform = geometry.Similarity(0.5, 0.3, (12.0, -4.0))
    seen = cases[0]._replace(portraits=(portrait_of(cases[0].photos[0], transform.inverse().apply(posed)),))
    models = photo.Models((tiny_model,), tiny_model, None)
    method = methods.own_method("mean", models, photo.Options(method="fit"))
    answer, missing = method.run([seen, cases[1]])
    assert missing == "no face found"
    np.testing.assert_allclose(answer.angles, np.degrees(angles[0] + [0, 0, 0.3]), atol=0.05)
    assert method.run([cases[1]]) == ["no face found"]


@pytest.mark.parametrize("name", ["median", "fit:3", "rnet:", "rnet:x", "rnet:-1"])
def test_unknown_methods_are_refused(tiny_model, name):
    models = photo.Models((tiny_model,), tiny_model, None)
    with pytest.raises(InputError, match="a method must be"):
        methods.own_method(name, models, photo.Options())


def test_steps_are_part_of_a_methods_identity(tiny_model):
    models = photo.Models((tiny_model,), tiny_model, None)
    identities = [
        json.dumps(methods.own_method(name, models, photo.Options(), weights).identity)
        for name, weights in (
            ("rnet", "a"),
            (f"rnet:{photo.REFINE}", "a"),
            ("rnet:0", "a"),
            ("rnet", "b"),
            ("fit", None),
        )
    ]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 4


def write_obj(path, vertices, triangles):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a}/1 {b}/1 {c}/1" for a, b, c in triangles + 1]
    path.write_text("\n".join(["# a mesh", *lines, ""]))


def test_meshes_of_another_program(tiny_model, landmarks, views, cases, tmp_path):
    folder = tmp_path / "meshes"
    folder.mkdir()
    turn = geometry.rotation_matrix(np.array([[0.2, -0.1, 0.0]]))[0].T * 7
    vertices, points = tiny_model.mean_shape @ turn, landmarks @ turn
    for case in cases[:4]:
        write_obj(folder / f"{case.name}.obj", vertices, tiny_model.triangles)
    nearest = np.linalg.norm(vertices[None] - points[:, None], axis=-1).argmin(1)
    np.savetxt(folder / "landmarks.txt", nearest[ANCHORS[7]], fmt="%d")
    np.savetxt(folder / f"{cases[1].name}.txt", points)
    (folder / f"{cases[2].name}.obj").write_text("v 0 0 zero\n")
    np.savetxt(folder / f"{cases[3].name}.txt", points[:5])
    method = methods.mesh_folder("theirs", folder)
    rows = benchmark.run("tiny 1", cases[:5], [method], tiny_model, tmp_path)["theirs"]
    assert [row["numbers"] and row["numbers"]["plane_rmse"] < 0.01 for row in rows] == [True, True, None, None, None]
    for row, reason in zip(rows[2:], ("line 1", "68, 51 or 7 rows", "no such file"), strict=True):
        assert reason in row["reason"]
    for case in (cases[0], cases[2], cases[4]):  # one that was there is not read again, others are
        write_obj(folder / f"{case.name}.obj", vertices * [1, 1, 1 + (case is cases[0])], tiny_model.triangles)
    again = benchmark.run("tiny 1", cases[:5], [method], tiny_model, tmp_path)["theirs"]
    assert [row["numbers"] and row["numbers"]["plane_rmse"] < 0.01 for row in again] == [True, True, True, None, True]
    with pytest.raises(FileNotFoundError, match="no folder"):
        methods.mesh_folder("theirs", tmp_path / "nowhere")


def test_the_floor_is_the_nearest_that_the_model_can_take(views, tiny_model, tmp_path):
    """A case of the mean face: the floor lies on it. A case that hides its truth, or has none that is a face."""
    shown = benchmark.open_case(views[0], tmp_path)
    hidden = shown._replace(truth=None)
    points, normals, marks = shown.truth()
    away = shown._replace(truth=lambda: Truth(points + 1, -normals, marks))
    found = methods.floor_method(tiny_model, {}).run([shown, hidden, away])
    numbers = shown.measure(found[0]).numbers
    assert numbers["plane_rmse"] < 0.05
    assert "nme_box" not in numbers
    assert found[1] == methods.NO_TRUTH
    assert "hardly face each other" in found[2]
