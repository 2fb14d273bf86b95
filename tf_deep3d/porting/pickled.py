"""Reads the data in a Python pickle without running it.

A pickle is a program for a small stack machine, and two of its instructions call whatever the file names. This reader
runs the machine with those calls left out: where the file says "call this with that", it gets a `Record` that holds
the name and the arguments. Only names in `KNOWN` pass, those that NumPy arrays, SciPy's sparse matrices and chumpy's
arrays (SMPL and FLAME are stored as such) are made of; a file that names anything else is refused. `pickle` itself is
not imported. Arrays are then rebuilt from their bytes, for plain numbers only.

Protocols 0 to 5, as Python 2 and 3 write them; text of Python 2 is read as Latin-1.
"""

import codecs
import io
import struct
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.porting import PortingError

KNOWN = {
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "scipy.sparse.csc": {"csc_matrix"},
    "scipy.sparse.csr": {"csr_matrix"},
    "scipy.sparse._csc": {"csc_matrix", "csc_array"},
    "scipy.sparse._csr": {"csr_matrix", "csr_array"},
    "chumpy.ch": {"Ch"},
    "_codecs": {"encode"},
    "copy_reg": {"_reconstructor"},
    "copyreg": {"_reconstructor"},
    "__builtin__": {"object", "bytes", "bytearray"},
    "builtins": {"object", "bytes", "bytearray"},
    # torch tensors stand in some landmark files beside the arrays; they stay unread
    "torch._utils": {"_rebuild_tensor_v2"},
    "torch.storage": {"_load_from_bytes"},
    "collections": {"OrderedDict"},
}
_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_MARK = object()
_DAMAGE = (
    LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError, struct.error
)  # fmt: skip


class Symbol(NamedTuple):
    """A name in a module; it is never looked up."""

    module: str
    name: str


class Record(NamedTuple):
    """A call that was not made, or an object that was not built.

    Attributes:
      symbol: what the file wanted to call.
      arguments: tuple.
      state: list of what the file wanted to put into the object afterwards.
    """

    symbol: Symbol
    arguments: tuple
    state: list


def read(data):
    """The value in a pickle: dicts, lists, tuples, numbers, text, bytes, and a `Record` for everything else.

    Args:
      data: bytes.

    Raises:
      PortingError: if the pickle is damaged, or names something that is not in `KNOWN`.
    """
    try:
        return _run(io.BytesIO(data))
    except PortingError:
        raise
    except _DAMAGE as error:
        raise PortingError(f"the pickle is damaged. Received: {type(error).__name__}: {error}") from error


def _run(stream):
    stack, memo = [], {}

    def above_mark():
        start = len(stack) - 1 - stack[::-1].index(_MARK)
        items = stack[start + 1 :]
        del stack[start:]
        return items

    while True:
        code = _take(stream, 1)
        if code in _LITERALS:
            stack.append(_LITERALS[code](stream))
            continue
        match code:
            case b".":
                return stack.pop()
            case b"\x80" | b"\x95":  # protocol, frame
                _take(stream, 1 if code == b"\x80" else 8)
            case b"(":
                stack.append(_MARK)
            case b"0":
                stack.pop()
            case b"1":
                above_mark()
            case b"2":
                stack.append(stack[-1])
            case b"}" | b"]" | b")":
                stack.append({b"}": dict, b"]": list, b")": tuple}[code]())
            case b"d":
                items = above_mark()
                stack.append(dict(zip(items[::2], items[1::2], strict=True)))
            case b"l":
                stack.append(above_mark())
            case b"t":
                stack.append(tuple(above_mark()))
            case b"\x85" | b"\x86" | b"\x87":  # tuples of 1 to 3
                count = code[0] - 0x84
                items = tuple(stack[len(stack) - count :])
                del stack[len(stack) - count :]
                stack.append(items)
            case b"a":
                value = stack.pop()
                stack[-1].append(value)
            case b"e":
                items = above_mark()
                stack[-1].extend(items)
            case b"s":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case b"u":
                items = above_mark()
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case b"p" | b"q" | b"r" | b"\x94":
                place = len(memo) if code == b"\x94" else _place(code, stream)
                memo[place] = stack[-1]
            case b"g" | b"h" | b"j":
                stack.append(memo[_place(code, stream)])
            case b"c" | b"\x93":
                if code == b"c":
                    module, name = _line(stream).decode(), _line(stream).decode()
                else:
                    name, module = stack.pop(), stack.pop()
                if name not in KNOWN.get(module, ()):
                    raise PortingError(f"the pickle must hold numbers and arrays only. Received: {module}.{name}")
                stack.append(Symbol(module, name))
            case b"R" | b"\x81":  # call, new object
                arguments, symbol = stack.pop(), stack.pop()
                stack.append(_record(symbol, arguments))
            case b"b":
                state = stack.pop()
                stack[-1].state.append(state)
            case _:
                raise PortingError(f"the pickle must hold numbers and arrays only. Received: instruction {code!r}")


