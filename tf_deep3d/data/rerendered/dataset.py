"""From photos to records of photos rendered anew, shard after shard; a run that was cut off goes on.

OUT/fits                    the photos with their fitted coefficients, records of the kind "fitted": to be used again
OUT/train-00000.tfrecord.gz the pictures
OUT/dataset.json            what they are, written last of all
OUT/.synthetic              what is known before all is done: parameters and a report of each shard

Everything is decided by the photos, what fits them and the settings alone.
"""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import tf_deep3d
from tf_deep3d.data import pipeline, records, spread, tfrecord
from tf_deep3d.data.preparation import write_json
from tf_deep3d.data.records import Records
from tf_deep3d.data.rendered.dataset import Crew, shards
from tf_deep3d.data.rendered.dataset import people as people_of
from tf_deep3d.data.rendered.people import Head, generator
from tf_deep3d.data.rendered.pictures import Settings
from tf_deep3d.data.rerendered import fits, people, photos, pictures
from tf_deep3d.data.rerendered.photos import Photos, Record
from tf_deep3d.data.rerendered.pictures import Actor, Source
from tf_deep3d.errors import InputError
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import files
from tf_deep3d.io.work_folders import sweep

FITS = "fits"
WORK = ".synthetic"
_IDENTITY, _LOOK = 3, 4  # purposes of random generators


def write_dataset(
    out: Path,
    settings: Settings,
    chosen: Photos,
    model: MorphableModel,
    head: Head,
    fitter: fits.Fitter,
    crew: Crew | None = None,
) -> dict[str, Any]:
    """Fits photos and renders them anew into a folder of records, or goes on where another run was cut off.

    Args:
      out: folder.
      settings: `rendered.pictures.Settings`, without backgrounds; the validation pictures show people held out.
      chosen: `Photos`.
      model: `MorphableModel` of the face at the level of detail of the head.
      head: `Head` around it.
      fitter: `fits.Fitter` of that face model.
      crew: processes that render, None for this one, which fits in any case.

    Returns:
      The content of `dataset.json`, but its shards.

    Raises:
      InputError: if the folder holds a run with other parameters, or no photo can be used.
      FileNotFoundError: if there are no photos.
      OSError: if another command is at work there, or nothing can be written.
    """
    origins = photos.find(chosen, fitter.face_model)
    parameters = {
        **{name: value for name, value in asdict(settings).items() if name != "backgrounds"},
        "photos": [origin.digest for origin in origins],
        "sources": chosen.most,
        "held_out": chosen.held_out,
        "face_model": fitter.face_model,
        "level": model.level,
        "fitted_by": fitter.name,
        "scanned": head.scanned and [hashlib.sha256(values.tobytes()).hexdigest() for values in head.scanned],
        "version": tf_deep3d.__version__,
    }
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with pipeline.locked(out):
        sweep(out, work, out / FITS)
        _keep_parameters(work / "parameters.json", parameters)
        if not (out / FITS / records.DATASET_FILE).is_file():
            fits.fit_photos(out / FITS, work, origins, chosen, fitter)
        info = _render(out, settings, pictures.actor(model, head) if crew is None else crew, parameters)
        shutil.rmtree(work)
    return info


def _keep_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Writes them, or raises InputError if there are others."""
    if path.exists() and records.read_json(path) != parameters:
        folder = path.parent.parent
        raise InputError(f"--overwrite is needed to drop a run with other photos or options. Received: {folder}")
    write_json(path, parameters)


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raises FileExistsError where `write_dataset` may not write; with `overwrite` it removes what a run of ours left
    there."""
    begun = (out / WORK).is_dir()
    if not overwrite:
        if not begun:
            files.refuse_existing(out)
        return
    if not begun:
        files.refuse_foreign(out, records.DATASET_FILE)
    for path in [*out.glob(records.DATASET_FILE), *out.glob("*.tfrecord.gz"), *out.glob("contact_sheet.*")]:
        path.unlink()
    for folder in (out / FITS, out / WORK):
        shutil.rmtree(folder, ignore_errors=True)


