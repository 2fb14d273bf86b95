"""FLAME in miniature: metres, Python 2 pickles with chumpy, a jaw joint, embeddings and texture models."""

import json
import os
import pickle

import numpy as np
import pytest
import scipy.sparse

from tests.foreign_face import assert_centered, assert_model_is, foreign_face
from tests.porting.test_pickled import Payload, python2_pickle
from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.face.landmarks import EYES
from tf_deep3d.porting import PortingError, flame, landmarks
from tf_deep3d.porting.__main__ import main

HEAD = foreign_face(21, 25, back=True)
COUNT = len(HEAD.vertices)
SIDE = 64  # px of the texture models


def content(jaw=True):
    """The model's dict with plain arrays."""
    dirs = np.zeros((COUNT, 3, 400))
    dirs[..., :5] = HEAD.identity.transpose(1, 2, 0) * 0.1
    dirs[..., 300:304] = HEAD.expression.transpose(1, 2, 0) * 0.1
    weights = np.zeros((COUNT, 5))
    if jaw:
        weights[:, 2] = np.clip(HEAD.vertices[:, 1].mean() - HEAD.vertices[:, 1], 0, 1)
    weights[:, 1] = 1 - weights[:, 2]
    regressor = np.zeros((5, COUNT))
    regressor[2, [262, HEAD.front + 262]] = 0.8, 0.2  # behind the nose
    corrections = np.random.default_rng(7).normal(size=(COUNT, 3, 36)) * 0.002
    return {
        "v_template": HEAD.vertices * 0.1,
        "f": HEAD.triangles.astype(np.uint32),
        "shapedirs": dirs,
        "posedirs": corrections,
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }


def write_model(path, kind, jaw=True):
    """The pickle as Python 2 (FLAME 2020) or Python 3 (2023) writes it."""
    model = content(jaw)
    if kind == "python3":
        sparse = scipy.sparse.csc_matrix(model["J_regressor"])
        path.write_bytes(pickle.dumps({**model, "J_regressor": sparse, "bs_style": "lbs"}, 2))
    else:
        model["f"], model["kintree_table"] = model["f"].astype(np.uint32), model["kintree_table"].astype(np.uint32)
        path.write_bytes(python2_pickle({**model, "shapedirs": ("chumpy", model["shapedirs"])}, int(kind[-1])))


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "model.pkl", "python2-2", jaw=False)
    places, weights = HEAD.places
    full = {"full_lmk_faces_idx": places[None], "full_lmk_bary_coords": weights[None]}
    inner = {"static_lmk_faces_idx": places[17:], "static_lmk_bary_coords": weights[17:]}
    np.save(tmp_path / "landmark_embedding.npy", {**inner, **full}, allow_pickle=True)
    return tmp_path


def load(folder, *options, points="landmark_embedding.npy"):
    out = folder / "out.npz"
    command = ["flame", str(folder / "model.pkl"), str(out), "--landmarks", str(folder / points), "--overwrite"]
    assert main([*command, *map(str, options)]) == 0
    return morphable_model.load(out)


def refused(capsys, folder, *options, points="landmark_embedding.npy"):
    """The one line on standard error."""
    out = folder / "no.npz"
    points = [] if points is None else ["--landmarks", str(folder / points)]
    assert main(["flame", str(folder / "model.pkl"), str(out), *points, *map(str, options)]) == 1
    assert not out.exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def with_zeros(modes, count):
    return np.concatenate([modes, np.zeros((count - len(modes), *modes.shape[1:]))])


@pytest.mark.parametrize("kind", ["python2-0", "python2-2", "python3"])
def test_round_trip(folder, kind):
    write_model(folder / "model.pkl", kind, jaw=False)
    model = load(folder, "--whole-head")
    identity, expression = with_zeros(HEAD.identity, 100), with_zeros(HEAD.expression, 50)
    assert_model_is(model, HEAD, identity=identity, expression=expression)
    assert_centered(model)
    np.testing.assert_array_equal(model.triangles, HEAD.triangles)
    points = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    corners = model.mean_shape[HEAD.triangles[HEAD.places[0]]]
    np.testing.assert_allclose(points, (corners * HEAD.places[1][..., None]).sum(1), atol=1e-6)


def test_back_of_the_head_is_cut_off(folder):
    model = load(folder)
    assert model.mean_shape[:, 2].min() > -1
    assert 0.5 * HEAD.front < len(model.mean_shape) < HEAD.front
    assert_centered(model)


