"""Opens other people's containers as untrusted input: MATLAB .mat, HDF5, Wavefront OBJ, JSON.

Letters: V vertices, T triangles, U texture points.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.io

from tf_deep3d.errors import extra
from tf_deep3d.porting import PortingError

MAX_BYTES = 4 << 30  # of a container
MAX_TEXT = 256 << 20  # bytes of a text file
MAX_NUMBERS = 1 << 27  # in one array; the largest of the known models has 35 million
# Of an array; None stands for any length above 0.
Shape: TypeAlias = tuple[int | None, ...]
_NUMERIC = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def checked_file(path: str | Path, max_bytes: int = MAX_BYTES) -> Path:
    """`path` as a `Path`.

    Raises:
      FileNotFoundError: if there is no such file.
      PortingError: if it is larger than `max_bytes`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    if path.stat().st_size > max_bytes:
        raise PortingError(f"{path.name} must be at most {max_bytes} bytes. Received: {path.stat().st_size}")
    return path


def numbers(value: Any, name: str, shape: Shape) -> np.ndarray:
    """`value` as a finite float array of `shape`, where None stands for any length above 0.

    Raises:
      PortingError: if it is anything else.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths
        raise PortingError(f"{name} must be numbers. Received: {error}") from error
    fits = array.ndim == len(shape) and all(
        have == want if want is not None else have > 0 for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiub":
        wanted = tuple("any" if length is None else length for length in shape)
        raise PortingError(f"{name} must be numbers of shape {wanted}. Received: {array.dtype} {array.shape}")
    array = array if array.dtype.kind == "f" else array.astype(np.float64)
    if not np.isfinite(array).all():
        raise PortingError(f"{name} must be finite. Received: NaN or infinity")
    return array


def indices(value: Any, name: str, shape: Shape, bound: int, base: int = 0) -> np.ndarray:
    """`value` as an int64 array of `shape`, counted from 0.

    Args:
      value: whole numbers in [base, base + bound), of any numeric type (MATLAB stores indices as floats).
      name: for the message.
      shape: as in `numbers`.
      bound: how many things there are to point at.
      base: the first index, 1 for MATLAB.

    Raises:
      PortingError: if it is anything else.
    """
    array = numbers(value, name, shape)
    if (array != np.round(array)).any() or array.min() < base or array.max() >= base + bound:
        raise PortingError(
            f"{name} must be whole numbers in [{base}, {base + bound}). Received: {array.min():g} to {array.max():g}"
        )
    return array.astype(np.int64) - base


def read_mat(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Numeric variables of a MATLAB file, version 5 to 7 or 7.3 (HDF5).

    Args:
      path: .mat file.
      names: variables to read; all others stay unread.

    Returns:
      Dict of name -> array, with MATLAB's shape.

    Raises:
      FileNotFoundError: if there is no such file.
      PortingError: if it is damaged, a variable is missing, not numeric, or too large.
    """
    path = checked_file(path)
    if _hdf5().is_hdf5(path):
        return {name: array.T for name, array in read_hdf5(path, names).items()}
    try:
        present = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path, appendmat=False)}
    except Exception as error:  # a damaged file makes SciPy raise almost anything
        raise PortingError(f"{path.name} is not a readable MATLAB file. Received: {error}") from error
    for name in names:
        if name not in present:
            raise PortingError(f"{path.name} must hold the variable {name!r}. Received: {sorted(present)}")
        shape, kind = present[name]
        if kind not in _NUMERIC or np.prod(shape, dtype=np.float64) > MAX_NUMBERS:
            raise PortingError(f"{path.name}: {name} must be a numeric array. Received: {kind} {shape}")
    try:
        found = scipy.io.loadmat(path, appendmat=False, variable_names=list(names))
    except Exception as error:
        raise PortingError(f"{path.name} is damaged. Received: {error}") from error
    return {name: np.asarray(found[name]) for name in names}


