"""From fitted photos to records of photos rendered anew, shard after shard; a run that was cut off goes on.

OUT/fits                    the photos with their fitted coefficients, records of the kind "fitted": to be used again
OUT/train-00000.tfrecord.gz the pictures
OUT/dataset.json            what they are, written last of all
OUT/.synthetic              what is known before all is done: parameters and a report of each shard

Everything is decided by the photos and the settings alone.
"""

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import tf_deep3d
from tf_deep3d import face as faces
from tf_deep3d.data import pipeline, preparation, records, tfrecord
from tf_deep3d.data.preparation import RejectedError, split_of, write_json
from tf_deep3d.data.rendered.people import Head, generator
from tf_deep3d.data.rendered.pictures import SHARD, Settings
from tf_deep3d.data.rerendered import people, pictures
from tf_deep3d.data.rerendered.pictures import Actor, Source
from tf_deep3d.errors import InputError
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import nme
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import files

FITTED = "fitted"  # kind of the records of photos with fitted coefficients
FITS = "fits"
WORK = ".synthetic"
BLOCK = 128  # photos fitted between two reports
BATCH = 16  # photos fitted at once
WORST = 0.05  # normalised mean error of a fit that is used
STEEPEST = np.radians([35, 55])  # pitch and yaw of a photo that is used
Record = dict[str, Any]
Fit = Callable[[Sequence[Record]], Coefficients]


@dataclass(frozen=True)
class Photos:
    """Which photos to use.

    Attributes:
      paths: folders of records of `prepare`, or folders and files of photos.
      identities: of `preparation.list_photos`, for photos.
      most: at most so many of them, evenly out of all; None for all.
      held_out: share of the people, by name, who are kept for validation, besides those of the records' own validation.
    """

    paths: tuple[str, ...]
    identities: tuple[str, ...] = ()
    most: int | None = None
    held_out: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1 or (self.most is not None and self.most < 1):
            received = f"{self.most}, {self.held_out}"
            raise InputError(f"sources must be positive and the share held out in [0, 1). Received: {received}")


class Origin(NamedTuple):
    """Where photos come from.

    Attributes:
      count: number of photos.
      listing: name of what was found, by which a later run knows it again.
      fitted: whether they have coefficients.
      stream: function () -> for each photo (whether it is held out, function () -> its record).
    """

    count: int
    listing: str
    fitted: bool
    stream: Callable[[], Iterator[tuple[bool, Callable[[], Record]]]]


def find_photos(photos: Photos) -> list[Origin]:
    """The `Origin`s of `Photos`.

    Raises:
      FileNotFoundError, InputError: for a path without photos or usable records.
    """
    prepared = [path for path in photos.paths if (Path(path) / records.DATASET_FILE).is_file()]
    plain = [path for path in photos.paths if path not in prepared]
    found = [_prepared(path) for path in prepared]
    if plain:
        found.append(_plain(preparation.list_photos(plain, photos.identities)))
    return found


def _prepared(path: str) -> Origin:
    opened = {}
    for split in records.SPLITS:
        try:
            opened[split] = records.open_records(path, split)
        except records.RecordsError:
            if split == records.SPLITS[-1] and not opened:
                raise
    info = next(iter(opened.values())).info
    if info.get("kind", FITTED) != FITTED:
        raise InputError(f"only records of photos can be rendered anew. Received: {path}, of the kind {info['kind']}")

    def stream() -> Iterator[tuple[bool, Callable[[], Record]]]:
        for split, found in opened.items():
            for shard in found.shards:
                for serialized in itertools.islice(tfrecord.read(shard.path), shard.count):
                    yield split == "validation", lambda serialized=serialized: _parse(serialized)

    counts = {split: found.count for split, found in opened.items()}
    return Origin(sum(counts.values()), f"{path} {counts}", info.get("kind") == FITTED, stream)


