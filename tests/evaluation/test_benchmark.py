"""Running methods on cases: what is measured and kept, on a small benchmark of the synthetic model."""

import numpy as np
import pytest

from tests.evaluation.conftest import portrait_of
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark, measuring, result_files
from tf_deep3d.evaluation.benchmark import Hooks, Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE


def predicted(tiny_model, landmarks, view, scale=1.0):
    """The truth, turned and scaled."""
    turn = geometry.rotation_matrix(np.array([[0.1, 0.2, 0.0]]))[0].T * scale
    albedo = np.full((len(tiny_model.mean_shape), 3), 128 / 255)
    vertices, anchors = tiny_model.mean_shape @ turn + 3, landmarks[INNER_FACE] @ turn + 3
    return Prediction(
        vertices, tiny_model.triangles, anchors, landmarks=view.landmarks, angles=view.angles, albedo=albedo
    )


def test_the_truth_has_no_error(tiny_model, landmarks, views):
    measured = measuring.measure_view(views[0], predicted(tiny_model, landmarks, views[0], 25.0))
    assert measured.numbers["plane_rmse"] < 1e-3
    assert measured.numbers["point_mean"] < 1e-3
    assert measured.numbers["coverage"] == 1
    for name in ("nme_box", "nme_eyes", "pose", "albedo"):
        assert measured.numbers[name] == pytest.approx(0, abs=1e-6)
    assert measured.errors.shape == views[0].subject.region.shape
    assert measured.picture().shape == (192, 384, 3)


def test_known_errors_are_found(tiny_model, landmarks, views):
    given = predicted(tiny_model, landmarks, views[0])
    shape = tiny_model.mean_shape.copy()
    shape[:, 2] += 0.03 * np.sin(9 * shape[:, 0])  # dm
    wrong = given._replace(
        vertices=shape, anchors=landmarks[INNER_FACE], landmarks=given.landmarks + 2,
        angles=given.angles + np.array([3, 0, -3]), albedo=given.albedo + 0.1,
    )  # fmt: skip
    numbers = measuring.measure_view(views[0], wrong).numbers
    assert 0.5 < numbers["plane_rmse"] < 2.2  # amplitude 3 mm along z
    assert numbers["pose"] == pytest.approx(2)
    assert numbers["albedo"] == pytest.approx(0.1)
    box = np.sqrt(np.prod(np.ptp(views[0].landmarks, axis=0)))
    assert numbers["nme_box"] == pytest.approx(np.sqrt(8) / box, rel=1e-5)


def test_what_a_method_does_not_say_is_not_measured(tiny_model, landmarks, views):
    bare = predicted(tiny_model, landmarks, views[0])._replace(landmarks=None, angles=None, albedo=None)
    numbers = measuring.measure_view(views[0], bare).numbers
    assert set(numbers) == {"plane_rmse", "point_mean", "coverage"}


def method_of(tiny_model, landmarks, views, calls, name="truth", identity=None):
    by_name = {view.name: view for view in views}

    def run(cases):
        calls.append([case.name for case in cases])
        return [
            "too dark" if case.name.endswith("+30") else predicted(tiny_model, landmarks, by_name[case.name])
            for case in cases
        ]

    return Method(name, run, identity or {"n": 1}, detects=False)


def test_results_are_kept_and_not_measured_again(tiny_model, landmarks, views, cases, tmp_path):
    calls, steps = [], []
    method = method_of(tiny_model, landmarks, views, calls)
    first = benchmark.run("tiny 1", cases[:3], [method], tiny_model, tmp_path, hooks=Hooks(progress=steps.append))
    assert [row["reason"] for row in first["truth"]] == [None, None, "too dark"]
    assert sum(steps) == 3
    again = benchmark.run("tiny 1", cases, [method], tiny_model, tmp_path)
    assert calls == [[c.name for c in cases[:3]], [c.name for c in cases[3:]]]
    assert again["truth"][:3] == first["truth"]
    details = result_files.read_details(result_files.result_folder(tmp_path, "truth"), cases[0].name)
    assert details.errors.max() < 1e-2
    assert details.picture.dtype == np.uint8
    assert details.neutral is details.confidence is None

    other = method_of(tiny_model, landmarks, views, calls, identity={"n": 2})
    with pytest.raises(InputError, match="other settings"):
        benchmark.run("tiny 1", cases, [other], tiny_model, tmp_path)
    with pytest.raises(InputError, match="another benchmark"):
        benchmark.run("tiny 2", cases, [method], tiny_model, tmp_path)
    benchmark.run("tiny 1", cases[:1], [other], tiny_model, tmp_path, overwrite=True)
    assert calls[-1] == [cases[0].name]


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"numbers": 3}', "{", "[" * 100_000])
def test_a_result_that_is_none_of_ours_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json"):
        result_files.read_result(tmp_path, "a")
    assert result_files.read_result(tmp_path, "b") is None


