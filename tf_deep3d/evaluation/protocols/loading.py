"""From the name of a benchmark to its `Protocol`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark as evaluation
from tf_deep3d.evaluation import open_benchmark
from tf_deep3d.evaluation.protocols import (
    Protocol,
    confidence,
    consistency,
    expressions,
    fairness,
    landmarks,
    now,
    own_scans,
    people,
    regions,
    robustness,
    sets,
    tones,
)
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.morphable_model import MorphableModel

RENDERED: dict[str, Callable[..., Protocol]] = {  # people of ours -> function of the options
    "sets": sets.sets,
    "robustness": robustness.robustness,
    "fairness": fairness.fairness,
}
PHOTOS: dict[str, Callable[..., Protocol]] = {  # photos without a scan -> function of (folder, options)
    "consistency": consistency.consistency,
    "aflw2000": landmarks.aflw2000,
    "pts": landmarks.pts,
}
# Data sets of scans -> function of (folder or file, frame [68, 3] mm, options).
SCANS: dict[str, Callable[..., Protocol]] = {
    "facewarehouse": regions.facewarehouse,
    "realy": regions.realy,
    "bu3dfe": people.bu3dfe,
    "stirling": people.stirling,
    "csv": people.listed,
    "scans": own_scans.scans,
    "now": now.now,
}
POSITIVE = ("frames", "unit")  # options
TELLING = ("images", "list", "neutral", "unit")  # options that change what is measured: part of the protocol's name


def load(
    name: str, data: Path | None, model: MorphableModel, options: Mapping[str, Any], limit: int | None = None
) -> Protocol:
    """The protocol of a benchmark.

    Args:
      name: of one of our own benchmarks, or of a data set.
      data: its folder or file, None for our own.
      model: `MorphableModel`, whose frame scans are moved into.
      options: of the protocol, name -> value, None for its default.
      limit: keep so many cases, evenly spread.

    Returns:
      `Protocol`.

    Raises:
      FileNotFoundError: if the data set is not there; the message says what was found and what was expected.
      InputError: if it is unusable, or an option is.
    """
    given = {key: value for key, value in options.items() if value is not None}
    for key in POSITIVE:
        if key in given and not 0 < given[key] < np.inf:
            raise InputError(f"{key} must be positive. Received: {given[key]}")
    frame = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0] * MILLIMETRES
    protocol = _made(name, data, model, frame, given)
    told = [f"{key}={getattr(value, 'name', value)}" for key in TELLING if (value := given.get(key))]
    protocol = protocol._replace(name=", ".join([protocol.name, *told]))
    if limit is not None and limit < len(protocol.entries):
        pick = np.linspace(0, len(protocol.entries) - 1, limit).round().astype(int)
        protocol = protocol._replace(entries=[protocol.entries[i] for i in pick])
    return protocol


def _made(name: str, data: Path | None, model: MorphableModel, frame: np.ndarray, given: Mapping[str, Any]) -> Protocol:
    """The protocol of all cases, with the options that are given."""
    if name == "open":
        benchmark = open_benchmark.load()
        return Protocol(benchmark.name, benchmark.views, evaluation.open_case)
    if name in RENDERED:
        return RENDERED[name](**given)
    if name == "confidence":
        return confidence.confidence(model, data, **given)
    if name == "expressions":
        return expressions.expressions(data)
    if data is None:
        raise InputError(f"the benchmark {name} needs the data set. Received: none")
    if name == "tones":
        return tones.tones(data, model)
    if name == "micc":
        return _micc(data, frame, **given)
    return SCANS[name](data, frame, **given) if name in SCANS else PHOTOS[name](data, **given)


def _micc(data: Path, frame: np.ndarray, rendered: bool = False, **given: Any) -> Protocol:
    """Either protocol of MICC Florence, with those of the options that are its own."""
    wrong, kind = ("frames", people.micc_rendered) if rendered else ("together", people.micc)
    return kind(data, frame, **{key: value for key, value in given.items() if key != wrong})
