"""The mistakes of users: what they gave cannot be used, or what they want is not installed. Each is said in a line."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 1000  # letters of a message


class InputError(ValueError):
    """What a user gave cannot be used: a file, a setting, an argument.

    The message is one line that says what is asked for and what was received, whatever bytes that was. Commands print
    it and exit with 1. A bare `ValueError` is never a user's mistake but ours, and keeps its traceback.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class WeightsError(InputError):
    """The file holds no weights of a network that fit; the message says what was received."""


def readable(text: str) -> str:
    r"""`text`, such as a file's name, as one line that every file and terminal in UTF-8 takes, and that still tells
    names apart: line breaks, controls and what is no Unicode (a byte of a name that is no UTF-8) are escaped, as \n."""
    escaped = ("Cc", "Cs", "Zl", "Zp")
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in escaped else c for c in text)


def one_line(text: str) -> str:
    """`text` as a line that can be read: `readable`, and without its middle where it is longer than `LONGEST`."""
    line = readable(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def first_line(error: Exception, longest: int = 200) -> str:
    """What a library's exception says, as a line of an `InputError`: its kind and its first line, cut to `longest`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return readable(f"{type(error).__name__}: {lines[0]}"[:longest] if lines else type(error).__name__)


class ExtraError(ModuleNotFoundError):
    """A package that not every installation has is missing; the message says how to get it."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports of packages that only the extra `name` of this package installs.

    Raises:
      ExtraError: if one of them is missing. A missing module of ours is a bug and stays what it is.
    """
    try:
        yield
    except ExtraError:
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("tf_deep3d", "export"):
            raise
        raise ExtraError(
            f'this needs the extra [{name}]: pip install "tf_deep3d[{name}]". Received: {error}', name=error.name
        ) from error
