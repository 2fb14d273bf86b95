"""What `evaluation` measured as one page of HTML: tables, charts, and the best and worst cases."""

import base64
import html
import io
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

from tf_deep3d.evaluation.charts import curves, draw
from tf_deep3d.evaluation.report import (
    MEASURES,
    SCALE_END,
    Report,
    Results,
    Row,
    brief_rows,
    comparison_text,
    error_colors,
    extremes,
    shown_measures,
    solved,
    totals_of,
    values_of,
)
from tf_deep3d.evaluation.statistics import Summary

Pictures: TypeAlias = Callable[[str, Row], list[np.ndarray]]  # (method, row) -> pictures [H, W, 3] uint8
Views: TypeAlias = Mapping[tuple[str, str], str]  # (method, name of the case) -> path of a page

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1060px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .25em .8em; text-align: right; vertical-align: top }
th { border-bottom: 1px solid #999; font-weight: 600 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) td { background: #f6f6f4 } small { color: #777; display: block } h1 { font-size: 1.6em }
.cases { display: flex; flex-wrap: wrap; gap: 14px } figure { margin: 0 } figcaption { font-size: 13px; color: #444 }
img { display: block } .row { display: flex } svg text { font: 12px system-ui, sans-serif; fill: #333 }
"""


def html_report(report: Report, pictures: Pictures, views: Views | None = None) -> str:
    """The report, one self-contained page.

    Args:
      report: `Report`.
      pictures: (method, row) -> list of [H, W, 3] uint8: photo, prediction, error map.
      views: pages to turn the reconstructions, (method, name of the case) -> path from the report.
    """
    name, results, table, comparisons, versions, remark, brief, charts = report
    total = len(next(iter(results.values())))
    parts = [f"<h1>{html.escape(name)}</h1><p>{total} pictures, {len(results)} methods. "]
    parts.append("Means over solved pictures, below them 95 % bootstrap intervals that draw whole persons, and the ")
    parts.append(f"standard deviation of the pictures.</p><pre>{html.escape(remark)}</pre>")
    totals = totals_of(results)
    parts += [_html_rows(rows) for measure in brief if len(rows := brief_rows(table, measure, totals)) > 1]
    parts += [f"<h2>{html.escape(chart.title)}</h2>{draw(chart)}" for chart in charts]
    tables = "".join(f"<h2>{html.escape(title)}</h2>{_html_table(section)}" for title, section in table.items())
    parts.append(f"<details><summary>All numbers</summary>{tables}</details>" if brief else tables)
    for (first, second), found in comparisons.items():
        parts.append(f"<h2>{html.escape(f'{first} against {second}')}</h2><p>Paired differences, and p of a sign-flip ")
        parts.append(f"test by person.</p><pre>{html.escape(comparison_text(found, first, second))}</pre>")
    measures = shown_measures(table["all"])
    parts.append("".join(_graphics(results, measures[0], pictures, views or {})) if measures else "<p>No result.</p>")
    parts.append("<p>" + html.escape(", ".join(f"{key} {value}" for key, value in versions.items())) + "</p>")
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(name)}</title>"
    return f"{head}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"


def _graphics(results: Results, measure: str, pictures: Pictures, views: Views) -> Iterator[str]:
    """Curves of the main number, the best and worst cases, and what failed."""
    title, unit = MEASURES[measure][:2]
    main = f"{title}, {unit}"
    yield f"<h2>Cumulative error</h2>{curves(cumulative(results, measure), main, '% of pictures')}"
    yaws = by_yaw(results, measure)
    if any(len(yaw) for yaw, _ in yaws.values()):
        yield f"<h2>Error against yaw</h2>{curves(yaws, 'yaw, degrees', main)}"
    scale = np.tile(error_colors(np.linspace(0, SCALE_END, 240))[None], (14, 1, 1))
    yield "<h2>Best and worst</h2><p>Photo and reconstruction; for a truth with a surface, the error on it: 0 "
    yield f"{_image(scale * 255)} {SCALE_END:g} mm; grey: not measured or not covered.</p>"
    shown = extremes(results, measure)
    for method, rows in results.items():
        errors = values_of(rows, measure)
        for kind, chosen in shown[method].items():
            yield f"<h3>{html.escape(method)}: {kind}</h3><div class='cases'>"
            for i in chosen:
                images = "".join(_image(picture) for picture in pictures(method, rows[i]))
                name = html.escape(rows[i]["picture"])
                page = views.get((method, rows[i]["picture"]))
                linked = f"<a href='{urllib.parse.quote(page)}'>{name}</a>" if page else name
                caption = f"{linked}: {errors[i]:.2f} {unit}"
                yield f"<figure><div class='row'>{images}</div><figcaption>{caption}</figcaption></figure>"
            yield "</div>"
        failed = [f"{row['picture']}: {row['reason']}" for row in rows if row["reason"]]
        if failed:
            yield f"<p>No result for {html.escape('; '.join(failed))}.</p>"


def cumulative(results: Results, measure: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Method -> (errors [n] ascending, share [n] of all pictures, in %, that has no larger error)."""
    found = {}
    for method, rows in results.items():
        errors = values_of(rows, measure)
        errors = np.sort(errors[np.isfinite(errors)])
        found[method] = (errors, 100 * np.arange(1, len(errors) + 1) / len(rows))
    return found


def by_yaw(results: Results, measure: str, width: int = 20) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Method -> (yaw [n] in degrees, mean error [n]), in bins of `width` degrees, where the pose is known."""
    found = {}
    for method, rows in results.items():
        known = [row for row in rows if row["angles"]]
        errors = values_of(known, measure)
        bins = np.round(np.array([row["angles"][1] for row in known]) / width).astype(int)
        kept = np.unique(bins[np.isfinite(errors)])
        found[method] = (kept * float(width), np.array([np.nanmean(errors[bins == b]) for b in kept]))
    return found


def _html_rows(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ([html.escape(cell) for cell in row] for row in rows)
    lines = ["".join(f"<th>{cell}</th>" for cell in head), *("".join(f"<td>{c}</td>" for c in row) for row in body)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _html_table(section: dict[str, dict[str, Summary]]) -> str:
    names = shown_measures(section)
    titles = (map(html.escape, MEASURES[name][:2]) for name in names)
    heads = "".join(f"<th>{title}<small>{unit}</small></th>" for title, unit in titles)
    lines = [f"<table><tr><th>method</th><th>solved</th>{heads}</tr>"]
    for method, row in section.items():
        cells = [f"<td>{html.escape(method)}</td><td>{solved(row)}</td>"]
        for name in names:
            value, digits = row[name], MEASURES[name][3]
            mean, low, high, std = (f"{x:.{digits}f}" for x in (value.mean, value.low, value.high, value.std))
            text = f"{mean}<small>{low} to {high}</small><small>±{std}</small>"
            cells.append(f"<td>{text if value.count else '-'}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(lines) + "</table>"


def _image(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels).astype(np.uint8)).save(file, "png", compress_level=9)
    image = base64.b64encode(file.getvalue()).decode()
    return f"<img alt='' style='display:inline-block' src='data:image/png;base64,{image}'>"
