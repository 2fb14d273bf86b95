"""Photos in, training records out: `python -m tf_deep3d.prepare PHOTOS... OUT`, a pipeline of Apache Beam."""

import fcntl
import json
import logging
import os
import re
import shutil
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.errors import InputError, extra

EXAMPLES = """
examples:
  python -m tf_deep3d.prepare photos/ records                        every photo is a person of its own
  python -m tf_deep3d.prepare photos/ records --identities photos/lfw --validation 0.1
                                                                     the folders in photos/lfw are one person each
  python -m tf_deep3d.prepare a/ 'b/*.png' records --identities people.csv --faces all --show 24
  python -m tf_deep3d.prepare photos/ records --runner=FlinkRunner --flink_master=host:8081 --parallelism=64

The same command again goes on where it was cut off. Beam's own options are written --name=value; its workers need
tf_deep3d installed and see PHOTOS and OUT under the same paths.

exit status: 0 if there are records, 1 if not, 2 for a wrong command line, 130 if interrupted.
"""
SHARD_NAME = re.compile(r"(train|validation)-\d{5,}-of-\d{5,}")
SHEET = "contact_sheet.jpg"


def main(arguments=None):
    """Runs the command; returns its exit status."""
    options, beam_options = _parser().parse_known_args(arguments)
    if stray := [word for word in beam_options if not re.fullmatch(r"--\w[\w-]*(=.*)?", word, re.DOTALL)]:
        print(f"Write Beam's own options as --name=value. Received: {' '.join(stray)}", file=sys.stderr)
        return 2
    return command_line.run(_run, options, beam_options, interrupted="Interrupted; the same command goes on from here.")


def _parser():
    parser = command_line.parser(
        prog="python -m tf_deep3d.prepare",
        description="Finds, aligns and describes the faces of photos and writes them as records for training.",
        epilog=EXAMPLES,
        allow_abbrev=False,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTOS", help="folder (at any depth), photo, or quoted glob")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the records")
    parser.add_argument("--faces", choices=["largest", "all"], default="largest", help="of each photo")
    parser.add_argument(
        "--identities",
        action="append",
        default=[],
        metavar="PATH",
        help="folder whose sub-folders are one person each, or CSV with the columns file,person; may be repeated",
    )
    parser.add_argument("--validation", type=float, default=0.05, metavar="SHARE", help="of the people (default 0.05)")
    parser.add_argument("--smallest", type=float, default=24, metavar="PX", help="least eye distance (default 24)")
    parser.add_argument("--shard-size", type=int, default=512, metavar="N", help="photos of a shard (default 512)")
    parser.add_argument("--model", metavar="NPZ", help="face model to align by (default: the open face model)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help=f"draw N records into {SHEET}")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (default: cores)")
    parser.add_argument("--overwrite", action="store_true", help="replace the records in OUT, do not go on with them")
    parser.add_argument("--runner", metavar="NAME", help="Beam runner (default: this machine)")
    return parser


def _run(options, beam_options):
    with command_line.quiet((1, 2)):
        with extra("prepare"):
            import apache_beam  # noqa: F401  told before any work
        from tf_deep3d.data import preparation, records

    if options.workers < 1:
        raise InputError(f"--workers must be positive. Received: {options.workers}")
    settings = preparation.Settings(
        options.faces, options.smallest, options.validation, options.shard_size, options.model
    )
    listed = preparation.list_photos(options.photos, options.identities, options.out)
    parameters = preparation.parameters(listed, settings)
    options.out.mkdir(parents=True, exist_ok=True)
    with _locked(options.out):
        if options.overwrite:
            _clear(options.out)
        if (options.out / records.DATASET_FILE).exists():
            _compare(options.out / records.DATASET_FILE, parameters, "parameters")
            print(f"{options.out} is complete already; --overwrite makes it anew")
        else:
            with open(os.dup(2), "w") as terminal:  # stays when Beam is silenced
                _prepare(options, beam_options, settings, listed, parameters, terminal)
        shutil.rmtree(options.out / preparation.WORK, ignore_errors=True)
    info = json.loads((options.out / records.DATASET_FILE).read_text(encoding="utf-8"))
    if options.show:
        _show(options.out, options.show)
    print(_summary(options.out, info))
    return 0 if sum(info["counts"].values()) else 1


