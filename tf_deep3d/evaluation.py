"""Runs reconstruction methods on pictures with known truth, keeps what was measured, and sums it up.

A benchmark is a list of `Case`s: photos and a function that measures a `Prediction` against the truth. A method is a
`Method`: a function from cases to predictions. Neither knows the other, so that a further data set is a further list of
cases, and a further network or program a further method.

Letters: V vertices, T triangles, L landmarks.
"""

import contextlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d import archive, geometry, metrics, open_benchmark, photos, pipeline
from tf_deep3d.evaluation_report import YAW_BINS, error_colors, sections
from tf_deep3d.files import writing
from tf_deep3d.scans import ANCHORS

ICP_POINTS = 4000  # of the truth that move the mesh; all of them are measured
SHAPE_POINTS = 500  # of a neutral shape that are kept, for the consistency of a person's shapes


class Prediction(NamedTuple):
    """What a method says about the photos of a case.

    Attributes:
      vertices: [V, 3], any unit: the shape as the case wants it (`Case.neutral`), unposed or not.
      triangles: [T, 3] int.
      anchors: [L, 3], points of the shape that say roughly where it lies.
      anchor_indices: [L] int, which of the 68 landmarks they are.
      landmarks: [68, 2] photo px, or None.
      angles: [3] pitch, yaw, roll in degrees, or None.
      albedo: [V, 3] in [0, 1], or None.
      neutral: [V, 3] mm, the person's shape without expression, or None: shapes of a person are compared.
      likeness: function without arguments -> (photo, rendering in it), both [224, 224, 3] RGB in [0, 1], or None.
    """

    vertices: Any
    triangles: Any
    anchors: Any
    anchor_indices: Any = ANCHORS[68]
    landmarks: Any = None
    angles: Any = None
    albedo: Any = None
    neutral: Any = None
    likeness: Any = None


