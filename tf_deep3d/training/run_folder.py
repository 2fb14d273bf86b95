"""What a training leaves in its folder, and how it goes on where it was cut off.

    config.yaml         the resolved settings
    log.csv             one line for every `log_every` steps: raw terms, measures, rate, speed
    tensorboard/        the same, and the panels
    panels/00001000.png held-out faces: photo, overlay, shape, ..
    checkpoints/        weights and the optimizer's state, the two latest
    rnet.keras          the weights to use, from the latest checkpoint; of C-Net cnet.keras, and rnet.keras beside it

Every file but the logs appears whole or not at all. The log is cut back to the checkpoint that a training goes on
from.
"""

import csv
import dataclasses
import io
import math
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_deep3d.errors import InputError
from tf_deep3d.io.files import writing
from tf_deep3d.io.work_folders import sweep, work_folder
from tf_deep3d.training import config
from tf_deep3d.training.settings import TrainSettings

KEPT = 2  # checkpoints
_HDF5_OVERHEAD = 1 << 21  # bytes
CONFIG, LOG = "config.yaml", "log.csv"


class TrainingError(InputError):
    """The training cannot go on; the message says why."""


def open_folder(folder: str | Path, settings: TrainSettings, overwrite: bool = False) -> None:
    """Makes the folder of a run, or finds the run to go on with.

    Args:
      folder: of the run.
      settings: `TrainSettings`; but for `steps` they must be those a run began with.
      overwrite: remove another run's files.

    Raises:
      TrainingError: if the folder holds a run of other settings, or something else.
      OSError: if it cannot be written.
    """
    folder = Path(folder)
    sweep(folder, folder / "checkpoints", folder / "panels")
    if folder.exists() and overwrite:
        if any(folder.iterdir()) and not (folder / CONFIG).is_file():
            raise TrainingError(f"only the folder of a run can be overwritten. Received: {folder}")
        shutil.rmtree(folder)
    if (folder / CONFIG).is_file():
        before = config.load(folder / CONFIG, type(settings))
        begun = any(path.name != CONFIG for path in folder.iterdir())
        if begun and dataclasses.replace(before, steps=settings.steps) != settings:
            changed = _differences(config.as_plain(before), config.as_plain(settings))
            raise TrainingError(
                f"{folder} holds a run with other settings; name another folder with --run, or pass --overwrite. "
                f"Received: {', '.join(changed)}"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"the folder of a run must be empty or hold a run. Received: {folder}")
    config.write(folder / CONFIG, settings, overwrite=True)


def checkpoints(folder: str | Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run as (step, path), the earliest first."""
    found = ((path.name.split(".")[0], path) for path in Path(folder, "checkpoints").glob("*.weights.h5"))
    return sorted((int(step), path) for step, path in found if step.isdigit())


def restore(folder: str | Path, reconstructor: keras.Model) -> int:
    """Loads the latest checkpoint into a `Reconstructor` with a built optimizer; returns its step, 0 if there is none.

    Raises:
      TrainingError: if the checkpoint does not fit.
    """
    found = checkpoints(folder)
    if not found:
        return 0
    step, path = found[-1]
    try:
        reconstructor.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(
            f"{path} does not fit this training; remove it to go on without. Received: {error}"
        ) from error
    return step


def cut_log(folder: str | Path, step: int) -> None:
    """Drops the lines of `log.csv` after `step`, which will be written again; all of it where none is left."""
    path = Path(folder, LOG)
    if not path.is_file():
        return
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        try:
            header, *rows = list(csv.reader(file)) or [[]]
        except csv.Error as error:
            raise TrainingError(f"{path} is no log of ours; remove it to go on. Received: {error}") from error
    kept = [row for row in rows if row and row[0].isdigit() and int(row[0]) <= step and len(row) == len(header)]
    if not kept:  # the header may be torn, too
        path.unlink()
        return
    with writing(path, overwrite=True) as file:
        text = io.StringIO()
        csv.writer(text).writerows([header, *kept])
        file.write(text.getvalue().encode())


def save_checkpoint(folder: str | Path, reconstructor: keras.Model, step: int) -> None:
    """Writes the weights and the optimizer's state, and drops the oldest checkpoint beyond the latest `KEPT`.

    Raises:
      OSError: if it cannot be written.
    """
    path = Path(folder, "checkpoints", f"{step:08d}.weights.h5")
    path.parent.mkdir(exist_ok=True)
    with work_folder(path.parent) as work:
        new = work / path.name  # Keras insists on the suffix
        values = [*reconstructor.variables, *reconstructor.optimizer.variables]
        _check_room(new, sum(np.dtype(value.dtype).itemsize * math.prod(value.shape) for value in values))
        reconstructor.save_weights(new)
        new.replace(path)
    for _, old in checkpoints(folder)[:-KEPT]:
        old.unlink()


def _check_room(path: Path, size: int) -> None:
    """Raises OSError if the disk has no room for a file of so many bytes and what HDF5 adds: the library ends the
    process with a segmentation fault when it cannot write."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "xb") as file:
        os.posix_fallocate(file.fileno(), 0, size + size // 10 + _HDF5_OVERHEAD)
    path.unlink()


def check_there(folder: str | Path) -> None:
    """Raises TrainingError if the folder of a run has vanished: what is written now would be half a run."""
    if not Path(folder, CONFIG).is_file():
        raise TrainingError(f"the folder of the run has vanished. Received: {folder}")


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys of nested dicts that differ, as "key: before, now"."""
    found = []
    for key, value in now.items():
        if isinstance(value, dict):
            found += _differences(before[key], value, f"{prefix}{key}.")
        elif before[key] != value:
            found.append(f"{prefix}{key} was {before[key]} and is {value}")
    return found
