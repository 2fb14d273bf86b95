"""Evaluation protocols of published data sets: each reads the set's own folders and gives the `benchmark.Case`s.

The sets are their owners'; nothing of them is here. Every module says where it learnt a layout. What a set lacks here
is left out with a remark that says what was found and what was expected where; a set without a single whole case is an
error that says so.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.charts import Chart
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.report import Results

LISTED = 8  # entries of a folder that a message names


class Protocol(NamedTuple):
    """A data set, ready to be evaluated on.

    Attributes:
      name: with version; results under different names do not compare.
      entries: list, one for each case; what the module needs to make it.
      make: (entry, folder for pictures that are made) -> `benchmark.Case`.
      remark: what was left out, and what differs from the published protocol.
      pooled: also sum up the distances of all points of all cases together, as the NoW challenge does.
      detail: the model's level of detail that is fine enough for it, see `morphable_model.pick_level`.
      recognition: whether a rendering can be compared with its photo.
      brief: numbers that are shown in one table of all sections.
      finish: (folder, results) -> None, adds numbers that need several results to them.
      charts: (folder, results) -> list of `charts.Chart`.
    """

    name: str
    entries: list[Any]
    make: Callable[[Any, Path], Case]
    remark: str = ""
    pooled: bool = False
    detail: int = -1
    recognition: bool = True
    brief: tuple[str, ...] = ()
    finish: Callable[[Path, Results], None] | None = None
    charts: Callable[[Path, Results], list[Chart]] | None = None

    def cases(self, pictures: Path) -> Iterator[Case]:
        """Yields the `Case`s; nothing is read before. One whose files are unusable says why (`Case.unusable`)."""
        for number, entry in enumerate(self.entries, 1):
            try:
                case = self.make(entry, pictures)
            except InputError as error:
                name = f"case {number}"
                case = Case(name, name, None, (), _unusable, unusable=str(error))
            yield case


def _unusable(prediction: Prediction) -> Measurement:
    raise InputError("the case is unusable. Received: a prediction")


def folder_of(path: str | Path, what: str) -> Path:
    """`path` if it is a folder.

    Raises:
      FileNotFoundError: with what lies there instead.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{what} expected at {path}. Received: {found_at(path)}")
    return path


def found_at(path: str | Path) -> str:
    """What lies at the nearest folder above `path` that exists, for a message."""
    here = Path(path)
    while not here.exists() and here != here.parent:
        here = here.parent
    if here.is_file():
        return f"the file {here}"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in here.iterdir() if not entry.name.startswith("."))
    listed = ", ".join(names[:LISTED]) or "nothing"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{here} with {listed}{more}"


def whole(entries: Sequence[Any], lacking: Sequence[str], folder: str | Path, expected: str) -> str:
    """The remark about a partial set.

    Args:
      entries: what is there.
      lacking: list of text, what is not.
      folder: the data set.
      expected: the layout.

    Returns:
      Text, empty if nothing lacks.

    Raises:
      FileNotFoundError: if nothing is there.
    """
    some = "; ".join(lacking[:LISTED]) + (f"; and {len(lacking) - LISTED} more" if len(lacking) > LISTED else "")
    if not entries:
        raise FileNotFoundError(f"expected {expected} in {folder}. Received: {some or found_at(folder)}")
    return f"{len(entries)} cases found; not found: {some}." if lacking else ""


def joined(*remarks: str) -> str:
    """The remarks that say something, as one text."""
    return "\n".join(remark for remark in remarks if remark)
