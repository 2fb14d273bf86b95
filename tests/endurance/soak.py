"""Goes on for long, and prints the memory on the way: it must stay where it was after the first tenth.

    python -m tests.endurance.soak records [--count 100000] [RECORDS]
    python -m tests.endurance.soak serving [--minutes 60] [--rate 2]

`records`: records, read, checked and with both pictures decoded, without TensorFlow. `serving`: a SavedModel that
TensorFlow's C++ loader has, asked over gRPC by four clients, one request in five a wrong one, as fast as it answers or
at a rate. Linux only.
"""

import argparse
import collections
import contextlib
import itertools
import math
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ALLOWED = 0.1  # that the memory may grow after the first tenth
CLIENTS = 4


def resident() -> float:
    """MB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def watched(shares: Iterator[tuple[float, str]]) -> int:
    """Prints the memory ten times and more on the way; the exit status.

    Args:
      shares: (share of the work that is done, what was done), often.
    """
    print("| done | MB |\n| --- | ---: |", flush=True)
    seen, told = [], -1
    for share, text in shares:
        if int(10 * share) > told:
            told = int(10 * share)
            seen.append(resident())
            print(f"| {text} | {seen[-1]:.0f} |", flush=True)
    before, later = seen[1], max(seen[2:])
    print(f"\nafter the first tenth {before:.0f} MB, at most {later:.0f}: {100 * (later / before - 1):+.1f} %")
    return int(later > (1 + ALLOWED) * before)


def read(count: int, folder: Path | None) -> Iterator[tuple[float, str]]:
    """Reads records over and over, each of them a training's without TensorFlow."""
    from tf_deep3d.data import records, tfrecord

    with contextlib.ExitStack() as stack:
        if folder is None:
            from tests.prepared import write_records
            from tests.synthetic import synthetic_arrays
            from tf_deep3d.face import morphable_model
            from tf_deep3d.io import archive

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            archive.write_arrays(folder / "face.npz", synthetic_arrays())
            write_records(folder, morphable_model.load(folder / "face.npz"), 200, shard=50)
        shards = records.open_records(folder).shards
        endless = itertools.chain.from_iterable(records.read_shard(shard) for shard in itertools.cycle(shards))
        for number, serialized in enumerate(itertools.islice(endless, count)):
            tfrecord.parse(serialized, records.SCHEMA)
            if not number % 100:
                yield number / count, f"{number} records"
        yield 1.0, f"{count} records"


def serve(minutes: float, rate: float) -> Iterator[tuple[float, str]]:
    """Asks a server from several threads, for `rate` pictures a second in all."""
    import numpy as np

    from export import client
    from export.bundle import SAVED
    from tests.exported import encode, export, smooth_pictures
    from tests.serving import grpc_server
    from tests.synthetic import synthetic_arrays
    from tf_deep3d.io import archive

    counts, over = collections.Counter(), threading.Event()
    good = [encode(picture) for picture in smooth_pictures(4)]
    wrong = [("coefficients", {"images": np.zeros((1, 10, 10, 3))}), ("nothing", {"images": np.zeros((1, 2))})]

    def ask(address: str, seed: int, end: float) -> None:
        rng = random.Random(seed)
        while (begin := time.monotonic()) < end and not over.is_set():
            if rng.random() < 0.1:
                with contextlib.suppress(client.ServerError):
                    client.predict(address, *rng.choice(wrong))
                    counts["answered wrongly"] += 1
            files = [rng.choice(good) for _ in range(rng.randint(1, 4))] + [b"nothing"] * (rng.random() < 0.1)
            try:
                errors = client.reconstruct(address, files)[1]
            except client.ServerError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
                counts["requests too late"] += 1  # on a machine that does other things, too
                continue
            counts["pictures"] += len(files)
            counts["answered wrongly"] += [bool(text) for text in errors] != [file == b"nothing" for file in files]
            time.sleep(max(0.0, begin + CLIENTS * len(files) / rate - time.monotonic()))

    with tempfile.TemporaryDirectory() as name:
        archive.write_arrays(Path(name, "face.npz"), synthetic_arrays())
        exported = export(Path(name), Path(name, "face.npz"))
        with grpc_server(exported.folder / SAVED) as address, ThreadPoolExecutor(CLIENTS) as pool:
            begin = time.monotonic()
            asking = [pool.submit(ask, address, seed, begin + 60 * minutes) for seed in range(CLIENTS)]
            try:
                while not all(each.done() for each in asking):
                    for each in filter(Future.done, asking):
                        each.result()  # raises what ended it before its time
                    yield (time.monotonic() - begin) / (60 * minutes), f"{counts['pictures']} pictures"
                    time.sleep(1)
            finally:
                over.set()
            yield 1.0, f"{counts['pictures']} pictures"
    if counts["requests too late"]:
        print(f"{counts['requests too late']} requests were not answered in {client.TIMEOUT} s")
    if counts["answered wrongly"]:
        raise SystemExit(f"{counts['answered wrongly']} requests were answered wrongly")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    reading = commands.add_parser("records")
    reading.add_argument("folder", nargs="?", type=Path, metavar="RECORDS", help="(default: rendered here)")
    reading.add_argument("--count", type=int, default=100_000, metavar="N", help="records (100000)")
    serving = commands.add_parser("serving")
    serving.add_argument("--minutes", type=float, default=60, metavar="N", help="(60)")
    serving.add_argument("--rate", type=float, default=math.inf, metavar="N", help="pictures a second (no limit)")
    options = parser.parse_args(arguments)
    if options.what == "records":
        return watched(read(options.count, options.folder))
    return watched(serve(options.minutes, options.rate))


if __name__ == "__main__":
    sys.exit(main())
