"""Output files that are whole or not there."""

import os
import secrets
from contextlib import contextmanager
from pathlib import Path


def refuse_existing(*paths):
    """Raises FileExistsError if any of `paths` exists."""
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(f"Pass overwrite to replace an existing file. Received: {path}")


@contextmanager
def writing(path, overwrite=False):
    """Opens a temporary file beside `path` that takes its name when the block ends well, and vanishes otherwise.

    Args:
      path: file to write; its folder is created.
      overwrite: replace an existing file.

    Yields:
      A binary file object.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
    """
    path = Path(path)
    if not overwrite:
        refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
