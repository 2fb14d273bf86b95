"""ICT-FaceKit in miniature: centimetres, OBJ files of quads with materials, texture points on several tiles."""

import json

import numpy as np
import pytest

from tests.foreign_face import assert_centered, assert_model_is, foreign_face
from tf_deep3d.face import morphable_model
from tf_deep3d.face.landmarks import EYES
from tf_deep3d.porting import PortingError, ict_facekit, landmarks
from tf_deep3d.porting.__main__ import main

COLUMNS, ROWS = 21, 25
FACE = foreign_face(COLUMNS, ROWS)
COUNT = len(FACE.vertices)
NAMES = ["browInnerUp_L", "browInnerUp_R", "jawOpen", "mouthSmile_L"]
EYE_CENTERS = [FACE.vertices[FACE.landmarks[eye]].mean(0) + np.array([0, 0, -0.02]) for eye in EYES]
PLATE = np.array([[-0.03, 0.03, 0], [-0.03, -0.03, 0], [0.03, -0.03, 0], [0.03, 0.03, 0]])


def quads():
    """The face's quads, counter-clockwise from outside."""
    index = np.arange(COUNT).reshape(ROWS, COLUMNS)
    return np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)


def extras():
    """Parts besides the face: name -> quad corners [4, 3], tile of the texture map."""
    mouth = FACE.vertices[FACE.landmarks[60:]].mean(0) + np.array([0, 0, -0.2])
    return {
        "M_BackHead": (PLATE * [9, 9, 1] * [-1, 1, 1] + [0, 0, -2], 1),
        "M_Teeth": (PLATE + mouth, 3),
        "M_ScleraLeft": (PLATE + EYE_CENTERS[1], 4),
        "M_ScleraRight": (PLATE + EYE_CENTERS[0], 5),
        "M_EyeLashes": (PLATE + EYE_CENTERS[0] + [0, 0, 0.3], 6),
    }


PARTS = extras()
VERTICES = np.concatenate([FACE.vertices, *(corners for corners, _ in PARTS.values())])
KEPT = np.concatenate([np.arange(COUNT), *(COUNT + 4 * k + np.arange(4) for k in (1, 2, 3))])


def obj(vertices):
    """The text as published: comment, mtllib, v, vt, usemtl and f v/vt lines, centimetres."""
    lines = ["# ICT FaceKit", "mtllib ICTFaceModelMaterial.mtl"]
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in vertices * 10]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in FACE.uv * 0.9 + 0.05]
    for _, tile in PARTS.values():
        lines += [f"vt {u + tile:.6f} {v:.6f}" for u, v in ((0.2, 0.8), (0.2, 0.2), (0.8, 0.2), (0.8, 0.8))]
    lines += ["usemtl M_Face", *("f " + " ".join(f"{corner + 1}/{corner + 1}" for corner in quad) for quad in quads())]
    for k, name in enumerate(PARTS):
        corners = COUNT + 4 * k + np.arange(1, 5)
        lines += [f"usemtl {name}", "f " + " ".join(f"{corner}/{corner}" for corner in corners)]
    return "\n".join(lines) + "\n"


def padded(modes):
    return np.concatenate([modes, np.zeros((len(modes), len(VERTICES) - COUNT, 3))], 1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "generic_neutral_mesh.obj").write_text(obj(VERTICES))
    for k, mode in enumerate(padded(FACE.identity[:3])):
        (tmp_path / f"identity{k:03d}.obj").write_text(obj(VERTICES + mode))
    for name, mode in zip(NAMES, padded(FACE.expression), strict=True):
        (tmp_path / f"{name}.obj").write_text(obj(VERTICES + mode))
    index = {"expressions": NAMES, "idx_to_landmark_verts": FACE.landmarks.tolist(), "idx_to_fitting_verts": [1, 2]}
    (tmp_path / "vertex_indices.json").write_text(json.dumps(index))
    return tmp_path


def load(folder, *options):
    assert main(["ict-facekit", str(folder), str(folder / "out.npz"), "--overwrite", *map(str, options)]) == 0
    return morphable_model.load(folder / "out.npz")


def test_round_trip(folder):
    model = load(folder)
    whole = FACE._replace(vertices=VERTICES)
    assert_model_is(
        model,
        whole,
        keep=KEPT,
        identity=padded(FACE.identity[:3]),
        expression=0.25 * padded(FACE.expression),
        tolerance=3e-5,
    )
    assert_centered(model)
    points = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(points, model.mean_shape[FACE.landmarks], atol=1e-6)
    assert (model.name, model.licence) == ("ICT-FaceKit", "MIT")


