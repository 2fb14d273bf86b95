"""Runs reconstruction methods on pictures with known truth, keeps what was measured, and sums it up.

A benchmark is a list of `Case`s: photos and a function that measures a `Prediction` against the truth. A method is a
`Method`: a function from cases to predictions. Neither knows the other, so that a further data set is a further list of
cases, and a further network or program a further method.

Letters: V vertices, T triangles, L landmarks.
"""

import contextlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, open_benchmark
from tf_deep3d.evaluation.measuring import Prediction, measure_view, together
from tf_deep3d.evaluation.report import YAW_BINS, sections
from tf_deep3d.io import archive, photos
from tf_deep3d.io.files import writing
from tf_deep3d.reconstruction import photo

PORTRAITS = 128  # in memory, for cases that share photos
SHAPE_POINTS = 500  # of a neutral shape that are kept, for the consistency of a person's shapes


class Case(NamedTuple):
    """One photo, or several photos of one person, with a truth.

    Attributes:
      name: of the case, also for files.
      group: what it belongs to, e.g. the person.
      angles: [3] pitch, yaw, roll in degrees, of the truth, or None.
      photos: tuple of paths.
      measure: `Prediction` -> `Measurement`.
      sections: titles of the tables, besides that of all cases, which the case counts in.
      neutral: the truth has no expression: a method that can leaves the expression out.
      portraits: tuple of `photo.Portrait`, of the photos with a face; empty too if nobody looked yet.
      face: (x, y) px in the photos where the face is that has the truth, or None for the largest.
      unusable: why there is nothing to measure, e.g. a damaged file; empty text for a whole case.
    """

    name: str
    group: str
    angles: Any
    photos: tuple
    measure: Callable
    sections: tuple = ()
    neutral: bool = False
    portraits: tuple = ()
    face: tuple | None = None
    unusable: str = ""


class Method(NamedTuple):
    """A way to reconstruct faces.

    Attributes:
      name: short, for tables and files.
      run: list of `Case` -> for each a `Prediction`, or a list of them whose errors are averaged, or text why there is
        none.
      identity: plain data that changes when results would.
      detects: whether it needs the cases' portraits.
      retries: whether a case without a prediction may have one the next time, and is tried again.
    """

    name: str
    run: Callable
    identity: dict
    detects: bool = True
    retries: bool = False


class Details(NamedTuple):
    """What is kept of a result besides its numbers; None where there is nothing.

    Attributes:
      errors: [P] mm, NaN where there is no surface.
      picture: [H, W, 3] uint8.
      neutral: [n, 3] mm, points of the neutral shape.
      confidence: [K] of C-Net.
    """

    errors: np.ndarray
    picture: Any = None
    neutral: Any = None
    confidence: Any = None


# Cases


def open_case(view, folder):
    """The `Case` of a view of the open benchmark; its picture is written into `folder` unless it is there."""
    path = folder / f"{view.name}.png"
    if not path.is_file():
        with writing(path) as file:
            Image.fromarray(open_benchmark.picture(view)).save(file, "png")
    kind = re.sub(r"\d+$", "", view.subject.name)
    angles = tuple(view.angles.tolist())
    titles = (f"subjects: {kind}", *yaw_section(angles[1]))
    return Case(view.name, view.subject.name, angles, (path,), partial(measure_view, view), titles)


def yaw_section(yaw, bins=YAW_BINS):
    """The title, in a tuple, of the bin that a yaw in degrees falls in; empty outside all bins."""
    return tuple(f"yaw {low} to {high}" for low, high in bins if low <= abs(yaw) < high)


# Running


def run(name, cases, methods, model, out, overwrite=False, on_progress=None, describe=None, on_prediction=None):
    """Measures methods on cases, a batch at a time, on all cores; what was measured before is not measured again.

    Args:
      name: of the benchmark, with version.
      cases: `Case`s, any iterable.
      methods: list of `Method`.
      model: `MorphableModel`, for the alignment.
      out: folder; each method keeps a folder of results in it.
      overwrite: measure everything again.
      on_progress: called with 1 for each case and method that is done.
      describe: photos [N, 224, 224, 3] -> descriptors [N, D], to say how much a rendering looks like its person.
      on_prediction: called with the method's name, the case and the `Prediction`, before it is measured.

    Returns:
      Method name -> list of results (`read_result`) in the order of the cases, each with the case's "sections" and its
      first "photo" (None of an unusable case).

    Raises:
      ValueError: if `out` holds results of another benchmark or of a method that was set otherwise.
    """
    progress = on_progress or (lambda count: None)
    folders = {method.name: _prepare(name, method, out, overwrite) for method in methods}
    results = {method.name: [] for method in methods}
    seen = {}
    for batch in _batches(cases):
        missing = {m.name: [case for case in batch if not _is_done(m, folders[m.name], case)] for m in methods}
        wanted = {case.name for method in methods if method.detects for case in missing[method.name]}
        portraits = {case.name: _portraits(case, model, seen) for case in batch if case.name in wanted}
        work = []
        for method in methods:
            new = [case._replace(portraits=portraits.get(case.name, ())) for case in missing[method.name]]
            progress(len(batch) - len(new))
            start = time.perf_counter()
            answers = method.run(new) if new else []
            seconds = (time.perf_counter() - start) / max(sum(len(case.photos) for case in new), 1)
            for case, answer in zip(new, answers, strict=True):
                if isinstance(answer, Prediction) and on_prediction:
                    on_prediction(method.name, case, answer)
                work.append((folders[method.name], case, answer, seconds))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda task: _keep(*task, describe), work):
                progress(1)
        for method in methods:
            results[method.name] += [_row(folders[method.name], case) for case in batch]
    for method, rows in results.items():
        _add_consistency(folders[method], rows)
    return results


