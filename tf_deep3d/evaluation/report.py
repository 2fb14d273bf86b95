"""What `evaluation` measured, for people: tables for the terminal, for papers and for programs.

The methods' rows are those of the same pictures in the same order. Means are over the pictures that a method solved;
intervals are 95 % bootstrap intervals that draw whole persons (`statistics.summarize`).
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import statistics
from tf_deep3d.evaluation.charts import Chart

Row: TypeAlias = dict[str, Any]  # of `result_files.read_result`, with the case's "sections" and its first "photo"
Results: TypeAlias = dict[str, list[Row]]  # method name -> rows
Summaries: TypeAlias = dict[str, dict[str, dict[str, statistics.Summary]]]  # section -> method -> number
Section: TypeAlias = Mapping[str, Mapping[str, statistics.Summary]]  # method -> number
Comparisons: TypeAlias = dict[tuple[str, str], dict[str, statistics.Comparison]]  # (method, method) -> number

# Measured number -> (title, unit, factor for the unit, decimals). Less is better, except for `MORE` and for `SIGNED`,
# where nothing is best. The first that a benchmark has is its main one.
MEASURES = {
    "plane_rmse": ("point-to-plane RMSE", "mm", 1.0, 2),
    "rigid_rmse": ("point-to-plane RMSE, rigid", "mm", 1.0, 2),
    "vertex_rmse": ("vertex-to-vertex RMSE", "mm", 1.0, 2),
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
    "forehead_signed": ("forehead, signed", "mm out", 1.0, 2),
    "eyes_signed": ("round the eyes, signed", "mm out", 1.0, 2),
    "nose_signed": ("nose, signed", "mm out", 1.0, 2),
    "cheeks_signed": ("cheeks, signed", "mm out", 1.0, 2),
    "mouth_signed": ("mouth, signed", "mm out", 1.0, 2),
    "chin_signed": ("chin, signed", "mm out", 1.0, 2),
    "nme_box": ("landmarks, NME by box", "%", 100.0, 2),
    "nme_eyes": ("landmarks, NME by eyes", "%", 100.0, 2),
    "pose": ("pose MAE", "degrees", 1.0, 2),
    "albedo": ("albedo MAE", "of 255", 255.0, 1),
    "albedo_light": ("albedo MAE, light skin", "of 255", 255.0, 1),
    "albedo_medium": ("albedo MAE, medium skin", "of 255", 255.0, 1),
    "albedo_dark": ("albedo MAE, dark skin", "of 255", 255.0, 1),
    "lighter": ("albedo's skin lighter than the photo's", "of 255", 255.0, 1),
    "skin": ("albedo's skin", "of 255", 255.0, 0),
    "named": ("strongest unit is named", "%", 100.0, 1),
    "within": ("within its bound", "%", 100.0, 1),
    "unit_weight": ("weight of the strongest unit, MAE", "of 1", 1.0, 2),
    "most": ("largest weight of a neutral face", "of 1", 1.0, 2),
    "blink": ("eyeBlink in photos", "of 1", 1.0, 2),
    "smile": ("mouthSmile in photos", "of 1", 1.0, 2),
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
MORE = (
    *("skin", "named", "within", "blink", "smile", "other_people", "recognized", "confidence", "confidence_change"),
    "coverage",
)
SIGNED = ("lighter", *(name for name in MEASURES if name.endswith("_signed")))
ROOM = 5  # methods whose intervals fit into one table
YAW_BINS = ((0, 15), (15, 45), (45, 75), (75, 91))  # degrees
SCALE_END = 4.0  # mm, the end of the error maps' scale
_SCALE = np.array([[0.16, 0.24, 0.58], [0.25, 0.65, 0.72], [0.80, 0.87, 0.45], [0.95, 0.62, 0.23], [0.72, 0.12, 0.15]])


class Report(NamedTuple):
    """All that is said about a benchmark's results.

    Attributes:
      name: of the benchmark.
      results: method -> rows.
      table: of `summaries`.
      comparisons: of `comparison`.
      versions: name -> text.
      remark: text below the title.
      brief: numbers that are shown in one table of all sections; the tables of the sections are folded away then.
      charts: what is drawn.
    """

    name: str
    results: Results
    table: Summaries
    comparisons: Comparisons
    versions: Mapping[str, str]
    remark: str = ""
    brief: Sequence[str] = ()
    charts: Sequence[Chart] = ()


def values_of(results: Sequence[Row], name: str) -> np.ndarray:
    """The number `name` of each result, in its unit: [N], NaN where there is none."""
    factor = MEASURES[name][2]
    numbers = [(result["numbers"] or {}).get(name) for result in results]
    return np.array([np.nan if number is None else factor * number for number in numbers])


def groups_of(results: Sequence[Row]) -> np.ndarray:
    """Whom each picture shows: [N] text."""
    return np.array([result["group"] for result in results])


def sections(results: Sequence[Row]) -> dict[str, np.ndarray]:
    """Subsets of the pictures: title -> [N] bool. All, then those of the cases, where they differ from all.

    Args:
      results: list of one method's results.
    """
    titles = dict.fromkeys(title for result in results for title in result["sections"])
    found = {title: np.array([title in result["sections"] for result in results]) for title in titles}
    return {"all": np.ones(len(results), bool)} | {title: chosen for title, chosen in found.items() if not chosen.all()}


def totals_of(results: Results) -> dict[str, int]:
    """Section -> number of its pictures."""
    return {title: int(chosen.sum()) for title, chosen in sections(next(iter(results.values()))).items()}


def summaries(results: Results) -> Summaries:
    """Section -> method -> number -> `statistics.Summary`, in the number's unit."""
    table = {}
    for title, chosen in sections(next(iter(results.values()))).items():
        for method, rows in results.items():
            groups = groups_of(rows)[chosen]
            table.setdefault(title, {})[method] = {
                name: statistics.summarize(values_of(rows, name)[chosen], groups) for name in MEASURES
            }
    return table