class Measurement(NamedTuple):
    """How far a prediction is from the truth.

    Attributes:
      numbers: name in `evaluation_report.MEASURES` -> number; those that apply.
      errors: [P] mm at the truth's points, NaN where the prediction has no surface; P may be 0.
      picture: [H, W, 3] uint8, the prediction, and beside it the errors on the truth.
    """

    numbers: dict
    errors: np.ndarray
    picture: np.ndarray


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
      portraits: tuple of `pipeline.Portrait`, of the photos with a face; empty too if nobody looked yet.
    """

    name: str
    group: str
    angles: Any
    photos: tuple
    measure: Callable
    sections: tuple = ()
    neutral: bool = False
    portraits: tuple = ()


class Method(NamedTuple):
    """A way to reconstruct faces.

    Attributes:
      name: short, for tables and files.
      run: list of `Case` -> for each a `Prediction`, or text why there is none.
      identity: plain data that changes when results would.
      detects: whether it needs the cases' portraits.
    """

    name: str
    run: Callable
    identity: dict
    detects: bool = True


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


def measure_view(view, prediction):
    """`Measurement` of a prediction for a view of the open benchmark."""
    subject = view.subject
    truth = subject.vertices[subject.region] * open_benchmark.MILLIMETRES
    aligned, normals = align(
        prediction, truth, subject.normals[subject.region], subject.landmarks * open_benchmark.MILLIMETRES
    )
    far = metrics.distances(aligned, prediction.triangles, normals, truth)
    numbers = {
        "plane_rmse": metrics.root_mean_square(far.plane),
        "point_mean": mean(far.point[np.isfinite(far.plane)]),
        "coverage": far.coverage,
    }
    if subject.exact and prediction.landmarks is not None:
        for kind in ("box", "eyes"):
            numbers[f"nme_{kind}"] = float(
                metrics.landmark_nme(prediction.landmarks[None], view.landmarks[None], kind)[0]
            )
    if subject.exact and prediction.angles is not None:
        numbers["pose"] = float(metrics.pose_errors(prediction.angles, view.angles).mean())
    if prediction.albedo is not None and not subject.lit:
        colors = prediction.albedo[far.nearest] - subject.colors[subject.region]
        numbers["albedo"] = mean(np.abs(colors[np.isfinite(far.plane)]))
    everywhere = np.full(len(subject.vertices), np.nan)
    everywhere[subject.region] = far.plane
    millimetres = subject.vertices * open_benchmark.MILLIMETRES
    strip = pictures(
        (aligned, prediction.triangles, normals), (millimetres, subject.triangles, subject.normals), everywhere
    )
    return Measurement(numbers, far.plane, strip)


def pictures(prediction, truth, errors):
    """A prediction, and beside it the errors on the truth, from the front: [H, 2 H, 3] uint8.

    Args:
      prediction, truth: (vertices in mm in the frame of the face model, triangles, normals).
      errors: [P] mm at the truth's vertices, NaN where none was measured.
    """
    sides = ((*prediction, None), (*truth, error_colors(errors)))
    return np.concatenate(
        [open_benchmark.shaded(vertices / open_benchmark.MILLIMETRES, *rest) for vertices, *rest in sides], 1
    )


def mean(values):
    """Mean of numbers, NaN without a warning if there is none."""
    return float(np.mean(values)) if len(values) else math.nan


def align(prediction, points, point_normals, landmarks, steps=metrics.ICP_STEPS):
    """Puts a prediction on the truth, by landmarks and ICP.

    Args:
      prediction: `Prediction`.
      points: [P, 3] mm.
      point_normals: [P, 3] unit.
      landmarks: [68, 3] mm, NaN where one is not known.
      steps: of ICP; 0 leaves the prediction where the landmarks put it.

    Returns:
      The prediction's vertices [V, 3] in mm, and their normals [V, 3].
    """
    vertices, triangles = np.asarray(prediction.vertices, np.float64), np.asarray(prediction.triangles)
    normals = geometry.vertex_normals(vertices[None], triangles, geometry.corners_around(triangles, len(vertices)))[0]
    start = metrics.similarity_from_landmarks(prediction.anchors, landmarks[prediction.anchor_indices])
    pick = np.linspace(0, len(points) - 1, min(ICP_POINTS, len(points))).round().astype(int)
    move = metrics.icp(vertices, normals, points[pick], point_normals[pick], start, steps=steps)
    return move.apply(vertices), normals @ move.rotation.T


# Running


def run(name, cases, methods, model, out, overwrite=False, on_progress=None, describe=None, on_prediction=None):
    """Measures methods on cases, a batch at a time; what was measured before is not measured again.

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
      first "photo".

    Raises:
      ValueError: if `out` holds results of another benchmark or of a method that was set otherwise.
    """
    progress = on_progress or (lambda count: None)
    folders = {method.name: _prepare(name, method, out, overwrite) for method in methods}
    results = {method.name: [] for method in methods}
    for batch in _batches(cases):
        missing = {m.name: [c for c in batch if read_result(folders[m.name], c.name) is None] for m in methods}
        wanted = {case.name for method in methods if method.detects for case in missing[method.name]}
        portraits = {case.name: _portraits(case.photos, model) for case in batch if case.name in wanted}
        for method in methods:
            folder = folders[method.name]
            new = [case._replace(portraits=portraits.get(case.name, ())) for case in missing[method.name]]
            progress(len(batch) - len(new))
            start = time.perf_counter()
            answers = method.run(new) if new else []
            seconds = (time.perf_counter() - start) / max(sum(len(case.photos) for case in new), 1)
            for case, answer in zip(new, answers, strict=True):
                if isinstance(answer, Prediction) and on_prediction:
                    on_prediction(method.name, case, answer)
                _keep(folder, case, answer, seconds, describe)
                progress(1)
            results[method.name] += [
                read_result(folder, case.name) | {"sections": case.sections, "photo": str(case.photos[0])}
                for case in batch
            ]
    for method, rows in results.items():
        _add_consistency(folders[method], rows)
    return results


def result_folder(out, name):
    """Where the method `name` keeps its results."""
    return Path(out) / "methods" / re.sub(r"[^\w.+-]", "-", name)


def read_result(folder, case_name):
    """One result, None if absent: {"picture", "group", "angles", "numbers" (None without prediction), "reason"}."""
    path = folder / f"{case_name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_details(folder, case_name):
    """Of one result: errors [P] in mm, NaN where there is no surface; the picture [H, W, 3]; points [n, 3] in mm of the
    neutral shape, or None."""
    arrays = archive.read_arrays(folder / f"{case_name}.npz")
    return np.where(arrays["errors"] < 0, np.nan, arrays["errors"]), arrays["picture"], arrays.get("neutral")


def pooled(out, results):
    """Distances of all points of all cases together: method -> section -> {"points", "median", "mean", "std"} in mm."""
    found = {}
    for method, rows in results.items():
        folder = result_folder(out, method)
        far = [read_details(folder, row["picture"])[0] if row["numbers"] else np.zeros(0) for row in rows]
        for title, chosen in sections(rows).items():
            parts = [each[np.isfinite(each)] for each, one in zip(far, chosen, strict=True) if one]
            points = np.concatenate(parts).astype(np.float64)
            if len(points):
                summary = {"median": np.median(points), "mean": points.mean(), "std": points.std()}
                summary = {name: float(value) for name, value in summary.items()}
                found.setdefault(method, {})[title] = {"points": len(points), **summary}
    return found


def _batches(cases):
    """Lists of cases with about `pipeline.BATCH` photos."""
    batch = []
    for case in cases:
        batch.append(case)
        if sum(len(each.photos) for each in batch) >= pipeline.BATCH:
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
        raise ValueError(
            f"{folder} holds results of another benchmark, other settings or weights: choose another folder or pass "
            f"--overwrite. Received: {method.name}"
        )
    if not path.is_file():
        with writing(path) as file:
            file.write(text.encode())
    return folder


def _portraits(paths, model):
    """The portraits of the photos that show a face."""
    found = []
    for path in paths:
        with contextlib.suppress(pipeline.NoFaceError, photos.PhotoError):
            found.append(pipeline.portraits_of(path, model)[0])
    return tuple(found)


def _keep(folder, case, answer, seconds, describe):
    """Measures an answer and writes the result; the JSON comes last and says that it is whole."""
    numbers, reason = None, answer
    if isinstance(answer, Prediction):
        try:
            measured = case.measure(answer)
        except ValueError as error:
            reason = str(error)
        else:
            numbers, reason = measured.numbers | {"seconds": seconds}, None
            if describe and answer.likeness:
                first, second = describe(np.stack(answer.likeness()))
                numbers["recognition"] = 1 - metrics.cosine(first, second)
            numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
            errors = np.where(np.isnan(measured.errors), -1, measured.errors).astype(np.float16)
            arrays = {"errors": errors, "picture": measured.picture}
            if answer.neutral is not None:
                pick = (
                    np.linspace(0, len(answer.neutral) - 1, min(SHAPE_POINTS, len(answer.neutral))).round().astype(int)
                )
                arrays["neutral"] = np.asarray(answer.neutral, np.float32)[pick]
            archive.write_arrays(folder / f"{case.name}.npz", arrays, overwrite=True)
    record = {"picture": case.name, "group": case.group, "angles": case.angles, "numbers": numbers, "reason": reason}
    with writing(folder / f"{case.name}.json") as file:
        file.write((json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def _add_consistency(folder, rows):
    """Adds to the numbers how far a person's shapes are from their mean, where several cases show the person."""
    for group in {row["group"] for row in rows}:
        members = [row for row in rows if row["group"] == group and row["numbers"]]
        shapes = [read_details(folder, row["picture"])[2] for row in members] if len(members) > 1 else []
        if shapes and len({None if shape is None else shape.shape for shape in shapes}) == 1 and shapes[0] is not None:
            for row, value in zip(members, metrics.set_consistency(np.stack(shapes)), strict=True):
                row["numbers"]["consistency"] = float(value)
