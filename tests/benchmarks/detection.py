"""Time of face detection, of its networks, and of the alignment crop, on the astronaut of scikit-image.

    python -m tests.benchmarks.detection [--repeat 20]

Prints the median of all repetitions, with the least in brackets, in milliseconds of CPU time of this process (the
networks run on one thread, so on an idle machine that is the time on the clock), and the number of faces found.
"""

import argparse
import time

import numpy as np
from skimage import data

from tests.benchmarks.timing import both, machine, milliseconds
from tf_deep3d.detection import alignment, detector, networks, resampling
from tf_deep3d.face.geometry import Similarity

# Right eye, left eye, nose tip, mouth corners of a mean face; dm.
MODEL5 = np.array([[-0.32, 0.3, 0.35], [0.32, 0.3, 0.35], [0.0, 0.0, 0.75], [-0.25, -0.35, 0.4], [0.25, -0.35, 0.4]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    repeat = parser.parse_args().repeat
    photo = data.astronaut()
    face = detector.detect(photo)[0]
    quick = networks.region_of_landmarks(face.landmarks478, networks.MESH_SIZE)
    fine = networks.region_of_landmarks(face.landmarks478, networks.ATTENTION_SIZE)
    rows = [
        ("full range, whole photo", lambda: networks.propose(photo, networks.FULL_RANGE, whole(photo, 192))),
        ("short range, whole photo", lambda: networks.propose(photo, networks.SHORT_RANGE, whole(photo, 128))),
        ("mesh", lambda: networks.mesh(photo, quick)),
        ("attention mesh", lambda: networks.attention_mesh(photo, fine)),
        ("blendshapes", lambda: networks.blendshapes(face.landmarks478)),
        ("align 224, upright", lambda: alignment.align(photo, face.points5, MODEL5)),
        ("align 224, turned", lambda: alignment.align(photo, face.points5, MODEL5, roll_limit=0.0)),
    ]
    print(f"{machine()}\n{'piece, 512 x 512 photo':34}{'ms':>18}")
    for name, function in rows:
        print(f"{name:34}{cpu_ms(function, repeat):>18}")
    large = resampling.crop(photo, Similarity(3000 / 512), 3000)
    photos = [
        ("one face, 512 x 512", photo),
        ("the same, 3000 x 3000", np.round(large * 255).astype(np.uint8)),
        ("the same, upside down", np.ascontiguousarray(photo[::-1, ::-1])),
        ("15 small faces, 1000 x 600", group(photo)),
        ("no face (noise), 512 x 512", np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)),
    ]
    print(f"\n{'photo':30}{'nearest ms':>18}{'quick ms':>18}{'faces':>7}{'thorough ms':>18}{'faces':>7}")
    for name, image in photos:
        calls = max(repeat // 4, 1)
        row = f"{name:30}{cpu_ms(lambda p=image: detector.nearest(p), calls):>18}"
        for thorough in (False, True):
            faces = detector.detect(image, thorough)
            row += f"{cpu_ms(lambda p=image, t=thorough: detector.detect(p, t), calls):>18}{len(faces):7}"
        print(row)


def whole(photo, size):
    return detector.whole_region(photo.shape[1], photo.shape[0], size)


def group(photo):
    """The astronaut's face 15 times, 50 px between forehead and chin, in a photo of 1000 x 600."""
    small = resampling.crop(photo, Similarity(0.5, 0.0, (100 - 223 * 0.5, 100 - 120 * 0.5)), 200)
    return np.tile(np.round(small * 255).astype(np.uint8), (3, 5, 1))


def cpu_ms(function, repeat):
    """Median and least CPU time of `repeat` calls, in milliseconds."""
    return both(milliseconds(function, repeat=repeat, clock=time.process_time), digits=1)


if __name__ == "__main__":
    main()
