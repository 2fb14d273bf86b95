"""What a user waits for: whole commands, each in a process of its own, from a cold start.

    python -m tests.benchmarks.commands [--repeats 5] [--photos FOLDER]

Prints medians beside minima, the processor's seconds and the largest memory of the process; of folders, albums and
clips what each further photo or frame costs: the time of all less the time of one, over the rest. Photos are those of
FOLDER, of one person, else the public-domain photo in other cuts, of which the clip is made, too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from skimage import data

from tests.benchmarks.timing import machine

PHOTOS, FRAMES = 9, 31


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photos", type=Path, help="folder of photos of one person (default: cuts of one photo)")
    options = parser.parse_args()
    print(f"{machine()}; {options.repeats} runs each\n")
    print(f"{'command':52}{'median s':>10}{'least s':>10}{'CPU s':>10}{'MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        photos = options.photos or _cuts(place / "photos")
        one = next(path for path in sorted(photos.iterdir()) if path.is_file())
        count = len([path for path in photos.iterdir() if path.is_file()])
        frames = {n: _frames(place / f"frames{n}", n) for n in (1, FRAMES)}

        def measure(name: str, *arguments: object) -> np.ndarray:
            """Prints a row; the medians of wall and processor seconds."""
            rows = [_run([str(each) for each in arguments], place / "out") for _ in range(options.repeats)]
            seconds, cpu, memory = zip(*rows, strict=True)
            numbers = f"{median(seconds):10.2f}{min(seconds):10.2f}{median(cpu):10.2f}{max(memory):8.0f}"
            print(f"{name:52}{numbers}", flush=True)
            return np.array([median(seconds), median(cpu)])

        def further(name: str, all_of_them: np.ndarray, single: np.ndarray, number: int) -> None:
            seconds, cpu = (all_of_them - single) / (number - 1)
            print(f"{name:52}{seconds:10.3f}{'':10}{cpu:10.3f}", flush=True)

        verb = "tf_deep3d.reconstruct"
        single = measure("one photo, default", verb, one)
        print(f"{'  its GLB, finest level, MB':52}{_size(place / 'out', '*/face.glb') / 1e6:10.2f}", flush=True)
        measure("one photo, --refine 0", verb, one, "--refine", 0)
        measure("one photo, --refine 0 --level 1", verb, one, "--refine", 0, "--level", 1)
        measure("one photo, --method fit", verb, one, "--method", "fit")
        further("  each further photo of a folder", measure(f"{count} photos", verb, photos), single, count)
        alone = measure("album of one photo", verb, "--set", one)
        further("  each further photo of an album", measure(f"album of {count}", verb, "--set", photos), alone, count)
        frame = measure("clip of one frame", "tf_deep3d.animate", frames[1])
        clip = measure(f"clip of {FRAMES}", "tf_deep3d.animate", frames[FRAMES])
        further("  each further frame of a clip", clip, frame, FRAMES)


def _run(arguments: Sequence[str], out: Path) -> tuple[float, float, float]:
    """Wall seconds, seconds of the processor, and MB, of one command."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(said.decode())
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _size(folder: Path, pattern: str) -> int:
    """Bytes of the files of a folder."""
    return sum(path.stat().st_size for path in folder.glob(pattern))


def _cuts(folder: Path) -> Path:
    folder.mkdir()
    for number in range(PHOTOS):
        Image.fromarray(data.astronaut()[: 300 + number, 4 * number : 400]).save(folder / f"{number}.png")
    return folder


def _frames(folder: Path, count: int) -> Path:
    folder.mkdir()
    picture = np.asarray(data.astronaut())
    for number in range(count):
        Image.fromarray(picture[number : 240 + number, 100:340]).save(folder / f"{number:03}.png")
    return folder


if __name__ == "__main__":
    main()
