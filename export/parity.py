"""How far an exported model is from Keras: on the same crops, in coefficients, in mm on the face, in px of the photo.

A silently broken int8 model is the usual failure of an export, so `refuse` compares every variant with bounds.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.device_bundle import CONFIDENCE
from export.networks import Networks, regress
from export.tflite import SIGNATURE, as_input
from tf_deep3d import command_line
from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.coefficients import GROUPS, Coefficients
from tf_deep3d.face.morphable_model import MorphableModel

Difference: TypeAlias = dict[str, Any]  # plain data, see `compare`

BATCH = 16  # crops at once
MEASURES = ("shape_mm", "posed_mm", "landmark_px")


class Bound(NamedTuple):
    """The greatest differences that are accepted; None for any.

    Attributes:
      coefficient: of any coefficient or confidence.
      confidence: of a confidence, mean.
      shape: mm, mean over the vertices.
      landmark: px, mean over the 68 landmarks of any one photo.
    """

    coefficient: float | None
    confidence: float
    shape: float
    landmark: float


BOUNDS = {
    "saved_model": Bound(1e-4, 1e-4, 0.001, 0.01),
    "float32": Bound(1e-4, 1e-4, 0.001, 0.01),
    "float16": Bound(None, 0.005, 0.02, 0.1),
    "dynamic": Bound(None, 0.05, 0.3, 1.0),
    "int8": Bound(None, 0.05, 0.3, 1.0),
    "device": Bound(None, 0.05, 0.3, 1.0),  # and its face model is stored in half precision
}


class Outcome(NamedTuple):
    """What a model says of the crops.

    Attributes:
      answers: name -> [B, ...], the groups of `Coefficients` and perhaps the confidence.
      shape_mm: [B, V, 3], unposed.
      posed_mm: [B, V, 3], before the camera.
      landmark_px: [B, 68, 2], of the crop.
    """

    answers: Mapping[str, np.ndarray]
    shape_mm: np.ndarray
    posed_mm: np.ndarray
    landmark_px: np.ndarray


class ParityError(InputError):
    """An exported model answers otherwise than Keras; the message says which, and by how much."""


def outcome(
    model: MorphableModel, answers: Mapping[str, np.ndarray], face: tuple[np.ndarray, np.ndarray] | None = None
) -> Outcome:
    """The `Outcome` of answers.

    Args:
      model: `MorphableModel`.
      answers: name -> [B, ...].
      face: (vertices [B, V, 3] dm, landmarks [B, 68, 2] px) where somebody else has built it.
    """
    coefficients = Coefficients(*(answers[name] for name in GROUPS))
    shape = faces.unposed_shape(model, coefficients.identity, coefficients.expression)
    if face is None:
        built = faces.reconstruct(model, coefficients)
        face = built.vertices, built.landmarks
    return Outcome(answers, MILLIMETRES * shape, MILLIMETRES * face[0], face[1])


def keras_answers(networks: Networks, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> NumPy [B, ...] of `regress` for crops [B, 224, 224, 3] uint8: what the others are compared with."""
    found = []
    for start in range(0, len(crops), BATCH):
        answer = regress(networks, as_input(crops[start : start + BATCH], np.float32))
        found.append({name: np.asarray(value) for name, value in answer.items()})
    return {name: np.concatenate([answer[name] for answer in found]) for name in found[0]}


def tflite_answers(model: bytes | str | Path, crops: np.ndarray) -> dict[str, np.ndarray]:
    """The same from a TFLite model, bytes or path."""
    interpreter = _interpreter(model)
    runner = interpreter.get_signature_runner(SIGNATURE)
    dtype = interpreter.get_input_details()[0]["dtype"]
    # A runner's outputs are views of memory that it uses again.
    found = [
        {name: value.copy() for name, value in runner(images=as_input(crop[None], dtype)).items()} for crop in crops
    ]
    return {name: np.concatenate([answer[name] for answer in found]) for name in found[0]}


