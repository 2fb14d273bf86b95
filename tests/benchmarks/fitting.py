"""Seconds of a whole reconstruction for each photo, and the peak memory.

    python -m tests.benchmarks.fitting [--batches 1 16]

Each batch holds copies of scikit-image's astronaut. Loading (imports, models, networks) is timed on its own; detecting,
fitting (with tracing) and writing count for the photos.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="numbers of photos")
    batches = parser.parse_args().batches
    start = time.perf_counter()
    from PIL import Image
    from skimage import data

    from tf_deep3d.reconstructed import Reconstruction
    from tf_deep3d.reconstruction import photo

    options = photo.Options()
    models = photo.load_models(options)
    print(f"start-up {time.perf_counter() - start:.1f} s")
    print(f"{'photos':>6} {'s':>8} {'s a photo':>10} {'peak GiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for count in batches:
            paths = [Path(folder) / f"{count}-{number}.png" for number in range(count)]
            for path in paths:
                Image.fromarray(data.astronaut()).save(path)
            start = time.perf_counter()
            found = list(photo.reconstruct_photos(paths, options, models))
            failed = [each for each in found if isinstance(each.face, Exception)]
            for each in found:
                if isinstance(each.face, Reconstruction):
                    each.face.write(Path(folder) / "out" / f"{count}-{each.photo}")
            seconds = time.perf_counter() - start
            if failed:
                raise RuntimeError(f"every photo must succeed. Received: {failed}")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"{count:6d} {seconds:8.1f} {seconds / count:10.2f} {peak:9.2f}", flush=True)


if __name__ == "__main__":
    main()
