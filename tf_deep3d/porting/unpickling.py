"""Reads the data in a Python pickle without running it.

A pickle is a program for a small stack machine, and two of its instructions call whatever the file names. This reader
runs the machine with those calls left out: where the file says "call this with that", it gets a `Record` that holds
the name and the arguments. Only names in `KNOWN` pass, those that NumPy arrays, SciPy's sparse matrices and chumpy's
arrays (SMPL and FLAME are stored as such) are made of; a file that names anything else is refused. `pickle` itself is
not imported. `pickled` makes the records arrays.

Protocols 0 to 5, as Python 2 and 3 write them; text of Python 2 is read as Latin-1.
"""

import codecs
import io
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

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
_MARK = object()
DAMAGE = (
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


def read(data: bytes) -> Any:
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
    except DAMAGE as error:
        raise PortingError(f"the pickle is damaged. Received: {type(error).__name__}: {error}") from error


def _run(stream: io.BytesIO) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    while (code := _take(stream, 1)) != b".":
        if code in _LITERALS:
            stack.append(_LITERALS[code](stream))
        elif code in _ON_STACK:
            _ON_STACK[code](stack)
        elif code in (b"\x80", b"\x95"):  # protocol, frame
            _take(stream, 1 if code == b"\x80" else 8)
        elif code in (b"p", b"q", b"r"):
            memo[_place(code, stream)] = stack[-1]
        elif code == b"\x94":
            memo[len(memo)] = stack[-1]
        elif code in (b"g", b"h", b"j"):
            stack.append(memo[_place(code, stream)])
        elif code == b"c":
            module, name = _line(stream).decode(), _line(stream).decode()
            stack.append(_symbol(module, name))
        else:
            raise PortingError(f"the pickle must hold numbers and arrays only. Received: instruction {code!r}")
    return stack.pop()


def _above_mark(stack: list[Any]) -> list[Any]:
    """Takes what lies above the last mark off the stack, and the mark."""
    start = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _dict(items: list[Any]) -> dict[Any, Any]:
    return {_key(name): value for name, value in zip(items[::2], items[1::2], strict=True)}


def _key(value: Any) -> Any:
    """A key of a dict: plain, since the hash and the text of nested tuples can take for ever."""
    if not isinstance(value, str | bytes | int | float | None):
        raise PortingError(f"the pickle must name things by text or numbers. Received: {type(value).__name__}")
    return value


def _push_tuple(stack: list[Any], count: int) -> None:
    items = tuple(stack[len(stack) - count :])
    del stack[len(stack) - count :]
    stack.append(items)


def _append(stack: list[Any]) -> None:
    value = stack.pop()
    stack[-1].append(value)


def _extend(stack: list[Any]) -> None:
    items = _above_mark(stack)
    stack[-1].extend(items)


def _set_item(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][_key(key)] = value


def _update(stack: list[Any]) -> None:
    items = _above_mark(stack)
    stack[-1].update(_dict(items))


def _push_symbol(stack: list[Any]) -> None:
    name, module = stack.pop(), stack.pop()
    stack.append(_symbol(module, name))


def _push_record(stack: list[Any]) -> None:  # call, new object
    arguments, symbol = stack.pop(), stack.pop()
    stack.append(_record(symbol, arguments))


def _add_state(stack: list[Any]) -> None:
    state = stack.pop()
    stack[-1].state.append(state)


# Instructions that need nothing but the stack.
_ON_STACK: dict[bytes, Callable[[list[Any]], object]] = {
    b"(": lambda stack: stack.append(_MARK),
    b"0": lambda stack: stack.pop(),
    b"1": _above_mark,
    b"2": lambda stack: stack.append(stack[-1]),
    b"}": lambda stack: stack.append({}),
    b"]": lambda stack: stack.append([]),
    b")": lambda stack: stack.append(()),
    b"d": lambda stack: stack.append(_dict(_above_mark(stack))),
    b"l": lambda stack: stack.append(_above_mark(stack)),
    b"t": lambda stack: stack.append(tuple(_above_mark(stack))),
    b"\x85": lambda stack: _push_tuple(stack, 1),
    b"\x86": lambda stack: _push_tuple(stack, 2),
    b"\x87": lambda stack: _push_tuple(stack, 3),
    b"a": _append,
    b"e": _extend,
    b"s": _set_item,
    b"u": _update,
    b"\x93": _push_symbol,
    b"R": _push_record,
    b"\x81": _push_record,
    b"b": _add_state,
}


def _symbol(module: Any, name: Any) -> Symbol:
    if not isinstance(module, str) or not isinstance(name, str):
        raise PortingError(f"the pickle calls something that has no name. Received: {type(name).__name__}")
    if name not in KNOWN.get(module, ()):
        raise PortingError(f"the pickle must hold numbers and arrays only. Received: {module}.{name}")
    return Symbol(module, name)


def _record(symbol: Any, arguments: Any) -> Any:
    if not isinstance(symbol, Symbol) or not isinstance(arguments, tuple):
        raise PortingError(f"the pickle calls something that has no name. Received: {type(symbol).__name__}")
    if symbol.name == "_reconstructor":  # Python 2's way to say "new object"
        return _record(arguments[0], ())
    if symbol == Symbol("_codecs", "encode"):  # Python 3's way to write bytes in protocol 2
        return arguments[0].encode("latin-1")
    if symbol.name == "bytes" and not arguments:  # and to write none
        return b""
    return Record(symbol, arguments, [])


def _take(stream: io.BytesIO, count: int) -> bytes:
    part = stream.read(count)
    if len(part) < count:
        raise PortingError(f"the pickle ends too early. Received: {stream.tell()} bytes")
    return part


def _line(stream: io.BytesIO) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise PortingError(f"the pickle ends too early. Received: {stream.tell()} bytes")
    return line[:-1].removesuffix(b"\r")  # a text-mode copy on Windows adds these


def _number(layout: str) -> Callable[[io.BytesIO], Any]:
    size = struct.calcsize(layout)
    return lambda stream: struct.unpack(layout, _take(stream, size))[0]


def _sized(layout: str, decode: Callable[[bytes], Any] = bytes) -> Callable[[io.BytesIO], Any]:
    length = _number(layout)
    return lambda stream: decode(_take(stream, length(stream)))


def _latin1(part: bytes) -> str:
    return part.decode("latin-1")


def _utf8(part: bytes) -> str:
    return part.decode("utf-8", "surrogatepass")


def _long(part: bytes) -> int:
    return int.from_bytes(part, "little", signed=True)


def _int_line(stream: io.BytesIO) -> int:
    line = _line(stream)
    return line == b"01" if line in (b"00", b"01") else int(line.removesuffix(b"L"))


def _quoted_line(stream: io.BytesIO) -> str:
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


def _place(code: bytes, stream: io.BytesIO) -> int:
    if code in b"pg":
        return int(_line(stream))
    return _number("<B" if code in b"qh" else "<I")(stream)
