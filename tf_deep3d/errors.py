"""The mistakes of users: what they gave cannot be used, or what they want is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """What a user gave cannot be used: a file, a setting, an argument.

    The message is one line that says what is asked for and what was received. Commands print it and exit with 1. A bare
    `ValueError` is never a user's mistake but ours, and keeps its traceback.
    """


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