def _plain(listed: list[preparation.Photo]) -> Origin:
    def stream() -> Iterator[tuple[bool, Callable[[], Record]]]:
        for photo in listed:
            yield (
                False,
                lambda photo=photo: preparation.prepare_photo(photo.path, source=photo.source, person=photo.person)[0],
            )

    return Origin(len(listed), f"{listed[0].source} .. {listed[-1].source}, {len(listed)} photos", False, stream)


def _parse(serialized: bytes) -> Record:
    record = tfrecord.parse(serialized, records.SCHEMA)
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in record.items()}


def write_dataset(
    out: Path, settings: Settings, photos: Photos, model: MorphableModel, head: Head, fit: Fit
) -> dict[str, Any]:
    """Fits photos and renders them anew into a folder of records, or goes on where another run was cut off.

    Args:
      out: folder.
      settings: `rendered.Settings`, without backgrounds; the validation pictures show people held out.
      photos: `Photos`.
      model: `MorphableModel` of the face at the level of detail of the head.
      head: `Head` around it.
      fit: function of records of photos -> `Coefficients` of their faces, NumPy.

    Returns:
      The content of `dataset.json`.

    Raises:
      InputError: if the folder holds a run with other parameters, or no photo can be used.
      FileNotFoundError: if there are no photos.
      OSError: if another command is at work there, or nothing can be written.
    """
    origins = find_photos(photos)
    parameters = {
        **{name: value for name, value in asdict(settings).items() if name != "backgrounds"},
        "photos": [origin.listing for origin in origins],
        "most": photos.most,
        "held_out": photos.held_out,
        "face_model": model.name,
        "level": model.level,
        "version": tf_deep3d.__version__,
    }
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with pipeline.locked(out):
        _check_parameters(work / "parameters.json", parameters)
        fits = _fit_all(out, origins, photos, fit, model)
        info = _render_all(out, fits, settings, pictures.actor(model, head), parameters)
        shutil.rmtree(work)
    return info


def _check_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Writes them, or raises InputError if there are others."""
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(parameters)):
        folder = path.parent.parent
        raise InputError(
            f"a run with other photos or options was begun there; --overwrite drops it. Received: {folder}"
        )
    write_json(path, parameters)


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raises FileExistsError where `write_dataset` may not write; with `overwrite` it removes what a run of ours left."""
    begun = (out / WORK).is_dir()
    if overwrite and (begun or (out / records.DATASET_FILE).is_file()):
        for path in [*out.glob("*.tfrecord.gz"), *out.glob("contact_sheet.*"), *out.glob(records.DATASET_FILE)]:
            path.unlink()
        shutil.rmtree(out / WORK, ignore_errors=True)
        shutil.rmtree(out / FITS, ignore_errors=True)
    elif overwrite:
        files.refuse_foreign(out, records.DATASET_FILE)
    elif not begun:
        files.refuse_existing(out)


def _fit_all(out: Path, origins: list[Origin], photos: Photos, fit: Fit, model: MorphableModel) -> Path:
    """Fits the chosen photos block by block; returns the folder of fitted records."""
    folder, work = out / FITS, out / WORK
    if (folder / records.DATASET_FILE).is_file():
        return folder
    total = sum(origin.count for origin in origins)
    chosen = np.unique(np.linspace(0, total - 1, min(photos.most or total, total)).astype(int))
    blocks = [chosen[start : start + BLOCK] for start in range(0, len(chosen), BLOCK)]
    found = _numbered(origins)
    with tqdm(total=len(chosen), desc="fitting", unit=" photos", disable=None, smoothing=0.05) as bar:
        for number, block in enumerate(blocks):
            report = work / f"fits-{number:05d}.json"
            if not report.exists():
                _fit_block(folder, number, _chosen(found, block, bar), photos.held_out, fit, model, report)
            bar.update(sum(map(len, blocks[: number + 1])) - bar.n)
    reports = [json.loads((work / f"fits-{n:05d}.json").read_text(encoding="utf-8")) for n in range(len(blocks))]
    shards = {
        split: {name: tfrecord.ShardInfo(**shard) for report in reports for name, shard in report[split].items()}
        for split in records.SPLITS
    }
    rejected = Counter[str]()
    for report in reports:
        rejected.update(report["rejected"])
    if not any(shard.count for shard in shards["train"].values()):
        raise InputError(f"no photo can be used: {dict(rejected)}. Received: {', '.join(photos.paths)}")
    info = {"kind": FITTED, "face_model": model.name, "lighting": "rgb", "rejected": dict(rejected)}
    records.write_dataset_json(folder, shards, info)
    return folder


