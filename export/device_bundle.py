"""What the device reads of a bundle: the manifest, and the network that it chooses of those listed there.

A bundle comes from anywhere: it is read within bounds, and nothing outside its folder is opened.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from tf_deep3d.command_line import muted
from tf_deep3d.errors import InputError, first_line
from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import LIGHTINGS, Layout

MANIFEST = "manifest.json"
SCHEMA = 1
MAX_MANIFEST = 1 << 20  # bytes
MAX_NETWORK = 1 << 30  # bytes
QUANTIZATION = "int8"  # what is taken where nothing is asked for and the bundle has it
CONFIDENCE = "confidence"  # the output of C-Net


class BundleError(InputError):
    """The folder is no usable bundle; the message says what was received."""


class Bundle(NamedTuple):
    """What is read.

    Attributes:
      model: `MorphableModel`.
      network: LiteRT's runner of the network's signature.
      bytes_in: whether the network takes uint8 pictures, else float32.
      detector: folder of MediaPipe's networks.
    """

    model: morphable_model.MorphableModel
    network: Any
    bytes_in: bool
    detector: Path


def open_bundle(
    bundle: str | Path, quantization: str | None = None, confidence: bool = False, threads: int = 1
) -> Bundle:
    """Reads a `Bundle`; arguments and errors as of `device.load`."""
    bundle = Path(bundle)
    manifest = read_manifest(bundle)
    try:
        chosen = choose(manifest["networks"], quantization, confidence)
        network, face = inside(bundle, chosen["file"]), inside(bundle, manifest["face"]["file"])
        detector = inside(bundle, manifest["detector"]["files"][0]).parent
        lighting = manifest["lighting"]
        known = lighting in LIGHTINGS
    except BundleError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{bundle / MANIFEST} lacks an entry. Received: {first_line(error)}") from error
    if not known:
        raise BundleError(
            f"{bundle / MANIFEST} must have a lighting of {sorted(LIGHTINGS)}. Received: {lighting!r:.80}"
        )
    model = morphable_model.load(face)
    return Bundle(model, *_open_network(network, model.layout(lighting), threads), detector)


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle as a dict; BundleError if it is missing, too large, damaged or of another schema."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(f"a bundle of `python -m export` is needed. Received: {bundle} without {MANIFEST}")
    if path.stat().st_size > MAX_MANIFEST:
        raise BundleError(f"{path} may have {MAX_MANIFEST} bytes. Received: {path.stat().st_size}")
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON. Received: {first_line(error)}") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path} must have schema {SCHEMA}. Received: {type(manifest).__name__!r}")
    entries = cast(dict[str, Any], manifest)
    if entries.get("schema") != SCHEMA:
        raise BundleError(f"{path} must have schema {SCHEMA}. Received: {entries.get('schema')!r:.80}")
    return entries


def choose(listed: list[dict[str, str]], quantization: str | None, confidence: bool) -> dict[str, str]:
    """The manifest's entry of the network to run."""
    fit = [entry for entry in listed if quantization in (None, entry["quantization"])]
    if not fit:
        names = sorted({entry["quantization"] for entry in listed})
        raise BundleError(f"quantization must be one of {names}. Received: {quantization!r}")
    wanted = "cnet" if confidence else "rnet"
    return min(fit, key=lambda entry: (entry["network"] != wanted, entry["quantization"] != QUANTIZATION))


def inside(bundle: Path, name: str) -> Path:
    """Path of a file that the manifest names; never one outside the bundle."""
    path = (bundle / name).resolve()
    if not path.is_relative_to(bundle.resolve()):
        raise BundleError(f"{MANIFEST} must name files of the bundle. Received: {name!r}")
    if not path.is_file():
        raise FileNotFoundError(f"the bundle must hold what its manifest lists. Received: no {name} in {bundle}")
    return path


def _open_network(path: Path, layout: Layout, threads: int) -> tuple[Any, bool]:
    """(Runner of the network's signature, whether its pictures are uint8)."""
    if path.stat().st_size > MAX_NETWORK:
        raise BundleError(f"{path} may have {MAX_NETWORK} bytes. Received: {path.stat().st_size}")
    try:
        with muted():  # XNNPACK says that it is there
            interpreter = cast(Any, Interpreter(str(path), num_threads=threads))
            interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path} is no network with one signature. Received: {error}") from error
    picture = runner.get_input_details().get("images")
    shapes = {name: tuple(detail["shape"].tolist()) for name, detail in runner.get_output_details().items()}
    confidence = shapes.pop(CONFIDENCE, (1, layout.identity))
    expected = {name: (1, *shape) for name, shape in layout.shapes._asdict().items()}
    if picture is None or picture["dtype"] not in (np.float32, np.uint8):
        raise BundleError(f"{path} must take `images`, float32 or uint8. Received: {list(runner.get_input_details())}")
    if shapes != expected or confidence != (1, layout.identity):
        raise BundleError(f"{path} must answer as its face model asks, {expected}. Received: {shapes}, {confidence}")
    return runner, picture["dtype"] == np.uint8
