"""Runs reconstruction methods on pictures with known truth, keeps what was measured, and sums it up.

A benchmark is a list of `Case`s: a photo and a function that measures a `Prediction` against the truth. A method is a
`Method`: a function from cases to predictions. Neither knows the other, so that a further data set is a further list of
cases, and a further network or program a further method.

Letters: V vertices, T triangles, L landmarks.
"""

import json
import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d import archive, geometry, metrics, open_benchmark, photos, pipeline
from tf_deep3d.evaluation_report import MEASURES
from tf_deep3d.files import writing

ANCHORS = {68: np.arange(17, 68), 51: np.arange(17, 68), 7: np.array([36, 39, 42, 45, 33, 48, 54])}  # of ibug68
ICP_POINTS = 4000  # of the truth that move the mesh; all of them are measured


class Prediction(NamedTuple):
    """What a method says about a photo.

    Attributes:
      vertices: [V, 3], any unit: the neutral or expressive shape, unposed or not; only the shape is judged.
      triangles: [T, 3] int.
      anchors: [L, 3], points of the shape that say roughly where it lies.
      anchor_indices: [L] int, which of the 68 landmarks they are.
      landmarks: [68, 2] photo px, or None.
      angles: [3] pitch, yaw, roll in degrees, or None.
      albedo: [V, 3] in [0, 1], or None.
    """

    vertices: Any
    triangles: Any
    anchors: Any
    anchor_indices: Any = ANCHORS[68]
    landmarks: Any = None
    angles: Any = None
    albedo: Any = None


class Measurement(NamedTuple):
    """How far a prediction is from the truth.

    Attributes:
      numbers: name in `evaluation_report.MEASURES` -> number, or None where it does not apply.
      errors: [P] mm at the truth's points, NaN where the prediction has no surface.
      picture: [H, W, 3] uint8, the prediction.
    """

    numbers: dict
    errors: np.ndarray
    picture: np.ndarray


class Case(NamedTuple):
    """One photo with a truth.

    Attributes:
      name: of the photo, also for files.
      group: what it belongs to, e.g. the person.
      angles: [3] pitch, yaw, roll in degrees, of the truth.
      photo: path.
      measure: `Prediction` -> `Measurement`.
      portrait: `pipeline.Portrait`, None if no face was found or nobody looked yet.
    """

    name: str
    group: str
    angles: tuple
    photo: Path
    measure: Callable
    portrait: Any = None


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


def open_cases(benchmark, folder):
    """The cases of the open benchmark; its pictures are written into `folder` unless they are there.

    Yields:
      `Case`s.
    """
    for view in benchmark.views:
        path = folder / f"{view.name}.png"
        if not path.is_file():
            with writing(path) as file:
                Image.fromarray(open_benchmark.picture(view)).save(file, "png")

        def measure(prediction, view=view):
            return measure_view(view, prediction)

        yield Case(view.name, view.subject.name, tuple(view.angles.tolist()), path, measure)