def _numbered(origins: list[Origin]) -> Iterator[tuple[int, bool, bool, Callable[[], Record]]]:
    """Each photo's number, whether it has coefficients and is held out, and its record's maker."""
    photos = ((origin.fitted, *photo) for origin in origins for photo in origin.stream())
    return ((number, *photo) for number, photo in enumerate(photos))


def _chosen(
    found: Iterator[tuple[int, bool, bool, Callable[[], Record]]], block: np.ndarray, bar: Any
) -> Iterator[tuple[bool, bool, Callable[[], Record]]]:
    """The photos of a block of numbers, out of those that follow in `found`."""
    wanted = set(block.tolist())
    for number, *photo in itertools.takewhile(lambda photo: photo[0] <= block[-1], found):
        if number in wanted:
            bar.update()
            yield tuple(photo)
        if number == block[-1]:
            return


def _fit_block(
    folder: Path,
    number: int,
    photos: Iterable[tuple[bool, bool, Callable[[], Record]]],
    held_out: float,
    fit: Fit,
    model: MorphableModel,
    report: Path,
) -> None:
    """Fits the photos of a block, writes their records and a report."""
    made: dict[str, list[bytes]] = {split: [] for split in records.SPLITS}
    rejected, waiting = Counter[str](), list[tuple[bool, Record]]()

    def finish() -> None:
        layout = model.layout()
        missing = [record for _, record in waiting if not len(record["coefficients"])]
        fitted = iter(layout.join(fit(missing)) if missing else ())
        for held, record in waiting:
            row = record["coefficients"] if len(record["coefficients"]) else next(fitted)
            if reason := _flaw(model, record, row):
                rejected[reason] += 1
                continue
            split = "validation" if held or split_of(record["person"], held_out) == "validation" else "train"
            made[split].append(records.encode({**record, "coefficients": row}))
        waiting.clear()

    for fitted, held, load in photos:
        try:
            record = load()
        except (RejectedError, tfrecord.DamageError) as error:
            rejected[str(error).partition(":")[0]] += 1
            continue
        waiting.append((held, record if fitted else {**record, "coefficients": np.zeros(0, np.float32)}))
        if len(waiting) == BATCH:
            finish()
    finish()
    shards = {split: {f"{split}-{number:05d}.tfrecord.gz": examples} for split, examples in made.items() if examples}
    written = {
        split: {
            name: asdict(tfrecord.write_shard(folder / name, examples, overwrite=True))
            for name, examples in shards.get(split, {}).items()
        }
        for split in records.SPLITS
    }
    write_json(report, {**written, "rejected": dict(rejected)})


def _flaw(model: MorphableModel, record: Record, row: np.ndarray) -> str | None:
    """Why a fitted photo is not used, or None."""
    if not (np.isfinite(row).all() and np.isfinite(record["dense"]).all()):
        return "no fit"
    person = model.layout().split(row[None])
    if (np.abs(person.angles[0, :2]) > STEEPEST).any():
        return "turned away"
    points = faces.reconstruct(model, person).landmarks[0] + records.MARGIN
    return "poor fit" if nme(points, record["landmarks"]) > WORST else None


