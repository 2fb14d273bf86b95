"""The bundle: everything that production takes, in one folder that appears whole or not at all.

manifest.json              what is here, how to feed it, hashes, licences, versions, measured parity and latency
README.md, NOTICE.md       for the people who build the app
saved_model/1/             for TensorFlow Serving (`saved_model`)
rnet_*.tflite              R-Net (`tflite`, `variants`)
cnet_*.tflite              R-Net and C-Net in one, where there is a C-Net
face.npz                   the face model at one level of detail, in half precision
blendshapes.json           the names of its blendshapes, in order
detector/                  MediaPipe's networks, that find the face
python/                    the sources of the device runtime (`device`)
client.py                  asks the server (`client`)
"""

import importlib.metadata
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from export import bundle_text, client, device, parity
from export.device_bundle import CONFIDENCE, MANIFEST, SCHEMA
from export.networks import INPUT, Networks, input_shape, output_shapes
from export.saved_model import BYTES, ERROR, write_saved_model
from export.tflite import convert, quantize
from export.variants import Variant, variants
from tf_deep3d import __version__, command_line
from tf_deep3d import face as faces
from tf_deep3d.detection import alignment
from tf_deep3d.detection import networks as face_networks
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import CAMERA_DISTANCE, FOCAL, IMAGE_SIZE, Camera
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io.files import sha256, writing, writing_folder
from tf_deep3d.mesh import face_files
from tf_deep3d.models import rnet as rnets

LEVEL = 1  # of detail, where nobody asks for another
THREADS = (1, 2)
POINTS5 = ("right eye", "left eye", "nose tip", "right mouth corner", "left mouth corner")  # the person's right
PACKAGES = ("tensorflow", "keras", "ai_edge_litert", "litert_quantizer", "numpy")
SAVED = "saved_model/1"


class Subject(NamedTuple):
    """What is exported.

    Attributes:
      networks: `Networks`.
      model: `MorphableModel` at the level of detail to ship.
      face_model: path of its file, None for the open face model.
      shipped: the weights are those of this project.
    """

    networks: Networks
    model: MorphableModel
    face_model: str | Path | None = None
    shipped: bool = False


def load_model(path: str | Path | None = None, level: int | None = None) -> MorphableModel:
    """The face model at a level of detail, by default `LEVEL`, or the only one; errors as of `morphable_model.load`."""
    if level is not None:
        return morphable_model.load(path, level)
    return morphable_model.load_levels(path)[: LEVEL + 1][-1]


