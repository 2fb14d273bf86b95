"""The runtime on the device: a photo becomes a face with NumPy, Pillow and LiteRT alone.

    python -m export.device BUNDLE PHOTO... --out DIR

BUNDLE is a folder that `python -m export` writes: R-Net (and C-Net) as .tflite files, MediaPipe's networks, and the
face model at one level of detail. Everything else is the code of training: detection, alignment, `face.reconstruct`.

    runtime = device.load("bundle")
    for face in runtime.reconstruct("me.jpg"):
        face.mesh.vertices, face.mesh.colors, face.landmarks, face.arkit["jawOpen"]
        face.write("faces/me")

A face is the `Reconstruction` of `tf_deep3d.FaceReconstructor`, less the texture, which needs a renderer.

A `Runtime` serves one thread at a time, as LiteRT's interpreters do.

Letters: B batch, M photos of one person, Ki identity modes, L landmarks.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.device_bundle import CONFIDENCE, QUANTIZATION, open_bundle
from tf_deep3d import __version__, assets, command_line
from tf_deep3d import face as faces
from tf_deep3d.command_line import counted
from tf_deep3d.detection import alignment, detector
from tf_deep3d.detection.detector import Detection
from tf_deep3d.errors import InputError, readable
from tf_deep3d.face import aggregation, blendshapes, expression
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import photos
from tf_deep3d.io.files import face_folder, folder_names
from tf_deep3d.io.photos import Photo
from tf_deep3d.mesh.gltf import PACKING_HELP, PACKINGS
from tf_deep3d.reconstructed import Reconstruction, is_finished

# What a bundle carries, so that this module runs where the project is not installed.
ROOMS = ("io", "face", "mesh", "detection")  # of `tf_deep3d`: NumPy, Pillow and LiteRT are all they need
ROOT = Path(__file__).parent.parent
SOURCES = (
    *("export/__init__.py", "export/device.py", "export/device_bundle.py"),
    *(
        f"tf_deep3d/{name}.py"
        for name in ("__init__", "arrays", "assets", "command_line", "errors", "litert", "reconstructed")
    ),
    *(path.relative_to(ROOT).as_posix() for room in ROOMS for path in sorted((ROOT / "tf_deep3d" / room).glob("*.py"))),
    *(path.relative_to(ROOT).as_posix() for path in (expression.SHIPPED, assets.FOLDER / assets.SUMS)),
)

EXAMPLES = """
examples:
  python -m export.device bundle me.jpg --out faces                     writes faces/me/face.obj, face.glb, ..
  python -m export.device bundle holiday/ --all-faces --out faces
  python -m export.device bundle me1.jpg me2.jpg --one-person --out me  both photos give one shape

