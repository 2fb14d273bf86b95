"""Writes the page: its own files, three.js and LiteRT.js, the networks and the face model of a bundle.

index.html, style.css, icon.svg, *.js    the page (`page/`), with the names of all files in its service worker
three.min.js, vendor/                    the libraries, unchanged
data/                                    the bundle's networks; the face model (`face_data`); a sample photo
NOTICE.md                                whose work all this is
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image

from export.device_bundle import CONFIDENCE, choose, inside, read_manifest
from export.web.face_data import face_data
from tf_deep3d import assets
from tf_deep3d.face import morphable_model
from tf_deep3d.io import photos
from tf_deep3d.io.files import sha256, writing_folder
from tf_deep3d.io.photos import Photo
from tf_deep3d.mesh.mesh import encode

HERE = Path(__file__).parent
PAGE, VENDOR = HERE / "page", HERE / "vendor"
MARK = "service_worker.js"  # by which a folder of ours is known
UNFILLED = 'const VERSION = "", FILES = [];'  # the line of the service worker that is written here
DETECTOR = (  # what the page runs of the bundle's detector; it leaves out the network of the blendshapes
    "face_detection_short_range.tflite",
    "face_detection_full_range.tflite",
    "face_landmark.tflite",
    "face_landmarks_detector.tflite",
)
SAMPLE_SIDE = 1600  # px at most, of the sample photo


def write_page(out: Path, bundle: Path, sample: Photo | None = None, overwrite: bool = False) -> dict[str, int]:
    """Writes the page of a bundle.

    Args:
      out: folder to create.
      bundle: folder that `python -m export` wrote.
      sample: photo that the page offers to begin with, or None.
      overwrite: replace an existing folder.

    Returns:
      Name of each file -> its bytes.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
      BundleError, FileNotFoundError, morphable_model.ModelError: if the bundle is damaged or incomplete.
      photos.PhotoError, OSError: if the sample cannot be read, or the page not written.
    """
    manifest = read_manifest(bundle)
    network = choose(manifest["networks"], None, confidence=True)
    data = face_data(morphable_model.load(inside(bundle, manifest["face"]["file"])))
    picture = None if sample is None else _jpeg(photos.as_pixels(sample))
    with writing_folder(out, overwrite) as folder:
        shutil.copytree(PAGE, folder, dirs_exist_ok=True)
        shutil.copytree(VENDOR, folder / "vendor", ignore=shutil.ignore_patterns("NOTICE.md"))
        shutil.copyfile(assets.checked(assets.find("three.min.js")), folder / "three.min.js")
        (folder / "data").mkdir()
        for name in (network["file"], *(f"detector/{name}" for name in DETECTOR)):
            path = inside(bundle, name)
            (folder / "data" / path.name).write_bytes(fix_batch(path.read_bytes()))
        (folder / "data" / "face.bin.gz").write_bytes(zlib.compress(data.binary, 6, wbits=31))
        if picture is not None:
            (folder / "data" / "sample.jpg").write_bytes(picture)
        description = data.description | {
            "input": manifest["input"],
            "camera": manifest["camera"],
            "network": network["file"],
            "confident": CONFIDENCE in network["outputs"],
            "sample": picture is not None,
        }
        (folder / "data" / "face.json").write_text(json.dumps(description) + "\n", encoding="utf-8")
        notices = [inside(bundle, "NOTICE.md"), assets.find("three_NOTICE.md"), VENDOR / "NOTICE.md"]
        text = "\n\n".join(path.read_text(encoding="utf-8").strip() for path in notices)
        (folder / "NOTICE.md").write_text(text + "\n", encoding="utf-8")
        _fill_service_worker(folder)
        return {name: (folder / name).stat().st_size for name in _names(folder)}


def fix_batch(network: bytes) -> bytes:
    """A TFLite model whose batch is one: LiteRT.js runs none that leaves it open. Others stay as they are."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(network))
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.shapeSignature is not None]
    if not tensors:
        return network
    for tensor in tensors:
        tensor.shapeSignature = None  # `shape` has 1 where this had -1
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _fill_service_worker(folder: Path) -> None:
    """Tells the service worker of all files, and of a version that changes with any byte of them."""
    worker = folder / MARK
    text = worker.read_text(encoding="utf-8")
    names = [name for name in _names(folder) if name != MARK]
    digests = [f"{name} {sha256(folder / name)}" for name in names]
    version = hashlib.sha256("\n".join([text, *digests]).encode()).hexdigest()[:16]
    if text.count(UNFILLED) != 1:
        raise ValueError(f"{MARK} must have the line {UNFILLED!r} once. Received: {text.count(UNFILLED)}")
    worker.write_text(text.replace(UNFILLED, f'const VERSION = "{version}", FILES = {json.dumps(names)};'), "utf-8")


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _jpeg(pixels: np.ndarray) -> bytes:
    """A photo [H, W, 3] uint8 as JPEG of at most `SAMPLE_SIDE` px."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE))
    return encode(np.asarray(picture), "jpeg")


def sizes(files: dict[str, int]) -> Iterator[str]:
    """The sizes of a page's files (`write_page`) as lines of text, MB, the largest first."""
    for name, count in sorted(files.items(), key=lambda entry: -entry[1]):
        yield f"{count / 1e6:6.2f}  {name}"
