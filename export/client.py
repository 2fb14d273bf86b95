"""Asks TensorFlow Serving for faces, by REST or gRPC. Copy what you need: nothing of this file is used elsewhere.

    python client.py http://localhost:8501 aligned.png                  REST, pictures that are aligned already
    python client.py localhost:8500 aligned.png                         gRPC: pip install tensorflow-serving-api
    python client.py http://localhost:8501 me.jpg --align BUNDLE        any photo: BUNDLE's detector aligns it here
    python client.py http://localhost:8501 a.jpg b.jpg --align BUNDLE --one-person

Prints a line of JSON for each picture: the coefficients and the 68 landmarks, in px of the picture that was sent.
BUNDLE is the folder that `python -m export` wrote. exit status: 0 if every picture has a face, 1 if not.

Letters: B pictures, M pictures of one person, K identity coefficients.
"""

import argparse
import base64
import http.client
import io
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

MODEL = "face"
BATCH = 8  # pictures of one request
TIMEOUT = 30  # s
LONGEST = 1000  # letters of a message
# Name -> array of numbers, or list of bytes.
Inputs: TypeAlias = Mapping[str, "np.ndarray | Sequence[bytes]"]
Answer: TypeAlias = dict[str, np.ndarray]
GROUPS = ("identity", "expression", "albedo", "angles", "illumination", "translation")


class ServerError(ValueError):
    """The server did not answer; the message is its own."""


def predict(address: str, signature: str, inputs: Inputs) -> Answer:
    """Asks a server.

    Args:
      address: "http://HOST:8501" for REST, "HOST:8500" for gRPC.
      signature: "coefficients", "serving_default", "face" or "aggregate".
      inputs: name -> array of numbers, or list of bytes.

    Returns:
      name -> array.

    Raises:
      ServerError: if the server refuses, or cannot be reached.
    """
    return (_rest if address.startswith(("http://", "https://")) else _grpc)(address, signature, inputs)


def _rest(address: str, signature: str, inputs: Inputs) -> Answer:
    def plain(value: np.ndarray | Sequence[bytes]) -> list[Any]:
        if isinstance(value, np.ndarray):
            return value.tolist()
        return [{"b64": base64.b64encode(item).decode()} for item in value]

    asked = {"signature_name": signature, "inputs": {name: plain(value) for name, value in inputs.items()}}
    url = f"{address.rstrip('/')}/v1/models/{MODEL}:predict"
    try:
        request = urllib.request.Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            outputs = json.load(answer)["outputs"]
        if not isinstance(outputs, dict):  # the server leaves out the name of a signature's only output
            outputs = {"identity": outputs}
        return {name: np.array(value) for name, value in outputs.items()}
    except urllib.error.HTTPError as error:
        said = " ".join(error.read()[:500].decode(errors="replace").split())
        raise ServerError(f"{url}: {error.code} {said}") from error
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:  # of no server like this
        raise ServerError(f"{url}: {type(error).__name__}: {error}") from error


def _grpc(address: str, signature: str, inputs: Inputs) -> Answer:
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError as error:
        raise ServerError(f"gRPC needs pip install tensorflow-serving-api. Received: {error}") from error

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, signature
    for name, value in inputs.items():
        value = value if isinstance(value, list) else np.asarray(value, np.float32)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, unlimited) as channel:
        try:
            answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, TIMEOUT)
        except grpc.RpcError as error:
            raise ServerError(f"{address}: {error.code().name} {error.details()}") from error
    return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}


