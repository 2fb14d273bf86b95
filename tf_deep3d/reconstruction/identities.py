"""One identity for all photos of a person, as the label of each of them: `python -m tf_deep3d.reconstruction.identities
RECORDS OUT`.

RECORDS are of `prepare --identities`. OUT holds the photos of people who have several, with coefficients: the identity
that fits all photos of the person together; what else each photo shows is left unknown. A training on OUT teaches R-Net
to see in one photo what several show together (`loss.shape`).

Letters: P photos of a person, D coefficients.
"""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.command_line import counted
from tf_deep3d.data import records, tfrecord
from tf_deep3d.data.records import Records
from tf_deep3d.data.rendered.dataset import refuse_existing
from tf_deep3d.data.rerendered.fits import flaw
from tf_deep3d.data.rerendered.photos import Record, parse
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import gauss_newton
from tf_deep3d.io import files
from tf_deep3d.io.work_folders import temporary_files
from tf_deep3d.models.likeness import describe
from tf_deep3d.models.rnet import RNet, fingerprint
from tf_deep3d.reconstruction.album.album import SHARED
from tf_deep3d.reconstruction.album.sightings import LIKENESS, find_person
from tf_deep3d.reconstruction.regressed import observe

KIND = "identified"  # of the records
LEAST = 3  # photos of a person, by default
MOST = 32  # photos of a person, the first ones
STEPS = 5  # of Gauss-Newton
SETTINGS = replace(gauss_newton.SETTINGS, shared=SHARED)


class Solver(NamedTuple):
    """What fits people.

    Attributes:
      rnet: where the fit starts.
      surface: `gauss_newton.Surface` of its face model.
      least: photos that a person must have.
    """

    rnet: RNet
    surface: gauss_newton.Surface
    least: int = LEAST


def load_solver(least: int = LEAST) -> Solver:
    """The `Solver` with the shipped R-Net and face model."""
    rnet = RNet.from_preset(face_model=fingerprint())
    return Solver(rnet, gauss_newton.surface_of(morphable_model.load(level=0)), least)


def fit_person(photos: Sequence[Record], solver: Solver) -> tuple[list[int], np.ndarray, Counter[str]]:
    """The identity of one person.

    Args:
      photos: records of the person's photos, see `records.SCHEMA`.
      solver: `Solver`.

    Returns:
      (the photos that fit it, indices; coefficients [D], NaN but for the identity; reason -> number of photos left
      out). No photo fits if fewer than `Solver.least` are left.
    """
    images = observe(photos).images
    start = Coefficients(*map(ops.convert_to_numpy, solver.rnet.regress(images)[0]))
    descriptors = describe(images)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=-1, keepdims=True), 1e-9)
    likeness = find_person(descriptors, np.arange(len(photos)))[1]
    chosen = np.flatnonzero(likeness >= LIKENESS).tolist()
    rejected = Counter({"another person": len(photos) - len(chosen)})
    model = solver.surface.model
    layout = model.layout()
    while len(chosen) >= solver.least:
        mine = Coefficients(*(group[chosen] for group in start))
        observed = observe([photos[index] for index in chosen])
        fitted = gauss_newton.refine(solver.surface, observed, mine, SETTINGS, STEPS)
        rows = layout.join(fitted)
        reasons = [flaw(model, photos[index], row) for index, row in zip(chosen, rows, strict=True)]
        if not any(reasons):
            unknown = Coefficients(*(np.full_like(group[:1], np.nan) for group in fitted))
            return chosen, layout.join(unknown._replace(identity=fitted.identity[:1]))[0], +rejected
        rejected.update(reason for reason in reasons if reason)
        chosen = [index for index, reason in zip(chosen, reasons, strict=True) if not reason]
    rejected["too few photos of the person"] += len(chosen)
    return [], np.full(layout.total, np.nan, np.float32), +rejected


