"""Writes what `evaluation` measured: a table to the terminal, and files for programs, papers and people."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import tf_deep3d
from tf_deep3d.evaluation import report, result_files
from tf_deep3d.evaluation.charts import draw
from tf_deep3d.evaluation.html import Pictures, Views, html_report
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.report import Results, Row
from tf_deep3d.io import photos
from tf_deep3d.io.files import writing

PHOTO = 192  # px, the height of pictures in the report
REASONS = 8  # why cases are unusable, that are told
FILES = ("results.json", "pictures.csv", "table.tex", "report.html")


def write(
    out: Path, protocol: Protocol, results: Results, compare: Sequence[tuple[str, str]] = (), views: Views | None = None
) -> None:
    """Prints the tables and writes `FILES`, and the protocol's charts into the folder charts.

    Args:
      out: folder of `benchmark.run`.
      protocol: `protocols.Protocol`.
      results: of `benchmark.run`.
      compare: pairs of methods.
      views: of `views.write_views`.
    """
    name, brief = protocol.name, protocol.brief
    charts = protocol.charts(out, results) if protocol.charts else ()
    table = report.summaries(results)
    compared = {(first, second): report.comparison(results, first, second) for first, second in compare}
    totals = report.totals_of(results)
    points = result_files.pooled(out, results) if protocol.pooled else {}
    damaged = [row["reason"] for row in next(iter(results.values())) if row["photo"] is None]
    reasons = "; ".join(list(dict.fromkeys(damaged))[:REASONS])
    damaged = f"Unusable cases: {len(damaged)}; the first: {reasons}" if damaged else ""
    remark = "\n\n".join(text for text in (protocol.remark, damaged, report.pooled_text(points)) if text)
    print(f"{name}, {totals['all']} cases; means and {'standard deviations' if brief else '95 % intervals'}\n")
    if brief:
        print(f"{report.brief_text(table, brief, totals)}\n")
    for title, total in totals.items() if not brief else ():
        head = f"{title}:\n" if len(table) > 1 else ""
        print(f"{head}{report.text_table(table[title], total)}\n")
    for (first, second), found in compared.items():
        print(f"{report.comparison_text(found, first, second)}\n")
    print(remark + "\n" * bool(remark))
    versions = {"tf_deep3d": tf_deep3d.__version__, "keras": keras.__version__, "numpy": np.__version__}
    record = {
        "benchmark": name,
        "remark": remark,
        "versions": versions,
        "units": {key: measure[1] for key, measure in report.MEASURES.items()},
        "summary": {
            title: {
                method: {key: asdict(value) for key, value in row.items() if value.count}
                for method, row in section.items()
            }
            for title, section in table.items()
        },
        "pooled": points,
        "comparisons": [
            {
                "methods": pair,
                "numbers": {
                    key: {"difference": asdict(each.difference), "p_value": each.p_value} for key, each in found.items()
                },
            }
            for pair, found in compared.items()
        ],
        "pictures": results,
    }
    whole = report.Report(name, results, table, compared, versions, remark, brief, charts)
    page = html_report(whole, _shower(out), views)
    if brief:
        known = [measure for measure in brief if measure in report.shown_measures(table["all"])]
        latex = "\n".join(report.brief_latex(table, measure, totals, name) for measure in known)
    else:
        latex = "\n".join(report.latex_table(section, f"{name}, {title}") for title, section in table.items())
    for chart in charts:
        with writing(out / "charts" / f"{chart.name}.svg", overwrite=True) as file:
            file.write(draw(chart).encode())
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for file_name, content in zip(FILES, (text, report.csv_text(results), latex, page), strict=True):
        with writing(out / file_name, overwrite=True) as file:
            file.write(content.encode())
    print(out / FILES[-1])


def _shower(out: Path) -> Pictures:
    """What the report shows of a method's result: photo, and the stored picture."""

    def pictures(method: str, result: Row) -> list[np.ndarray]:
        shown = result_files.read_details(result_files.result_folder(out, method), result["picture"]).picture
        beside = [] if shown is None else [shown]
        try:
            photo = Image.fromarray(photos.read_photo(result["photo"]))
        except (photos.PhotoError, OSError):  # moved since
            return beside
        height = PHOTO if shown is None else shown.shape[0]
        return [np.asarray(photo.resize((max(round(photo.width * height / photo.height), 1), height))), *beside]

    return pictures
