"""Speed and memory of albums: `reconstruct --set` of photos of one person, and of a part of them.

    python -m tests.benchmarks.album PHOTOS [--counts 25 50 100] [--level 1]

PHOTOS is a folder of one person. Every row is a command of its own; bounded memory shows in peaks that hardly differ.
Start-up is in the seconds; the last column, from the differences to the row above, is without it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tf_deep3d.io.photos import find_photos

COMMAND = ("-m", "tf_deep3d.reconstruct")


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--level", type=int, default=1)
    options = parser.parse_args(arguments)
    found = find_photos([str(options.photos)])
    print(
        f"{'photos':>8}{'seconds':>10}{'CPU s':>8}{'peak, MB':>10}{'photos/s':>10}{'photos/s beyond the row above':>31}"
    )
    before = None
    for count in options.counts:
        if count > len(found):
            print(f"{options.photos} has {len(found)} photos only")
            break
        seconds, spent, peak = measure(found[:count], options.level)
        more = "" if before is None else f"{(count - before[0]) / (seconds - before[1]):.2f}"
        print(f"{count:>8}{seconds:>10.1f}{spent:>8.1f}{peak:>10.0f}{count / seconds:>10.2f}{more:>31}", flush=True)
        before = count, seconds


def measure(photos, level):
    """Seconds, CPU seconds and the peak in MB of one album."""
    with tempfile.TemporaryDirectory() as folder:
        album = Path(folder, "album")
        album.mkdir()
        for photo in photos:
            shutil.copy(photo, album)
        options = ["--set", str(album), "--out", str(Path(folder, "out")), "--level", str(level)]
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *COMMAND, *options], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the album failed. Received: exit status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
