"""A preparation from beginning to end: a pipeline of Apache Beam that fills a folder of records, shard after shard.

OUT/train-00000-of-00012   records
OUT/dataset.json           what they are, written last of all
OUT/.prepare               what is known before all shards are done: parameters, plan, reports, progress
"""

import fcntl
import logging
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.command_line import counted
from tf_deep3d.data import preparation, records, tfrecord, worker
from tf_deep3d.data.preparation import WORK, Photo, Settings
from tf_deep3d.errors import InputError
from tf_deep3d.io import files
from tf_deep3d.io.work_folders import sweep, temporary_files
from tf_deep3d.rendering import pictures

SHARD_NAME = re.compile(r"(train|validation)-\d{5,}-of-\d{5,}")
SHEET = "contact_sheet.jpg"
DENSE_COLOR = (250, 220, 60)
DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"  # Beam knows it by this name only


class Spread(NamedTuple):
    """How the work is spread.

    Attributes:
      workers: processes of this machine.
      runner: name of Beam's runner, None for this machine.
      options: of Beam, --name=value each.
    """

    workers: int
    runner: str | None = None
    options: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """Whether this machine does it all."""
        return self.runner in (None, "DirectRunner", "FnApiRunner")


def prepare(
    out: Path, listed: list[Photo], settings: Settings, spread: Spread, overwrite: bool = False
) -> dict[str, Any]:
    """Fills a folder with records, or goes on where another command was cut off.

    Args:
      out: folder.
      listed: of `preparation.list_photos`.
      settings: `preparation.Settings`.
      spread: `Spread`.
      overwrite: replace the records of other photos or settings.

    Returns:
      The content of `dataset.json`.

    Raises:
      InputError: if the folder holds records of other photos or settings, or files that are no work of ours.
      OSError: if another command is at work there, or a worker fails.
    """
    parameters = preparation.parameters(listed, settings)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out), _swept(out):
        if overwrite:
            _clear(out)
        if (out / records.DATASET_FILE).exists():
            _compare(out / records.DATASET_FILE, parameters, "parameters")
            print(f"{out} is complete already; --overwrite makes it anew")
        else:
            with open(os.dup(2), "w") as terminal:  # stays when Beam is silenced
                _fill(out, listed, settings, parameters, spread, terminal)
        shutil.rmtree(out / WORK, ignore_errors=True)
    return _left_over(out / records.DATASET_FILE, counts=dict, reasons=dict, rejected=list, duplicates=list)


@contextmanager
def _swept(out: Path) -> Iterator[None]:
    """Removes what killed workers left; afterwards, too, for those of an interrupted or killed command end a moment
    after it."""
    try:
        sweep(out, out / WORK)
        yield
    finally:
        deadline = time.monotonic() + worker.PATIENCE
        while sweep(out, out / WORK) and time.monotonic() < deadline:
            time.sleep(worker.PAUSE)