def _render(out: Path, settings: Settings, by: Actor | Crew, parameters: dict[str, Any]) -> dict[str, Any]:
    """Renders the pictures shard by shard and writes `dataset.json`; returns its content, but the shards."""
    fitted = {"train": records.open_records(out / FITS, "train")}
    held_out = settings.held_out
    if fitted["train"].info["counts"]["validation"]:
        fitted["validation"] = records.open_records(out / FITS, "validation")
    else:
        held_out = 0
    counts = {"train": settings.count - held_out, "validation": held_out}
    planned = {split: shards(split, range(count), settings) for split, count in counts.items()}
    parts = {name: (split, numbers) for split, names in planned.items() for name, numbers in names.items()}
    missing = {name: part for name, part in parts.items() if not _report(out, name).exists()}
    done = settings.count - sum(len(numbers) for _, numbers in missing.values())
    bar: dict[str, Any] = {"desc": "rendering", "unit": " pictures"}
    if isinstance(by, Crew):
        jobs = [
            {**by.job(out, name, numbers, settings), "split": split, "counts": counts}
            for name, (split, numbers) in missing.items()
        ]
        with spread.swept(out, out / WORK), spread.progress(out / WORK, settings.count, done, **bar):
            if jobs:
                spread.run(jobs, render_shard, by.spread)
    else:
        with tqdm(total=settings.count, initial=done, disable=None, smoothing=0.05, **bar) as shown:
            for name, (split, numbers) in missing.items():
                made = rerender(by, fitted[split], numbers, counts[split], settings, _before(split, counts))
                _write(out, name, made, shown.update)
    info = {
        "kind": "rerendered",
        "lighting": "rgb",
        "parameters": parameters,
        "sources": {split: found.count for split, found in fitted.items()},
        "rejected": fitted["train"].info["rejected"],
    }
    listed = {
        split: {name: records.shard_info(records.read_json(_report(out, name))) for name in planned[split]}
        for split in records.SPLITS
    }
    records.write_dataset_json(out, listed, info, overwrite=True)  # a run may have ended between it and the end
    return {**info, "counts": counts}


def _report(out: Path, name: str) -> Path:
    return out / WORK / f"{name}.json"


def _before(split: str, counts: dict[str, int]) -> int:
    """Number of pictures of other splits before those of `split`."""
    return 0 if split == "train" else counts["train"]


def _write(out: Path, name: str, made: Iterable[Record], on_record: Callable[[], object]) -> None:
    """Writes a shard, and then its report."""

    def examples() -> Iterator[bytes]:
        for record in made:
            yield records.encode(record)
            on_record()

    write_json(_report(out, name), asdict(tfrecord.write_shard(out / name, examples(), overwrite=True)))


@cache
def _actor(*named: Path | None) -> Actor:
    return pictures.actor(*people_of(*named))


def render_shard(job: dict[str, Any]) -> str:
    """Renders one shard of a `Crew.job` of `split` and `counts`, with its report, and its progress: one byte for each
    picture.

    Raises:
      OSError: if it cannot be written.
      StoppedError: if the command has ended.
    """
    out, name, split, counts = job["folder"], job["name"], job["split"], job["counts"]
    fitted = records.open_records(out / FITS, split)
    with open(out / WORK / f"{name}.progress", "wb", buffering=0) as progress:

        def tell() -> None:
            spread.check_command(job)
            progress.write(b".")

        actor, before = _actor(*job["people"]), _before(split, counts)
        _write(out, name, rerender(actor, fitted, job["numbers"], counts[split], job["settings"], before), tell)
    return name


def rerender(
    actor: Actor, fitted: Records, numbers: range, count: int, settings: Settings, before: int = 0
) -> Iterator[Record]:
    """Renders pictures of a split, all photos equally often.

    Args:
      actor: `Actor`.
      fitted: `Records` of fitted photos.
      numbers: of the pictures, in [0, `count`).
      count: pictures of the split.
      settings: `Settings`, of which seed and photos_each matter.
      before: number of pictures of other splits, which have other names and random numbers.

    Yields:
      Records, dicts of the fields of `records.SCHEMA`: as of `rendered.pictures.render_people`, but albedo and
      illumination are NaN, because of a photo nobody knows them.
    """
    shards = (itertools.islice(tfrecord.read(shard.path), shard.count) for shard in fitted.shards)
    serialized = enumerate(itertools.chain.from_iterable(shards))
    place, record, source = -1, {}, None
    for number in numbers:
        owner = number - number % settings.photos_each
        wanted = owner * fitted.count // count
        if wanted != place or source is None:
            place, example = next(pair for pair in serialized if pair[0] == wanted)
            record = photos.parse(example)
            source = pictures.source_of(actor, record)
        yield _picture(actor, source, record["source"], settings.seed, before + owner, before + number)


def _picture(actor: Actor, source: Source, name: str, seed: int, owner: int, number: int) -> Record:
    """The record of one picture of the person whose first picture is `owner`."""
    scanned = actor.known.head.scanned
    identity = people.sample_identity(source.coefficients.identity, scanned, generator(seed, owner, _IDENTITY))
    look = people.sample_one(actor.known, source, identity, generator(seed, number, _LOOK))
    exact = look._replace(
        albedo=np.full_like(look.albedo, np.nan), illumination=np.full_like(look.illumination, np.nan)
    )
    return {
        **pictures.rerender(actor, source, look),
        "person": f"rerendered-{seed}-{owner}",
        "source": f"{name} rerendered-{seed}-{number}",
        "transform": np.array([1, 0, 0, 0], np.float32),
        "coefficients": actor.face.whole.layout().join(Coefficients(*(group[None] for group in exact)))[0],
    }
