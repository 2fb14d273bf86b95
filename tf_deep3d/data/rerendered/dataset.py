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
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import tf_deep3d
from tf_deep3d.data import pipeline, records, tfrecord
from tf_deep3d.data.preparation import write_json
from tf_deep3d.data.records import Records
from tf_deep3d.data.rendered.people import Head, generator
from tf_deep3d.data.rendered.pictures import SHARD, Settings
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
    out: Path, settings: Settings, chosen: Photos, model: MorphableModel, head: Head, fitter: fits.Fitter
) -> dict[str, Any]:
    """Fits photos and renders them anew into a folder of records, or goes on where another run was cut off.

    Args:
      out: folder.
      settings: `rendered.pictures.Settings`, without backgrounds; the validation pictures show people held out.
      chosen: `Photos`.
      model: `MorphableModel` of the face at the level of detail of the head.
      head: `Head` around it.
      fitter: `fits.Fitter` of that face model.

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
        info = _render(out, settings, pictures.actor(model, head), parameters)
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


def _render(out: Path, settings: Settings, actor: Actor, parameters: dict[str, Any]) -> dict[str, Any]:
    """Renders the pictures shard by shard and writes `dataset.json`; returns its content, but the shards."""
    fitted = {"train": records.open_records(out / FITS, "train")}
    held_out = settings.held_out
    if fitted["train"].info["counts"]["validation"]:
        fitted["validation"] = records.open_records(out / FITS, "validation")
    else:
        held_out = 0
    counts = {"train": settings.count - held_out, "validation": held_out}
    shards: dict[str, dict[str, tfrecord.ShardInfo]] = {split: {} for split in records.SPLITS}
    step = SHARD - SHARD % settings.photos_each or settings.photos_each
    with tqdm(total=settings.count, desc="rendering", unit=" pictures", disable=None, smoothing=0.05) as bar:
        for split, count in counts.items():
            before = 0 if split == "train" else counts["train"]
            for first in range(0, count, step):
                name = f"{split}-{first // step:05d}.tfrecord.gz"
                report, numbers = out / WORK / f"{name}.json", range(first, min(first + step, count))
                if report.exists():
                    bar.update(len(numbers))
                else:
                    made = rerender(actor, fitted[split], numbers, count, settings, before)
                    write_json(report, asdict(tfrecord.write_shard(out / name, _encoded(made, bar), overwrite=True)))
                shards[split][name] = records.shard_info(records.read_json(report))
    info = {
        "kind": "rerendered",
        "lighting": "rgb",
        "parameters": parameters,
        "sources": {split: found.count for split, found in fitted.items()},
        "rejected": fitted["train"].info["rejected"],
    }
    records.write_dataset_json(out, shards, info, overwrite=True)  # a run may have ended between it and the end
    return {**info, "counts": counts}


def _encoded(made: Iterable[Record], bar: Any) -> Iterator[bytes]:
    for record in made:
        yield records.encode(record)
        bar.update()


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
