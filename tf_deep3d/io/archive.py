"""Named arrays in one compressed file (.npz), read as untrusted input and written reproducibly."""

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d import assets
from tf_deep3d.errors import InputError, first_line
from tf_deep3d.io.files import writing

MAX_BYTES = 1 << 30  # of all arrays together, unpacked; the largest face models have 0.4 GiB
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; the others unpack without a bound
_ENCRYPTED = 1  # bit of a zip entry's flags
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip file can hold: equal arrays give equal bytes


class ArchiveError(InputError):
    """The file is not a usable archive of arrays; the message says what was received."""


def read_arrays(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Reads every array of an .npz without unpickling anything.

    Args:
      path: file.
      max_bytes: refuse files of more, and archives that unpack to more, before anything is unpacked.

    Returns:
      Dict of name -> array.

    Raises:
      FileNotFoundError: if there is no such file.
      ArchiveError: if the file is no .npz, is damaged, too large, or holds Python objects or floats that are not
        finite.
      assets.AssetError: if it is a file of the package, but not as it was shipped.
    """
    path = assets.checked(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = checked_entries(archive, path, max_bytes)
            for entry in entries:
                _check_header(archive, entry)
            arrays = {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}
    except ArchiveError:
        raise
    except Exception as error:  # untrusted: whatever zipfile, zlib, NumPy or its parser of headers find wrong with it
        raise ArchiveError(f"{path} is not a readable .npz of plain arrays. Received: {first_line(error)}") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ArchiveError(f"{path}: array {name!r} must be finite. Received: NaN or infinity")
    return arrays


def checked_entries(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> list[zipfile.ZipInfo]:
    """The entries of a zip file, which can be read and together take `max_bytes` at most, packed and unpacked.

    Raises:
      ArchiveError: if they cannot.
    """
    entries = archive.infolist()
    size = max(sum(entry.file_size for entry in entries), path.stat().st_size)
    if size > max_bytes:
        raise ArchiveError(f"{path} has or unpacks to more than {max_bytes} bytes. Received: {size}")
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
            received = f"the entry {entry.filename!r}, encrypted or compressed by method {entry.compress_type}"
            raise ArchiveError(f"{path} must be stored or deflated. Received: {received}")
    return entries


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raises a `ValueError` if an entry is no .npy, or its header does not promise just the bytes that follow.

    Of one that promises more NumPy would allocate it; one that promises less would be read without its checksum.
    """
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"the entry {entry.filename!r}, which is no .npy")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        promised, held = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
    if dtype.hasobject:
        raise ValueError(f"{entry.filename}, an array of pickled objects")
    if promised != held:
        raise ValueError(f"{entry.filename}, an array of {promised} bytes in {held}")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, ArrayLike], overwrite: bool = False) -> None:
    """Writes named arrays so that equal arrays give equal bytes, and never leaves half a file.

    Args:
      path: file to write; its folder is created.
      arrays: name -> array.
      overwrite: replace an existing file.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
    """
    with writing(path, overwrite) as file, zipfile.ZipFile(file, "w") as zipped:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asarray(arrays[name], order="C"), allow_pickle=False)
            zipped.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), entry.getvalue(), zipfile.ZIP_DEFLATED, 9)
