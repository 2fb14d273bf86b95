"""Tables of what was measured."""

import csv
import io

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import report


def test_sections_are_kinds_and_yaws(results):
    found = {title: int(chosen.sum()) for title, chosen in report.sections(results["b"]).items()}
    assert found == {
        "all": 8, "subjects: james": 2, "subjects: person": 6,
        "yaw 0 to 15": 3, "yaw 15 to 45": 2, "yaw 45 to 75": 2, "yaw 75 to 91": 1,
    }  # fmt: skip


def test_tables_say_what_was_measured(results):
    table = report.summaries(results)
    assert table["all"]["b"]["plane_rmse"].mean == pytest.approx(table["all"]["a_1"]["plane_rmse"].mean + 0.5)
    text = report.text_table(table["all"], 8)
    assert "7 of 8" in text
    assert f"{table['all']['b']['plane_rmse'].mean:.2f} [" in text
    assert "albedo" not in text
    assert "3.00" in text, "NME in per cent"
    latex = report.latex_table(table["all"], "all")
    assert r"a\_1 & \textbf{" in latex
    assert r"\textbf{" not in latex[latex.index("\nb &") :].split("&")[1]
    rows = list(csv.DictReader(io.StringIO(report.csv_text(results))))
    assert len(rows) == 16
    assert float(rows[0]["plane_rmse (mm)"]) == pytest.approx(results["a_1"][0]["numbers"]["plane_rmse"], rel=1e-5)
    assert rows[7]["reason"] == "no face found"


def test_comparison_is_of_pairs(results):
    found = report.comparison(results, "a_1", "b")
    assert found["plane_rmse"].difference.mean == pytest.approx(-0.5)
    assert found["plane_rmse"].difference.std == pytest.approx(0, abs=1e-9)
    assert "-0.50 [-0.50, -0.50] mm" in report.comparison_text(found, "a_1", "b")
    with pytest.raises(InputError, match="Received: c"):
        report.comparison(results, "a_1", "c")


def test_error_colors_run_from_blue_to_red():
    colors = report.error_colors(np.array([0.0, 2.0, 99.0, np.nan]))
    assert colors[0].argmax() == 2
    assert colors[1].argmax() == 1
    assert colors[2].argmax() == 0
    np.testing.assert_allclose(colors[3], 0.75)
    assert colors.min() >= 0
    assert colors.max() <= 1


def test_of_signed_errors_the_least_away_from_zero_is_best(results):
    for rows, value in zip(results.values(), (-0.4, 0.2), strict=True):
        for row in rows:
            row["numbers"] = row["numbers"] and row["numbers"] | {"nose_signed": value}
    latex = report.latex_table(report.summaries(results)["all"], "all")
    assert r"\textbf{0.20}" in latex
    assert r"\textbf{-0.40}" not in latex
