"""What is kept of measured cases: a folder for each method, with a .json and an .npz for each case."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics
from tf_deep3d.evaluation.report import Results, Row, sections
from tf_deep3d.io import archive
from tf_deep3d.io.files import writing

_ROW = {"picture", "group", "angles", "numbers", "reason"}
SHAPE_POINTS = 500  # of a neutral shape that are kept, for the consistency of a person's shapes


class Details(NamedTuple):
    """What is kept of a result besides its numbers; None where there is nothing.

    Attributes:
      errors: [P] mm, NaN where there is no surface.
      picture: [H, W, 3] uint8.
      neutral: [n, 3] mm, points of the neutral shape.
      confidence: [K] of C-Net.
    """

    errors: np.ndarray
    picture: np.ndarray | None = None
    neutral: np.ndarray | None = None
    confidence: np.ndarray | None = None


def result_folder(out: str | Path, name: str) -> Path:
    """Where the method `name` keeps its results."""
    return Path(out) / "methods" / _file_name(name)


def picture_folder(out: str | Path, name: str) -> Path:
    """Where the benchmark `name` keeps the pictures that it makes: another benchmark's may have the same names."""
    return Path(out) / "pictures" / _file_name(name)


def _file_name(text: str) -> str:
    return re.sub(r"^\.+|[^\w.+-]", "-", text)


def open_folder(out: str | Path, name: str, identity: Mapping[str, Any], overwrite: bool = False) -> Path:
    """The folder of the method `name`, with its identity, which must be the one that is there already.

    Args:
      out: folder of the evaluation.
      name: of the method.
      identity: plain data that changes when results would.
      overwrite: remove what is there.

    Raises:
      InputError: if the folder holds results of another identity.
    """
    folder = result_folder(out, name)
    text = json.dumps(identity, indent=1) + "\n"
    path = folder / "identity.json"
    same = path.is_file() and path.read_text(encoding="utf-8") == text
    empty = not any(each != path for each in folder.glob("*.json"))
    if overwrite or (empty and not same):
        shutil.rmtree(folder, ignore_errors=True)
    elif not same:
        raise InputError(
            f"{folder} holds results of another benchmark, other settings or weights: choose another folder or pass "
            f"--overwrite. Received: {name}"
        )
    if not path.is_file():
        with writing(path) as file:
            file.write(text.encode())
    return folder


def keep(folder: Path, row: Row, details: Details | None) -> None:
    """Writes a result; the JSON comes last and says that it is whole.

    Args:
      folder: of the method.
      row: as `read_result` gives it.
      details: None without a prediction.
    """
    if details is not None:
        errors = np.where(np.isnan(details.errors), -1, details.errors).astype(np.float16)
        neutral = details.neutral
        if neutral is not None:
            pick = np.linspace(0, len(neutral) - 1, min(SHAPE_POINTS, len(neutral))).round().astype(int)
            neutral = np.asarray(neutral, np.float32)[pick]
        arrays = details._replace(errors=errors, neutral=neutral)._asdict()
        known = {name: value for name, value in arrays.items() if value is not None}
        archive.write_arrays(folder / f"{row['picture']}.npz", known, overwrite=True)
    with writing(folder / f"{row['picture']}.json", overwrite=True) as file:
        file.write((json.dumps(row, indent=1, allow_nan=False) + "\n").encode())


def read_result(folder: Path, case_name: str) -> Row | None:
    """One result, None if absent: {"picture", "group", "angles", "numbers" (None without prediction), "reason"}.

    Raises:
      InputError: if the file is not one of ours.
    """
    path = folder / f"{case_name}.json"
    if not path.is_file():
        return None
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        numbers = row["numbers"]
        ours = set(row) == _ROW and (numbers is None or all(isinstance(each, float | int) for each in numbers.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        row, ours = {}, False
    if not ours:
        raise InputError(f"a result of an evaluation is asked for; remove what is none. Received: {path}")
    return row


def read_details(folder: Path, case_name: str) -> Details:
    """The `Details` of one result."""
    arrays = archive.read_arrays(folder / f"{case_name}.npz")
    errors = np.where(arrays["errors"] < 0, np.nan, arrays["errors"])
    return Details(errors, *(arrays.get(name) for name in Details._fields[1:]))


def pooled(out: str | Path, results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """Distances of all points of all cases together: method -> section -> {"points", "median", "mean", "std"} in mm."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for method, rows in results.items():
        folder = result_folder(out, method)
        far = [read_details(folder, row["picture"]).errors if row["numbers"] else np.zeros(0) for row in rows]
        for title, chosen in sections(rows).items():
            parts = [each[np.isfinite(each)] for each, one in zip(far, chosen, strict=True) if one]
            points = np.concatenate(parts).astype(np.float64)
            if len(points):
                summary = {"median": np.median(points), "mean": points.mean(), "std": points.std()}
                summary = {name: float(value) for name, value in summary.items()}
                found.setdefault(method, {})[title] = {"points": len(points), **summary}
    return found


def add_consistency(folder: Path, rows: Sequence[Row]) -> None:
    """Adds to the numbers how far a person's shapes are from their mean, where several cases show the person."""
    for group in {row["group"] for row in rows}:
        members = [row for row in rows if row["group"] == group and row["numbers"]]
        if len(members) < 2:
            continue
        shapes = [read_details(folder, row["picture"]).neutral for row in members]
        known = [shape for shape in shapes if shape is not None]
        if len(known) == len(shapes) and len({shape.shape for shape in known}) == 1:
            for row, value in zip(members, metrics.set_consistency(np.stack(known)), strict=True):
                row["numbers"]["consistency"] = float(value)
