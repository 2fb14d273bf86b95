"""What `evaluation` measured, for people: tables for the terminal, for papers and for programs, and a report in HTML.

Results are lists of `evaluation.read_result`, method name -> list, the same pictures in the same order. Means are over
the pictures that a method solved; intervals are 95 % bootstrap intervals that draw whole persons (`metrics.summarize`).
"""

import base64
import csv
import html
import io
import re

import numpy as np
from PIL import Image

from tf_deep3d import metrics
from tf_deep3d.charts import curves, draw

# Measured number -> (title, unit, factor for the unit, decimals). Less is better, except for `MORE`. The first that a
# benchmark has is its main one.
MEASURES = {
    "plane_rmse": ("point-to-plane RMSE", "mm", 1.0, 2),
    "point_mean": ("point-to-point mean", "mm", 1.0, 2),
    "point_small": ("point-to-point mean, region S", "mm", 1.0, 2),
    "point_large": ("point-to-point mean, region L", "mm", 1.0, 2),
    "surface_median": ("point-to-surface median", "mm", 1.0, 2),
    "surface_mean": ("point-to-surface mean", "mm", 1.0, 2),
    "surface_rmse": ("point-to-surface RMSE", "mm", 1.0, 2),
    "regions": ("mean of the regions", "mm", 1.0, 2),
    "nose": ("nose", "mm", 1.0, 2),
    "mouth": ("mouth", "mm", 1.0, 2),
    "forehead": ("forehead", "mm", 1.0, 2),
    "cheek": ("cheek", "mm", 1.0, 2),
    "nme_box": ("landmarks, NME by box", "%", 100.0, 2),
    "nme_eyes": ("landmarks, NME by eyes", "%", 100.0, 2),
    "pose": ("pose MAE", "degrees", 1.0, 2),
    "albedo": ("albedo MAE", "of 255", 255.0, 1),
    "recognition": ("identity, 1 - cosine", "FaceRes", 1.0, 3),
    "same_person": ("to the person's other half", "mm", 1.0, 2),
    "other_people": ("to other people", "mm", 1.0, 2),
    "halves_ratio": ("other half over other people", "%", 100.0, 1),
    "recognized": ("nearest is the same person", "%", 100.0, 1),
    "confidence": ("mean confidence", "%", 100.0, 1),
    "confidence_change": ("confidence against the clean photo", "%", 100.0, 1),
    "consistency": ("a person's shapes from their mean", "mm", 1.0, 2),
    "coverage": ("covered", "%", 100.0, 1),
    "seconds": ("time a picture", "s", 1.0, 2),
}
MORE = ("other_people", "recognized", "confidence", "confidence_change", "coverage")
YAW_BINS = ((0, 15), (15, 45), (45, 75), (75, 91))  # degrees
SCALE_END = 4.0  # mm, the end of the error maps' scale
_SCALE = np.array([[0.16, 0.24, 0.58], [0.25, 0.65, 0.72], [0.80, 0.87, 0.45], [0.95, 0.62, 0.23], [0.72, 0.12, 0.15]])
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1060px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .25em .8em; text-align: right; vertical-align: top }
th { border-bottom: 1px solid #999; font-weight: 600 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) td { background: #f6f6f4 } small { color: #777; display: block } h1 { font-size: 1.6em }
.cases { display: flex; flex-wrap: wrap; gap: 14px } figure { margin: 0 } figcaption { font-size: 13px; color: #444 }
img { display: block } .row { display: flex } svg text { font: 12px system-ui, sans-serif; fill: #333 }
"""


def values_of(results, name):
    """The number `name` of each result, in its unit: [N], NaN where there is none."""
    factor = MEASURES[name][2]
    numbers = [(result["numbers"] or {}).get(name) for result in results]
    return np.array([np.nan if number is None else factor * number for number in numbers])


def groups_of(results):
    """Whom each picture shows: [N] text."""
    return np.array([result["group"] for result in results])


def sections(results):
    """Subsets of the pictures: title -> [N] bool. All, then those of the cases, where they differ from all.

    Args:
      results: list of one method's results.
    """
    titles = dict.fromkeys(title for result in results for title in result["sections"])
    found = {title: np.array([title in result["sections"] for result in results]) for title in titles}
    return {"all": np.ones(len(results), bool)} | {title: chosen for title, chosen in found.items() if not chosen.all()}


def summaries(results):
    """Section -> method -> number -> `metrics.Summary`, in the number's unit."""
    table = {}
    for title, chosen in sections(next(iter(results.values()))).items():
        for method, rows in results.items():
            groups = groups_of(rows)[chosen]
            table.setdefault(title, {})[method] = {
                name: metrics.summarize(values_of(rows, name)[chosen], groups) for name in MEASURES
            }
    return table


def comparison(results, first, second):
    """Number -> `metrics.Comparison` of two methods, where both have it for two pictures at least.

    Raises:
      ValueError: if a method was not evaluated.
    """
    missing = [name for name in (first, second) if name not in results]
    if missing:
        raise ValueError(f"only evaluated methods can be compared: {', '.join(results)}. Received: {missing[0]}")
    found = {}
    for name in MEASURES:
        pair = [values_of(results[method], name) for method in (first, second)]
        if np.isfinite(pair[0] - pair[1]).sum() >= 2 and name != "seconds":
            found[name] = metrics.compare(*pair, groups_of(results[first]))
    return found


def shown_measures(table):
    """The numbers that any method has."""
    return [name for name in MEASURES if any(row[name].count for row in table.values())]


def solved(row):
    """How many pictures a method has a number for: name -> `Summary`."""
    return max(value.count for value in row.values())


def text_table(table, total):
    """The table of one section as lines of text.

    Args:
      table: method -> number -> `Summary`.
      total: number of pictures.
    """
    names = shown_measures(table)
    head = ["method", "pictures", *(f"{MEASURES[name][0]}, {MEASURES[name][1]}" for name in names)]
    rows = [
        [method, f"{solved(row)} of {total}", *(_number(row[name], name) for name in names)]
        for method, row in table.items()
    ]
    return "\n\n".join(_columns(part) for part in _folded(head, rows))


def brief_rows(table, name):
    """One number of all sections: rows of text, sections down, methods across, means and standard deviations.

    Args:
      table: of `summaries`.
      name: of the number.
    """
    digits = MEASURES[name][3]
    shown = {title: section for title, section in table.items() if any(row[name].count for row in section.values())}
    methods = [method for method in table["all"] if any(section[method][name].count for section in shown.values())]
    rows = [[f"{MEASURES[name][0]}, {MEASURES[name][1]}", "cases", *methods]]
    for title, section in shown.items():
        values = [section[method][name] for method in methods]
        cells = [f"{each.mean:.{digits}f} ± {each.std:.{digits}f}" if each.count else "-" for each in values]
        rows.append([title, str(max(each.count for each in values)), *cells])
    return rows


def brief_text(table, names):
    """`brief_rows` of several numbers as lines of text."""
    return "\n\n".join(_columns(rows) for name in names if len(rows := brief_rows(table, name)) > 1)


def brief_latex(table, name, title):
    """`brief_rows` for a paper."""
    head, *rows = brief_rows(table, name)
    lines = [f"% {title}: mean and standard deviation", rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\hline"]
    cells = [[_latex(cell).replace("±", r"$\pm$") for cell in row] for row in (head, *rows)]
    lines += [" & ".join(cells[0]) + r" \\", r"\hline", *(" & ".join(row) + r" \\" for row in cells[1:])]
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _folded(head, rows, width=4):
    """Cuts a wide table into tables of `width` numbers."""
    for start in range(2, len(head), width):
        fixed = [0, 1] if start == 2 else [0]
        columns = [*fixed, *range(start, min(start + width, len(head)))]
        yield [[row[i] for i in columns] for row in (head, *rows)]


def _columns(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join([row[0].ljust(widths[0]), *line[1:]]) for row, line in zip(rows, lines, strict=True))


def _number(summary, name):
    if not summary.count:
        return "-"
    digits = MEASURES[name][3]
    text = f"{summary.mean:.{digits}f}"
    return text if name in ("seconds", "coverage") else f"{text} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"


def comparison_text(found, first, second):
    """`comparison` as lines of text."""
    rows = [[f"{first} - {second}", "difference", "p"]]
    for name, (difference, p_value) in found.items():
        title, unit, _, digits = MEASURES[name]
        bounds = f"[{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
        rows.append([title, f"{difference.mean:+.{digits}f} {bounds} {unit}", f"{p_value:.4f}"])
    return _columns(rows)


def pooled_text(points):
    """`evaluation.pooled` as lines of text; empty if there is nothing."""
    if not points:
        return ""
    rows = [["all points together, mm", "points", "median", "mean", "std"]]
    for method, found in points.items():
        for title, row in found.items():
            numbers = (f"{row[name]:.3f}" for name in ("median", "mean", "std"))
            rows.append([f"{method}, {title}", str(row["points"]), *numbers])
    return _columns(rows)


def csv_text(results):
    """One row for each method and picture."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    units = [f"{name} ({MEASURES[name][1]})" for name in MEASURES]
    writer.writerow(["method", "picture", "group", "pitch", "yaw", "roll", *units, "reason"])
    for method, rows in results.items():
        numbers = np.stack([values_of(rows, name) for name in MEASURES], 1)
        for row, values in zip(rows, numbers, strict=True):
            cells = ["" if np.isnan(value) else f"{value:.6g}" for value in values]
            angles = row["angles"] or [""] * 3
            writer.writerow([method, row["picture"], row["group"], *angles, *cells, row["reason"] or ""])
    return file.getvalue()


def latex_table(table, title):
    """The table of one section for a paper: mean and standard deviation, the best mean in bold."""
    names = [name for name in shown_measures(table) if name not in ("coverage", "seconds")]
    best = {
        name: (max if name in MORE else min)(row[name].mean for row in table.values() if row[name].count)
        for name in names
    }
    lines = [f"% {title}: mean and standard deviation over pictures", rf"\begin{{tabular}}{{l{'c' * len(names)}}}"]
    heads = [rf"{MEASURES[name][0]} ({_latex(MEASURES[name][1])})" for name in names]
    lines += [r"\hline", " & ".join(["method", *heads]) + r" \\", r"\hline"]
    for method, row in table.items():
        cells = [_latex(method)]
        for name in names:
            digits = MEASURES[name][3]
            text = f"{row[name].mean:.{digits}f}" if row[name].count else "--"
            text = rf"\textbf{{{text}}}" if row[name].mean == best[name] else text
            cells.append(rf"{text} $\pm$ {row[name].std:.{digits}f}" if row[name].count else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _latex(text):
    return re.sub(r"([%_&#$])", r"\\\1", text)


def error_colors(errors):
    """Colours [P, 3] in [0, 1] of errors [P] in mm, blue for none to red for `SCALE_END`; grey for NaN."""
    place = np.clip(np.nan_to_num(errors) / SCALE_END, 0, 1) * (len(_SCALE) - 1)
    colors = np.stack([np.interp(place, np.arange(len(_SCALE)), channel) for channel in _SCALE.T], -1)
    return np.where(np.isfinite(errors)[:, None], colors, 0.75)


def html_report(name, results, table, comparisons, pictures, versions, remark="", brief=(), charts=()):
    """The report, one self-contained page.

    Args:
      name: of the benchmark.
      results: method -> results.
      table: of `summaries`.
      comparisons: (first, second) -> `comparison`.
      pictures: (method, result) -> list of [H, W, 3] uint8: photo, prediction, error map.
      versions: name -> text.
      remark: text below the title.
      brief: numbers that are shown in one table of all sections; the tables of the sections are folded away then.
      charts: `charts.Chart`s.
    """
    total = len(next(iter(results.values())))
    parts = [f"<h1>{html.escape(name)}</h1><p>{total} pictures, {len(results)} methods. "]
    parts.append("Means over solved pictures, below them 95 % bootstrap intervals that draw whole persons, and the ")
    parts.append(f"standard deviation of the pictures.</p><pre>{html.escape(remark)}</pre>")
    parts += [_html_rows(rows) for measure in brief if len(rows := brief_rows(table, measure)) > 1]
    parts += [f"<h2>{html.escape(chart.title)}</h2>{draw(chart)}" for chart in charts]
    tables = "".join(f"<h2>{html.escape(title)}</h2>{_html_table(section)}" for title, section in table.items())
    parts.append(f"<details><summary>All numbers</summary>{tables}</details>" if brief else tables)
    for (first, second), found in comparisons.items():
        parts.append(f"<h2>{html.escape(f'{first} against {second}')}</h2><p>Paired differences, and p of a sign-flip ")
        parts.append(f"test by person.</p><pre>{html.escape(comparison_text(found, first, second))}</pre>")
    measure = shown_measures(table["all"])[:1]
    parts.append("".join(_graphics(results, *measure, pictures)) if measure else "<p>No result.</p>")
    parts.append("<p>" + html.escape(", ".join(f"{key} {value}" for key, value in versions.items())) + "</p>")
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(name)}</title>"
    return f"{head}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"


def _graphics(results, measure, pictures):
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
    for method, rows in results.items():
        errors = values_of(rows, measure)
        order = [int(i) for i in np.argsort(errors) if np.isfinite(errors[i])]
        for kind, chosen in (("best", order[:3]), ("worst", order[3:][-3:][::-1])):
            yield f"<h3>{html.escape(method)}: {kind}</h3><div class='cases'>"
            for i in chosen:
                images = "".join(_image(picture) for picture in pictures(method, rows[i]))
                caption = f"{html.escape(rows[i]['picture'])}: {errors[i]:.2f} {unit}"
                yield f"<figure><div class='row'>{images}</div><figcaption>{caption}</figcaption></figure>"
            yield "</div>"
        failed = [f"{row['picture']}: {row['reason']}" for row in rows if row["reason"]]
        if failed:
            yield f"<p>No result for {html.escape('; '.join(failed))}.</p>"


def cumulative(results, measure):
    """Method -> (errors [n] ascending, share [n] of all pictures, in %, that has no larger error)."""
    found = {}
    for method, rows in results.items():
        errors = values_of(rows, measure)
        errors = np.sort(errors[np.isfinite(errors)])
        found[method] = (errors, 100 * np.arange(1, len(errors) + 1) / len(rows))
    return found


def by_yaw(results, measure, width=20):
    """Method -> (yaw [n] in degrees, mean error [n]), in bins of `width` degrees, where the pose is known."""
    found = {}
    for method, rows in results.items():
        known = [row for row in rows if row["angles"]]
        errors = values_of(known, measure)
        bins = np.round(np.array([row["angles"][1] for row in known]) / width).astype(int)
        kept = np.unique(bins[np.isfinite(errors)])
        found[method] = (kept * float(width), np.array([np.nanmean(errors[bins == b]) for b in kept]))
    return found


def _html_rows(rows):
    head, *body = ([html.escape(cell) for cell in row] for row in rows)
    lines = ["".join(f"<th>{cell}</th>" for cell in head), *("".join(f"<td>{c}</td>" for c in row) for row in body)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _html_table(section):
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


def _image(pixels):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels).astype(np.uint8)).save(file, "png", compress_level=9)
    image = base64.b64encode(file.getvalue()).decode()
    return f"<img alt='' style='display:inline-block' src='data:image/png;base64,{image}'>"