def read_hdf5(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Numeric datasets of an HDF5 file, which must lie in the file itself.

    Args:
      path: HDF5 file.
      names: paths of datasets, such as "shape/model/mean".

    Returns:
      Dict of name -> array.

    Raises:
      FileNotFoundError: if there is no such file.
      PortingError: if it is damaged, a dataset is missing, not numeric, too large, or stored in another file.
    """
    path = checked_file(path)
    try:
        with _hdf5().File(path, "r") as file:
            return {name: _dataset(file, name)[()] for name in names}
    except PortingError as error:
        raise PortingError(f"{path.name}: {error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise PortingError(f"{path.name} is not a readable HDF5 file. Received: {error}") from error


def _hdf5() -> Any:
    """The package that reads HDF5, which not every installation has."""
    with extra("train"):
        import h5py

    return h5py


def _dataset(file: Any, name: str) -> Any:
    """The dataset `name` of an `h5py.File`."""
    h5py, node = _hdf5(), file
    for part in name.split("/"):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise PortingError(f"the dataset {name!r} is missing. Received: {sorted(file)}")
        if not isinstance(link, h5py.HardLink):
            raise PortingError(f"{name!r} must lie in the file itself. Received: {type(link).__name__}")
        node = node[part]
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "fiub" or node.size > MAX_NUMBERS:
        raise PortingError(f"{name!r} must be a numeric dataset. Received: {node}")
    if node.is_virtual or node.external:
        raise PortingError(f"{name!r} must lie in the file itself. Received: data in other files")
    return node


class Polygons(NamedTuple):
    """A Wavefront OBJ, its polygons cut into triangles (a fan from each polygon's first corner).

    Attributes:
      vertices: [V, 3].
      triangles: [T, 3] int64.
      uv: [U, 2], or None if the file has no texture points.
      uv_triangles: [T, 3] int64 into `uv`, or None.
      materials: [T] str, the material of each triangle, "" for none.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray | None
    uv_triangles: np.ndarray | None
    materials: np.ndarray


def read_obj_vertices(path: str | Path) -> np.ndarray:
    """The vertices [V, 3] of an OBJ file, without its polygons."""
    return _rows(_lines(path), b"v ", 3, Path(path).name)


def read_obj(path: str | Path) -> Polygons:
    """Reads an OBJ file as `Polygons`.

    Raises:
      FileNotFoundError: if there is no such file.
      PortingError: if a line is not what OBJ wants, or there is no polygon.
    """
    lines, name = _lines(path), Path(path).name
    vertices = _rows(lines, b"v ", 3, name)
    uv = _rows(lines, b"vt ", 2, name) if any(line.startswith(b"vt ") for line in lines) else None
    corners, materials, material, line = [], [], "", b""
    try:
        for line in lines:
            if line.startswith(b"usemtl "):
                material = line[7:].strip().decode("utf-8", "replace")
            elif line.startswith(b"f "):
                fields = [corner.split(b"/") for corner in line.split()[1:]]
                polygon = [(int(field[0]), int(field[1]) if len(field) > 1 and field[1] else 0) for field in fields]
                fan = [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
                corners += fan
                materials += [material] * len(fan)
        line = b"an index of more than 64 bits"
        corners = np.array(corners, np.int64).reshape(-1, 3, 2)
    except (ValueError, OverflowError) as error:
        raise PortingError(f"{name}: a polygon cannot be read. Received: {line[:80]!r}") from error
    triangles = _resolve(corners[..., 0], len(vertices), f"{name}: the polygons' vertices")
    if uv is None or not corners[..., 1].all():
        return Polygons(vertices, triangles, None, None, np.array(materials))
    uv_triangles = _resolve(corners[..., 1], len(uv), f"{name}: the polygons' texture points")
    return Polygons(vertices, triangles, uv, uv_triangles, np.array(materials))


def _lines(path: str | Path) -> list[bytes]:
    return checked_file(path, MAX_TEXT).read_bytes().splitlines()


def _rows(lines: Sequence[bytes], key: bytes, count: int, name: str) -> np.ndarray:
    try:
        rows = np.array([line.split()[1 : count + 1] for line in lines if line.startswith(key)], np.float64)
    except ValueError as error:
        raise PortingError(f"{name}: a line {key.decode()!r} cannot be read. Received: {error}") from error
    return numbers(rows, f"{name}: the lines {key.decode()!r}", (None, count))


def _resolve(corners: np.ndarray, count: int, name: str) -> np.ndarray:
    """OBJ counts from 1; negative numbers count back from the last."""
    return indices(np.where(corners < 0, corners + count + 1, corners), name, (None, 3), count, base=1)


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
      FileNotFoundError: if there is no such file.
      PortingError: if it is not JSON.
    """
    path = checked_file(path, MAX_TEXT)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PortingError(f"{path.name} is not readable JSON. Received: {error}") from error
