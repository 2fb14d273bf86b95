"""What a user, a phone and a training wait for: the tables of the single benchmarks, one after the other.

    python -m tests.benchmarks [--bundle BUNDLE] [--photos FOLDER] [--repeats 3] [--resnet50]

Some five minutes on two cores, of which a third are whole commands. Medians stand beside the least of all repetitions;
each table says the machine and how busy it was.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path


def main():
    """Runs the benchmarks; what one of them says on stderr is dropped unless it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="folder that `python -m export` wrote; without it no phone's times")
    parser.add_argument("--photos", type=Path, help="folder of many photos to prepare (default: views of one)")
    parser.add_argument("--repeats", type=int, default=3, help="of whole commands (%(default)s)")
    parser.add_argument("--resnet50", action="store_true", help="also an untrained ResNet-50 on LiteRT: some minutes")
    options = parser.parse_args()
    failed = 0
    for title, module, *arguments in tables(options):
        start = time.perf_counter()
        words = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
        print(f"\n== {title}: python {' '.join(words[1:])}", flush=True)
        done = subprocess.run(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        if done.returncode:
            failed += 1
            print(done.stderr[-2000:])
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)
    return int(failed > 0)


def tables(options):
    """Title, module and arguments of each benchmark."""
    found = [("whole commands", "commands", "--repeats", options.repeats)]
    if options.bundle:
        found.append(("device, a photo to a mesh", "device", options.bundle))
        resnet50 = ["--resnet50"] if options.resnet50 else []
        found.append(("networks", "export", options.bundle, *resnet50, "--batches", 1))
    found += [
        ("renderer", "renderer", "--repeat", 50),
        ("training step", "training", "--backbones", "mobilenet", "--batches", 5, "--levels", 1, "--repeat", 15),
        ("reading", "reading"),
        ("preparing", "prepare", *([options.photos] if options.photos else []), "--count", 200),
    ]
    return found


if __name__ == "__main__":
    sys.exit(main())
