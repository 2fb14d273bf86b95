"""BFM 2009 in miniature: three vertex numberings, micrometres, 1-based indices, standard deviations called "EV"."""

import numpy as np
import pytest
import scipy.io

from tests.foreign_face import assert_model_is, foreign_face
from tests.porting.test_containers import write_mat73
from tf_deep3d.face import morphable_model
from tf_deep3d.porting import PortingError, bfm2009, landmarks
from tf_deep3d.porting.__main__ import main

FACE = foreign_face()
COUNT = len(FACE.vertices)
SHAPE_MODES, EXPRESSION_MODES, COLOUR_MODES = 5, 4, 3


def columns(modes):
    """[K, V, 3] -> [3 * V, K] in Fortran order, as MATLAB keeps it."""
    return np.asfortranarray(modes.reshape(len(modes), -1).T.astype(np.float32))


def info(skin, front):
    """facemodel_info.mat: all numbers are singles, counted from 1; row vectors."""
    return {
        "tri": (FACE.triangles + 1).astype(np.float32),
        "keypoints": (FACE.landmarks[None] + 1).astype(np.float32),
        "skinmask": skin[None].astype(np.uint8),
        "frontmask2_idx": (np.flatnonzero(front)[:, None] + 1).astype(np.float32),
        "point_buf": np.ones((COUNT, 8), np.float32),
        "tri_mask2": np.ones((5, 3), np.float32),
    }


@pytest.fixture
def masks():
    rng = np.random.default_rng(1)
    return rng.random(COUNT) < 0.3, rng.random(COUNT) < 0.6


@pytest.fixture
def folder(tmp_path, masks):
    """The files as published, for 2 * COUNT vertices of which COUNT + 40 have expressions and COUNT are the face."""
    rng = np.random.default_rng(2)
    total, trimmed = 2 * COUNT, COUNT + 40
    trim = np.sort(rng.permutation(total)[:trimmed])  # which of all have expressions
    front = rng.permutation(trimmed)[:COUNT]  # which of those are the face, in the face's order
    place = trim[front]

    def spread(modes, deviations, unit):
        full = rng.normal(size=(len(modes), total, 3))  # the other vertices' modes must not matter
        full[:, place] = modes / deviations[:, None, None] * unit
        return full

    mean, colours = rng.normal(size=(total, 3)) * 1e5, rng.random((total, 3)) * 255
    mean[place], colours[place] = FACE.vertices * 1e5, FACE.albedo * 255
    shape_ev, colour_ev = np.linspace(9e5, 1e5, SHAPE_MODES), np.linspace(900, 100, COLOUR_MODES)
    scipy.io.savemat(
        tmp_path / "01_MorphableModel.mat",
        {
            "shapeMU": mean.reshape(-1, 1).astype(np.float32),
            "shapePC": columns(spread(FACE.identity, shape_ev, 1e5)),
            "shapeEV": shape_ev[:, None].astype(np.float32),
            "texMU": colours.reshape(-1, 1).astype(np.float32),
            "texPC": columns(spread(FACE.albedo_basis, colour_ev, 255)),
            "texEV": colour_ev[:, None].astype(np.float32),
            "tl": np.ones((7, 3)),
            "segbin": np.zeros((total, 4), np.uint8),
        },
        do_compression=True,
    )
    deviations = np.linspace(4e3, 1e3, EXPRESSION_MODES)
    expression = rng.normal(size=(EXPRESSION_MODES, trimmed, 3))
    expression[:, front] = FACE.expression / deviations[:, None, None] * 1e5
    mean_expression = rng.normal(size=3 * trimmed) * 1e4
    with open(tmp_path / "Exp_Pca.bin", "wb") as file:
        file.write(np.array([EXPRESSION_MODES], "<i4").tobytes())
        file.write(mean_expression.astype("<f4").tobytes() + expression.astype("<f4").tobytes())
    (tmp_path / "std_exp.txt").write_text(" ".join(f"{value:.9g}" for value in deviations) + "\n")
    scipy.io.savemat(tmp_path / "BFM_exp_idx.mat", {"trimIndex": (trim[:, None] + 1).astype(np.float64)})
    scipy.io.savemat(tmp_path / "BFM_front_idx.mat", {"idx": (front[:, None] + 1).astype(np.float64)})
    scipy.io.savemat(tmp_path / "facemodel_info.mat", info(*masks))
    return tmp_path


@pytest.fixture
def ready_made(tmp_path, masks):
    """BFM_model_front.mat as the paper's code writes it."""
    path = tmp_path / "BFM_model_front.mat"
    content = {
        "meanshape": FACE.vertices.reshape(1, -1).astype(np.float32),
        "idBase": columns(FACE.identity),
        "exBase": columns(FACE.expression).astype(np.float64),
        "meantex": (FACE.albedo * 255).reshape(1, -1).astype(np.float32),
        "texBase": columns(FACE.albedo_basis * 255),
        **info(*masks),
    }
    scipy.io.savemat(path, content)
    return path


def load(path):
    """Through the command line, like a user."""
    out = path.parent / "out.npz"
    assert main(["bfm2009", str(path), str(out), "--overwrite"]) == 0
    return morphable_model.load(out)


