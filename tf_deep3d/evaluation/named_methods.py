"""From the names of this project's methods to `Method`s: what networks they need, and whether these belong together."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.methods import FLOOR, SINGLE, floor_method, own_method, regressor, set_method
from tf_deep3d.face.aggregation import STRATEGIES
from tf_deep3d.face.morphable_model import MorphableModel, pick_level
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import mobilenet, rnet
from tf_deep3d.models.regression import trained
from tf_deep3d.reconstruction import photo


class Networks(NamedTuple):
    """Paths of what is not the shipped one.

    Attributes:
      model: face model, None for the open one.
      weights: R-Net's, or the folder of a training; None for the shipped ones.
      cnet: the same of C-Net.
      scalar: the same of a C-Net with one confidence for each photo, for "scalar"; None is shipped.
    """

    model: Path | None = None
    weights: Path | None = None
    cnet: Path | None = None
    scalar: Path | None = None


SHIPPED = Networks()


def set_methods(networks: Networks = SHIPPED) -> list[str]:
    """`SINGLE` and those of the strategies that need no network or one that is there."""
    there = {"average": True, "scalar": networks.scalar is not None}
    has_cnet = networks.cnet is not None or cnets.SHIPPED.is_file()
    return [SINGLE, *(name for name in STRATEGIES if there.get(name, has_cnet))]


def usual(benchmark: str, networks: Networks = SHIPPED) -> list[str]:
    """The names of the methods that a benchmark compares if nobody says which."""
    usual = {
        "sets": ["mean", *set_methods(networks)],
        "confidence": ["elementwise"],
        "consistency": set_methods(networks),
        "robustness": ["mean", "rnet"],
        "fairness": ["mean", "rnet"],
        "expressions": ["mean", "rnet"],
        "scans": [FLOOR, "mean", "rnet"],
    }
    return usual.get(benchmark, ["mean", "fit", "rnet"])


def load(
    names: Sequence[str],
    levels: Sequence[MorphableModel],
    networks: Networks = SHIPPED,
    refine: int | None = None,
    detail: int = -1,
) -> list[Method]:
    """Loads what the named methods need.

    Args:
      names: see `methods.own_method`, `methods.set_method` and `methods.floor_method`.
      levels: the face model's levels of detail, the coarsest first.
      networks: where they are.
      refine: steps of the fit after R-Net, None for the default.
      detail: level of the shapes, see `morphable_model.pick_level`.

    Returns:
      List of `Method`.

    Raises:
      FileNotFoundError: if a file is missing.
      weights.WeightsError: if a file is unusable or the networks do not belong together.
      InputError: for an unknown name, or for "scalar" without its network.
    """
    scalar = networks.scalar
    if "scalar" in names and scalar is None:
        raise InputError("the method 'scalar' needs a C-Net of its own, --scalar. Received: none")
    network: Any = None
    whole = version = None
    weighed = [name for name in names if name == SINGLE or name in STRATEGIES]
    if weighed or any(name.startswith("rnet") for name in names):
        path = networks.weights or rnet.SHIPPED
        network, version = rnet.load_rnet(path, rnet.fingerprint(networks.model)), _version(path, rnet.WEIGHTS)
        whole = trained(network)
    shown = pick_level(levels, detail)
    models = photo.Models(levels, shown, None, whole, lru_cache(partial(photo.surface_of, levels)))
    options = photo.Options(model=networks.model, refine=photo.REFINE if refine is None else refine)
    judges, versions = {}, {}
    if set(weighed) & {"summed", "best", "elementwise"}:
        path = networks.cnet or cnets.SHIPPED
        judges["elementwise"] = _judge(path, network, network.layout.identity)
        versions["cnet"] = _version(path, cnets.WEIGHTS)
    if scalar is not None and "scalar" in weighed:
        judges["scalar"], versions["scalar"] = _judge(scalar, network, 1), _version(scalar, cnets.WEIGHTS)
    regress = regressor(network, judges)
    identity = {"model": rnet.fingerprint(networks.model), "weights": version, **versions}

    def made(name: str) -> Method:
        if name == FLOOR:
            return floor_method(shown, {"model": identity["model"]})
        if name in weighed:
            return set_method(name, shown, regress, identity)
        return own_method(name, models, options, version)

    return [made(name) for name in names]


def descriptor() -> Callable[[np.ndarray], np.ndarray]:
    """A function photos [N, 224, 224, 3] -> descriptors [N, 1024] by `models.mobilenet.build_descriptor`."""
    network = mobilenet.build_descriptor()
    return lambda images: np.asarray(ops.convert_to_numpy(network(images)))


def _version(path: Path, weights: str) -> str:
    """Fingerprint of a weights file, or of the one named `weights` in the folder of a training."""
    return rnet.fingerprint(path / weights if path.is_dir() else path)


def _judge(path: Path, network: Any, confidences: int) -> Any:
    """A C-Net of that R-Net, with so many confidences for each photo."""
    judge = cnets.load_cnet(path, network)
    if judge.confidences != confidences:
        raise cnets.WeightsError(
            f"{path} must hold a C-Net with {confidences} confidences for each photo. Received: {judge.confidences}"
        )
    return judge
