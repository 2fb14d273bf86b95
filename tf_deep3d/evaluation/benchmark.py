"""Runs reconstruction methods on pictures with known truth, and keeps what was measured.

A benchmark is a list of `Case`s: photos and a function that measures a `Prediction` against the truth. A method is a
`Method`: a function from cases to predictions. Neither knows the other, so that a further data set is a further list of
cases, and a further network or program a further method.

Letters: V vertices, T triangles, L landmarks.
"""

import contextlib
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, open_benchmark, result_files
from tf_deep3d.evaluation.measuring import Measurement, Prediction, Truth, measure_view, together, truth_of
from tf_deep3d.evaluation.report import YAW_BINS, Results, Row
from tf_deep3d.evaluation.result_files import Details, read_result
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import photos
from tf_deep3d.io.files import writing
from tf_deep3d.reconstruction.portraits import BATCH, NoFaceError, Portrait, portraits_of

PORTRAITS = 128  # in memory, for cases that share photos

# What a method says of a case: a prediction; several whose errors are averaged; or why there is none.
Answer: TypeAlias = Prediction | list[Prediction] | str


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
      portraits: tuple of `Portrait`, of the photos with a face; empty too if nobody looked yet.
      face: (x, y) px in the photos where the face is that has the truth, or None for the largest.
      truth: () -> `Truth`, for methods that may see it, as the model's own floor; or None.
      unusable: why there is nothing to measure, e.g. a damaged file; empty text for a whole case.
    """

    name: str
    group: str
    angles: tuple[float, ...] | None
    photos: tuple[Path, ...]
    measure: Callable[[Prediction], Measurement]
    sections: tuple[str, ...] = ()
    neutral: bool = False
    portraits: tuple[Portrait, ...] = ()
    face: tuple[float, float] | None = None
    truth: Callable[[], Truth] | None = None
    unusable: str = ""


class Method(NamedTuple):
    """A way to reconstruct faces.

    Attributes:
      name: short, for tables and files.
      run: list of `Case` -> an `Answer` for each.
      identity: plain data that changes when results would.
      detects: whether it needs the cases' portraits.
      retries: whether a case without a prediction may have one the next time, and is tried again.
    """

    name: str
    run: Callable[[Sequence[Case]], Sequence[Answer]]
    identity: Mapping[str, Any]
    detects: bool = True
    retries: bool = False


class Hooks(NamedTuple):
    """What a caller of `run` may want to be asked or told; None for nothing.

    Attributes:
      progress: called with the number of cases and methods that are done since.
      describe: photos [N, 224, 224, 3] -> descriptors [N, D], to say how much a rendering looks like its person.
      predicted: called with the method's name, the case and the `Prediction`, before it is measured.
    """

    progress: Callable[[int], object] | None = None
    describe: Callable[[np.ndarray], np.ndarray] | None = None
    predicted: Callable[[str, Case, Prediction], object] | None = None


SILENT = Hooks()


def open_case(view: open_benchmark.View, folder: Path) -> Case:
    """The `Case` of a view of the open benchmark; its picture is written into `folder` unless it is there."""
    path = view_picture(view, folder)
    angles = tuple(view.angles.tolist())
    titles = (kind_section(view.subject.name), *yaw_section(angles[1]))
    seen, truth = partial(measure_view, view), partial(truth_of, view.subject)
    return Case(view.name, view.subject.name, angles, (path,), seen, titles, truth=truth)


def view_picture(view: open_benchmark.View, folder: Path) -> Path:
    """Path of a view's picture, which is written into `folder` unless it is there."""
    path = folder / f"{view.name}.png"
    if not path.is_file():
        with writing(path, overwrite=True) as file:
            Image.fromarray(open_benchmark.picture(view)).save(file, "png")
    return path


def kind_section(name: str) -> str:
    """The title of all people of one kind: their names differ in the number at the end."""
    return f"subjects: {re.sub(r'[_-]?[0-9]+$', '', name) or name}"


def yaw_section(yaw: float, bins: Sequence[tuple[int, int]] = YAW_BINS) -> tuple[str, ...]:
    """The title, in a tuple, of the bin that a yaw in degrees falls in; empty outside all bins."""
    return tuple(f"yaw {low} to {high}" for low, high in bins if low <= abs(yaw) < high)


