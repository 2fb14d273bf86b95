"""Arrays in Python pickles, for plain numbers only: rebuilt from the bytes in the records of `unpickling`."""

from typing import Any

import numpy as np

from tf_deep3d.porting import PortingError
from tf_deep3d.porting.unpickling import DAMAGE, Record, read

_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def array(value: Any, name: str) -> np.ndarray:
    """The numeric array that `value` of `read` stands for.

    Args:
      value: a list or tuple of numbers, or the `Record` of a NumPy array or scalar, a sparse matrix, or a chumpy array.
      name: for the message.

    Returns:
      NumPy array; a sparse matrix becomes dense.

    Raises:
      PortingError: if it is not an array of plain numbers, or its bytes do not fit its shape.
    """
    try:
        return _array(value, name)
    except PortingError:
        raise
    except DAMAGE as error:
        raise PortingError(f"{name} is not a readable array. Received: {error}") from error


def _array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, list | tuple | int | float) and not isinstance(value, Record):
        return np.array(value, np.float64)
    if not isinstance(value, Record):
        raise PortingError(f"{name} must be an array. Received: {type(value).__name__}")
    kind = value.symbol.name
    if kind == "_reconstruct":
        _, shape, dtype, fortran, data = value.state[0]
        return _from_bytes(data, _dtype(dtype, name), shape, "F" if fortran else "C", name)
    if kind == "_frombuffer":
        data, dtype, shape, order = value.arguments
        return _from_bytes(data, _dtype(dtype, name), shape, order, name)
    if kind == "scalar":
        return _from_bytes(value.arguments[1], _dtype(value.arguments[0], name), (), "C", name)
    if kind == "Ch":
        return _array(value.state[0]["x"], name)
    if kind[:3] in ("csc", "csr"):
        return _dense(value.state[0], kind[:3], name)
    raise PortingError(f"{name} must be an array. Received: {value.symbol.module}.{kind}")


def _dtype(value: Any, name: str) -> np.dtype:
    code = value.arguments[0]
    if code not in _CODES:
        raise PortingError(f"{name} must hold plain numbers. Received: type {code!r}")
    order = value.state[0][1] if value.state else "<"
    return np.dtype(f"{order if order in '<>' else '='}{code}")


def _from_bytes(data: Any, dtype: np.dtype, shape: Any, order: Any, name: str) -> np.ndarray:
    data = data.encode("latin-1") if isinstance(data, str) else data
    shape = tuple(int(length) for length in shape)
    if not isinstance(data, bytes) or min(shape, default=0) < 0:
        raise PortingError(f"{name} must hold plain numbers. Received: {type(data).__name__} of shape {shape}")
    if len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise PortingError(f"{name} of shape {shape} and {dtype} does not fit. Received: {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="))


def _dense(state: Any, kind: str, name: str, limit: int = 1 << 28) -> np.ndarray:
    """A sparse matrix of either kind, made dense."""
    shape = state["_shape"] if "_shape" in state else state["shape"]
    rows, columns = (int(length) for length in shape)
    if min(rows, columns) < 0 or rows * columns > limit:
        raise PortingError(f"{name} must have at most {limit} entries. Received: {rows} x {columns}")
    data, inner, starts = (_array(state[key], name) for key in ("data", "indices", "indptr"))
    outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    dense = np.zeros((rows, columns), data.dtype)
    if inner.size and inner.min() < 0:
        raise PortingError(f"{name} has a negative index. Received: {inner.min()}")
    np.add.at(dense, (inner, outer) if kind == "csc" else (outer, inner), data)
    return dense


def npy_object(data: bytes, name: str) -> Any:
    """The single Python object in an .npy file that `numpy.save` pickled, read as `read` does.

    Args:
      data: bytes of the file.
      name: for the message.

    Raises:
      PortingError: if it is not such a file.
    """
    header = data[8:10] if data[6:7] == b"\x01" else data[8:12]
    start = 8 + len(header) + int.from_bytes(header, "little")
    value = read(data[start:])
    if not isinstance(value, Record) or value.symbol.name != "_reconstruct" or not value.state:
        raise PortingError(f"{name} must hold one Python object. Received: {type(value).__name__}")
    items: Any = value.state[0][4]
    if not isinstance(items, list) or len(items) != 1:
        raise PortingError(f"{name} must hold one Python object. Received: {type(items).__name__}")
    return items[0]