def test_jaw_modes(folder):
    write_model(folder / "model.pkl", "python2-2")
    model = load(folder, "--whole-head", "--expression", 4, "--identity", 5)
    assert len(model.expression_basis) == 4 + 2
    source = content()
    joint = (source["J_regressor"] @ source["v_template"])[2]
    for mode, angle in ((4, (0.2, 0, 0)), (5, (0, 0.06, 0))):  # two standard deviations: the chord ends on the arc
        turn = faces.geometry.rotation_matrix(np.array([angle]))[0]
        feature = np.zeros(36)
        feature[9:18] = (turn - np.eye(3)).reshape(-1)
        posed = source["v_template"] + source["posedirs"] @ feature
        weight = source["weights"][:, 2:3]
        posed = (1 - weight) * posed + weight * ((posed - joint) @ turn.T + joint)  # linear blend skinning
        amounts = np.zeros((1, 6))
        amounts[0, mode] = 2
        moved = faces.unposed_shape(model, np.zeros((1, 5)), amounts)[0] - model.mean_shape
        np.testing.assert_allclose(moved, (posed - source["v_template"]) * 10, atol=1e-5)
    chin, brow = HEAD.landmarks[8], HEAD.landmarks[19]
    assert model.expression_basis[4, chin, 1] < -0.01  # opens downwards
    assert abs(model.expression_basis[5, chin, 0]) > 3 * abs(model.expression_basis[5, brow, 0])


@pytest.mark.parametrize("suffix", ["npz", "pkl", "txt", "points"])
def test_other_landmark_files(folder, suffix):
    expected = load(folder).landmarks["ibug68"]
    places, weights = HEAD.places
    path = folder / f"static_68.{suffix.replace('points', 'txt')}"
    if suffix == "npz":
        np.savez(path, lmk_face_idx=places, lmk_b_coords=weights)
    elif suffix == "pkl":
        path.write_bytes(python2_pickle({"lmk_face_idx": places.astype(np.uint32), "lmk_b_coords": weights}, 0))
    elif suffix == "points":  # metres, as the file's own
        np.savetxt(path, (HEAD.vertices[HEAD.triangles[places]] * weights[..., None]).sum(1) * 0.1)
    else:
        np.savetxt(path, HEAD.landmarks, "%d")
    model = load(folder, points=path.name)
    wanted = landmarks.positions(expected, load(folder).mean_shape)
    found = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(found - found.mean(0), wanted - wanted.mean(0), atol=0.08 if suffix == "txt" else 1e-5)


@pytest.mark.parametrize("separate", [False, True])
def test_inner_landmarks_and_frontal_contour(folder, separate):
    places, weights = HEAD.places
    rows, row_weights = np.tile(places[:17], (79, 1)), np.tile(weights[:17], (79, 1, 1))
    rows[1:] = 0  # the other angles
    inner = {"lmk_face_idx": places[17:], "lmk_b_coords": weights[17:]}
    if separate:
        (folder / "inner.pkl").write_bytes(pickle.dumps(inner, 2))
        contour = {"lmk_face_idx": rows, "lmk_b_coords": row_weights}
        np.save(folder / "contour.npy", contour, allow_pickle=True)
        model = load(folder, "--contour", folder / "contour.npy", points="inner.pkl")
    else:
        inner = {"static_lmk_faces_idx": places[17:], "static_lmk_bary_coords": weights[17:]}
        contour = {"dynamic_lmk_faces_idx": rows, "dynamic_lmk_bary_coords": row_weights}
        np.save(folder / "both.npy", {**inner, **contour}, allow_pickle=True)
        model = load(folder, points="both.npy")
    expected = load(folder).landmarks["ibug68"]
    np.testing.assert_array_equal(model.landmarks["ibug68"].vertices, expected.vertices)
    np.testing.assert_allclose(model.landmarks["ibug68"].weights, expected.weights)


def test_landmarks_are_needed(folder, capsys):
    assert "model.pkl has no landmarks: pass --landmarks FILE, landmark_embedding.npy" in refused(
        capsys, folder, points=None
    )
    inner = {"lmk_face_idx": HEAD.places[0][17:], "lmk_b_coords": HEAD.places[1][17:]}
    np.savez(folder / "inner.npz", **inner)
    assert "51 inner landmarks only: pass --contour" in refused(capsys, folder, points="inner.npz")


def gradient(low, high):
    """An image [SIDE, SIDE] whose value at texture point (u, v) is low + (high - low) * (u + 2 v) / 3."""
    middle = (np.arange(SIDE) + 0.5) / SIDE
    return low + (high - low) * (middle[None] + 2 * (1 - middle[:, None])) / 3


def expected_colours(model, low, high):
    place = np.zeros((len(model.mean_shape), 2))
    place[model.triangles.reshape(-1)] = model.uv[model.uv_triangles.reshape(-1)]
    return low + (high - low) * (place @ [1, 2])[:, None] / 3


