"""The runtime on the device: a photo becomes a face with NumPy, Pillow and LiteRT alone.

    python -m export.device BUNDLE PHOTO... --out DIR

BUNDLE is a folder that `python -m export` writes: R-Net (and C-Net) as .tflite files, MediaPipe's networks, and the
face model at one level of detail. Everything else is the code of training: detection, alignment, `face.reconstruct`.

    runtime = device.load("bundle")
    for face in runtime.reconstruct("me.jpg"):
        face.face.vertices, face.face.colors, face.landmarks, runtime.arkit(face)["jawOpen"]

A `Runtime` serves one thread at a time, as LiteRT's interpreters do.

Letters: B batch, M photos of one person, Ki identity modes, L landmarks.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export.device_bundle import CONFIDENCE, QUANTIZATION, open_bundle
from tf_deep3d import command_line
from tf_deep3d import face as faces
from tf_deep3d.detection import alignment
from tf_deep3d.detection import detector as detection
from tf_deep3d.errors import InputError
from tf_deep3d.face import aggregation, blendshapes, morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io import photos
from tf_deep3d.io.files import face_folder, folder_names, refuse_existing, writing_folder
from tf_deep3d.mesh import face_files, gltf
from tf_deep3d.mesh.obj import write_obj

# What a bundle carries, so that this module runs where the project is not installed.
ROOMS = ("io", "face", "mesh", "detection")  # of `tf_deep3d`: NumPy, Pillow and LiteRT are all they need
ROOT = Path(__file__).parent.parent
SOURCES = (
    *("export/__init__.py", "export/device.py", "export/device_bundle.py"),
    *(f"tf_deep3d/{name}.py" for name in ("__init__", "arrays", "assets", "command_line", "errors")),
    *(path.relative_to(ROOT).as_posix() for room in ROOMS for path in sorted((ROOT / "tf_deep3d" / room).glob("*.py"))),
)

EXAMPLES = """
examples:
  python -m export.device bundle me.jpg --out faces                     writes faces/me/face.obj, face.glb, face.json
  python -m export.device bundle holiday/ --all-faces --out faces
  python -m export.device bundle me1.jpg me2.jpg --one-person --out me  both photos give one shape

exit status: 0 if at least one face was written, 1 if none, 2 for a wrong command line.
"""


class DeviceFace(NamedTuple):
    """One face of a photo.

    Attributes:
      detected: `detection.Detection`, photo px.
      crop: `alignment.Crop`; its transform maps photo px to crop px.
      coefficients: `Coefficients`, B = 1.
      confidence: [1, Ki] of C-Net, or None.
      face: `face.Face`, B = 1: vertices, normals, albedo, shaded colours, and landmarks in crop px.
      landmarks: [68, 2], of the mesh, photo px.
    """

    detected: detection.Detection
    crop: alignment.Crop
    coefficients: Coefficients
    confidence: Any
    face: faces.Face
    landmarks: np.ndarray


@dataclass(frozen=True)
class Runtime:
    """What `load` has read of a bundle.

    Attributes:
      model: `MorphableModel`.
      network: LiteRT's runner of the network's signature.
      bytes_in: whether the network takes uint8 pictures, else float32.
      units: `blendshapes.Units`, or None.
      detector: folder of MediaPipe's networks.
      points5: [5, 3] dm, the model's alignment points.
    """

    model: morphable_model.MorphableModel
    network: Any
    bytes_in: bool
    units: blendshapes.Units | None
    detector: Path
    points5: np.ndarray

    def regress(self, crops):
        """What the networks say of aligned photos.

        Args:
          crops: [B, 224, 224, 3] float32 RGB in [0, 1] (`alignment.align`).

        Returns:
          (`Coefficients` of B faces, confidence [B, Ki] of C-Net or None).

        Raises:
          ValueError: for pictures of another size.
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

    def face(self, coefficients):
        """The `Face` of `Coefficients`."""
        return faces.reconstruct(self.model, coefficients)

    def reconstruct(self, photo, all_faces=False):
        """Reconstructs the faces of a photo.

        Args:
          photo: path, bytes of a file, or [H, W, 3] RGB, uint8 or float in [0, 1].
          all_faces: every face, else the largest (`detection.nearest`).

        Returns:
          List of `DeviceFace`, largest first; empty if there is no face.

        Raises:
          photos.PhotoError, OSError: if the photo cannot be read.
          ValueError: for an array of another shape or type.
        """
        image = photo if isinstance(photo, np.ndarray) else photos.read_photo(photo)
        if all_faces:
            found = detection.detect(image, folder=self.detector)
        else:
            found = filter(None, [detection.nearest(image, folder=self.detector)])
        return [self._reconstruct(image, detected) for detected in found]

    def arkit(self, portrait):
        """Weights in [0, 1] of the ARKit units of a `DeviceFace`, by name; empty for a face model without units."""
        if self.units is None:
            return {}
        weights = blendshapes.weights(self.units, portrait.coefficients.expression)[0][0]
        return dict(zip(self.units.names, weights.tolist(), strict=True))

    def together(self, portraits):
        """The same faces with one shape, where the photos show one person.

        Args:
          portraits: list of `DeviceFace`, of M photos.

        Returns:
          List of `DeviceFace` with a shared identity: weighed by the confidences, or else their mean.
        """
        identity = np.stack([one.coefficients.identity[0] for one in portraits])[None]
        confidence, strategy = None, "average"
        if all(one.confidence is not None for one in portraits):
            confidence, strategy = np.stack([one.confidence[0] for one in portraits])[None], "elementwise"
        shared = aggregation.aggregate(identity, confidence, strategy=strategy).astype(np.float32)
        return [
            self._build(one.detected, one.crop, one.coefficients._replace(identity=shared), one.confidence)
            for one in portraits
        ]

    def _reconstruct(self, image, detected):
        crop = alignment.align(image, detected.points5, self.points5)
        return self._build(detected, crop, *self.regress(crop.image[None]))

    def _build(self, detected, crop, coefficients, confidence):
        face = self.face(coefficients)
        landmarks = crop.transform.inverse().apply(face.landmarks[0])
        return DeviceFace(detected, crop, coefficients, confidence, face, landmarks)