@pytest.mark.parametrize("origin", ["folder", "ready_made"])
def test_round_trip(request, masks, origin):
    model = load(request.getfixturevalue(origin))
    assert_model_is(model, FACE, center=FACE.vertices.mean(0), tolerance=1e-5)
    np.testing.assert_allclose(model.mean_albedo, FACE.albedo, atol=1e-6)
    np.testing.assert_allclose(model.albedo_basis, FACE.albedo_basis, atol=1e-6)
    np.testing.assert_array_equal(model.triangles, FACE.triangles)
    np.testing.assert_array_equal(model.regions["skin"], masks[0])
    np.testing.assert_array_equal(model.regions["inner_face"], masks[1])
    points = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(points, model.mean_shape[FACE.landmarks], atol=1e-6)
    assert model.name == "BFM 2009"
    assert "non-commercial" in model.licence


def test_both_ways_agree(folder, ready_made):
    first, second = load(folder), load(ready_made)
    for name in ("mean_shape", "identity_basis", "expression_basis", "mean_albedo", "albedo_basis"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-6)


def test_fewer_modes(ready_made):
    source = bfm2009.read(ready_made, identity=2, expression=3, albedo=1)
    assert [len(basis) for basis in (source.identity, source.expression, source.albedo_basis)] == [2, 3, 1]
    np.testing.assert_allclose(source.identity, FACE.identity[:2], atol=1e-7)


def test_matlab_7_3(ready_made):
    expected = load(ready_made)
    write_mat73(ready_made, {key: value for key, value in scipy.io.loadmat(ready_made).items() if key[0] != "_"})
    np.testing.assert_array_equal(load(ready_made).identity_basis, expected.identity_basis)


def test_standard_points_of_the_code(ready_made, capsys):
    center = FACE.vertices.mean(0)
    lm = FACE.vertices[FACE.landmarks] - center + np.array([0.01, 0, 0])
    scipy.io.savemat(ready_made.parent / "similarity_Lm3D_all.mat", {"lm": lm})
    model = load(ready_made)
    found = landmarks.positions(model.landmarks["alignment5"], model.mean_shape)
    wanted = np.stack([lm[[36, 39]].mean(0), lm[[42, 45]].mean(0), lm[30], lm[48], lm[54]])
    np.testing.assert_allclose(found, wanted, atol=0.02)
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], atol=0.01)
    scipy.io.savemat(ready_made.parent / "similarity_Lm3D_all.mat", {"lm": lm + 1})
    assert main(["bfm2009", str(ready_made), str(ready_made.parent / "other.npz")]) == 1
    assert "alignment points must lie on the face" in capsys.readouterr().err


def edit(path, **changes):
    content = {key: value for key, value in scipy.io.loadmat(path).items() if key[0] != "_"}
    scipy.io.savemat(path, {**content, **changes})


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "01_MorphableModel.mat",
            {"shapeMU": np.zeros((7, 1))},
            r"shapeMU must hold x, y, z .* Received: shape \(7, 1\)",
        ),
        ("01_MorphableModel.mat", {"shapePC": np.zeros((9, 5))}, r"shapePC must be numbers of shape \(12546, 'any'\)"),
        (
            "01_MorphableModel.mat",
            {"texEV": np.zeros((4, 1))},
            r"texEV must be numbers of shape \(3,\). Received: .*\(4,\)",
        ),
        ("BFM_exp_idx.mat", {"trimIndex": np.zeros((9, 1))}, r"trimIndex must be whole numbers in \[1, 4183\)"),
        ("BFM_front_idx.mat", {"idx": np.full((9, 1), 2132)}, r"idx must be whole numbers in \[1, 2132\)"),
        ("facemodel_info.mat", {"tri": np.full((9, 3), 2092)}, r"tri must be whole numbers in \[1, 2092\)"),
        ("facemodel_info.mat", {"keypoints": np.ones((1, 67))}, r"keypoints must be numbers of shape \(68,\)"),
        ("facemodel_info.mat", {"skinmask": np.ones((1, 9))}, "skinmask must be numbers of shape"),
        ("facemodel_info.mat", {"keypoints": np.arange(1.0, 69)[None]}, "iBUG order"),
    ],
)
def test_wrong_arrays(folder, capsys, file, changes, message):
    edit(folder / file, **changes)
    assert main(["bfm2009", str(folder), str(folder / "out.npz")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(PortingError, match=message):
        raise PortingError(error)
    assert not (folder / "out.npz").exists()


@pytest.mark.parametrize(
    "name", ["01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt", "BFM_exp_idx.mat", "facemodel_info.mat"]
)
def test_missing_file(folder, capsys, name):
    (folder / name).unlink()
    assert main(["bfm2009", str(folder), str(folder / "out.npz")]) == 1
    assert f"No such file: {folder / name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-4],
        lambda data: b"\xff\xff\xff\xff" + data[4:],
        lambda data: b"",
        lambda data: data + b"1234",
    ],
)
def test_wrong_expression_file(folder, change):
    path = folder / "Exp_Pca.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(
        PortingError, match=r"Exp_Pca.bin must hold K, a mean and K modes of 2131 vertices. Received: K = "
    ):
        bfm2009.read(folder)


def test_wrong_deviations(folder):
    for text, message in (
        ("1 2 3", r"std_exp.txt must be numbers of shape \(4,\)"),
        ("a", "std_exp.txt must hold numbers"),
    ):
        (folder / "std_exp.txt").write_text(text)
        with pytest.raises(PortingError, match=message):
            bfm2009.read(folder)
