"""A command that does nothing but write, as the others do, and goes on where it was cut off: so a kill costs little.

python -m tests.endurance.writer OUT
"""

import argparse
import os
import sys
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.io import files
from tf_deep3d.io.work_folders import claimed, sweep

FOLDERS, PIECES = 8, 40  # folders of results; pieces of a file, written one by one
PIECE = bytes(range(256)) * 32


def main(arguments: list[str] | None = None) -> int:
    parser = command_line.parser("python -m tests.endurance.writer", __doc__)
    parser.add_argument("out", type=Path)
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    sweep(options.out)
    for number in range(FOLDERS):
        folder = options.out / f"face{number}"
        with claimed(folder) as mine:
            if not mine or folder.exists():
                continue
            with files.writing_folder(folder) as new, files.writing(new / "mesh.bin") as file:
                _write(file)
    for number in range(2):  # a file that is written again and again, and a folder that takes another's place
        with files.writing(options.out / "state.bin", overwrite=True) as file:
            _write(file)
        with files.writing_folder(options.out / "latest", overwrite=True) as new:
            (new / "state.bin").write_bytes(PIECE * PIECES)
            (new / "number.json").write_text(str(number))
    return 0


def _write(file: "files.BinaryIO") -> None:
    for _ in range(PIECES):
        file.write(PIECE)
        file.flush()
        os.fsync(file.fileno())  # gives others, and kills, their time


if __name__ == "__main__":
    sys.exit(main())
