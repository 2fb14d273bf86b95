"""Time and memory of the device runtime: start-up, and a photo to a mesh by its pieces.

    python -m tests.benchmarks.device BUNDLE [--photo me.jpg] [--threads 1,2] [--repeat 50]

Every row is a process of its own, as on a device. Prints the median of all repetitions in milliseconds on the clock
(and the least of the whole), the time from the first import to the first face, and the peak of the memory. The
detector is included, decoding the file of the photo is not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.timing import machine

COLUMNS = ("detect", "align", "network", "mesh", "whole", "least", "arkit", "start_up_s", "peak_mb")

_WORK = """
import time
begin = time.perf_counter()
import json, resource, sys
from dataclasses import replace
import numpy as np
from export import device
from tf_deep3d.detection import alignment, detector
from tf_deep3d.face import reconstruct
from tf_deep3d.io import photos
bundle, photo, quantization, threads, repeat = sys.argv[1:]
runtime = device.load(bundle, quantization, threads=int(threads))
image = photos.read_photo(photo)
face, = runtime.reconstruct(image)
started = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def median(values):
    return float(np.median(values))

def times(function):
    spent = []
    for _ in range(int(repeat)):
        start = time.perf_counter()
        function()
        spent.append(1e3 * (time.perf_counter() - start))
    return spent

crop = face.crop.image[None]
whole = times(lambda: runtime.reconstruct(image))
print(json.dumps({
    "detect": median(times(lambda: detector.nearest(image, runtime.detector, runtime.threads))),
    "align": median(times(lambda: alignment.align(image, face.detected.points5, runtime.points5))),
    "network": median(times(lambda: runtime.regress(crop))),
    "mesh": median(times(lambda: reconstruct(runtime.model, face.coefficients))),
    "arkit": median(times(lambda: replace(face).arkit)),
    "whole": median(whole), "least": min(whole), "start_up_s": started, "peak_mb": peak,
}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="folder that `python -m export` wrote")
    parser.add_argument("--photo", type=Path, help="default: the astronaut of scikit-image")
    parser.add_argument("--threads", default="1,2", help="of the networks, one row each")
    parser.add_argument("--repeat", type=int, default=50)
    options = parser.parse_args()
    manifest = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))
    names = [entry["quantization"] for entry in manifest["networks"] if entry["network"] == "rnet"]
    with tempfile.TemporaryDirectory() as scratch:
        photo = options.photo or _astronaut(Path(scratch))
        print(f"{machine()}\n{'network':12}{'threads':>8}" + "".join(f"{column:>11}" for column in COLUMNS))
        for name in dict.fromkeys(names):
            for threads in options.threads.split(","):
                print(f"{name:12}{threads:>8}", end="", flush=True)
                found = measure(options.bundle, photo, name, threads, options.repeat)
                print("".join(f"{found[column]:11.2f}" for column in COLUMNS))


def measure(bundle, photo, quantization, threads, repeat):
    """Dict of `COLUMNS` of one process."""
    arguments = [str(bundle), str(photo), quantization, threads, str(repeat)]
    done = subprocess.run([sys.executable, "-c", _WORK, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _astronaut(folder):
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    return folder / "astronaut.png"


if __name__ == "__main__":
    main()