def test_blendshapes_at_full_strength_under_arkit_names(folder):
    model = load(folder)
    assert model.blendshape_names == ("browInnerUp", "jawOpen", "mouthSmileLeft")
    full = FACE.expression[0] + FACE.expression[1], FACE.expression[2], FACE.expression[3]
    np.testing.assert_allclose(model.blendshapes[:, :COUNT], full, atol=3e-5)


def test_regions_follow_the_materials(folder):
    model = load(folder)
    place = {name: np.arange(COUNT + 4 * k, COUNT + 4 * k + 4) for k, name in enumerate(("M_Teeth", "left", "right"))}
    assert np.flatnonzero(model.regions["inner_mouth"]).tolist() == place["M_Teeth"].tolist()
    assert np.flatnonzero(model.regions["eyes"]).tolist() == [*place["left"], *place["right"]]
    colours = [model.mean_albedo[model.regions[name]].mean(0) for name in ("skin", "inner_mouth", "eyes", "lips")]
    assert len(np.unique(np.round(colours, 3), axis=0)) == 4
    assert len(model.albedo_basis) == 2


def test_texture_map(folder):
    model = load(folder)
    assert model.uv.min() >= 0
    assert model.uv.max() <= 1
    face = (model.triangles < COUNT).all(1)
    np.testing.assert_allclose(
        model.uv[model.uv_triangles[face]], (FACE.uv * 0.9 + 0.05)[model.triangles[face]] * 0.75, atol=1e-5
    )
    assert (model.uv[model.uv_triangles[~face]] >= 0.75).any(-1).all()  # the other tiles, in a margin of their own


def test_fewer_modes_and_other_landmarks(folder):
    np.savetxt(folder / "ibug68.txt", FACE.landmarks + np.where(np.arange(68) == 8, COLUMNS, 0), "%d")
    model = load(folder, "--identity", 2, "--expression", 3, "--landmarks", folder / "ibug68.txt")
    assert (len(model.identity_basis), len(model.expression_basis)) == (2, 3)
    chin = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)[8]
    np.testing.assert_allclose(chin, model.mean_shape[FACE.landmarks[8] + COLUMNS], atol=1e-6)


def rewrite(folder, **changes):
    path = folder / "vertex_indices.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: rewrite(f, expressions=["../../etc/passwd"]), "must list the names of the expressions. Received: "),
        (lambda f: rewrite(f, expressions="jawOpen"), "must list the names of the expressions. Received: jawOpen"),
        (lambda f: rewrite(f, expressions=[]), "must hold identity modes and expressions"),
        (lambda f: rewrite(f, idx_to_landmark_verts=[1, 2]), r"idx_to_landmark_verts must be numbers of shape \(68,\)"),
        (lambda f: rewrite(f, idx_to_landmark_verts=[99999] * 68), "idx_to_landmark_verts must be whole numbers in"),
        (lambda f: rewrite(f, idx_to_landmark_verts=[k + 5 for k in range(68)]), "iBUG order"),
        (lambda f: (f / "vertex_indices.json").write_text("["), "not readable JSON"),
        (
            lambda f: (f / "identity001.obj").write_text("v 1 2 3\n"),
            "identity001.obj must have the vertices .* Received: 1",
        ),
        (lambda f: (f / "jawOpen.obj").unlink(), "No such file: .*jawOpen.obj"),
        (lambda f: (f / "generic_neutral_mesh.obj").unlink(), "No such file: .*generic_neutral_mesh.obj"),
        (lambda f: [path.unlink() for path in f.glob("identity*.obj")], "must hold identity modes .* Received: 0"),
        (
            lambda f: (f / "generic_neutral_mesh.obj").write_text(obj(VERTICES).replace("M_", "N_")),
            "must have face, of M_Face. Received: .*N_Face",
        ),
        (
            lambda f: (f / "generic_neutral_mesh.obj").write_text(obj(VERTICES).replace("M_Teeth", "M_Beard")),
            "must have teeth, of M_GumsTongue or M_Teeth. Received: M_BackHead, M_Beard, ",
        ),
        (
            lambda f: (f / "generic_neutral_mesh.obj").write_text(obj(VERTICES).replace("M_Sclera", "M_Glass")),
            "must have eyes, of M_ScleraLeft or .* Received: .*M_GlassLeft",
        ),
    ],
)
def test_wrong_folders(folder, capsys, change, message):
    change(folder)
    assert main(["ict-facekit", str(folder), str(folder / "out.npz")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (folder / "out.npz").exists()
    with pytest.raises(PortingError, match=message):
        raise PortingError(error)


def test_read_needs_no_command_line(folder):
    source = ict_facekit.read(folder)
    assert source.albedo is None
    assert len(source.vertices) == len(KEPT)
