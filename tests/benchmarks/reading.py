"""CPU time of what is read: the face model's levels of detail, and records without TensorFlow.

    python -m tests.benchmarks.reading [RECORDS] [--count 256] [--repeat 5]

RECORDS is a folder that `python -m tf_deep3d.prepare` wrote; by default the records are of rendered faces, which are
smaller than photos. Medians, with the least in brackets.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from tests.benchmarks.timing import both, machine, milliseconds
from tf_deep3d.data import records, tfrecord
from tf_deep3d.face import head, morphable_model


def main():
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=256, help="records at most")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}\n{'face model, CPU ms':32}{'median (least)':>18}")
    levels = morphable_model.load_levels()
    cases = {f"level {level}": lambda level=level: morphable_model.load(level=level) for level in range(len(levels))}
    cases["all levels, none asked for"] = morphable_model.load_levels
    cases["head"] = lambda: head.load(levels[head.LEVEL])
    for name, case in cases.items():
        print(f"{name:32}{both(_cpu(case, options.repeat), digits=0):>18}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        _records(options.records or _rendered(Path(folder), options.count), options)


def _records(folder, options):
    """The table of records."""
    shards = records.open_records(folder).shards

    def read():
        return list(itertools.islice((r for shard in shards for r in records.read_shard(shard)), options.count))

    found = read()
    size = sum(map(len, found)) / len(found)
    print(f"\n{f'{len(found)} records of {size / 1e3:.0f} kB':32}{'CPU ms a record':>18}{'records a s':>14}")
    for name, case in {
        "read and checked": read,
        "taken apart, pictures decoded": lambda: [tfrecord.parse(each, records.SCHEMA) for each in found],
    }.items():
        times = _cpu(case, options.repeat)
        print(f"{name:32}{both(times, len(found)):>18}{1e3 * len(found) / sorted(times)[len(times) // 2]:>14.0f}")


def _rendered(folder, count):
    from tests.prepared import write_records

    return write_records(folder, morphable_model.load(level=0), count, shard=64)


def _cpu(function, repeat):
    return milliseconds(function, repeat=repeat, clock=time.process_time)


if __name__ == "__main__":
    main()
