"""BFM 2017 and 2019 in miniature: Statismo's HDF5, millimetres, orthonormal columns and variances."""

import json

import h5py
import numpy as np
import pytest

from tests.foreign_face import assert_centered, assert_model_is, foreign_face
from tf_deep3d.face import morphable_model
from tf_deep3d.porting import PortingError, bfm2019, landmarks
from tf_deep3d.porting.__main__ import main

FACE = foreign_face()
MEAN_EXPRESSION = np.random.default_rng(5).normal(size=FACE.vertices.shape) * 0.02


def orthonormal(modes, unit):
    """Modes [K, V, 3] as (pcaBasis [3 * V, K] of orthonormal columns, pcaVariance [K]), and what they really are."""
    columns, sizes, _ = np.linalg.svd(modes.reshape(len(modes), -1).T * unit, full_matrices=False)
    real = (columns * sizes).T.reshape(modes.shape) / unit
    return columns.astype(np.float32), (sizes**2).astype(np.float32), real


@pytest.fixture
def files(tmp_path):
    """model2019_tiny.h5 and its landmarks; the modes that they hold."""
    path, real = tmp_path / "model2019_tiny.h5", {}
    parts = {
        "shape": (FACE.vertices, FACE.identity, 100),
        "expression": (MEAN_EXPRESSION, FACE.expression, 100),
        "color": (FACE.albedo, FACE.albedo_basis, 1),
    }
    with h5py.File(path, "w") as file:
        for name, (mean, modes, unit) in parts.items():
            basis, variance, real[name] = orthonormal(modes, unit)
            file[f"{name}/model/mean"] = (mean * unit).reshape(-1).astype(np.float32)
            file[f"{name}/model/pcaBasis"] = basis
            file[f"{name}/model/pcaVariance"] = variance
            file[f"{name}/model/noiseVariance"] = np.zeros(1, np.float32)
            file[f"{name}/representer/cells"] = FACE.triangles.T.astype(np.int32)
            file[f"{name}/representer/points"] = (FACE.vertices * 100).T.astype(np.float32)
            file[f"{name}/version/majorVersion"] = np.int32(0)
        tip = {"id": "center.nose.tip", "coordinates": (FACE.vertices[FACE.landmarks[30]] * 100).tolist()}
        file["metadata/landmarks/json"] = json.dumps([tip])
    np.savetxt(tmp_path / "ibug68.txt", FACE.landmarks, "%d")
    return path, real


def load(path, *options):
    out = path.parent / "out.npz"
    command = ["bfm2019", str(path), str(out), "--landmarks", str(path.parent / "ibug68.txt"), "--overwrite", *options]
    assert main(command) == 0
    return morphable_model.load(out)


def test_round_trip(files):
    path, real = files
    model = load(path)
    expressions = np.concatenate([MEAN_EXPRESSION[None], real["expression"]])  # zero is neutral
    assert_model_is(model, FACE, identity=real["shape"], expression=expressions, tolerance=1e-5)
    assert_centered(model)
    np.testing.assert_allclose(model.mean_albedo, FACE.albedo, atol=1e-6)
    np.testing.assert_allclose(model.albedo_basis, real["color"], atol=1e-6)
    points = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(points, model.mean_shape[FACE.landmarks], atol=1e-6)
    assert model.name == "BFM 2019"
    assert "non-commercial" in model.licence


def test_mean_expression_in_the_mean_shape(files):
    path, real = files
    model = load(path, "--mean-expression", "shape")
    average = FACE._replace(vertices=FACE.vertices + MEAN_EXPRESSION)
    np.testing.assert_allclose(
        model.mean_shape - model.mean_shape.mean(0), average.vertices - average.vertices.mean(0), atol=1e-5
    )
    np.testing.assert_allclose(model.expression_basis, real["expression"], atol=1e-5)


def test_no_mean_expression_no_mode(files):
    path, real = files
    with h5py.File(path, "r+") as file:
        file["expression/model/mean"][:] = 0
    np.testing.assert_allclose(load(path).expression_basis, real["expression"], atol=1e-5)


def test_inside_out_and_transposed_triangles(files):
    path, real = files
    with h5py.File(path, "r+") as file:
        del file["shape/representer/cells"]
        file["shape/representer/cells"] = FACE.triangles[:, ::-1].astype(np.uint32)
    expressions = np.concatenate([MEAN_EXPRESSION[None], real["expression"]])
    assert_model_is(load(path), FACE, identity=real["shape"], expression=expressions, tolerance=1e-5)


def test_landmarks_as_points_in_millimetres(files):
    path, _ = files
    np.savetxt(path.parent / "ibug68.txt", FACE.vertices[FACE.landmarks] * 100)
    model = load(path)
    points = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(points, model.mean_shape[FACE.landmarks], atol=1e-5)


def test_fewer_modes(files):
    path, real = files
    source = bfm2019.read(path, path.parent / "ibug68.txt", identity=2, expression=1, albedo=2)
    assert [len(basis) for basis in (source.identity, source.expression, source.albedo_basis)] == [2, 1 + 1, 2]
    np.testing.assert_allclose(source.identity, real["shape"][:2], atol=1e-6)


def test_landmarks_are_needed(files, capsys):
    path, _ = files
    assert main(["bfm2019", str(path), str(path.parent / "out.npz")]) == 1
    error = capsys.readouterr().err
    assert "model2019_tiny.h5 does not say where iBUG's 68 landmarks lie: pass --landmarks FILE" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "shape/model/mean",
            None,
            "'shape/model/mean' is missing. Received: .*'color', 'expression', 'metadata', 'shape'",
        ),
        ("shape/model/mean", np.zeros(7), "shape/model/mean must hold x, y, z of every vertex. Received: 7 numbers"),
        ("expression/model/mean", np.zeros(9), r"expression/model/mean must be numbers of shape \(6273,\)"),
        ("color/model/pcaBasis", np.zeros((3, 6273)), r"color/model/pcaBasis must be .* Received: float64 \(3, 6273\)"),
        ("color/model/pcaVariance", np.zeros(9), r"color/model/pcaVariance must be numbers of shape \(3,\)"),
        ("shape/model/pcaVariance", -np.ones(5), r"pcaVariance must not be negative. Received: -1"),
        ("shape/representer/cells", np.full((3, 4), 2091), r"cells must be whole numbers in \[0, 2091\)"),
        ("shape/representer/cells", "text", "must be a numeric dataset"),
        ("shape/model/mean", np.full(6273, np.nan), "must be finite"),
    ],
)
def test_wrong_datasets(files, name, value, message):
    path, _ = files
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
    with pytest.raises(PortingError, match=message):
        bfm2019.read(path, path.parent / "ibug68.txt")


def test_wrong_arguments(files):
    path, _ = files
    with pytest.raises(PortingError, match=r"mean_expression must be one of"):
        bfm2019.read(path, path.parent / "ibug68.txt", mean_expression="x")
    with pytest.raises(FileNotFoundError, match="No such file"):
        bfm2019.read(path.parent / "no.h5", path.parent / "ibug68.txt")
    with pytest.raises(FileNotFoundError, match="No such file"):
        bfm2019.read(path, path.parent / "no.txt")