def _fill(
    out: Path, listed: list[Photo], settings: Settings, parameters: dict[str, Any], spread: Spread, terminal: Any
) -> None:
    """Plans, or takes up the plan there is, prepares what is missing, and writes dataset.json."""
    work = out / WORK
    work.mkdir(exist_ok=True)
    if (work / "parameters.json").exists():
        _compare(work / "parameters.json", parameters)
    preparation.write_json(work / "parameters.json", parameters)
    for stale in work.glob("*.progress"):
        stale.unlink(missing_ok=True)
    bar = {"file": terminal, "unit": " photos", "disable": None, "smoothing": 0.05}
    if not (work / "plan.json").exists():
        with tqdm(total=len(listed), desc="reading", **bar) as progress:
            planned = preparation.plan(listed, settings, spread.workers, progress.update)
        preparation.write_json(work / "plan.json", planned)
    planned = _left_over(work / "plan.json", shards=dict, rejected=list, duplicates=list)
    shards = planned["shards"]
    missing = [name for name in shards if not ((work / f"{name}.json").exists() and (out / name).exists())]
    common = {"out": str(out), "settings": asdict(settings)}
    jobs = [{"name": name, "photos": shards[name], **common} for name in missing]
    total, done = sum(map(len, shards.values())), sum(len(shards[name]) for name in shards if name not in missing)
    with (
        tqdm(total=total, initial=done, desc="preparing", **bar) as progress,
        _watching(work, progress, done),
        command_line.quiet((1, 2)),
    ):
        if jobs:
            _work(jobs, spread)
    reports = {name: _left_over(work / f"{name}.json", shard=dict, rejected=list) for name in shards}
    listing: dict[str, dict[str, tfrecord.ShardInfo]] = {split: {} for split in records.SPLITS}
    for name, report in reports.items():
        listing[name.partition("-")[0]][name] = tfrecord.ShardInfo(**report["shard"])
    rejected = [*planned["rejected"], *(bad for report in reports.values() for bad in report["rejected"])]
    info = {
        "parameters": parameters,
        "reasons": dict(Counter(bad["reason"].partition(":")[0] for bad in rejected).most_common()),
        "rejected": sorted(rejected, key=lambda bad: bad["photo"]),
        "duplicates": planned["duplicates"],
    }
    records.write_dataset_json(out, listing, info)


def _work(jobs: list[dict[str, Any]], spread: Spread) -> None:
    """`_run_beam`, which an interruption ends within seconds, together with its workers."""
    try:
        with temporary_files() as command:
            jobs = [{**job, "command": str(command) if spread.local else None} for job in jobs]
            worker.interruptible(lambda: _run_beam(jobs, spread, command))
    finally:
        worker.wait_for_workers()


def _run_beam(jobs: list[dict[str, Any]], spread: Spread, command: Path) -> None:
    """Runs the pipeline: each job is one shard; keys deal the jobs evenly to the workers. Those of this machine live as
    long as this process holds the hidden folder `command`."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    arguments, runner = list(spread.options), None
    if spread.local:
        workers = min(spread.workers, len(jobs))
        runner = worker.runner(workers, command)
        arguments.append(f"--direct_num_workers={workers}")
    else:
        dask = spread.runner in ("DaskRunner", DASK)
        if dask and not any(option.startswith(("--dask_npartitions", "--dask_partition_size")) for option in arguments):
            arguments.append("--dask_partition_size=1")  # of Dask's own accord 128 shards would be one piece of work
        arguments.append(f"--runner={DASK if dask else spread.runner}")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        made = beam.Pipeline(runner, PipelineOptions(arguments))
    except ValueError as error:  # what the user said of runner and options
        raise InputError(f"Beam does not take these options. Received: {' '.join(str(error).split())}") from error
    try:
        with made as pipeline:
            keyed = pipeline | "Shards" >> beam.Create(list(enumerate(jobs))) | "Deal" >> beam.GroupByKey()
            _ = keyed | "Jobs" >> beam.FlatMap(lambda item: item[1]) | "Prepare" >> beam.Map(preparation.prepare_shard)
    except Exception as error:  # of a worker: Beam has it in the text of what it raises, Dask as the cause
        causes = re.findall(r"^(?:\w+\.)*\w*Error: (.*?)(?: \[while running.*)?$", str(error), re.MULTILINE)
        raise OSError(f"a worker failed: {causes[-1] if causes else error.__cause__ or error}") from error


@contextmanager
def _watching(work: Path, progress: Any, done: int) -> Iterator[None]:
    """Moves the progress bar by the bytes that workers add to their progress files."""
    ended = threading.Event()

    def look() -> None:
        progress.update(done + sum(path.stat().st_size for path in work.glob("*.progress")) - progress.n)

    def watch() -> None:
        while not ended.wait(0.5):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        look()


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds `out` against a second command; the system lets go of it when the process ends, however it ends."""
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BlockingIOError(f"another command is preparing there. Received: {out}") from None
    finally:
        os.close(folder)


