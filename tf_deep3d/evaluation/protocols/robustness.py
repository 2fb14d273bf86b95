"""How far errors grow when pictures get worse: by yaw, blur, JPEG quality, what covers the face, darkness, its size.

The subjects of `sets`, each in one frontal picture that is spoiled step by step, and turned step by step.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_deep3d.evaluation import charts, open_benchmark, report
from tf_deep3d.evaluation.benchmark import Case, open_case
from tf_deep3d.evaluation.measuring import Measurement, Prediction, measure_view
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.protocols.sets import people
from tf_deep3d.evaluation.protocols.spoiled import KINDS, box_of, spoil, title
from tf_deep3d.evaluation.report import Results, Summaries
from tf_deep3d.io import photos

VERSION = 2
SEED = 5113
FIRST_SEED = 200  # of the pictures of a subject
YAWS = (-80, -60, -40, -20, 0, 20, 40, 60, 80)  # degrees
LEVELS = {
    "blur": (0, 2, 4, 8, 12),
    "JPEG quality": (100, 50, 20, 10, 5),
    "occluded": (0, 10, 20, 35, 50),
    "light": (100, 40, 15, 6, 3),
    "face width": (0, 64, 32, 24, 16),
}
NEAR = "face width as rendered"  # the face that is not made smaller


def robustness(members: int = 0) -> Protocol:
    """The protocol; `members` as of `sets.sets`."""
    subjects = people(members)
    entries = [(i, "yaw", yaw) for i in range(len(subjects)) for yaw in YAWS]
    entries += [
        (i, kind, level)
        for i in range(len(subjects))
        for kind, levels in LEVELS.items()
        for level in levels
        if level != KINDS[kind].none
    ]
    entries.sort(key=lambda entry: entry[0])
    views = [
        open_benchmark.views_at(number, who, {f"{who.name}_yaw{yaw:+03d}": (0.0, yaw, 0.0) for yaw in YAWS}, FIRST_SEED)
        for number, who in subjects
    ]

    def make(entry: tuple[int, str, float], pictures: Path) -> Case:
        subject, kind, level = entry
        view = views[subject][YAWS.index(level if kind == "yaw" else 0)]
        path, sections, factor = open_case(view, pictures).photos[0], (_title(kind, level),), 1.0
        if kind == "yaw":
            sections += tuple(_title(each, KINDS[each].none) for each in LEVELS) if level == 0 else ()
        else:
            box = box_of(view.landmarks)
            path = spoil(path, box, kind, level, (SEED, *view.seed[1:]), pictures)
            factor = open_benchmark.SIZE / photos.read_photo(path).shape[1]  # whole px: not quite what the level says

        def measure(prediction: Prediction) -> Measurement:
            at = prediction.landmarks
            return measure_view(view, prediction._replace(landmarks=None if at is None else at * factor))

        angles = tuple(view.angles.tolist())
        return Case(path.stem, view.subject.name, angles, (path,), measure, sections)

    return Protocol(
        f"open robustness {VERSION}.{open_benchmark.RENDERING}, {members} members", entries, make, detail=1,
        recognition=False, brief=("plane_rmse", "nme_box", "confidence"), charts=curves,
    )  # fmt: skip


def _title(kind: str, level: float) -> str:
    if kind == "yaw":
        return f"yaw {level:g} degrees"
    return NEAR if kind == "face width" and not level else title(kind, level)


def curves(folder: Path, results: Results) -> list[charts.Chart]:
    """Charts of the main number and of C-Net's confidence against everything that is varied."""
    table = report.summaries(results)
    names = [name for name in ("plane_rmse", "confidence") if name in report.shown_measures(table["all"])]
    return [_curve(table, name, kind, levels) for name in names for kind, levels in {"yaw": YAWS, **LEVELS}.items()]


def _curve(table: Summaries, name: str, kind: str, levels: Sequence[float]) -> charts.Chart:
    series = {}
    for method in table["all"]:
        known = [
            (level, table.get(_title(kind, level), {}).get(method)) for level in levels if level or kind != "face width"
        ]
        known = [(level, row[name].mean) for level, row in known if row and row[name].count]
        series[method] = tuple(np.array(known).reshape(-1, 2).T)
    label, unit = report.MEASURES[name][:2]
    across = ("yaw, degrees" if kind == "yaw" else f"{kind}, {KINDS[kind].unit}").rstrip(", ")
    return charts.Chart(
        f"{name}_{kind.replace(' ', '_')}", f"{label} against {kind}", across, f"{label}, {unit}", series
    )
