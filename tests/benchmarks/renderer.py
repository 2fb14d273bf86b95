"""Time of the renderer in milliseconds an image, on the open face model or, without it, on an ellipsoid.

    python -m tests.benchmarks.renderer [--batch 5] [--repeat 100] [--size 224] [--levels 2 1 0] [--ellipsoid] [--cpu]

Level 2 is the finest. Columns: `rasterize`; `render`, forward, with the photometric loss; the same with its gradient
with respect to pixels, depth and colours; the loss and its gradient alone. Each is the minimum over the calls, because
whatever else runs on the machine only ever adds to the time; the median is in brackets. With --cpu, one thread and its
CPU time: on a busy machine the only figure that can be repeated.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tf_deep3d import face as faces
from tf_deep3d import losses, morphable_model, renderer
from tf_deep3d.camera import Camera, to_pixels
from tf_deep3d.face import Face


def milliseconds(function, *arguments, repeat, clock=time.perf_counter):
    """(Minimum, median) of `repeat` calls."""
    times = []
    for _ in range(repeat + 2):
        start = clock()
        tf.nest.map_structure(lambda t: t.numpy(), function(*arguments))
        times.append(clock() - start)
    return 1e3 * np.min(times[2:]), 1e3 * np.median(times[2:])


def ellipsoid(side, batch):
    """A face-sized front patch of side^2 vertices, turned by random yaws, with random colours: (Face, triangles)."""
    generator = np.random.default_rng(0)
    longitude, latitude = np.meshgrid(np.linspace(-1.45, 1.45, side), np.linspace(-1.3, 1.3, side))
    points = [0.72 * np.sin(longitude) * np.cos(latitude), 0.95 * np.sin(latitude)]
    points = np.stack([*points, 0.6 * np.cos(longitude) * np.cos(latitude)], axis=-1).reshape(-1, 3)
    yaw = generator.uniform(-0.4, 0.4, batch)
    turns = np.zeros((batch, 3, 3))
    turns[:, 0, 0] = turns[:, 2, 2] = np.cos(yaw)
    turns[:, 0, 2], turns[:, 2, 0], turns[:, 1, 1] = np.sin(yaw), -np.sin(yaw), 1
    vertices = (points @ np.swapaxes(turns, 1, 2)).astype(np.float32)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3).astype(np.int32)
    colors = generator.random(vertices.shape, np.float32)
    return Face(vertices, vertices, colors, colors, *to_pixels(Camera(), vertices), None), triangles


def open_face(level, batch):
    """Random open faces, turned by up to 30 degrees: (Face, triangles)."""
    model = morphable_model.load(level=level)
    generator = np.random.default_rng(0)
    coefficients = model.layout().zeros(batch)
    draws = {
        name: generator.normal(size=getattr(coefficients, name).shape) for name in ("identity", "expression", "albedo")
    }
    draws["angles"] = generator.uniform(-0.5, 0.5, (batch, 3)) * [0.3, 1, 0.3]
    coefficients = coefficients._replace(**{name: value.astype(np.float32) for name, value in draws.items()})
    return faces.reconstruct(model, coefficients), model.triangles


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 1, 0])
    parser.add_argument("--ellipsoid", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args(arguments)
    clock = time.perf_counter
    if options.cpu:
        clock = time.process_time
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    size, batch = options.size, options.batch
    camera, zoom = Camera.for_size(size), size / 224
    photo = tf.random.uniform((batch, size, size, 3))
    attention = tf.ones((batch, size, size))
    print(f"batch {batch}, {size} px, minimum (median) of {options.repeat} calls, {clock.__name__}, ms an image")
    print(
        f"{'level':>5}{'V':>8}{'T':>8}{'cover':>7}{'rasterize':>16}{'render, loss':>16}{'and gradient':>16}{'loss':>14}"
    )
    for level in options.levels:
        ellipse = options.ellipsoid or not morphable_model.OPEN_FACE.exists()
        face, triangles = ellipsoid((48, 96, 191)[level], batch) if ellipse else open_face(level, batch)
        inner_face = tf.ones(len(triangles), bool)
        constant = tf.constant(triangles)
        inputs = [tf.constant(a, tf.float32) for a in (face.pixels * zoom, face.depth, face.colors)]

        @tf.function
        def rasterize(pixels, depth, colors, triangles=constant):
            fragments = renderer.rasterize(pixels, depth, triangles, size, size)
            return fragments.triangle, fragments.barycentrics

        @tf.function
        def forward(pixels, depth, colors, triangles=constant, inner_face=inner_face):
            face = Face(None, None, None, colors, pixels, depth, None)
            rendering = renderer.render(face, triangles, camera, inner_face)
            return losses.photometric(photo, rendering.image, rendering.inner_face, attention)

        @tf.function
        def backward(*inputs, forward=forward):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = forward(*inputs)
            return tape.gradient(loss, inputs)

        @tf.function
        def loss_alone(image, coverage):
            with tf.GradientTape() as tape:
                tape.watch(image)
                loss = losses.photometric(photo, image, coverage, attention)
            return tape.gradient(loss, image)

        coverage = tf.cast(rasterize(*inputs)[0] >= 0, tf.float32)[..., None]
        cases = [(rasterize, inputs), (forward, inputs), (backward, inputs), (loss_alone, [photo / 2, coverage])]
        results = [milliseconds(function, *given, repeat=options.repeat, clock=clock) for function, given in cases]
        cells = [f"{least / batch:.2f} ({median / batch:.2f})" for least, median in results]
        row = f"{level:5d}{face.pixels.shape[1]:8d}{len(triangles):8d}{float(tf.reduce_mean(coverage)):7.0%}"
        print(row + "".join(f"{cell:>16}" for cell in cells[:3]) + f"{cells[3]:>14}", flush=True)


if __name__ == "__main__":
    main()
