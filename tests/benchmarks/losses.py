"""Time of the recognition network and of each loss term, forward and backward, on the TensorFlow backend.

    python -m tests.benchmarks.losses [--batch 5] [--vertices 9200] [--repeat 20]

Prints medians. The skin classifier (NumPy, one 224 px photo) is in the last row.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tests.benchmarks.timing import machine
from tf_deep3d.detection import skin
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.losses import hybrid, weighing
from tf_deep3d.models import recognition


def median_ms(function, *arguments, repeat):
    """Median of `repeat` calls after two for warming up, in milliseconds."""
    times = []
    for _ in range(repeat + 2):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[2:]))


def forward_and_backward(function):
    """(forward, forward and gradient of the sum of squares) of function(x), as graphs; both wait for their result."""

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tf.square(function(x)))  # a plain sum would have a constant gradient
        return tape.gradient(value, x)

    forward = tf.function(function)
    return lambda x: forward(x).numpy(), lambda x: gradient(x).numpy()


def cases(batch, vertices):
    """Name -> (function of one argument, that argument)."""
    generator = np.random.default_rng(0)

    def draw(*shape):
        return tf.constant(generator.uniform(0, 1, (batch, *shape)), tf.float32)

    image, coverage, attention = draw(224, 224, 3), draw(224, 224, 1), draw(224, 224)
    points68, points478, descriptor = draw(68, 2), draw(478, 2), draw(128)
    weights68, weights478, region = weighing.landmark_weights(), np.ones(478, np.float32), np.arange(vertices) % 2 == 0
    network = recognition.build_recognition()
    expression, albedo, normals = draw(64), draw(80), draw(vertices, 3)

    def prior(identity):
        return hybrid.prior(Coefficients(identity, expression, albedo, None, None, None))

    return {
        "recognition.crop": (recognition.crop, draw(224, 224, 3)),
        "recognition.describe": (lambda x: recognition.describe(network, x), draw(224, 224, 3)),
        "photometric": (lambda x: hybrid.photometric(image, x, coverage, attention), draw(224, 224, 3)),
        "landmark, 68": (lambda x: hybrid.landmark(x, points68, weights68), draw(68, 2)),
        "landmark, 478": (lambda x: hybrid.landmark(x, points478, weights478), draw(478, 2)),
        "perceptual": (lambda x: hybrid.perceptual(x, descriptor), draw(128)),
        "prior": (prior, draw(80)),
        "albedo_flatness": (lambda x: hybrid.albedo_flatness(x, region), draw(vertices, 3)),
        "illumination_whiteness": (hybrid.illumination_whiteness, draw(3, 9)),
        "exposure": (lambda x: hybrid.exposure(x, normals, region), draw(3, 9)),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--vertices", type=int, default=9200)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args(arguments)
    print(f"{machine()}\nbatch {options.batch}, {options.vertices} vertices, medians of {options.repeat} calls, ms")
    print(f"{'':26}{'forward':>10}{'and backward':>16}")
    for name, (function, x) in cases(options.batch, options.vertices).items():
        forward, both = (median_ms(timed, x, repeat=options.repeat) for timed in forward_and_backward(function))
        print(f"{name:26}{forward:10.2f}{both:16.2f}", flush=True)
    photo = np.random.default_rng(1).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    print(f"{'skin_probability, 1 photo':26}{median_ms(skin.skin_probability, photo, repeat=options.repeat):10.2f}")


if __name__ == "__main__":
    main()
