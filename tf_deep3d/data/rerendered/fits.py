"""Photos are fitted once, block after block, and kept as records, to be rendered anew as often as one likes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from tqdm import tqdm

from tf_deep3d import face as faces
from tf_deep3d.data import records, tfrecord
from tf_deep3d.data.preparation import RejectedError, write_json
from tf_deep3d.data.rerendered.photos import FITTED, Origin, Photos, Record
from tf_deep3d.errors import InputError
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import nme
from tf_deep3d.face.morphable_model import MorphableModel

BLOCK = 128  # photos between two reports
BATCH = 16  # photos fitted at once
WORST = 0.05  # normalised mean error of a fit that is used
STEEPEST = np.radians([35, 55])  # pitch and yaw of a photo that is used
_Numbered: TypeAlias = tuple[int, bool, Callable[[], Record]]  # number, whether held out, maker of the record


@dataclass(frozen=True)
class Fitter:
    """How photos are fitted.

    Attributes:
      model: `MorphableModel` of the face, at any level of detail.
      face_model: its fingerprint.
      name: of what fits, by which a later run knows it again.
      fit: function of records of photos -> `Coefficients` of their faces, NumPy.
    """

    model: MorphableModel
    face_model: str
    name: str
    fit: Callable[[Sequence[Record]], Coefficients]


class _Fitted(NamedTuple):
    """What became of photos: split -> serialized records, and reason -> number of those left out."""

    made: dict[str, list[bytes]]
    rejected: Counter[str]


def fit_photos(folder: Path, work: Path, origins: list[Origin], photos: Photos, fitter: Fitter) -> None:
    """Fits photos into a folder of records, or goes on where another run was cut off.

    Args:
      folder: of the records.
      work: folder of the reports.
      origins: of `photos.find`.
      photos: `Photos`.
      fitter: `Fitter`.

    Raises:
      InputError: if no photo can be used.
      OSError: if nothing can be written.
    """
    total = sum(origin.number for origin in origins)
    chosen = np.unique(np.linspace(0, total - 1, min(photos.most or total, total)).astype(int))
    blocks = [chosen[start : start + BLOCK].tolist() for start in range(0, len(chosen), BLOCK)]
    stream = (photo for origin in origins for photo in origin.stream())
    found = ((number, *photo) for number, photo in enumerate(stream))
    with tqdm(total=len(chosen), desc="fitting", unit=" photos", disable=None, smoothing=0.05) as bar:
        for number, block in enumerate(blocks):
            report = work / f"fits-{number:05d}.json"
            if report.exists():
                bar.update(len(block))
                continue
            done = _fit_block(_take(found, block, bar), photos, fitter)
            shards = {
                split: _write(folder / f"{split}-{number:05d}.tfrecord.gz", done.made[split]) for split in done.made
            }
            write_json(report, {**shards, "rejected": dict(done.rejected)})
    reports = [_read_report(work / f"fits-{number:05d}.json") for number in range(len(blocks))]
    rejected = sum((Counter(report["rejected"]) for report in reports), Counter())
    shards = {
        split: {name: records.shard_info(shard) for report in reports for name, shard in report[split].items()}
        for split in records.SPLITS
    }
    if not shards["train"]:
        raise InputError(f"no photo can be used: {_listed(rejected)}. Received: {', '.join(photos.paths)}")
    info = {"kind": FITTED, "face_model": fitter.face_model, "fitted_by": fitter.name, "lighting": "rgb"}
    records.write_dataset_json(folder, shards, {**info, "rejected": dict(rejected)})


def _listed(rejected: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in rejected.items()) or "all are held out"


def _read_report(path: Path) -> dict[str, dict[str, Any]]:
    """What is known of a block: split -> file name -> shard, and "rejected", reason -> number."""
    content = records.read_json(path, rejected=dict)
    report = {name: content.get(name, {}) for name in ("rejected", *records.SPLITS)}
    whole = all(isinstance(each, dict) for each in report.values())
    if not whole or not all(isinstance(number, int) for number in report["rejected"].values()):
        raise records.RecordsError(f"{path.name} is not one of ours. Received: {path}")
    return report


def _write(path: Path, examples: list[bytes]) -> dict[str, Any]:
    """File name -> `ShardInfo` as a dict, of the written shard."""
    return {path.name: asdict(tfrecord.write_shard(path, examples, overwrite=True))}


def _take(found: Iterator[_Numbered], block: list[int], bar: Any) -> Iterator[_Numbered]:
    """The photos of `found` whose numbers stand in `block`, ascending; no photo behind them is touched."""
    for wanted in block:
        yield next(photo for photo in found if photo[0] == wanted)
        bar.update()


def _fit_block(photos: Iterable[_Numbered], chosen: Photos, fitter: Fitter) -> _Fitted:
    """Fits photos, `BATCH` at once."""
    done = _Fitted({}, Counter())
    waiting: list[tuple[bool, Record]] = []
    for _, held, load in photos:
        try:
            waiting.append((held, load()))
        except (RejectedError, tfrecord.DamageError) as error:
            done.rejected[str(error).partition(":")[0]] += 1
        if len(waiting) == BATCH:
            _fit_batch(waiting, chosen, fitter, done)
            waiting = []
    _fit_batch(waiting, chosen, fitter, done)
    return done


def _fit_batch(waiting: list[tuple[bool, Record]], chosen: Photos, fitter: Fitter, done: _Fitted) -> None:
    """Fits those that have no coefficients, and adds all to what is `done`."""
    missing = [record for _, record in waiting if not len(record["coefficients"])]
    rows = iter(fitter.model.layout().join(fitter.fit(missing)) if missing else ())
    for held, record in waiting:
        row = record["coefficients"] if len(record["coefficients"]) else next(rows)
        if reason := flaw(fitter.model, record, row):
            done.rejected[reason] += 1
            continue
        split = chosen.split(record["person"], held)
        done.made.setdefault(split, []).append(records.encode({**record, "coefficients": row}))


def flaw(model: MorphableModel, record: Record, row: np.ndarray) -> str | None:
    """Why a photo with fitted coefficients `row` [D] is not used, or None."""
    if not (np.isfinite(row).all() and np.isfinite(record["dense"]).all()):
        return "no fit"
    person = model.layout().split(row[None])
    if (np.abs(person.angles[0, :2]) > STEEPEST).any():
        return "turned away"
    points = faces.reconstruct(model, person).landmarks[0] + records.MARGIN
    return "poor fit" if nme(points, record["landmarks"]) > WORST else None