def _prepare(options, beam_options, settings, listed, parameters, terminal):
    """Plans, or takes up the plan there is, prepares what is missing, and writes dataset.json."""
    from tqdm import tqdm

    from tf_deep3d.data import preparation, records

    work = options.out / preparation.WORK
    work.mkdir(exist_ok=True)
    if (work / "parameters.json").exists():
        _compare(work / "parameters.json", parameters)
    preparation.write_json(work / "parameters.json", parameters)
    for stale in [*options.out.glob(".*.part"), *work.glob(".*.part"), *work.glob("*.progress")]:
        stale.unlink(missing_ok=True)
    bar = {"file": terminal, "unit": " photos", "disable": None, "smoothing": 0.05}
    if not (work / "plan.json").exists():
        with tqdm(total=len(listed), desc="reading", **bar) as progress:
            planned = preparation.plan(listed, settings, options.workers, progress.update)
        preparation.write_json(work / "plan.json", planned)
    planned = json.loads((work / "plan.json").read_text(encoding="utf-8"))
    shards = planned["shards"]
    missing = [name for name in shards if not ((work / f"{name}.json").exists() and (options.out / name).exists())]
    local = options.runner in (None, "DirectRunner", "FnApiRunner")
    common = {"out": str(options.out), "settings": asdict(settings), "driver": os.getpid() if local else None}
    jobs = [{"name": name, "photos": shards[name], **common} for name in missing]
    total, done = sum(map(len, shards.values())), sum(len(shards[name]) for name in shards if name not in missing)
    with (
        tqdm(total=total, initial=done, desc="preparing", **bar) as progress,
        _watching(work, progress, done),
        command_line.quiet((1, 2)),
    ):
        if jobs:
            _run_beam(jobs, options, beam_options, local)
    reports = {name: json.loads((work / f"{name}.json").read_text(encoding="utf-8")) for name in shards}
    listing = {split: {} for split in records.SPLITS}
    for name, report in reports.items():
        listing[name.partition("-")[0]][name] = records.ShardInfo(**report["shard"])
    rejected = [*planned["rejected"], *(bad for report in reports.values() for bad in report["rejected"])]
    info = {
        "parameters": parameters,
        "reasons": dict(Counter(bad["reason"].partition(":")[0] for bad in rejected).most_common()),
        "rejected": sorted(rejected, key=lambda bad: bad["photo"]),
        "duplicates": planned["duplicates"],
    }
    records.write_dataset_json(options.out, listing, info)


def _run_beam(jobs, options, beam_options, local):
    """Runs the pipeline: each job is one shard; keys deal the jobs evenly to the workers."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from tf_deep3d.data import preparation

    arguments = list(beam_options)
    if local:  # named exactly: "DirectRunner" would first try to download a program
        mode = "multi_processing" if min(options.workers, len(jobs)) > 1 else "in_memory"
        workers = min(options.workers, len(jobs))
        arguments += ["--runner=FnApiRunner", f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    else:
        arguments.append(f"--runner={options.runner}")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            keyed = pipeline | "Shards" >> beam.Create(list(enumerate(jobs))) | "Deal" >> beam.GroupByKey()
            _ = keyed | "Jobs" >> beam.FlatMap(lambda item: item[1]) | "Prepare" >> beam.Map(preparation.prepare_shard)
    except RuntimeError as error:  # Beam puts what a worker raised into the text
        causes = re.findall(r"^(?:\w+\.)*\w*Error: (.*?)(?: \[while running.*)?$", str(error), re.MULTILINE)
        raise OSError(f"a worker failed: {causes[-1] if causes else error}") from error


@contextmanager
def _watching(work, progress, done):
    """Moves the progress bar by the bytes that workers add to their progress files."""
    ended = threading.Event()

    def look():
        progress.update(done + sum(path.stat().st_size for path in work.glob("*.progress")) - progress.n)

    def watch():
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
def _locked(out):
    """Holds `out` against a second command; the system lets go of it when the process ends, however it ends."""
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BlockingIOError(f"another command is preparing there. Received: {out}") from None
    finally:
        os.close(folder)


def _compare(path, parameters, key=None):
    """Raises ValueError if the parameters in the JSON file `path` are others."""
    found = json.loads(path.read_text(encoding="utf-8"))
    found = found.get(key, {}) if key else found
    if other := [name for name in parameters if found.get(name) != parameters[name]]:
        what = ", ".join(dict.fromkeys("photos" if name == "listing" else name for name in other))
        raise InputError(f"{path.parent} holds records of other {what}: choose another OUT, or pass --overwrite")


def _clear(out):
    """Removes the records in `out`, and nothing else: `dataset.json` first."""
    from tf_deep3d.data import preparation, records

    (out / records.DATASET_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / preparation.WORK, ignore_errors=True)
    for path in out.iterdir():
        if SHARD_NAME.fullmatch(path.name):
            path.unlink()


def _show(out, count):
    """Draws `count` records, evenly out of all, with landmarks, and their skin beside."""
    import numpy as np
    from PIL import Image

    from tf_deep3d.data import records
    from tf_deep3d.rendering import pictures

    opened = []
    for split in records.SPLITS:
        try:
            opened += records.open_records(out, split).shards
        except records.RecordsError:
            continue  # a split may be empty
    wanted = set(np.linspace(0, sum(s.count for s in opened) - 1, count).astype(int).tolist()) if opened else ()
    panels, captions, start = [], [], 0
    for shard in opened:
        for number, example in enumerate(records.read_shard(shard.path).take(shard.count), start):
            if number in wanted:
                record = {name: value.numpy() for name, value in records.parse(example).items()}
                points = [(record["dense"], (250, 220, 60)), (record["landmarks"], pictures.DETECTED)]
                marked = pictures.draw_points(pictures.draw_points(record["image"], points[:1], 0.7), points[1:], 1.5)
                panels.append(np.concatenate([marked, np.repeat(record["skin"], 3, axis=-1)], axis=1))
                captions.append(record["source"].decode())
        start += shard.count
    if panels:
        Image.fromarray(pictures.contact_sheet(panels, 4, captions)).save(out / SHEET, quality=90)


def _summary(out, info):
    counts = ", ".join(f"{number} for {split}" for split, number in info["counts"].items())
    reasons = ", ".join(f"{number} {reason}" for reason, number in info["reasons"].items())
    lines = [f"{sum(info['counts'].values())} records in {out} ({counts}) of {info['parameters']['photos']} photos"]
    lines += [f"{len(info['rejected'])} photos rejected: {reasons}"] if info["rejected"] else []
    lines += [f"{len(info['duplicates'])} duplicates dropped"] if info["duplicates"] else []
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