exit status: 0 if at least one face was written or is there already, 1 if none, 2 for a wrong command line.
"""


@dataclass(frozen=True, eq=False)
class Runtime:
    """What `load` has read of a bundle.

    Attributes:
      model: `MorphableModel`.
      network: LiteRT's runner of the network's signature.
      bytes_in: whether the network takes uint8 pictures, else float32.
      units: `blendshapes.Units`, or None.
      detector: folder of MediaPipe's networks.
      points5: [5, 3] dm, the model's alignment points.
      threads: of the network and of the detector's largest one.
    """

    model: MorphableModel
    network: Any
    bytes_in: bool
    units: blendshapes.Units | None
    detector: Path
    points5: np.ndarray
    threads: int = 1

    def regress(self, crops: np.ndarray) -> tuple[Coefficients, np.ndarray | None]:
        """What the networks say of aligned photos.

        Args:
          crops: [B, 224, 224, 3] float32 RGB in [0, 1] (`alignment.align`).

        Returns:
          (`Coefficients` of B faces, confidence [B, Ki] of C-Net or None).

        Raises:
          InputError: for pictures of another size.
        """
        crops = np.asarray(crops, np.float32)
        if crops.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise InputError(f"crops must be [B, {IMAGE_SIZE}, {IMAGE_SIZE}, 3]. Received: {list(crops.shape)}")
        if self.bytes_in:
            crops = np.round(crops * 255).astype(np.uint8)
        answers = [self.network(images=crop[None]) for crop in crops]
        groups = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
        confidence = groups.pop(CONFIDENCE, None)
        return Coefficients(**groups), confidence

    def reconstruct(self, photo: Photo, all_faces: bool = False) -> list[Reconstruction]:
        """Reconstructs the faces of a photo.

        Args:
          photo: path, bytes of a file, or [H, W, 3] RGB, uint8 or float in [0, 1].
          all_faces: every face, else the largest (`detector.nearest`).

        Returns:
          List of `Reconstruction`, largest first; empty if there is no face.

        Raises:
          photos.PhotoError, OSError: if the photo cannot be read.
        """
        image = photos.as_pixels(photo)
        if all_faces:
            found = detector.detect(image, folder=self.detector)
        else:
            face = detector.nearest(image, self.detector, self.threads)
            found = [] if face is None else [face]
        return [self._reconstruct(photos.photo_name(photo), image, detected) for detected in found]

    def together(self, apart: Sequence[Reconstruction]) -> list[Reconstruction]:
        """The same faces with one shape, where the photos show one person.

        Args:
          apart: of M photos.

        Returns:
          List of `Reconstruction` with a shared identity: weighed by the confidences, or else their mean.
        """
        identity = np.stack([one.coefficients.identity[0] for one in apart])[None]
        known = [one.confidence for one in apart if one.confidence is not None]
        if len(known) == len(apart):
            shared = aggregation.aggregate(identity, np.stack(known)[None], strategy="elementwise")
        else:
            shared = aggregation.aggregate(identity, None, strategy="average")
        return [self._with_identity(one, shared.astype(np.float32)) for one in apart]

    def _with_identity(self, one: Reconstruction, identity: np.ndarray) -> Reconstruction:
        coefficients = one.coefficients._replace(identity=identity)
        return replace(one, coefficients=coefficients, face=faces.reconstruct(self.model, coefficients))

    def _reconstruct(self, name: str, image: np.ndarray, detected: Detection) -> Reconstruction:
        crop = alignment.align(image, detected.points5, self.points5)
        coefficients, confidence = self.regress(crop.image[None])
        return Reconstruction(
            photo=name,
            model=self.model,
            coefficients=coefficients,
            face=faces.reconstruct(self.model, coefficients),
            detected=detected,
            crop=crop,
            confidence=None if confidence is None else confidence[0],
            units=self.units,
            report={"method": "rnet", "versions": {"tf_deep3d": __version__, "numpy": np.__version__}},
        )


def load(bundle: str | Path, quantization: str | None = None, confidence: bool = False, threads: int = 1) -> Runtime:
    """Reads a bundle.

    Args:
      bundle: folder.
      quantization: of the network, a name that the bundle's manifest lists; by default `QUANTIZATION` where it is
        there, else the first.
      confidence: take the file that holds C-Net too, where the bundle has one, for sets of photos of one person.
      threads: of the network and of the detector's attention mesh; its others are too small to share.

    Returns:
      `Runtime`.

    Raises:
      BundleError: if the folder is no bundle, is damaged, or holds no such network.
      FileNotFoundError: if a file is missing.
      morphable_model.ModelError: if the face model is damaged.
    """
    found = open_bundle(bundle, quantization, confidence, threads)
    model = found.model
    return Runtime(
        model=model,
        network=found.network,
        bytes_in=found.bytes_in,
        units=blendshapes.units(model) if len(model.blendshapes) else None,
        detector=found.detector,
        points5=faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0],
        threads=threads,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command_line.run(
        _run, _parser().parse_args(arguments), interrupted="Interrupted; what was written is complete."
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        prog="python -m export.device",
        description="Reconstructs the faces of photos with an exported bundle, without TensorFlow.",
        epilog=EXAMPLES,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that `python -m export` wrote")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photo, folder (at any depth), or quoted glob")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--quantization", metavar="NAME", help=f"of the network (default: {QUANTIZATION} if there)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the networks (default: 1)")
    faces_of = parser.add_mutually_exclusive_group()
    faces_of.add_argument("--all-faces", action="store_true", help="every face of a photo (default: the largest)")
    faces_of.add_argument("--one-person", action="store_true", help="all photos show one person: one shape for all")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--glb", dest="packing", choices=list(PACKINGS), default="compact", help=PACKING_HELP)
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.threads < 1:
        raise InputError(f"threads must be positive. Received: {options.threads}")
    command_line.tell_passed_over(photos.passed_over(options.photos, leave_out=options.out))
    paths = photos.find_photos(options.photos, leave_out=options.out)
    with command_line.quiet():
        runtime = load(options.bundle, options.quantization, options.one_person, options.threads)
    waiting: list[tuple[Path, Path, Reconstruction]] = []  # (photo, folder, face)
    there = failed = written = 0
    for path, name in zip(paths, folder_names(paths), strict=True):
        if not options.overwrite and not options.one_person and is_finished(options.out / name):
            there += 1
            continue
        try:
            begin = time.perf_counter()
            found = runtime.reconstruct(path, options.all_faces)
            if not found:
                raise InputError("no face found")
        except (InputError, OSError) as error:
            failed += 1
            print(readable(f"{path}: {error}"), file=sys.stderr)
            continue
        print(readable(str(path)) + f": {counted(len(found), 'face')} in {1e3 * (time.perf_counter() - begin):.0f} ms")
        waiting += [(path, options.out / face_folder(name, number), face) for number, face in enumerate(found, 1)]
        if not options.one_person:
            written += _write(waiting, options.overwrite, options.packing)
            waiting = []
    if waiting:
        shared = runtime.together([face for *_, face in waiting])
        waiting = [(path, folder, face) for (path, folder, _), face in zip(waiting, shared, strict=True)]
        written += _write(waiting, options.overwrite, options.packing)
    print(
        f"{counted(written, 'face')} written to {options.out}"
        + f", {counted(failed, 'photo')} without one" * bool(failed)
        + f"; {counted(there, 'photo')} already there, pass --overwrite to make them again" * bool(there)
    )
    return 0 if written or there else 1


def _write(waiting: Sequence[tuple[Path, Path, Reconstruction]], overwrite: bool, packing: str) -> int:
    """Number of faces that could be written; why others could not is said."""
    written = 0
    for path, folder, face in waiting:
        try:
            face.write(folder, overwrite, packing)
            written += 1
        except OSError as error:
            print(readable(f"{path}: {error}"), file=sys.stderr)
    return written


if __name__ == "__main__":
    sys.exit(main())
