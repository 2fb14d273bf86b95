"""Named arrays in one compressed file (.npz), read as untrusted input and written reproducibly."""

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d.errors import InputError
from tf_deep3d.io.files import writing

MAX_BYTES = 4 << 30  # of all arrays together, unpacked
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip file can hold: equal arrays give equal bytes


class ArchiveError(InputError):
    """The file is not a usable archive of arrays; the message says what was received."""


def read_arrays(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Reads every array of an .npz without unpickling anything.

    Args:
      path: file.
      max_bytes: refuse archives that unpack to more.

    Returns:
      Dict of name -> array.

    Raises:
      FileNotFoundError: if there is no such file.
      ArchiveError: if the file is no .npz, is damaged, too large, or holds Python objects or floats that are not
        finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > max_bytes:
                raise ArchiveError(f"{path} unpacks to more than {max_bytes} bytes. Received: {size}")
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    _check_size(file, entry.file_size)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except ArchiveError:
        raise
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, MemoryError) as error:
        raise ArchiveError(f"{path} is not a readable .npz of plain arrays. Received: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ArchiveError(f"{path}: array {name!r} must be finite. Received: NaN or infinity")
    return arrays


def _check_size(file: IO[bytes], size: int) -> None:
    """Raises a `ValueError` if the header of an .npy of `size` bytes promises more, which NumPy would allocate."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    promised = math.prod(shape) * dtype.itemsize
    if promised > size:
        raise ValueError(f"an array of {promised} bytes in {size}")


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
