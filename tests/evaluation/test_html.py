"""The page of a benchmark's results."""

import numpy as np
import pytest

from tf_deep3d.evaluation import html, report
from tf_deep3d.evaluation.report import Report


def test_curves_count_failures(results):
    errors, share = html.cumulative(results, "plane_rmse")["a_1"]
    assert share[-1] == pytest.approx(100 * 7 / 8)
    assert (np.diff(errors) >= 0).all()
    yaw, _ = html.by_yaw(results, "plane_rmse")["a_1"]
    np.testing.assert_array_equal(yaw, [-60, -40, 0, 40, 60, 80])


def test_report_is_one_page(results):
    table = report.summaries(results)
    compared = {("a_1", "b"): report.comparison(results, "a_1", "b")}
    picture = np.full((8, 8, 3), 200, np.uint8)
    page = html.html_report(Report("<open>", results, table, compared, {"keras": "3"}), lambda *_: [picture] * 3)
    assert "&lt;open&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") == 1 + 2 * 6 * 3
    assert page.count("<polyline") == 4
    assert "p7: no face found" in page
    assert "nan" not in page


def test_the_best_have_most_of_what_is_good(results):
    rows = [
        row | {"numbers": {"confidence": i / 10}, "reason": None, "sections": ()} for i, row in enumerate(results["b"])
    ]
    page = html.html_report(Report("x", {"m": rows}, report.summaries({"m": rows}), {}, {}), lambda *_: [])
    assert [page.index(f"p{i}: ") for i in (7, 6, 5, 0, 1, 2)] == sorted(
        page.index(f"p{i}: ") for i in (7, 6, 5, 0, 1, 2)
    )