def _render_all(out: Path, fits: Path, settings: Settings, actor: Actor, parameters: dict[str, Any]) -> dict[str, Any]:
    """Renders the pictures shard by shard and writes `dataset.json`; returns its content."""
    sources = {"train": records.open_records(fits, "train")}
    held_out = settings.held_out
    try:
        sources["validation"] = records.open_records(fits, "validation")
    except records.RecordsError:
        held_out = 0  # nobody was
    counts = {"train": settings.count - held_out, "validation": held_out}
    shards: dict[str, dict[str, tfrecord.ShardInfo]] = {split: {} for split in records.SPLITS}
    step = SHARD - SHARD % settings.photos_each or settings.photos_each
    with tqdm(total=settings.count, desc="rendering", unit=" pictures", disable=None, smoothing=0.05) as bar:
        for split, count in counts.items():
            for first in range(0, count, step):
                name = f"{split}-{first // step:05d}.tfrecord.gz"
                report = out / WORK / f"{name}.json"
                numbers = range(first, min(first + step, count))
                if report.exists():
                    bar.update(len(numbers))
                else:
                    offset = counts["train"] if split == "validation" else 0
                    made = render_again(actor, sources[split], numbers, count, settings, offset)
                    write_json(report, asdict(tfrecord.write_shard(out / name, _encoded(made, bar), overwrite=True)))
                shards[split][name] = tfrecord.ShardInfo(**json.loads(report.read_text(encoding="utf-8")))
    info = {"kind": "rerendered", "lighting": "rgb", "parameters": parameters,
            "sources": {split: found.count for split, found in sources.items()},
            "rejected": sources["train"].info["rejected"]}  # fmt: skip
    records.write_dataset_json(out, shards, info)
    return {**info, "counts": counts}


def _encoded(made: Iterable[Record], bar: Any) -> Iterator[bytes]:
    for record in made:
        yield records.encode(record)
        bar.update()


def render_again(
    actor: Actor, fitted: records.Records, numbers: range, count: int, settings: Settings, offset: int = 0
) -> Iterator[Record]:
    """Renders pictures of a split, all photos equally often.

    Args:
      actor: `Actor`.
      fitted: records of fitted photos.
      numbers: of the pictures, in [0, `count`).
      count: pictures of the split.
      settings: `Settings`, of which seed and photos_each matter.
      offset: of the numbers that the random numbers and names go by.

    Yields:
      Records, dicts of the fields of `records.SCHEMA`: as of `rendered.render_people`, but albedo and illumination are
      NaN, because of a photo nobody knows them.
    """
    serialized = itertools.chain.from_iterable(
        itertools.islice(tfrecord.read(shard.path), shard.count) for shard in fitted.shards
    )
    place, source, name = -1, None, ""
    for number in numbers:
        owner = number - number % settings.photos_each
        wanted = owner * fitted.count // count
        if wanted != place:
            record = _parse(next(itertools.islice(serialized, wanted - place - 1, None)))
            source, name, place = pictures.source_of(actor, record), record["source"], wanted
        yield _picture(actor, source, name, settings.seed, offset + owner, offset + number)


def _picture(actor: Actor, source: Source, name: str, seed: int, owner: int, number: int) -> Record:
    """The record of one picture of the person whose first picture is `owner`."""
    identity = people.sample_identity(source.coefficients.identity, generator(seed, owner, 3))
    look = people.sample_one(actor.known, source, identity, generator(seed, number, 4))
    unknown = look._replace(
        albedo=np.full_like(look.albedo, np.nan), illumination=np.full_like(look.illumination, np.nan)
    )
    return {
        **pictures.rerender(actor, source, look),
        "person": f"rerendered-{seed}-{owner}",
        "source": f"{name} rerendered-{seed}-{number}",
        "transform": np.array([1, 0, 0, 0], np.float32),
        "coefficients": actor.face.whole.layout().join(Coefficients(*(group[None] for group in unknown)))[0],
    }