@pytest.mark.parametrize("kind", ["FLAME", "BFM", "AlbedoMM"])
def test_texture_models(folder, kind):
    low, high = np.array([0.2, 0.3, 0.4]), np.array([0.7, 0.6, 0.5])  # RGB
    mean = np.stack([gradient(a, b) for a, b in zip(low, high, strict=True)], -1)[..., ::-1]  # stored as BGR
    modes = np.stack([mean * 0.1, mean * 0 + [0.0, 0.0, 0.05]], -1)  # the second one: red
    texture_map = {"vt": HEAD.uv * 0.9 + 0.05, "ft": HEAD.triangles.astype(np.uint32)}
    path, options = folder / "texture.npz", []
    if kind == "FLAME":
        np.savez(path, mean=mean * 255, tex_dir=modes * 255, **texture_map)
    elif kind == "BFM":
        np.savez(path, MU=mean.reshape(-1), PC=modes.reshape(-1, 2))
        obj = folder / "head.obj"
        points = [*(f"v {x} {y} {z}" for x, y, z in HEAD.vertices), *(f"vt {u} {v}" for u, v in texture_map["vt"])]
        polygons = [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in HEAD.triangles + 1]
        obj.write_text("\n".join(points + polygons))
        options = ["--uv", obj]
    else:
        linear = {"MU": mean**2.2, "PC": modes * 2.2 * mean[..., None] ** 1.2, "specMU": mean, "specPC": modes}
        np.savez(path, **linear, **texture_map)
    model = load(folder, "--texture", path, *options)
    colours = expected_colours(model, low, high)
    tolerance = 2e-3 if kind == "AlbedoMM" else 1e-5
    np.testing.assert_allclose(model.mean_albedo, colours, atol=tolerance)
    np.testing.assert_allclose(model.albedo_basis[0], colours * 0.1, atol=tolerance)
    np.testing.assert_allclose(model.albedo_basis[1], np.tile([0.05, 0, 0], (len(colours), 1)), atol=tolerance)


def test_without_a_texture_model_the_colours_are_plain(folder):
    model = load(folder)
    assert len(model.albedo_basis) == 2
    assert not np.ptp(model.mean_albedo[model.regions["skin"]], axis=0).any()


def test_masks(folder):
    points = HEAD.vertices[HEAD.landmarks]
    everything = np.arange(HEAD.front)
    eyes = [np.flatnonzero(np.linalg.norm(HEAD.vertices - points[eye].mean(0), axis=1) < 0.12) for eye in EYES]
    lips = np.flatnonzero(np.linalg.norm(HEAD.vertices - points[48:].mean(0), axis=1) < 0.2)
    masks = {"face": np.setdiff1d(everything, eyes[0]), "left_eyeball": eyes[1], "right_eyeball": eyes[0], "lips": lips}
    (folder / "masks.pkl").write_bytes(pickle.dumps({**masks, "scalp": np.arange(3)}, 2))
    model = load(folder, "--masks", folder / "masks.pkl")
    np.testing.assert_array_equal(np.flatnonzero(model.regions["eyes"]), np.union1d(*eyes))
    np.testing.assert_array_equal(np.flatnonzero(model.regions["lips"]), lips)
    assert len(model.mean_shape) == HEAD.front


def test_a_malicious_model_is_refused(folder, capsys):
    victim = folder / "victim"
    evil = {**content(), "bs_style": Payload(os.system, f"touch {victim}")}
    (folder / "model.pkl").write_bytes(pickle.dumps(evil, 2))
    assert "the pickle must hold numbers and arrays only. Received: posix.system" in refused(capsys, folder)
    write_model(folder / "model.pkl", "python3")
    np.save(folder / "evil.npy", {"full_lmk_faces_idx": Payload(os.system, f"touch {victim}")}, allow_pickle=True)
    assert "posix.system" in refused(capsys, folder, points="evil.npy")
    (folder / "evil.pkl").write_bytes(pickle.dumps(evil))
    assert "posix.system" in refused(capsys, folder, points="evil.pkl")
    assert "posix.system" in refused(capsys, folder, "--masks", folder / "evil.pkl")
    np.savez(folder / "evil.npz", MU=np.array([Payload(os.system, f"touch {victim}")], dtype=object), PC=1, vt=1, ft=1)
    assert "evil.npz is not a readable .npz of plain arrays" in refused(
        capsys, folder, "--texture", folder / "evil.npz"
    )
    assert not victim.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_template": None}, "the model must hold 'v_template'. Received: ['J_regressor', 'f'"),
        ({"v_template": np.zeros((4, 2))}, "v_template must be numbers of shape ('any', 3). Received: float64 (4, 2)"),
        ({"shapedirs": np.zeros((4, 3, 400))}, f"shapedirs must be numbers of shape ({COUNT}, 3, 'any')"),
        ({"shapedirs": np.zeros((COUNT, 3, 300))}, "shapedirs must have over 300 modes. Received: 300"),
        ({"f": HEAD.triangles + 1}, f"f must be whole numbers in [0, {COUNT}). Received: 1 to {COUNT}"),
        ({"f": {}}, "f must be an array. Received: dict"),
        ({"weights": np.ones((4, 5))}, f"weights must be numbers of shape ({COUNT}, 'any')"),
        ({"posedirs": np.ones((COUNT, 3, 9))}, f"posedirs must be numbers of shape ({COUNT}, 3, 36)"),
        ({"J_regressor": np.ones((4, COUNT))}, f"J_regressor must be numbers of shape (5, {COUNT})"),
        ({"v_template": HEAD.vertices}, "0.5 to 1.5 dm apart. Received: 36 at"),
    ],
)
def test_wrong_models(folder, capsys, changes, message):
    model = {key: value for key, value in {**content(), **changes}.items() if value is not None}
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    assert message in refused(capsys, folder)


