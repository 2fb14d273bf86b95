"""How far an exported model is from Keras: on the same crops, in coefficients, in mm on the face, in px of the photo.

A silently broken int8 model is the usual failure of an export, so `refuse` compares every variant with bounds.
"""

import time
from typing import NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.networks import CONFIDENCE, regress
from export.tflite import SIGNATURE, as_input
from tf_deep3d import face as faces
from tf_deep3d.coefficients import GROUPS, Coefficients

MILLIMETRES = 100.0  # in a dm
BATCH = 16  # crops at once


class Bound(NamedTuple):
    """The greatest differences that are accepted; None for any.

    Attributes:
      coefficient: of any coefficient or confidence.
      shape: mm, mean over the vertices.
      landmark: px, of any of the 68 landmarks.
    """

    coefficient: float | None
    shape: float
    landmark: float


BOUNDS = {
    "saved_model": Bound(1e-4, 0.001, 0.01),
    "float32": Bound(1e-4, 0.001, 0.01),
    "float16": Bound(None, 0.02, 0.1),
    "dynamic": Bound(None, 0.3, 1.0),
    "int8": Bound(None, 0.3, 1.0),
}


class ParityError(ValueError):
    """An exported model answers otherwise than Keras; the message says which, and by how much."""


def keras_answers(networks, crops):
    """Name -> NumPy [B, ...] of `regress` for crops [B, 224, 224, 3] uint8: what the others are compared with."""
    found = []
    for start in range(0, len(crops), BATCH):
        answer = regress(networks, as_input(crops[start : start + BATCH], np.float32))
        found.append({name: np.asarray(value) for name, value in answer.items()})
    return {name: np.concatenate([answer[name] for answer in found]) for name in found[0]}


def tflite_answers(model, crops):
    """The same from a TFLite model, bytes or path."""
    interpreter = _interpreter(model)
    runner = interpreter.get_signature_runner(SIGNATURE)
    dtype = interpreter.get_input_details()[0]["dtype"]
    # A runner's outputs are views of memory that it uses again.
    found = [
        {name: value.copy() for name, value in runner(images=as_input(crop[None], dtype)).items()} for crop in crops
    ]
    return {name: np.concatenate([answer[name] for answer in found]) for name in found[0]}


def compare(model, reference, answers):
    """The differences of two sets of answers.

    Args:
      model: `MorphableModel`.
      reference, answers: name -> [B, ...]; `answers` may lack the confidence.

    Returns:
      Plain data: "coefficients", group -> {"mean", "max"} of the absolute difference; and {"mean", "max"} of
      "shape_mm", between vertices of the unposed face, "posed_mm", of the face before the camera, and "landmark_px".
    """
    names = [*GROUPS, CONFIDENCE] if CONFIDENCE in answers else GROUPS
    coefficients = {name: _summary(np.abs(answers[name] - reference[name])) for name in names}
    here, there = (_geometry(model, Coefficients(*(found[name] for name in GROUPS))) for found in (reference, answers))
    measures = ("shape_mm", "posed_mm", "landmark_px")
    distances = (np.linalg.norm(a - b, axis=-1) for a, b in zip(here, there, strict=True))
    return {"coefficients": coefficients, **dict(zip(measures, map(_summary, distances), strict=True))}


def violations(name, difference):
    """What of a difference of `compare` is beyond the bound `BOUNDS[name]`, as texts."""
    bound = BOUNDS[name]
    worst = max(each["max"] for each in difference["coefficients"].values())
    measured = {
        "a coefficient by": (worst, bound.coefficient, ""),
        "the shape by a mean of": (difference["shape_mm"]["mean"], bound.shape, " mm"),
        "a landmark by": (difference["landmark_px"]["max"], bound.landmark, " px"),
    }
    return [
        f"{what} {value:.4g}{unit} (at most {limit:g})"
        for what, (value, limit, unit) in measured.items()
        if limit is not None and not value <= limit  # also NaN
    ]


def refuse(differences, kinds):
    """Raises ParityError if a model differs too much.

    Args:
      differences: file -> difference of `compare`.
      kinds: file -> name in `BOUNDS`.
    """
    found = {file: violations(kinds[file], difference) for file, difference in differences.items()}
    bad = [f"{file} differs in {' and '.join(texts)}" for file, texts in found.items() if texts]
    if bad:
        raise ParityError(f"refused, --force writes it all the same. Received: {'; '.join(bad)}")


def latency(model, threads, repeats=30, warm=5):
    """{"least", "median"} ms of a run of a TFLite model, bytes or path, on this machine."""
    interpreter = _interpreter(model, threads)
    details = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 256, details["shape"], np.uint8)
    interpreter.set_tensor(details["index"], as_input(noise, details["dtype"]))
    times = []
    for _ in range(warm + repeats):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(1e3 * (time.perf_counter() - start))
    return {"least": round(min(times[warm:]), 2), "median": round(float(np.median(times[warm:])), 2)}


def table(differences, sizes=None, latencies=None):
    """The differences, and size and latency where known, as text for people."""
    head = f"{'':<24}{'MB':>7}{'shape mm':>10}{'max':>7}{'posed mm':>10}{'px':>8}{'max':>7}{'coef max':>10}"
    lines = [head + (f"{'1 / 2 threads, ms':>20}" if latencies else "")]
    for file, difference in differences.items():
        size = f"{sizes[file] / 1e6:.1f}" if sizes and file in sizes else ""
        shape, posed, points = (difference[name] for name in ("shape_mm", "posed_mm", "landmark_px"))
        worst = max(each["max"] for each in difference["coefficients"].values())
        line = f"{file:<24}{size:>7}{shape['mean']:>10.4f}{shape['max']:>7.3f}{posed['mean']:>10.4f}"
        line += f"{points['mean']:>8.4f}{points['max']:>7.3f}{worst:>10.2g}"
        if latencies and file in latencies:
            line += f"{' / '.join(str(each['least']) for each in latencies[file].values()):>20}"
        lines.append(line)
    return "\n".join(lines)


def _interpreter(model, threads=1):
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    interpreter = Interpreter(**source, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def _geometry(model, coefficients):
    """Unposed vertices mm, vertices mm, landmarks px."""
    shape = faces.unposed_shape(model, coefficients.identity, coefficients.expression)
    face = faces.reconstruct(model, coefficients)
    return MILLIMETRES * shape, MILLIMETRES * face.vertices, face.landmarks


def _summary(values):
    return {"mean": float(np.mean(values)), "max": float(np.max(values))}