def measure_view(view, prediction):
    """`Measurement` of a prediction for a view of the open benchmark."""
    subject = view.subject
    truth = subject.vertices[subject.region] * open_benchmark.MILLIMETRES
    goal = subject.landmarks[prediction.anchor_indices] * open_benchmark.MILLIMETRES
    aligned, normals = align(prediction, truth, subject.normals[subject.region], goal)
    far = metrics.distances(aligned, prediction.triangles, normals, truth)
    numbers = dict.fromkeys(MEASURES) | {
        "plane_rmse": metrics.root_mean_square(far.plane),
        "point_mean": float(far.point[np.isfinite(far.plane)].mean()),
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
        numbers["albedo"] = float(np.abs(colors[np.isfinite(far.plane)]).mean())
    numbers = {name: None if value is None or math.isnan(value) else value for name, value in numbers.items()}
    shown = aligned / open_benchmark.MILLIMETRES
    return Measurement(numbers, far.plane, open_benchmark.shaded(shown, prediction.triangles, normals))


def align(prediction, points, point_normals, landmarks):
    """The prediction's vertices [V, 3] in mm on the truth's points [P, 3], and their normals [V, 3]."""
    vertices, triangles = np.asarray(prediction.vertices, np.float64), np.asarray(prediction.triangles)
    normals = geometry.vertex_normals(vertices[None], triangles, geometry.corners_around(triangles, len(vertices)))[0]
    start = metrics.similarity_from_landmarks(prediction.anchors, landmarks)
    pick = np.linspace(0, len(points) - 1, min(ICP_POINTS, len(points))).round().astype(int)
    move = metrics.icp(vertices, normals, points[pick], point_normals[pick], start)
    return move.apply(vertices), normals @ move.rotation.T


# Running


def run(name, cases, methods, model, out, overwrite=False, on_progress=None):
    """Measures methods on cases, a batch at a time; what was measured before is not measured again.

    Args:
      name: of the benchmark, with version.
      cases: `Case`s, any iterable.
      methods: list of `Method`.
      model: `MorphableModel`, for the alignment.
      out: folder; each method keeps a folder of results in it.
      overwrite: measure everything again.
      on_progress: called with 1 for each picture and method that is done.

    Returns:
      Method name -> list of results (`read_result`) in the order of the cases.

    Raises:
      ValueError: if `out` holds results of another benchmark or of a method that was set otherwise.
    """
    progress = on_progress or (lambda count: None)
    folders = {method.name: _prepare(name, method, out, overwrite) for method in methods}
    results = {method.name: [] for method in methods}
    batch = []
    for case in cases:
        batch.append(case)
        if len(batch) == pipeline.BATCH:
            _run_batch(batch, methods, model, folders, results, progress)
            batch = []
    if batch:
        _run_batch(batch, methods, model, folders, results, progress)
    return results


def result_folder(out, name):
    """Where the method `name` keeps its results."""
    return Path(out) / "methods" / re.sub(r"[^\w.+-]", "-", name)


def read_result(folder, case_name):
    """One result, None if absent: {"picture", "group", "angles", "numbers" (None without prediction), "reason"}."""
    path = folder / f"{case_name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_details(folder, case_name):
    """Errors [P] in mm, NaN where there is no surface, and the picture [H, W, 3] of one result."""
    arrays = archive.read_arrays(folder / f"{case_name}.npz")
    return np.where(arrays["errors"] < 0, np.nan, arrays["errors"]), arrays["picture"]


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


def _run_batch(batch, methods, model, folders, results, progress):
    missing = {m.name: [c for c in batch if read_result(folders[m.name], c.name) is None] for m in methods}
    wanted = {case.name for method in methods if method.detects for case in missing[method.name]}
    portraits = {case.name: _portrait(case.photo, model) for case in batch if case.name in wanted}
    for method in methods:
        folder, cases = folders[method.name], missing[method.name]
        cases = [case._replace(portrait=portraits.get(case.name)) for case in cases]
        start = time.perf_counter()
        answers = method.run(cases) if cases else []
        seconds = (time.perf_counter() - start) / max(len(cases), 1)
        progress(len(batch) - len(cases))
        for case, answer in zip(cases, answers, strict=True):
            _keep(folder, case, answer, seconds)
            progress(1)
        results[method.name] += [read_result(folder, case.name) for case in batch]


def _portrait(photo, model):
    try:
        return pipeline.portraits_of(photo, model)[0]
    except (pipeline.NoFaceError, photos.PhotoError):
        return None


def _keep(folder, case, answer, seconds):
    """Measures an answer and writes the result; the JSON comes last and says that it is whole."""
    numbers, reason = None, answer
    if isinstance(answer, Prediction):
        try:
            measured = case.measure(answer)
        except ValueError as error:
            reason = str(error)
        else:
            numbers, reason = measured.numbers | {"seconds": seconds}, None
            errors = np.where(np.isnan(measured.errors), -1, measured.errors).astype(np.float16)
            arrays = {"errors": errors, "picture": measured.picture}
            archive.write_arrays(folder / f"{case.name}.npz", arrays, overwrite=True)
    record = {"picture": case.name, "group": case.group, "angles": case.angles, "numbers": numbers, "reason": reason}
    with writing(folder / f"{case.name}.json") as file:
        file.write((json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