def compare(reference: Outcome, found: Outcome) -> Difference:
    """The differences of two outcomes.

    Args:
      reference, found: `Outcome`; `found` may lack the confidence.

    Returns:
      Plain data: "coefficients", name -> {"mean", "max"} of the absolute difference; and for each "shape_mm",
      "posed_mm" and "landmark_px" the distance's "mean", "photo", the greatest mean of one photo, and "max".
    """
    difference: dict[str, Any] = {
        "coefficients": {
            name: _summary(np.abs(values - reference.answers[name])) for name, values in found.answers.items()
        }
    }
    for name in MEASURES:
        difference[name] = _summary(np.linalg.norm(getattr(found, name) - getattr(reference, name), axis=-1), True)
    return difference


def violations(name: str, difference: Difference) -> list[str]:
    """What of a difference of `compare` is beyond the bound `BOUNDS[name]`, as texts."""
    bound = BOUNDS[name]
    confidence = difference["coefficients"].get(CONFIDENCE, {"mean": 0.0})["mean"]
    measured = {
        "a coefficient by": (_worst(difference), bound.coefficient, ""),
        "the confidences by a mean of": (confidence, bound.confidence, ""),
        "the shape by a mean of": (difference["shape_mm"]["mean"], bound.shape, " mm"),
        "a photo's landmarks by a mean of": (difference["landmark_px"]["photo"], bound.landmark, " px"),
    }
    return [
        f"{what} {value:.4g}{unit} (at most {limit:g})"
        for what, (value, limit, unit) in measured.items()
        if limit is not None and not value <= limit  # also NaN
    ]


def refuse(found: Mapping[str, Sequence[str]]) -> None:
    """Raises ParityError if a model differs too much.

    Args:
      found: file -> texts of `violations`.
    """
    bad = [f"{file} differs in {' and '.join(texts)}" for file, texts in found.items() if texts]
    if bad:
        raise ParityError(f"refused, --force writes it all the same. Received: {'; '.join(bad)}")


def latency(model: bytes | str | Path, threads: int, repeats: int = 30, warm: int = 5) -> float:
    """The ms of the fastest of `repeats` runs of a TFLite model, bytes or path, on this machine."""
    interpreter = _interpreter(model, threads)
    details = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 256, details["shape"], np.uint8)
    interpreter.set_tensor(details["index"], as_input(noise, details["dtype"]))
    times = []
    for _ in range(warm + repeats):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(1e3 * (time.perf_counter() - start))
    return round(min(times[warm:]), 2)


def table(
    differences: Mapping[str, Difference], sizes: Mapping[str, int], latencies: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """The differences, with sizes in bytes and latencies where they are known, as lines of a Markdown table."""
    lines = [
        "| file | MB | shape mm, mean (max) | landmarks px, mean (one photo, max) | numbers, max | ms, 1 / 2 threads |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for file, difference in differences.items():
        shape, points = difference["shape_mm"], difference["landmark_px"]
        cells = (
            file,
            f"{sizes[file] / 1e6:.1f}" if file in sizes else "",
            f"{shape['mean']:.2g} ({shape['max']:.2g})",
            f"{points['mean']:.2g} ({points['photo']:.2g}, {points['max']:.2g})",
            f"{_worst(difference):.2g}",
            " / ".join(f"{each:.1f}" for each in latencies.get(file, {}).values()),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _interpreter(model: bytes | str | Path, threads: int = 1) -> Interpreter:
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    with command_line.quiet():
        interpreter = Interpreter(**source, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


def _worst(difference: Difference) -> float:
    return max(each["max"] for each in difference["coefficients"].values())


def _summary(values: np.ndarray, photos: bool = False) -> dict[str, float]:
    summary = {"mean": float(np.mean(values)), "max": float(np.max(values))}
    if photos:
        summary["photo"] = float(np.max(np.mean(values, axis=1)))
    return {name: float(f"{value:.4g}") for name, value in summary.items()}