@pytest.mark.parametrize("name", [".", "..", "../up", "/", "a/b"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    for folder, place in ((result_files.result_folder, "methods"), (result_files.picture_folder, "pictures")):
        assert folder(tmp_path, name).resolve().parent == tmp_path / place


def test_photos_are_kept_without_their_windows(tiny_model, landmarks, views, cases, tmp_path, monkeypatch):
    given = []
    portrait = portrait_of(cases[0].photos[0], np.zeros((68, 2)))
    monkeypatch.setattr(benchmark, "portraits_of", lambda path, model, all_faces: [portrait])

    def run(cases):
        given.extend(portrait for case in cases for portrait in case.portraits)
        return ["nothing"] * len(cases)

    benchmark.run("tiny 1", cases[:2], [Method("m", run, {})], tiny_model, tmp_path)
    assert [each.window for each in given] == [None, None], "a large photo's window would be most of its memory"
    assert given[0].crop is portrait.crop


def test_of_several_faces_the_one_with_the_truth_is_measured(tiny_model, cases, tmp_path, monkeypatch):
    large, small = (portrait_of(cases[0].photos[0], np.full((68, 2), place)) for place in (50.0, 200.0))
    monkeypatch.setattr(
        benchmark, "portraits_of", lambda path, model, all_faces: [large, small] if all_faces else [large]
    )
    given = []

    def run(cases):
        given.extend(portrait.detected for case in cases for portrait in case.portraits)
        return ["nothing"] * len(cases)

    three = [cases[0], cases[1]._replace(face=(190.0, 230.0)), cases[1]._replace(name="other", face=(0.0, 0.0))]
    benchmark.run("tiny 1", three, [Method("m", run, {})], tiny_model, tmp_path)
    assert [each is small.detected for each in given] == [False, True, False]


def test_a_prediction_that_cannot_be_measured_is_a_reason(tiny_model, landmarks, views, cases, tmp_path):
    flat = predicted(tiny_model, landmarks, views[0])._replace(anchors=np.zeros((51, 3)))
    method = Method("flat", lambda cases: [flat] * len(cases), {}, detects=False)
    (row,) = benchmark.run("tiny 1", cases[:1], [method], tiny_model, tmp_path)["flat"]
    assert row["numbers"] is None
    assert "three points" in row["reason"]


def test_a_bug_in_a_measure_or_a_method_is_no_reason(tiny_model, landmarks, views, cases, tmp_path):
    """A ValueError that is not the user's ends the run, and nothing is written for the case."""
    right = predicted(tiny_model, landmarks, views[0])
    wrong = right._replace(anchors=right.anchors[:, :2])  # of a wrong shape
    for number, run in enumerate([lambda cases: [wrong] * len(cases), lambda cases: [np.zeros(2).reshape(3)]]):
        method = Method(f"broken{number}", run, {}, detects=False)
        with pytest.raises(ValueError, match=r"must both be|reshape") as raised:
            benchmark.run("tiny 1", cases[:1], [method], tiny_model, tmp_path)
        assert not isinstance(raised.value, InputError)
        assert result_files.read_result(result_files.result_folder(tmp_path, method.name), cases[0].name) is None


def test_shapes_of_a_person_are_compared_and_renderings_described(tiny_model, landmarks, views, cases, tmp_path):
    by_name = {view.name: view for view in views}
    wave = np.sin(9 * tiny_model.mean_shape[:, :1]) * [0, 0, 1]  # dm

    def run(cases):
        answers = [predicted(tiny_model, landmarks, by_name[case.name]) for case in cases]
        shapes = [
            MILLIMETRES * tiny_model.mean_shape + sign * wave for case, sign in zip(cases, [1, -1, 1, -1], strict=False)
        ]
        pair = (np.full((2, 2, 3), 0.5), np.full((2, 2, 3), 0.25))
        return [a._replace(neutral=s, likeness=lambda: pair) for a, s in zip(answers, shapes, strict=True)]

    method = Method("waves", run, {}, detects=False)
    chosen = [cases[0], cases[1], cases[3]]  # two pictures of one person, one of another
    rows = benchmark.run(
        "tiny 1",
        chosen,
        [method],
        tiny_model,
        tmp_path,
        hooks=Hooks(describe=lambda images: images[:, 0, 0] * [1, 1, 0] + [0, 0, 1]),
    )["waves"]
    expected = np.sqrt(2 * (wave**2).sum(-1).mean())  # of +-1 wave: sqrt(2 / (2 - 1))
    assert rows[0]["numbers"]["consistency"] == pytest.approx(expected, rel=0.1)
    assert rows[1]["numbers"]["consistency"] == pytest.approx(expected, rel=0.1)
    assert "consistency" not in rows[2]["numbers"]
    cosine = (2 * 0.125 + 1) / np.sqrt(1.5 * 1.125)
    assert rows[0]["numbers"]["recognition"] == pytest.approx(1 - cosine)


def test_points_of_all_cases_are_pooled(tiny_model, landmarks, views, cases, tmp_path):
    method = method_of(tiny_model, landmarks, views, [])
    results = benchmark.run("tiny 1", cases[:3], [method], tiny_model, tmp_path)
    found = result_files.pooled(tmp_path, results)["truth"]
    assert found["all"]["points"] == 2 * len(views[0].subject.region), "the third has no prediction"
    assert found["all"]["median"] < 0.01