def load(bundle, quantization=None, confidence=False, threads=1):
    """Reads a bundle.

    Args:
      bundle: folder.
      quantization: of the network, a name that the bundle's manifest lists; by default `QUANTIZATION` where it is
        there, else the first.
      confidence: take the file that holds C-Net too, where the bundle has one, for sets of photos of one person.
      threads: of the network; the detector's networks are too small to share.

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
    )


def write_face(folder, photo, portrait, runtime, overwrite=False):
    """Writes one face into `folder`, which appears whole or not at all.

    face.obj has the photo's expression and its light (shaded colours of the vertices); face.glb is the neutral face in
    unlit colours, with the blendshapes and the photo's expression as morph targets; face.json has the numbers.

    Args:
      folder: to create.
      photo: name of the photo.
      portrait: `DeviceFace`.
      runtime: `Runtime` that made it.
      overwrite: replace an existing folder.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
    """
    model = runtime.model
    meshes = face_files.meshes(model, portrait.coefficients)
    shaded, albedo = (np.clip(colors[0], 0, 1) for colors in (portrait.face.colors, portrait.face.albedo))
    expressive, still = (
        mesh._replace(uv=None, uv_triangles=None, colors=colors)
        for mesh, colors in zip(meshes[:2], (shaded, albedo), strict=True)
    )
    record = face_files.describe(photo, portrait, model, portrait.coefficients, portrait.face)
    record["arkit"] = {name: round(weight, 6) for name, weight in runtime.arkit(portrait).items()}
    name = Path(folder).name
    with writing_folder(folder, overwrite) as temporary:
        write_obj(temporary / "face.obj", expressive, name, model.licence)
        weights = {face_files.PHOTO_EXPRESSION: 1.0}
        gltf.write_glb(temporary / "face.glb", gltf.build(still, meshes[2], weights, name, model.licence))
        face_files.write_json(temporary / "face.json", record)


def main(arguments=None):
    """Runs the command; returns its exit status."""
    return command_line.run(
        _run, _parser().parse_args(arguments), interrupted="Interrupted; what was written is complete."
    )


def _parser():
    parser = command_line.parser(
        prog="python -m export.device",
        description="Reconstructs the faces of photos with an exported bundle, without TensorFlow.",
        epilog=EXAMPLES,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that `python -m export` wrote")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photo, folder (at any depth), or quoted glob")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--quantization", metavar="NAME", help=f"of the network (default: {QUANTIZATION} if there)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the network (default: 1)")
    faces_of = parser.add_mutually_exclusive_group()
    faces_of.add_argument("--all-faces", action="store_true", help="every face of a photo (default: the largest)")
    faces_of.add_argument("--one-person", action="store_true", help="all photos show one person: one shape for all")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def _run(options):
    if options.threads < 1:
        raise InputError(f"threads must be positive. Received: {options.threads}")
    paths = photos.find_photos(options.photos, leave_out=options.out)
    with command_line.quiet():
        runtime = load(options.bundle, options.quantization, options.one_person, options.threads)
    names = folder_names(paths)
    waiting, failed, written = [], 0, 0
    for path, name in zip(paths, names, strict=True):
        try:
            if not options.overwrite:
                refuse_existing(options.out / name)
            begin = time.perf_counter()
            with command_line.quiet():
                found = runtime.reconstruct(path, options.all_faces)
            if not found:
                raise InputError("no face found")
        except (ValueError, OSError) as error:
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
            continue
        folders = [face_folder(name, number) for number in range(1, len(found) + 1)]
        print(f"{path}: {len(found)} face{'s' * (len(found) > 1)} in {1e3 * (time.perf_counter() - begin):.0f} ms")
        waiting += [(options.out / folder, path, face) for folder, face in zip(folders, found, strict=True)]
        if not options.one_person:
            written += _write(waiting, runtime, options)
            waiting = []
    if waiting:
        shared = runtime.together([face for _, _, face in waiting])
        waiting = [(folder, path, face) for (folder, path, _), face in zip(waiting, shared, strict=True)]
        written += _write(waiting, runtime, options)
    print(
        f"{written} face{'s' * (written != 1)} written to {options.out}"
        + (f", {failed} photos without one" if failed else "")
    )
    return 0 if written else 1


def _write(waiting, runtime, options):
    """Number of faces that could be written; why others could not is said."""
    written = 0
    for folder, path, face in waiting:
        try:
            write_face(folder, path.name, face, runtime, options.overwrite)
            written += 1
        except (ValueError, OSError) as error:
            print(f"{path}: {error}", file=sys.stderr)
    return written


if __name__ == "__main__":
    sys.exit(main())
