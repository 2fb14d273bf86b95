"""Time of the preparation of photos, piece by piece and as a whole.

    python -m tests.benchmarks.prepare [PHOTOS...] [--count 100] [--workers 2]

By default the photos are views of the astronaut of scikit-image, 250 x 250 px. The first table is CPU time of this
process per photo: the mean, the median, and the mean of the quicker half, which other work disturbs less. The last
lines are the command on the clock: photos a second from its start to its end, and between its first and its last photo.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from tests.benchmarks.timing import machine
from tf_deep3d import face as faces
from tf_deep3d.data import preparation, records, tfrecord
from tf_deep3d.detection import alignment, detector, resampling, skin
from tf_deep3d.face import morphable_model
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.io import photos


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*")
    parser.add_argument("--count", type=int, default=100, help="photos of the first table, evenly out of all")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        given = options.photos or [str(views(Path(scratch) / "photos", options.count))]
        listed = preparation.list_photos(given)
        pieces([photo.path for photo in listed[:: max(1, len(listed) // options.count)]])
        whole(given, len(listed), Path(scratch) / "records", options.workers)


def views(folder, count):
    """JPEG files of the astronaut's face at several sizes; no two are alike."""
    folder.mkdir()
    for number in range(count):
        scale = 0.65 + 0.75 * number / count
        view = Similarity(scale, 0.0, (125 - 223 * scale, 125 - 120 * scale))
        picture = np.round(resampling.crop(data.astronaut(), view, 250) * 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.jpg", quality=95)
    return folder


def pieces(paths):
    """Prints the table of the pieces."""
    model = morphable_model.load()
    points = faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    skin.skin_levels(np.zeros((1, 1, 3), np.uint8))  # makes the table
    times = defaultdict(list)
    preparation.prepare_photo(data.astronaut())

    def timed(name, function, *arguments):
        start = time.process_time()
        result = function(*arguments)
        times[name].append(1e3 * (time.process_time() - start))
        return result

    for path in paths:
        photo = timed("read", photos.read_photo, path)
        found = timed("detect and landmarks", detector.detect, photo)
        if not found:
            continue
        crop = timed("align", alignment.align, photo, found[0].points5, points, 224, records.MARGIN / 224)
        image = np.round(crop.image * 255).astype(np.uint8)
        timed("skin, table", skin.skin_levels, image)
        timed("(skin, formula)", skin.skin_probability, image)
        [record] = timed("all up to the record", preparation.prepare_photo, photo)
        example = timed("encode", records.encode, record)
        timed("compress", gzip.compress, example, tfrecord.COMPRESSION_LEVEL)
    print(f"{machine()}\n{'piece':24}{'ms':>8}{'median':>8}{'quick half':>12}")
    for name, values in times.items():
        half = np.mean(sorted(values)[: (len(values) + 1) // 2])
        print(f"{name:24}{np.mean(values):8.2f}{np.median(values):8.2f}{half:12.2f}")


def whole(given, count, out, workers):
    """Times the command."""
    command = [sys.executable, "-m", "tf_deep3d.prepare", *given, str(out), "--workers", str(workers)]
    command += ["--shard-size", str(max(1, min(512, count // (2 * workers))))]
    start, marks = time.perf_counter(), []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None:
        done = sum(path.stat().st_size for path in (out / preparation.WORK).glob("*.progress"))
        if done and (not marks or done > marks[-1][1]):
            marks.append((time.perf_counter(), done))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    print(process.stdout.read().strip())
    (first, begun), (last, ended) = marks[0], marks[-1]
    print(f"{count / seconds:.1f} photos a second, start and end included ({seconds:.0f} s)")
    if last > first:
        print(f"{(ended - begun) / (last - first):.1f} photos a second from the first photo to the last")


if __name__ == "__main__":
    main()
