"""Tables of comma-separated values, read as untrusted input."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from tf_deep3d.errors import InputError, first_line

MAX_BYTES = 256 << 20  # of a table


def read_csv(path: str | os.PathLike[str], needed: Sequence[str] = ()) -> tuple[list[str], list[dict[str, str]]]:
    """Reads a table whose first row names its columns.

    Args:
      path: CSV file in UTF-8.
      needed: columns that it must have.

    Returns:
      (names of the columns, its rows as column -> text without white space around it; "" where a row ends early).

    Raises:
      FileNotFoundError: if there is no such file, or it is a device or a pipe.
      InputError: if the file is too large, no CSV, or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} may have {MAX_BYTES} bytes at most. Received: {path.stat().st_size}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
            columns = list(reader.fieldnames or ())
        if any("\0" in text for text in (*columns, *(value for row in rows for value in row.values()))):
            raise csv.Error("line contains NUL")  # which no file's name may have
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable CSV file. Received: {first_line(error)}") from error
    if not set(needed) <= set(columns):
        raise InputError(f"{path} must have the columns {' and '.join(needed)}. Received: {str(columns)[:200]}")
    return columns, rows
