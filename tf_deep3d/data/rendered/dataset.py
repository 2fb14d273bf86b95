"""Folders of rendered people, which appear whole or not at all, by this process or dealt to others shard by shard."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from tf_deep3d.data import records, spread, tfrecord
from tf_deep3d.data.preparation import write_json
from tf_deep3d.data.rendered.people import Head, load_head
from tf_deep3d.data.rendered.pictures import Settings, render_people
from tf_deep3d.data.spread import Spread
from tf_deep3d.data.tfrecord import ShardInfo
from tf_deep3d.face import head as heads
from tf_deep3d.face import morphable_model
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import files

SHARD = 500  # records
WORK = ".rendered"  # beside the shards while processes tell there what they did


class Crew(NamedTuple):
    """Processes that render.

    Attributes:
      spread: `Spread`.
      head: file of the head, None for the shipped; as of `people.load_head`.
      scanned: file of scanned people, or None.
    """

    spread: Spread
    head: Path | None = None
    scanned: Path | None = None

    def job(self, folder: Path, name: str, numbers: range, settings: Settings) -> dict[str, Any]:
        """What a process is told of a shard: names that hold in another folder, too."""
        head, scanned = (None if path is None else path.absolute() for path in (self.head, self.scanned))
        backgrounds = tuple(path.absolute() for path in settings.backgrounds)
        return {
            "folder": folder.absolute(),
            "name": name,
            "numbers": numbers,
            "settings": replace(settings, backgrounds=backgrounds),
            "people": (head, scanned),
        }


@cache
def people(head: Path | None, scanned: Path | None) -> tuple[MorphableModel, Head]:
    """The face model and the head of a process, loaded once."""
    model = morphable_model.load(level=heads.LEVEL)
    return model, load_head(model, head, scanned)


def write_dataset(
    out: Path,
    settings: Settings,
    model: MorphableModel,
    head: Head,
    overwrite: bool = False,
    crew: Crew | None = None,
) -> dict[str, int]:
    """Renders a folder of records, which appears whole or not at all; the same bytes, whoever renders them.

    Args:
      out: folder.
      settings: `Settings`.
      model, head: as of `render_people`.
      overwrite: replace an existing folder of records.
      crew: processes that render, None for this one.

    Returns:
      Dict of split -> number of records.

    Raises:
      FileExistsError: if `out` exists and `overwrite` is false, or it holds no records.
      OSError: if nothing can be written, or a worker fails.
    """
    refuse_existing(out, overwrite)
    learnt = settings.count - settings.held_out
    ranges = {"train": range(learnt), "validation": range(learnt, settings.count)}
    planned = {split: shards(split, numbers, settings) for split, numbers in ranges.items()}
    parts = {name: part for names in planned.values() for name, part in names.items()}
    with files.writing_folder(out, overwrite) as folder:
        if crew is None:
            with tqdm(total=settings.count, desc="rendering", unit="picture") as bar:
                made = {
                    name: _write(folder / name, settings, numbers, (model, head), bar.update)
                    for name, numbers in parts.items()
                }
        else:
            made = _dealt(folder, settings, parts, crew)
        info = {"kind": "rendered", "seed": settings.seed, "count": settings.count,
                "photos_each": settings.photos_each, "face_model": model.name, "level": model.level,
                "backgrounds": len(settings.backgrounds), "lighting": "rgb"}  # fmt: skip
        records.write_dataset_json(
            folder, {split: {name: made[name] for name in names} for split, names in planned.items()}, info
        )
    return {split: len(numbers) for split, numbers in ranges.items()}


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raises FileExistsError if `write_dataset` would."""
    if overwrite:
        files.refuse_foreign(out, records.DATASET_FILE)
    else:
        files.refuse_existing(out)


def shards(split: str, numbers: range, settings: Settings) -> dict[str, range]:
    """File name -> numbers of the pictures, of each shard of a split; all pictures of a person lie in one."""
    step = SHARD - SHARD % settings.photos_each or settings.photos_each
    starts = range(0, len(numbers), step)
    return {f"{split}-{n:05d}.tfrecord.gz": numbers[start : start + step] for n, start in enumerate(starts)}


def render_shard(job: dict[str, Any]) -> str:
    """Renders one shard of a `Crew.job`, with its report, and its progress: one byte for each picture.

    Raises:
      OSError: if it cannot be written.
      StoppedError: if the command has ended.
    """
    folder, name = job["folder"], job["name"]
    with open(folder / WORK / f"{name}.progress", "wb", buffering=0) as progress:

        def tell() -> None:
            spread.check_command(job)
            progress.write(b".")

        info = _write(folder / name, job["settings"], job["numbers"], people(*job["people"]), tell)
    write_json(folder / WORK / f"{name}.json", asdict(info))
    return name


def _dealt(folder: Path, settings: Settings, parts: dict[str, range], crew: Crew) -> dict[str, ShardInfo]:
    """Has the shards rendered by a crew; returns name -> `ShardInfo`."""
    work = folder / WORK
    work.mkdir()
    jobs = [crew.job(folder, name, numbers, settings) for name, numbers in parts.items()]
    with spread.swept(folder, work), spread.progress(work, settings.count, 0, desc="rendering", unit=" pictures"):
        spread.run(jobs, render_shard, crew.spread)
    made = {name: records.shard_info(records.read_json(work / f"{name}.json")) for name in parts}
    shutil.rmtree(work)
    return made


def _write(
    path: Path,
    settings: Settings,
    numbers: range,
    people: tuple[MorphableModel, Head],
    on_record: Callable[[], object],
) -> ShardInfo:
    def examples() -> Iterator[bytes]:
        for record in render_people(settings, *people, len(numbers), numbers.start):
            yield records.encode(record)
            on_record()

    return tfrecord.write_shard(path, examples(), overwrite=True)