def _compare(path: Path, parameters: dict[str, Any], key: str | None = None) -> None:
    """Raises InputError if the parameters in the JSON file `path` are others."""
    found = records.read_json(path, **{key: dict})[key] if key else records.read_json(path)
    if other := [name for name in parameters if found.get(name) != parameters[name]]:
        what = ", ".join(dict.fromkeys("photos" if name == "listing" else name for name in other))
        raise InputError(f"{path.parent} holds records of other {what}: choose another OUT, or pass --overwrite")


def _left_over(path: Path, **kinds: type) -> dict[str, Any]:
    """`records.read_json` of what an earlier command of ours left; what is in its fields is checked too."""
    content = records.read_json(path, **kinds)

    def fits(name: str, value: Any) -> bool:
        match name, value:
            case ("shard", {"count": int(), "sha256": str(), "bytes": int()}):
                return len(value) == 3
            case ("shards", dict()):
                return all(SHARD_NAME.fullmatch(shard) and _are_photos(photos) for shard, photos in value.items())
            case ("counts", dict()):
                return all(isinstance(number, int) for number in value.values())
            case ("rejected", list()):
                told = [(bad.get("photo"), bad.get("reason")) if isinstance(bad, dict) else (None,) for bad in value]
                return all(isinstance(text, str) for texts in told for text in texts)
        return name in ("reasons", "duplicates")

    if wrong := [name for name in kinds if not fits(name, content[name])]:
        raise records.RecordsError(f"{path.name} is not one of ours, by its {', '.join(wrong)}. Received: {path}")
    return content


def _are_photos(photos: Any) -> bool:
    """Whether these are [path, source, person] each."""
    return isinstance(photos, list) and all(
        isinstance(photo, list) and len(photo) == 3 and all(isinstance(text, str) for text in photo) for photo in photos
    )


def _clear(out: Path) -> None:
    """Removes the records in `out`, and nothing else: `dataset.json` first."""
    (out / records.DATASET_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / WORK, ignore_errors=True)
    for path in out.iterdir():
        if SHARD_NAME.fullmatch(path.name):
            path.unlink()


def show(out: Path, count: int) -> None:
    """Draws `count` records, evenly out of all, with landmarks, and their skin beside."""
    opened = []
    for split in records.SPLITS:
        try:
            opened += records.open_records(out, split).shards
        except records.RecordsError:
            continue  # a split may be empty
    wanted = set(np.linspace(0, sum(s.count for s in opened) - 1, count).astype(int).tolist()) if opened else ()
    panels, captions, start = [], [], 0
    for shard in opened:
        for number, example in enumerate(tfrecord.open_shard(shard.path).take(shard.count), start):
            if number in wanted:
                record = {name: value.numpy() for name, value in records.parse(example).items()}
                points = [(record["dense"], DENSE_COLOR), (record["landmarks"], pictures.DETECTED)]
                marked = pictures.draw_points(pictures.draw_points(record["image"], points[:1], 0.7), points[1:], 1.5)
                panels.append(np.concatenate([marked, np.repeat(record["skin"], 3, axis=-1)], axis=1))
                captions.append(record["source"].decode())
        start += shard.count
    if panels:
        with files.writing(out / SHEET, overwrite=True) as file:
            Image.fromarray(pictures.contact_sheet(panels, 4, captions)).save(file, "JPEG", quality=90)


def summary(out: Path, info: dict[str, Any]) -> str:
    """What there is and what was left out, in words.

    Args:
      out: folder.
      info: content of `dataset.json`.
    """
    counts = ", ".join(f"{number} for {split}" for split, number in info["counts"].items())
    reasons = ", ".join(f"{number} {reason}" for reason, number in info["reasons"].items())
    made = counted(sum(info["counts"].values()), "record")
    lines = [f"{made} in {out} ({counts}) of {counted(info['parameters']['photos'], 'photo')}"]
    lines += [f"{counted(len(info['rejected']), 'photo')} rejected: {reasons}"] if info["rejected"] else []
    lines += [f"{counted(len(info['duplicates']), 'duplicate')} dropped"] if info["duplicates"] else []
    return "\n".join(lines)