def comparison(results: Results, first: str, second: str) -> dict[str, statistics.Comparison]:
    """Number -> `statistics.Comparison` of two methods, where both have it for two pictures at least.

    Raises:
      InputError: if a method was not evaluated.
    """
    missing = [name for name in (first, second) if name not in results]
    if missing:
        raise InputError(f"only evaluated methods can be compared: {', '.join(results)}. Received: {missing[0]}")
    found = {}
    for name in MEASURES:
        one, other = (values_of(results[method], name) for method in (first, second))
        if np.isfinite(one - other).sum() >= 2 and name != "seconds":
            found[name] = statistics.compare(one, other, groups_of(results[first]))
    return found


def extremes(results: Results, measure: str) -> dict[str, dict[str, list[int]]]:
    """The cases that a report shows: method -> "best" and "worst" -> at most three numbers of cases, by `measure`."""
    found = {}
    for method, rows in results.items():
        errors = values_of(rows, measure)
        order = [int(i) for i in np.argsort(-errors if measure in MORE else errors) if np.isfinite(errors[i])]
        found[method] = {"best": order[:3], "worst": order[3:][-3:][::-1]}
    return found


def shown_measures(table: Section) -> list[str]:
    """The numbers that any method has."""
    return [name for name in MEASURES if any(row[name].count for row in table.values())]


def solved(row: Mapping[str, statistics.Summary]) -> int:
    """How many pictures a method has a number for: name -> `Summary`."""
    return max(value.count for value in row.values())


def text_table(table: Section, total: int) -> str:
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


def brief_rows(table: Summaries, name: str, totals: Mapping[str, int]) -> list[list[str]]:
    """One number of all sections: rows of text, sections down, methods across.

    Cells are means and standard deviations, and 95 % intervals where there is room.

    Args:
      table: of `summaries`.
      name: of the number.
      totals: section -> number of its cases, for how many of them had a result.
    """
    digits = MEASURES[name][3]
    shown = {title: section for title, section in table.items() if any(row[name].count for row in section.values())}
    methods = [method for method in table["all"] if any(section[method][name].count for section in shown.values())]
    rows = [[f"{MEASURES[name][0]}, {MEASURES[name][1]}", "cases", *methods]]
    for title, section in shown.items():
        values = [section[method][name] for method in methods]
        cells = [_spread(each, digits, len(methods) <= ROOM) if each.count else "-" for each in values]
        most = max(solved(section[method]) for method in methods)
        rows.append([title, f"{most} of {totals[title]}", *cells])
    return rows