def write_bundle(
    out: Path,
    subject: Subject,
    crops: tuple[np.ndarray, np.ndarray],
    quantizations: Sequence[str],
    force: bool = False,
    overwrite: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Writes a bundle.

    Args:
      out: folder to create.
      subject: `Subject`.
      crops: (those that choose the ranges of int8, those that every file is compared on), [N, 224, 224, 3] uint8.
      quantizations: names in `variants.QUANTIZATIONS`.
      force: write models that differ too much from Keras.
      overwrite: replace an existing folder.

    Returns:
      (The manifest; the table of differences as lines of text).

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
      ParityError: if a model differs too much from Keras and `force` is false.
      InputError: for an unknown quantization.
      OSError: if it cannot be written.
    """
    networks, model = subject.networks, subject.model
    made = variants(quantizations, networks.cnet is not None)
    calibration, check = crops
    style = "{desc:<24} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    with writing_folder(out, overwrite) as folder, tqdm(total=len(made) + 3, bar_format=style, disable=None) as bar:
        bar.set_description("Keras")
        reference = parity.outcome(model, parity.keras_answers(networks, check))
        bar.update()
        found, latencies = {}, {}
        for variant, data in _tflite(networks, made, calibration):
            bar.set_description(variant.file)
            with writing(folder / variant.file) as file:
                file.write(data)
            found[variant.file] = parity.outcome(model, parity.tflite_answers(data, check))
            latencies[variant.file] = {str(threads): parity.latency(data, threads) for threads in THREADS}
            bar.update()
        bar.set_description(SAVED)
        with command_line.quiet((1, 2)):
            write_saved_model(folder / SAVED, networks, model, _warm_up(subject))
            found[SAVED] = _saved_model_outcome(folder / SAVED, model, check)
        bar.update()
        bar.set_description("the rest")
        _copy(folder, subject)
        manifest = _describe(subject, made)
        face_files.write_json(folder / MANIFEST, manifest)
        with command_line.quiet():
            runtime = device.load(folder, confidence=True)
        found["device runtime"] = _device_outcome(runtime, check)
        differences = {file: parity.compare(reference, each) for file, each in found.items()}
        kinds = {variant.file: variant.quantization for variant in made}
        kinds |= {SAVED: "saved_model", "device runtime": "device"}
        refused = {file: parity.violations(kinds[file], each) for file, each in differences.items()}
        if not force:
            parity.refuse(refused)
        forced = {file: {"refused": texts} if texts else {} for file, texts in refused.items()}
        for entry in manifest["networks"]:
            file = entry["file"]
            entry |= {"parity": differences[file], "latency_ms": latencies[file], **forced[file]}
        manifest["parity"] = {name: differences[name] | forced[name] for name in (SAVED, "device runtime")}
        manifest["checked_on"] = {"faces": len(check), "calibrated_on": len(calibration)}
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}
        lines = parity.table(differences, sizes, latencies)
        (folder / "README.md").write_text(bundle_text.readme(manifest, model, lines), encoding="utf-8")
        manifest["files"] = {name: _entry(folder, name, subject) for name in sorted(_names(folder)) if name != MANIFEST}
        (folder / MANIFEST).unlink()
        face_files.write_json(folder / MANIFEST, manifest)
        bar.update()
    return manifest, lines


def _tflite(networks: Networks, made: Sequence[Variant], calibration: np.ndarray) -> Iterator[tuple[Variant, bytes]]:
    """Pairs of `Variant` and its bytes; each float32 model is made once."""
    plain = {}
    for variant in made:
        key = variant.network, variant.dtype
        if key not in plain:
            plain[key] = convert(networks if variant.network == "cnet" else networks._replace(cnet=None), variant.dtype)
        yield variant, quantize(plain[key], variant.quantization, calibration)


def _warm_up(subject: Subject) -> list[tuple[str, dict[str, Any]]]:
    """Requests of every signature, with a grey picture."""
    grey = np.full((1, *input_shape()[1:]), 0.5, np.float32)
    shapes = output_shapes(subject.networks)
    groups = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
    confidence = {CONFIDENCE: groups.pop(CONFIDENCE)[None] + 0.5} if CONFIDENCE in groups else {}
    sets = {"identity": groups["identity"][None], **confidence, "present": np.ones((1, 1), np.float32)}
    return [
        ("serving_default", {BYTES: [_encoded(grey[0])]}),
        ("coefficients", {INPUT: grey}),
        ("face", groups),
        ("aggregate", sets),
    ]


def _encoded(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _saved_model_outcome(folder: Path, model: MorphableModel, crops: np.ndarray) -> parity.Outcome:
    """`Outcome` of the signatures `serving_default`, on PNG files, and `face`."""
    signatures = tf.saved_model.load(str(folder)).signatures
    answers, built = [], []
    for start in range(0, len(crops), parity.BATCH):
        files = tf.constant([_encoded(crop / 255) for crop in crops[start : start + parity.BATCH]])
        answer = signatures["serving_default"](**{BYTES: files})
        answer.pop(ERROR)
        answers.append({name: value.numpy() for name, value in answer.items()})
        face = signatures["face"](**{name: answer[name] for name in answer if name != CONFIDENCE})
        built.append((face["vertices"].numpy(), face["landmarks"].numpy()))
    joined = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
    vertices, landmarks = map(np.concatenate, zip(*built, strict=True))
    return parity.outcome(model, joined, (vertices, landmarks))


def _device_outcome(runtime: device.Runtime, crops: np.ndarray) -> parity.Outcome:
    coefficients, confidence = runtime.regress(crops.astype(np.float32) / np.float32(255))
    answers = coefficients._asdict() | ({} if confidence is None else {CONFIDENCE: confidence})
    return parity.outcome(runtime.model, answers)


def _copy(folder: Path, subject: Subject) -> None:
    """Writes what is no network of ours."""
    model = subject.model
    morphable_model.save_level(model, folder / "face.npz")
    face_files.write_json(folder / "blendshapes.json", list(model.blendshape_names))
    (folder / "detector").mkdir()
    for name in face_networks.NETWORKS:
        shutil.copyfile(face_networks.model_file(name), folder / "detector" / name)
    for name in device.SOURCES:
        (folder / "python" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(device.ROOT / name, folder / "python" / name)
    shutil.copyfile(client.__file__, folder / "client.py")
    (folder / "NOTICE.md").write_text(bundle_text.notice(subject), encoding="utf-8")


def _describe(subject: Subject, made: Sequence[Variant]) -> dict[str, Any]:
    """The manifest without what is measured."""
    networks, model = subject.networks, subject.model
    layout, shapes = networks.rnet.layout, output_shapes(networks)
    points5 = faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    start, coefficients = 0, {}
    for name, shape in layout.shapes._asdict().items():
        coefficients[name] = {"start": start, "shape": list(shape)}
        start += int(np.prod(shape))
    outputs = {name: [1, *shape] for name, shape in shapes.items()}
    return {
        "schema": SCHEMA,
        "name": f"rnet_{networks.rnet.backbone}",
        "versions": {"tf_deep3d": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}},
        "input": {
            "size": IMAGE_SIZE,
            "channels": "RGB",
            "range": [0, 1],
            "alignment": {
                "points5": POINTS5,
                "model_points5": np.round(points5.astype(float), 6).tolist(),
                "model_scale": alignment.MODEL_SCALE,
                "roll_limit": alignment.ROLL_LIMIT,
            },
        },
        "camera": {"focal": FOCAL, "distance": CAMERA_DISTANCE, "center": list(Camera().center)},
        "lighting": layout.lighting,
        "coefficients": coefficients,
        "face": {
            "file": "face.npz",
            "name": model.name,
            "licence": model.licence,
            "level": model.level,
            "vertices": len(model.mean_shape),
            "fingerprint": rnets.fingerprint(subject.face_model),
        },
        "networks": [
            {
                "file": variant.file,
                "network": variant.network,
                "quantization": variant.quantization,
                "input": {"name": INPUT, "dtype": variant.dtype, "shape": list(input_shape(1))},
                "outputs": {n: s for n, s in outputs.items() if n != CONFIDENCE or variant.network == "cnet"},
            }
            for variant in made
        ],
        "detector": {"files": [f"detector/{name}" for name in face_networks.NETWORKS], "licence": "Apache-2.0"},
    }


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in _files(folder)]


def _entry(folder: Path, name: str, subject: Subject) -> dict[str, Any]:
    """The manifest's entry of one file."""
    path = folder / name
    return {"bytes": path.stat().st_size, "sha256": sha256(path), "licence": bundle_text.licence(name, subject)}