def test_wrong_pickles(folder, capsys):
    for data, message in ((b"", "ends too early"), (pickle.dumps([1]), "model.pkl must hold a dict. Received: list")):
        (folder / "model.pkl").write_bytes(data)
        assert message in refused(capsys, folder)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ({"a": 1}, "must hold landmarks' triangles and weights. Received: ['a']"),
        ({"lmk_face_idx": HEAD.places[0][:60], "lmk_b_coords": HEAD.places[1][:60]}, "68 landmarks. Received: 60"),
        (
            {"lmk_face_idx": HEAD.places[0], "lmk_b_coords": HEAD.places[1][:60]},
            "lmk_b_coords must be numbers of shape (68, 3)",
        ),
        ({"lmk_face_idx": HEAD.places[0] + 10**6, "lmk_b_coords": HEAD.places[1]}, "triangles must be whole numbers"),
        ({"lmk_face_idx": HEAD.places[0], "lmk_b_coords": HEAD.places[1] * 2}, "the landmarks' weights must sum to 1"),
    ],
)
def test_wrong_embeddings(folder, capsys, embedding, message):
    (folder / "wrong.pkl").write_bytes(pickle.dumps(embedding))
    assert message in refused(capsys, folder, points="wrong.pkl")


@pytest.mark.parametrize(
    ("texture", "message"),
    [
        ({"MU": np.zeros(12)}, "pass --uv head_template.obj too"),
        ({"vt": HEAD.uv, "ft": HEAD.triangles}, "must hold mean and tex_dir, or MU and PC. Received: ['ft', 'vt']"),
        ({"MU": np.zeros(13), "PC": np.zeros((13, 2)), "vt": HEAD.uv, "ft": HEAD.triangles}, "square with 3 channels"),
        ({"MU": np.zeros(12), "PC": np.zeros((11, 2)), "vt": HEAD.uv, "ft": HEAD.triangles}, "square with 3 channels"),
        ({"MU": np.zeros(12), "PC": np.zeros((12, 2)), "vt": HEAD.uv, "ft": HEAD.triangles[1:]}, "ft must be numbers"),
        (
            {"MU": np.zeros(12), "PC": np.zeros((12, 2)), "vt": HEAD.uv[1:], "ft": HEAD.triangles},
            "ft must be whole numbers",
        ),
    ],
)
def test_wrong_textures(folder, capsys, texture, message):
    np.savez(folder / "texture.npz", **texture)
    assert message in refused(capsys, folder, "--texture", folder / "texture.npz")


def test_wrong_texture_map_and_masks(folder, capsys):
    (folder / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    assert "texture points on FLAME's own triangles" in refused(capsys, folder, "--uv", folder / "a.obj")
    (folder / "masks.pkl").write_bytes(pickle.dumps({"face": np.arange(9)}))
    assert "the masks must hold 'left_eyeball'" in refused(capsys, folder, "--masks", folder / "masks.pkl")


def test_read_needs_no_command_line(folder):
    source = flame.read(folder / "model.pkl", flame.Files(folder / "landmark_embedding.npy"), identity=3, expression=2)
    assert (len(source.identity), len(source.expression), source.albedo) == (3, 2, None)
    with pytest.raises(PortingError, match="no landmarks"):
        flame.read(folder / "model.pkl", flame.Files())
    (folder / "a.json").write_text(json.dumps(HEAD.landmarks.tolist()))
    assert len(flame.read(folder / "model.pkl", flame.Files(folder / "a.json")).landmarks.vertices) == 68