def _spread(value: statistics.Summary, digits: int, interval: bool) -> str:
    text = f"{value.mean:.{digits}f} ± {value.std:.{digits}f}"
    return f"{text} [{value.low:.{digits}f}, {value.high:.{digits}f}]" if interval else text


def brief_text(table: Summaries, names: Sequence[str], totals: Mapping[str, int]) -> str:
    """`brief_rows` of several numbers as lines of text."""
    return "\n\n".join(_columns(rows) for name in names if len(rows := brief_rows(table, name, totals)) > 1)


def brief_latex(table: Summaries, name: str, totals: Mapping[str, int], title: str) -> str:
    """`brief_rows` for a paper."""
    head, *rows = brief_rows(table, name, totals)
    lines = [f"% {title}: mean and standard deviation", rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\hline"]
    cells = [[_latex(cell).replace("±", r"$\pm$") for cell in row] for row in (head, *rows)]
    lines += [" & ".join(cells[0]) + r" \\", r"\hline", *(" & ".join(row) + r" \\" for row in cells[1:])]
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _folded(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 4) -> Iterator[list[list[str]]]:
    """Cuts a wide table into tables of `width` numbers."""
    for start in range(2, len(head), width):
        fixed = [0, 1] if start == 2 else [0]
        columns = [*fixed, *range(start, min(start + width, len(head)))]
        yield [[row[i] for i in columns] for row in (head, *rows)]


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join([row[0].ljust(widths[0]), *line[1:]]) for row, line in zip(rows, lines, strict=True))


def _number(summary: statistics.Summary, name: str) -> str:
    if not summary.count:
        return "-"
    digits = MEASURES[name][3]
    text = f"{summary.mean:.{digits}f}"
    return text if name in ("seconds", "coverage") else f"{text} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"


def comparison_text(found: Mapping[str, statistics.Comparison], first: str, second: str) -> str:
    """`comparison` as lines of text."""
    rows = [[f"{first} - {second}", "difference", "p"]]
    for name, (difference, p_value) in found.items():
        title, unit, _, digits = MEASURES[name]
        bounds = f"[{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
        rows.append([title, f"{difference.mean:+.{digits}f} {bounds} {unit}", f"{p_value:.4f}"])
    return _columns(rows)


def pooled_text(points: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """`result_files.pooled` as lines of text; empty if there is nothing."""
    if not points:
        return ""
    rows = [["all points together, mm", "points", "median", "mean", "std"]]
    for method, found in points.items():
        for title, row in found.items():
            numbers = (f"{row[name]:.3f}" for name in ("median", "mean", "std"))
            rows.append([f"{method}, {title}", str(row["points"]), *numbers])
    return _columns(rows)


def csv_text(results: Results) -> str:
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


def latex_table(table: Section, title: str) -> str:
    """The table of one section for a paper: mean and standard deviation, the best mean in bold."""
    names = [name for name in shown_measures(table) if name not in ("coverage", "seconds")]
    best = {name: _best(name, [row[name].mean for row in table.values() if row[name].count]) for name in names}
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


def _best(name: str, means: Sequence[float]) -> float:
    if name in SIGNED:
        return min(means, key=abs)
    return max(means) if name in MORE else min(means)


def _latex(text: str) -> str:
    return re.sub(r"([%_&#$])", r"\\\1", text)


def error_colors(errors: np.ndarray) -> np.ndarray:
    """Colours [P, 3] in [0, 1] of errors [P] in mm, blue for none to red for `SCALE_END`; grey for NaN."""
    place = np.clip(np.nan_to_num(errors) / SCALE_END, 0, 1) * (len(_SCALE) - 1)
    colors = np.stack([np.interp(place, np.arange(len(_SCALE)), channel) for channel in _SCALE.T], -1)
    return np.where(np.isfinite(errors)[:, None], colors, 0.75)