def result_folder(out, name):
    """Where the method `name` keeps its results."""
    return Path(out) / "methods" / _file_name(name)


def picture_folder(out, name):
    """Where the benchmark `name` keeps the pictures that it makes: another benchmark's may have the same names."""
    return Path(out) / "pictures" / _file_name(name)


def _file_name(text):
    return re.sub(r"^\.+|[^\w.+-]", "-", text)


def read_result(folder, case_name):
    """One result, None if absent: {"picture", "group", "angles", "numbers" (None without prediction), "reason"}."""
    path = folder / f"{case_name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_details(folder, case_name):
    """The `Details` of one result."""
    arrays = archive.read_arrays(folder / f"{case_name}.npz")
    errors = np.where(arrays["errors"] < 0, np.nan, arrays["errors"])
    return Details(errors, *(arrays.get(name) for name in Details._fields[1:]))


def pooled(out, results):
    """Distances of all points of all cases together: method -> section -> {"points", "median", "mean", "std"} in mm."""
    found = {}
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


def _batches(cases):
    """Lists of cases with about `photo.BATCH` photos."""
    batch = []
    for case in cases:
        batch.append(case)
        if sum(len(each.photos) for each in batch) >= photo.BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _prepare(name, method, out, overwrite):
    """The method's folder, with its identity, which must be the one that is there already."""
    folder = result_folder(out, method.name)
    text = json.dumps({"benchmark": name, **method.identity}, indent=1) + "\n"
    path = folder / "identity.json"
    empty = not any(each != path for each in folder.glob("*.json"))
    if overwrite or empty:
        shutil.rmtree(folder, ignore_errors=True)
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        raise InputError(
            f"{folder} holds results of another benchmark, other settings or weights: choose another folder or pass "
            f"--overwrite. Received: {method.name}"
        )
    if not path.is_file():
        with writing(path) as file:
            file.write(text.encode())
    return folder


def _row(folder, case):
    """The result of a case, with what the case says of itself."""
    found = _record(case, None, case.unusable) if case.unusable else read_result(folder, case.name)
    return found | {"sections": case.sections, "photo": str(case.photos[0]) if case.photos else None}


def _record(case, numbers, reason):
    return {"picture": case.name, "group": case.group, "angles": case.angles, "numbers": numbers, "reason": reason}


def _is_done(method, folder, case):
    if case.unusable:
        return True
    found = read_result(folder, case.name)
    return found is not None and not (method.retries and found["numbers"] is None)


def _portraits(case, model, seen):
    """The portraits of a case; `seen` keeps them without windows, (path, place) -> portrait or None."""
    keys = [(path, case.face) for path in case.photos]
    if len(seen) + len(keys) > PORTRAITS:
        seen.clear()
    for path, place in keys:
        if (path, place) not in seen:
            seen[path, place] = None
            with contextlib.suppress(photo.NoFaceError, photos.PhotoError):
                seen[path, place] = _portrait(path, model, place)._replace(window=None)
    return tuple(seen[key] for key in keys if seen[key])


def _portrait(path, model, place):
    """The face of a photo that is nearest to a place (x, y), or the largest."""
    found = photo.portraits_of(path, model, all_faces=place is not None)
    if place is None:
        return found[0]
    return min(found, key=lambda portrait: np.linalg.norm(portrait.detected.landmarks68.mean(0) - place))


def _keep(folder, case, answer, seconds, describe):
    """Measures an answer and writes the result; the JSON comes last and says that it is whole."""
    numbers, reason = None, answer
    if not isinstance(answer, str):
        several = answer if isinstance(answer, list) else [answer]
        answer = several[0]
        try:
            measured = together([case.measure(each) for each in several])
        except ValueError as error:
            reason = str(error)
        else:
            numbers, reason = measured.numbers | {"seconds": seconds}, None
            if answer.confidence is not None:
                numbers["confidence"] = float(np.mean(answer.confidence))
            if describe and answer.likeness:
                first, second = describe(np.stack(answer.likeness()))
                numbers["recognition"] = 1 - metrics.cosine(first, second)
            numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
            errors = np.where(np.isnan(measured.errors), -1, measured.errors).astype(np.float16)
            neutral = answer.neutral
            if neutral is not None:
                pick = np.linspace(0, len(neutral) - 1, min(SHAPE_POINTS, len(neutral))).round().astype(int)
                neutral = np.asarray(neutral, np.float32)[pick]
            details = Details(errors, measured.picture and measured.picture(), neutral, answer.confidence)
            arrays = {name: value for name, value in details._asdict().items() if value is not None}
            archive.write_arrays(folder / f"{case.name}.npz", arrays, overwrite=True)
    record = _record(case, numbers, reason)
    with writing(folder / f"{case.name}.json", overwrite=True) as file:
        file.write((json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def _add_consistency(folder, rows):
    """Adds to the numbers how far a person's shapes are from their mean, where several cases show the person."""
    for group in {row["group"] for row in rows}:
        members = [row for row in rows if row["group"] == group and row["numbers"]]
        shapes = [read_details(folder, row["picture"]).neutral for row in members] if len(members) > 1 else []
        if shapes and len({None if shape is None else shape.shape for shape in shapes}) == 1 and shapes[0] is not None:
            for row, value in zip(members, metrics.set_consistency(np.stack(shapes)), strict=True):
                row["numbers"]["consistency"] = float(value)