def write_dataset(folder: str | Path, out: Path, solver: Solver, overwrite: bool = False) -> dict[str, Any]:
    """Writes the photos of people who have several into a folder of records, which appears whole or not at all. Both
    splits stay what they are.

    Args:
      folder: records of `prepare`.
      out: folder to write.
      solver: `Solver`.
      overwrite: replace existing records.

    Returns:
      What `dataset.json` says of them, but its shards.

    Raises:
      InputError: if the records are no photos, or nobody has photos enough that fit.
      FileExistsError: if `out` exists and `overwrite` is false, or it holds no records.
    """
    refuse_existing(out, overwrite)
    opened = _open(folder)
    shards: dict[str, dict[str, tfrecord.ShardInfo]] = {split: {} for split in records.SPLITS}
    rejected, people = Counter[str](), Counter[str]()

    def labelled(split: str) -> Iterator[bytes]:
        for serialized in _people(opened[split], split, solver.least):
            chosen, row, reasons = fit_person([parse(each) for each in serialized], solver)
            rejected.update(reasons)
            people[split] += len(chosen) > 0
            yield from (records.with_coefficients(serialized[index], row) for index in chosen)

    with files.writing_folder(out, overwrite) as part:
        for split in opened:
            name = f"{split}-00000.tfrecord.gz"
            shards[split][name] = tfrecord.write_shard(part / name, labelled(split))
        if not people["train"]:
            raise InputError(
                f"nobody has {solver.least} photos that fit one identity; say who is who with "
                f"python -m tf_deep3d.prepare --identities. Received: {folder}"
            )
        info = {
            "kind": KIND,
            "face_model": solver.rnet.face_model,
            "fitted_by": solver.rnet.signature(),
            "lighting": "rgb",
            "least": solver.least,
            "people": dict(people),
            "rejected": dict(rejected),
        }
        records.write_dataset_json(part, shards, info)
    return {**info, "counts": {split: sum(shard.count for shard in shards[split].values()) for split in shards}}


def _open(folder: str | Path) -> dict[str, Records]:
    """The splits of records of `prepare` that hold any."""
    opened = {"train": records.open_records(folder, "train")}
    info = opened["train"].info
    if info.get("kind") is not None:
        raise InputError(f"only photos can be labelled. Received: {folder}, records of the kind {info['kind']!r:.40}")
    if info["counts"]["validation"]:
        opened["validation"] = records.open_records(folder, "validation")
    return opened


def _people(found: Records, split: str, least: int) -> Iterator[list[bytes]]:
    """The serialized records of each person of `least` photos, which stand side by side, `MOST` of them."""
    serialized = itertools.chain.from_iterable(map(records.read_shard, found.shards))
    shown = tqdm(serialized, f"fitting for {split}", found.count, unit=" photos", disable=None, smoothing=0.05)
    for _, photos in itertools.groupby(shown, lambda each: tfrecord.fields(each).get("person")):
        chosen = list(itertools.islice(photos, MOST))
        if len(chosen) >= least:
            yield chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.reconstruction.identities", __doc__)
    parser.add_argument("records", type=Path, metavar="RECORDS", help="photos, records of prepare --identities")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of records to write")
    parser.add_argument("--least", type=int, default=LEAST, metavar="N", help=f"photos of a person ({LEAST})")
    parser.add_argument("--overwrite", action="store_true", help="replace the records in OUT")
    return command_line.run(_run, parser.parse_args(arguments))


@temporary_files()
def _run(options: argparse.Namespace) -> int:
    if options.least < 2:
        raise InputError(f"--least must be at least 2. Received: {options.least}")
    with command_line.quiet():
        solver = load_solver(options.least)
    info = write_dataset(options.records, options.out, solver, options.overwrite)
    for split, number in info["people"].items():
        print(f"{counted(info['counts'][split], f'{split} record')} of {number} people in {options.out}")
    if reasons := info["rejected"]:
        print(f"left out: {', '.join(f'{number} {reason}' for reason, number in reasons.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