def _record(symbol, arguments):
    if not isinstance(symbol, Symbol) or not isinstance(arguments, tuple):
        raise PortingError(f"the pickle calls something that has no name. Received: {symbol!r:.80}")
    if symbol.name == "_reconstructor":  # Python 2's way to say "new object"
        return _record(arguments[0], ())
    if symbol == Symbol("_codecs", "encode"):  # Python 3's way to write bytes in protocol 2
        return arguments[0].encode("latin-1")
    if symbol.name == "bytes" and not arguments:  # and to write none
        return b""
    return Record(symbol, arguments, [])


def _take(stream, count):
    part = stream.read(count)
    if len(part) < count:
        raise PortingError(f"the pickle ends too early. Received: {stream.tell()} bytes")
    return part


def _line(stream):
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise PortingError(f"the pickle ends too early. Received: {stream.tell()} bytes")
    return line[:-1].removesuffix(b"\r")  # a text-mode copy on Windows adds these


def _number(layout):
    size = struct.calcsize(layout)
    return lambda stream: struct.unpack(layout, _take(stream, size))[0]


def _sized(layout, decode=bytes):
    length = _number(layout)
    return lambda stream: decode(_take(stream, length(stream)))


def _latin1(part):
    return part.decode("latin-1")


def _utf8(part):
    return part.decode("utf-8", "surrogatepass")


def _long(part):
    return int.from_bytes(part, "little", signed=True)


def _int_line(stream):
    line = _line(stream)
    return line == b"01" if line in (b"00", b"01") else int(line.removesuffix(b"L"))


def _quoted_line(stream):
    line = _line(stream).strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise PortingError(f"the pickle holds text without quotes. Received: {line[:40]!r}")
    return _latin1(codecs.escape_decode(line[1:-1])[0])


_LITERALS = {
    b"N": lambda stream: None,
    b"\x88": lambda stream: True,
    b"\x89": lambda stream: False,
    b"I": _int_line,
    b"L": _int_line,
    b"F": lambda stream: float(_line(stream)),
    b"J": _number("<i"),
    b"K": _number("<B"),
    b"M": _number("<H"),
    b"G": _number(">d"),
    b"\x8a": _sized("<B", _long),
    b"\x8b": _sized("<I", _long),
    b"S": _quoted_line,
    b"T": _sized("<I", _latin1),
    b"U": _sized("<B", _latin1),
    b"V": lambda stream: _line(stream).decode("raw-unicode-escape"),
    b"X": _sized("<I", _utf8),
    b"\x8c": _sized("<B", _utf8),
    b"\x8d": _sized("<Q", _utf8),
    b"B": _sized("<I"),
    b"C": _sized("<B"),
    b"\x8e": _sized("<Q"),
    b"\x96": _sized("<Q"),
}


def _place(code, stream):
    if code in b"pg":
        return int(_line(stream))
    return _number("<B" if code in b"qh" else "<I")(stream)


def array(value, name):
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
    except _DAMAGE as error:
        raise PortingError(f"{name} is not a readable array. Received: {error}") from error


def _array(value, name):
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


def _dtype(value, name):
    code = value.arguments[0]
    if code not in _CODES:
        raise PortingError(f"{name} must hold plain numbers. Received: type {code!r}")
    order = value.state[0][1] if value.state else "<"
    return np.dtype(f"{order if order in '<>' else '='}{code}")


def _from_bytes(data, dtype, shape, order, name):
    data = data.encode("latin-1") if isinstance(data, str) else data
    shape = tuple(int(length) for length in shape)
    if not isinstance(data, bytes) or min(shape, default=0) < 0:
        raise PortingError(f"{name} must hold plain numbers. Received: {type(data).__name__} of shape {shape}")
    if len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise PortingError(f"{name} of shape {shape} and {dtype} does not fit. Received: {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="))


def _dense(state, kind, name, limit=1 << 28):
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


def npy_object(data, name):
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