def reconstruct(address: str, pictures: Sequence[bytes]) -> tuple[Answer, list[str]]:
    """Coefficients of encoded pictures of aligned faces.

    Args:
      address: see `predict`.
      pictures: list of the bytes of JPEG or PNG files.

    Returns:
      (name -> array [B, ...], list of B errors, "" where there is none; the numbers of the others are NaN).
    """
    parts = [
        _answered(predict(address, "serving_default", {"image_bytes": part}), (*GROUPS, "error"), len(part), address)
        for part in (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return found, [text.decode() if isinstance(text, bytes) else str(text) for text in found.pop("error")]


def _answered(answer: Answer, names: Sequence[str], count: int, address: str) -> Answer:
    """`answer`, which has all of `names` and `count` rows; ServerError otherwise: it is another model's."""
    shapes = {name: value.shape for name, value in answer.items()}
    if not set(names) <= set(shapes) or any(shape[:1] != (count,) for shape in shapes.values()):
        raise ServerError(f"{address}: {count} rows of {', '.join(names)} are expected. Received: {shapes}"[:500])
    return answer


def share_identity(address: str, found: Answer) -> Answer:
    """`found` of `reconstruct` with one identity for all, which are pictures of one person."""
    count = len(found["identity"])
    sets = {name: found[name][None] for name in ("identity", "confidence") if name in found}
    answer = predict(address, "aggregate", {**sets, "present": np.ones((1, count), np.float32)})
    shared = _answered(answer, ["identity"], 1, address)["identity"]
    return {**found, "identity": np.repeat(shared, count, axis=0)}


def align(photo: str | Path, bundle: str | Path) -> bytes:
    """The aligned face of a photo as the bytes of a PNG file; ValueError if it shows none, or for no bundle."""
    points5 = _points5(Path(bundle, "manifest.json"))
    sys.path.insert(0, str(Path(bundle, "python")))
    from PIL import Image

    from tf_deep3d.detection import alignment, detector
    from tf_deep3d.io import photos

    image = photos.read_photo(photo)
    found = detector.nearest(image, folder=Path(bundle, "detector"))
    if found is None:
        raise ValueError("no face found")
    crop = alignment.align(image, found.points5, points5)
    stream = io.BytesIO()
    Image.fromarray(np.rint(255 * crop.image).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _points5(manifest: Path) -> np.ndarray:
    """The model's alignment points [5, 3] in dm; ValueError if the file is no manifest."""
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        points5 = np.array(entries["input"]["alignment"]["model_points5"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{manifest} is no bundle's manifest. Received: {type(error).__name__}: {error}") from error
    if points5.shape != (5, 3) or not np.isfinite(points5).all():
        raise ValueError(f"{manifest} must have 5 finite model_points5. Received: {points5.shape}")
    return points5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="http://HOST:8501 for REST, HOST:8500 for gRPC")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="JPEG or PNG file")
    parser.add_argument("--align", type=Path, metavar="BUNDLE", help="find and align the face of each photo first")
    parser.add_argument("--one-person", action="store_true", help="all pictures show one person: one shape for all")
    options = parser.parse_args(arguments)
    paths, pictures, failed = [], [], 0
    for path in options.pictures:
        try:
            pictures.append(align(path, options.align) if options.align else path.read_bytes())
            paths.append(path)
        except (ValueError, OSError) as error:
            failed += _report(path, error)
    if not pictures:
        return 1
    try:
        found, errors = reconstruct(options.address, pictures)
        failed += sum(_report(path, error) for path, error in zip(paths, errors, strict=True) if error)
        good = [index for index, error in enumerate(errors) if not error]
        found = {name: value[good] for name, value in found.items()}
        if good and options.one_person:
            found = share_identity(options.address, found)
        face: Answer = {}
        if good:
            face = predict(options.address, "face", {name: found[name] for name in GROUPS})
            face = _answered(face, ["landmarks"], len(good), options.address)
    except ServerError as error:
        return _report("error", error)
    for row, index in enumerate(good):
        numbers = {name: value[row].tolist() for name, value in found.items()}
        line = {"picture": str(paths[index]), **numbers, "landmarks": face["landmarks"][row].tolist()}
        print(json.dumps(line))
    return 1 if failed else 0


def _report(what: Path | str, error: Exception | str) -> int:
    line = " ".join(f"{what}: {error}".split())
    print(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
