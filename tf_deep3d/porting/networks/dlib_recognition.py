"""dlib's face recognition network -> our recognition.npz.

    python -m tf_deep3d.porting.networks.dlib_recognition SOURCE OUT [--mean FILE.npz | --photos LIST.txt] [--overwrite]

SOURCE is `dlib_face_recognition_resnet_model_v1.dat` or the source distribution `face_recognition_models-0.3.0.tar.gz`
that carries it (CC0). The mean descriptor is no part of it: it is copied from FILE (by default the shipped
recognition.npz), or measured over the faces of the photos whose paths stand in LIST, one a line. Equal input gives
equal bytes.
"""

import argparse
import gzip
import hashlib
import io
import sys
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from PIL import Image

from tf_deep3d import command_line, face
from tf_deep3d.arrays import Array
from tf_deep3d.detection import alignment, detector
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive, files
from tf_deep3d.models import recognition
from tf_deep3d.porting.networks.dlib_format import FormatError, read_network

DAT = "dlib_face_recognition_resnet_model_v1.dat"
DAT_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
MAX_BYTES = 64 << 20  # of the .dat
MAX_UNPACKED = 256 << 20  # of the source distribution
LICENCE = "CC0-1.0"
SOURCE = f"D. King, {DAT}, from face_recognition_models 0.3.0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.networks.dlib_recognition", __doc__)
    parser.add_argument("source", type=Path, help=f"{DAT}, or the .tar.gz that carries it")
    parser.add_argument("out", type=Path, help=".npz to write")
    mean = parser.add_mutually_exclusive_group()
    mean.add_argument("--mean", type=Path, default=recognition.RECOGNITION, help=".npz with a mean_descriptor")
    mean.add_argument("--photos", type=Path, help="text file of photo paths to measure the mean descriptor over")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    data = read_source(options.source)
    if options.photos:
        center = _measure(data, options.photos.read_text(encoding="utf-8").splitlines())
    else:
        center = read_mean(options.mean)
    archive.write_arrays(options.out, convert(data, center), overwrite=options.overwrite)
    digest = hashlib.sha256(data).hexdigest()
    known = "the known file" if digest == DAT_SHA256 else "NOT the known file: measure its own mean with --photos"
    print(f"read  {options.source}: sha256 {digest} ({known})")
    print(f"wrote {options.out}: sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()}")
    return 0


def read_source(path: str | Path) -> bytes:
    """Reads the bytes of the .dat from itself or from the source distribution.

    Args:
      path: file; a gzipped tar is recognised by its first bytes.

    Returns:
      Bytes.

    Raises:
      FileNotFoundError: if there is no such file.
      FormatError: if it is too large, damaged, or lacks the .dat.
    """
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            return _read(file, MAX_BYTES, path)
        try:
            with gzip.open(file) as unpacked:
                tar = io.BytesIO(_read(cast(BinaryIO, unpacked), MAX_UNPACKED, path))
            with tarfile.open(fileobj=tar, mode="r:") as members:
                found = [member for member in members if member.isfile() and member.name.endswith(f"/{DAT}")]
                if len(found) == 1:
                    return _read(cast(IO[bytes], members.extractfile(found[0])), MAX_BYTES, found[0].name)
        except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
            raise FormatError(f"{path} is not a readable .tar.gz. Received: {error}") from error
    raise FormatError(f"{path} must hold one {DAT}. Received: {len(found)}")


def read_mean(path: str | Path) -> np.ndarray:
    """The mean descriptor [128] float32 that a recognition.npz holds.

    Raises:
      FileNotFoundError: if there is no such file.
      archive.ArchiveError: if the file is damaged or has no mean of that size.
    """
    mean = archive.read_arrays(path, max_bytes=MAX_UNPACKED).get("mean_descriptor", np.zeros(0))
    if mean.shape != (recognition.DESCRIPTOR,) or mean.dtype.kind != "f":
        raise archive.ArchiveError(
            f"{path} must have a mean_descriptor [{recognition.DESCRIPTOR}]. Received: {mean.dtype} {mean.shape}"
        )
    return mean.astype(np.float32)


def mean_descriptor(network: Any, photos: Sequence[str | Path], model_points5: np.ndarray) -> tuple[np.ndarray, int]:
    """Mean descriptor of the largest face in each photo.

    Args:
      network: `recognition.build_recognition(centered=False)`.
      photos: paths of photos, one for each person.
      model_points5: [5, 3] dm, see `alignment.align`.

    Returns:
      [128] float32, and the number of photos in which a face was found.

    Raises:
      InputError: if no photo shows a face.
    """
    total, count = np.zeros(recognition.DESCRIPTOR), 0
    for path in photos:
        with Image.open(path) as photo:
            image = np.asarray(photo.convert("RGB"))
        faces = detector.detect(image)
        if faces:
            crop = alignment.align(image, faces[0].points5, model_points5)
            total += np.asarray(recognition.describe(network, crop.image[None]))[0]
            count += 1
    if not count:
        raise InputError(f"no face in any photo. Received: {len(photos)} photos")
    return (total / count).astype(np.float32), count


def convert(data: bytes, mean_descriptor: np.ndarray) -> dict[str, Array]:
    """Rebuilds the arrays of `models.recognition` from dlib's file.

    Args:
      data: bytes of the .dat.
      mean_descriptor: [128], subtracted from every descriptor.

    Returns:
      Dict of arrays: convolution_{i}_kernel [h, w, in, out] float16 and _bias [out] float32, with the affine layer
      after each convolution folded in; descriptor_kernel [256, 128] float16; mean_descriptor; where they are from.

    Raises:
      FormatError: if the bytes are something else.
    """
    convolutions, dense = read_network(data)
    arrays = {
        "schema": np.int64(recognition.SCHEMA),
        "name": np.array("dlib_face_recognition_resnet_model_v1"),
        "licence": np.array(LICENCE),
        "source": np.array(SOURCE),
        "source_sha256": np.array(hashlib.sha256(data).hexdigest()),
        "descriptor_kernel": dense.astype(np.float16),
        "mean_descriptor": np.asarray(mean_descriptor, np.float32),
    }
    for i, (filters, bias, gamma, beta) in enumerate(convolutions):
        kernel = filters.astype(np.float64) * gamma.astype(np.float64)[:, None, None, None]
        with np.errstate(over="ignore"):  # checked below
            arrays[f"convolution_{i}_kernel"] = kernel.transpose(2, 3, 1, 0).astype(np.float16)
        arrays[f"convolution_{i}_bias"] = (bias.astype(np.float64) * gamma + beta).astype(np.float32)
    for name, array in arrays.items():
        if array.dtype == np.float16 and not np.isfinite(array).all():
            raise FormatError(f"{name} must fit half precision. Received: more than 65504")
    return arrays


def _measure(data: bytes, photos: Sequence[str]) -> np.ndarray:
    """`mean_descriptor` of the network in `data`, aligned to the default face model."""
    network = recognition.from_arrays(convert(data, np.zeros(recognition.DESCRIPTOR)))
    model = morphable_model.load()
    points5 = face.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    mean, count = mean_descriptor(network, photos, points5)
    print(f"mean descriptor over {count} faces in {len(photos)} photos")
    return mean


def _read(file: IO[bytes], limit: int, name: str | Path) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise FormatError(f"{name} must have at most {limit} bytes. Received: more")
    return data


if __name__ == "__main__":
    sys.exit(main())
