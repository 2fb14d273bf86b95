"""Pages of the best and worst cases."""

import numpy as np

from tf_deep3d.evaluation import benchmark, views
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.report import extremes


def _prediction(model, scale):
    return Prediction(model.mean_shape * scale, model.triangles, model.mean_shape[:51], albedo=model.mean_albedo)


def test_the_shown_cases_have_pages_and_the_others_none(tmp_path, tiny_model):
    """Of eight cases the three best and the three worst, whatever the unit of the method's meshes."""
    errors = [4.0, 1.0, 8.0, 2.0, 5.0, 7.0, 3.0, 6.0]

    def make(number, _folder):
        measure = lambda prediction: Measurement({"plane_rmse": errors[number]}, np.zeros(3))  # noqa: E731
        return benchmark.Case(f"case{number}", f"person{number}", None, (), measure)

    def run(cases):
        asked.extend(case.name for case in cases)
        return [_prediction(tiny_model, 100.0) for _ in cases]

    asked = []
    method = benchmark.Method("theirs, in mm", run, {}, detects=False)
    protocol = Protocol("views 1", list(range(8)), make)
    cases = protocol.cases(tmp_path)
    results = benchmark.run(protocol.name, cases, [method], tiny_model, tmp_path)
    assert extremes(results, "plane_rmse") == {"theirs, in mm": {"best": [1, 3, 6], "worst": [2, 5, 7]}}
    asked.clear()
    pages = views.write_views(tmp_path, protocol, results, [method], tiny_model)
    assert sorted(asked) == [f"case{number}" for number in (1, 2, 3, 5, 6, 7)]
    assert {name for _, name in pages} == set(asked)
    page = (tmp_path / pages["theirs, in mm", "case2"]).read_text(encoding="utf-8")
    assert "8.00 mm" in page
    assert "http" not in page.split("<script", 1)[0]


def test_a_case_without_a_prediction_has_no_page(tmp_path, tiny_model):
    method = benchmark.Method("blind", lambda cases: ["no face found"] * len(cases), {}, detects=False)
    protocol = Protocol("views 1", [0], lambda *_: benchmark.Case("a", "a", None, (), lambda _: None))
    results = benchmark.run(protocol.name, protocol.cases(tmp_path), [method], tiny_model, tmp_path)
    assert views.write_views(tmp_path, protocol, results, [method], tiny_model) == {}