def run(
    name: str,
    cases: Iterable[Case],
    methods: Sequence[Method],
    model: MorphableModel,
    out: str | Path,
    overwrite: bool = False,
    hooks: Hooks = SILENT,
) -> Results:
    """Measures methods on cases, a batch at a time, on all cores; what was measured before is not measured again.

    Args:
      name: of the benchmark, with version.
      cases: `Case`s.
      methods: `Method`s.
      model: `MorphableModel`, for the alignment.
      out: folder; each method keeps a folder of results in it.
      overwrite: measure everything again.
      hooks: see there.

    Returns:
      Method name -> list of results (`read_result`) in the order of the cases, each with the case's "sections" and its
      first "photo" (None of an unusable case).

    Raises:
      InputError: if `out` holds results of another benchmark or of a method that was set otherwise.
    """
    progress = hooks.progress or (lambda count: None)
    folders = open_folders(name, methods, out, overwrite)
    results: Results = {method.name: [] for method in methods}
    seen: dict[tuple, Portrait | None] = {}
    for batch in _batches(cases):
        missing = {m.name: [case for case in batch if not _is_done(m, folders[m.name], case)] for m in methods}
        wanted = {case.name for method in methods if method.detects for case in missing[method.name]}
        found = {case.name: portraits(case, model, seen) for case in batch if case.name in wanted}
        work = []
        for method in methods:
            new = [case._replace(portraits=found.get(case.name, ())) for case in missing[method.name]]
            progress(len(batch) - len(new))
            start = time.perf_counter()
            answers = method.run(new) if new else []
            seconds = (time.perf_counter() - start) / max(sum(len(case.photos) for case in new), 1)
            for case, answer in zip(new, answers, strict=True):
                if isinstance(answer, Prediction) and hooks.predicted:
                    hooks.predicted(method.name, case, answer)
                work.append((folders[method.name], case, answer, seconds))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda task: _keep(task[0], task[1], task[2], task[3], hooks.describe), work):
                progress(1)
        for method in methods:
            results[method.name] += [_row(folders[method.name], case) for case in batch]
    for method, rows in results.items():
        result_files.add_consistency(folders[method], rows)
    return results


def open_folders(name: str, methods: Sequence[Method], out: str | Path, overwrite: bool = False) -> dict[str, Path]:
    """Method name -> its folder of results in `out`, see `run`."""
    return {
        method.name: result_files.open_folder(out, method.name, {"benchmark": name, **method.identity}, overwrite)
        for method in methods
    }


def _batches(cases: Iterable[Case]) -> Iterator[list[Case]]:
    """Lists of cases with about `BATCH` photos."""
    batch = []
    for case in cases:
        batch.append(case)
        if sum(len(each.photos) for each in batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(folder: Path, case: Case) -> Row:
    """The result of a case, with what the case says of itself."""
    found = _record(case, None, case.unusable) if case.unusable else read_result(folder, case.name)
    assert found is not None, f"{case.name} is neither unusable nor measured"
    return found | {"sections": case.sections, "photo": str(case.photos[0]) if case.photos else None}


def _record(case: Case, numbers: dict[str, float] | None, reason: str | None) -> Row:
    return {"picture": case.name, "group": case.group, "angles": case.angles, "numbers": numbers, "reason": reason}


def _is_done(method: Method, folder: Path, case: Case) -> bool:
    if case.unusable:
        return True
    found = read_result(folder, case.name)
    return found is not None and not (method.retries and found["numbers"] is None)


def portraits(case: Case, model: MorphableModel, seen: dict[tuple, Portrait | None]) -> tuple[Portrait, ...]:
    """The portraits of a `Case`; `seen` keeps them without windows, (path, place) -> portrait or None."""
    keys = [(path, case.face) for path in case.photos]
    if len(seen) + len(keys) > PORTRAITS:
        seen.clear()
    for path, place in keys:
        if (path, place) not in seen:
            seen[path, place] = None
            with contextlib.suppress(NoFaceError, photos.PhotoError):
                seen[path, place] = _portrait(path, model, place)._replace(window=None)
    return tuple(portrait for key in keys if (portrait := seen[key]) is not None)


def _portrait(path: Path, model: MorphableModel, place: tuple[float, float] | None) -> Portrait:
    """The face of a photo that is nearest to a place (x, y), or the largest."""
    found = portraits_of(path, model, all_faces=place is not None)
    if place is None:
        return found[0]
    return min(found, key=lambda portrait: np.linalg.norm(portrait.detected.landmarks68.mean(0) - place))


def _keep(
    folder: Path,
    case: Case,
    answer: Answer,
    seconds: float,
    describe: Callable[[np.ndarray], np.ndarray] | None,
) -> None:
    """Measures an answer and writes the result; an `InputError` of the measure is why there is none."""
    numbers = details = None
    reason = answer if isinstance(answer, str) else None
    if not isinstance(answer, str):
        several = answer if isinstance(answer, list) else [answer]
        try:
            measured = together([case.measure(each) for each in several])
        except InputError as error:
            reason = str(error)
        else:
            numbers = _numbers(measured, several[0], seconds, describe)
            picture = None if measured.picture is None else measured.picture()
            details = Details(measured.errors, picture, several[0].neutral, several[0].confidence)
    result_files.keep(folder, _record(case, numbers, reason), details)


def _numbers(
    measured: Measurement,
    prediction: Prediction,
    seconds: float,
    describe: Callable[[np.ndarray], np.ndarray] | None,
) -> dict[str, float]:
    """The finite numbers that are kept of a measured prediction."""
    numbers = measured.numbers | {"seconds": seconds}
    if prediction.confidence is not None:
        numbers["confidence"] = float(np.mean(prediction.confidence))
    if describe and prediction.likeness:
        first, second = describe(np.stack(prediction.likeness()))
        numbers["recognition"] = 1 - metrics.cosine(first, second)
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
