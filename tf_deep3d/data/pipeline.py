"""A preparation from beginning to end: a pipeline of Apache Beam that fills a folder of records, shard after shard.

OUT/train-00000-of-00012   records
OUT/dataset.json           what they are, written last of all
OUT/.prepare               what is known before all shards are done: parameters, plan, reports, progress
"""

import fcntl
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from tf_deep3d.command_line import counted
from tf_deep3d.data import preparation, records, tfrecord
from tf_deep3d.data.preparation import WORK, Photo, Settings
from tf_deep3d.data.spread import Spread, progress, run, swept
from tf_deep3d.errors import InputError
from tf_deep3d.io import files
from tf_deep3d.rendering import pictures

SHARD_NAME = re.compile(r"(train|validation)-\d{5,}-of-\d{5,}")
SHEET = "contact_sheet.jpg"
DENSE_COLOR = (250, 220, 60)


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
    with locked(out), swept(out, out / WORK):
        if overwrite:
            _clear(out)
        if (out / records.DATASET_FILE).exists():
            _compare(out / records.DATASET_FILE, parameters, "parameters")
            print(f"{out} is complete already; --overwrite makes it anew")
        else:
            _fill(out, listed, settings, parameters, spread)
        shutil.rmtree(out / WORK, ignore_errors=True)
    return _left_over(out / records.DATASET_FILE, counts=dict, reasons=dict, rejected=list, duplicates=list)


def _fill(out: Path, listed: list[Photo], settings: Settings, parameters: dict[str, Any], spread: Spread) -> None:
    """Plans, or takes up the plan there is, prepares what is missing, and writes dataset.json."""
    work = out / WORK
    work.mkdir(exist_ok=True)
    if (work / "parameters.json").exists():
        _compare(work / "parameters.json", parameters)
    preparation.write_json(work / "parameters.json", parameters)
    if not (work / "plan.json").exists():
        with tqdm(total=len(listed), desc="reading", unit=" photos", disable=None, smoothing=0.05) as bar:
            planned = preparation.plan(listed, settings, spread.workers, bar.update)
        preparation.write_json(work / "plan.json", planned)
    planned = _left_over(work / "plan.json", shards=dict, rejected=list, duplicates=list)
    shards = planned["shards"]
    missing = [name for name in shards if not ((work / f"{name}.json").exists() and (out / name).exists())]
    common = {"out": str(out), "settings": asdict(settings)}
    jobs = [{"name": name, "photos": shards[name], **common} for name in missing]
    total, done = sum(map(len, shards.values())), sum(len(shards[name]) for name in shards if name not in missing)
    with progress(work, total, done, desc="preparing", unit=" photos"):
        if jobs:
            run(jobs, preparation.prepare_shard, spread)
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
