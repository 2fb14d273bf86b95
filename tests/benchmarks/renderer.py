"""Time of the renderer in milliseconds an image, on the open face model or, without it, on an ellipsoid.

    python -m tests.benchmarks.renderer [--batch 5] [--repeat 100] [--size 224] [--levels 2 1 0] [--ellipsoid] [--cpu]

With KERAS_BACKEND=jax on JAX, and so on the GPU that it sees. Level 2 is the finest. Columns: `rasterize`; `render`,
forward, with the photometric loss; the same with its gradient with respect to pixels, depth and colours; the loss and
its gradient alone. Each is the median of the calls, with the least in brackets: whatever else runs on the machine only
ever adds to the time. With --cpu, one thread and its CPU time: on a busy machine the only figure that
can be repeated.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from tests.benchmarks.timing import both, machine, milliseconds
from tf_deep3d import face as faces
from tf_deep3d.face import Face, morphable_model
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.losses import hybrid
from tf_deep3d.rendering import renderer

BACKEND = keras.backend.backend()


def compiled(function):
    """`function` as the backend compiles it; its results are NumPy arrays."""
    if BACKEND == "jax":
        import jax

        fast = jax.jit(function)
    else:
        import tensorflow as tf

        fast = tf.function(function)
    return lambda *inputs: keras.tree.map_structure(ops.convert_to_numpy, fast(*inputs))


def gradient(function):
    """Function of the gradients of the sum of `function` with respect to all its inputs; only their sums come back,
    because copying them is not what is measured."""

    def sums(gradients):
        return [ops.sum(each) for each in gradients]

    def on_jax(*inputs):
        import jax

        return sums(jax.grad(lambda *inputs: ops.sum(function(*inputs)), tuple(range(len(inputs))))(*inputs))

    def on_tensorflow(*inputs):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = function(*inputs)
        return sums(tape.gradient(loss, inputs))

    return on_jax if BACKEND == "jax" else on_tensorflow


def one_thread():
    """Keeps the backend to one thread."""
    if BACKEND == "jax":
        raise SystemExit("--cpu needs the TensorFlow backend. Received: jax")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


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
        one_thread()
    size, batch = options.size, options.batch
    camera, zoom = Camera.for_size(size), size / 224
    photo = ops.convert_to_tensor(np.random.default_rng(0).random((batch, size, size, 3), np.float32))
    attention, everywhere = ops.ones((batch, size, size)), ops.ones((batch, size, size, 1))

    def loss_alone(image):
        return hybrid.photometric(photo, image, everywhere, attention)

    how = f"median (least) of {options.repeat} calls, {clock.__name__}, ms an image"
    print(f"{machine()}\n{BACKEND}, batch {batch}, {size} px, {how}")
    print(
        f"{'level':>5}{'V':>8}{'T':>8}{'cover':>7}{'rasterize':>16}{'render, loss':>16}{'and gradient':>16}{'loss':>14}"
    )
    for level in options.levels:
        ellipse = options.ellipsoid or not morphable_model.OPEN_FACE.exists()
        face, triangles = ellipsoid((48, 96, 191)[level], batch) if ellipse else open_face(level, batch)
        inner_face = ops.ones(len(triangles), "bool")
        constant = ops.convert_to_tensor(triangles)
        inputs = [ops.convert_to_tensor(a, "float32") for a in (face.pixels * zoom, face.depth, face.colors)]

        def rasterize(pixels, depth, colors, triangles=constant):
            fragments = renderer.rasterize(pixels, depth, triangles, size, size)
            return ops.mean(ops.cast(fragments.triangle >= 0, "float32")), ops.sum(fragments.barycentrics)

        def forward(pixels, depth, colors, triangles=constant, inner_face=inner_face):
            face = Face(None, None, None, colors, pixels, depth, None)
            rendering = renderer.render(face, triangles, camera, inner_face)
            return hybrid.photometric(photo, rendering.image, rendering.inner_face, attention)

        rasterize = compiled(rasterize)
        cases = [
            (rasterize, inputs),
            (compiled(forward), inputs),
            (compiled(gradient(forward)), inputs),
            (compiled(gradient(loss_alone)), [photo / 2]),
        ]
        cells = [
            both(milliseconds(function, *given, repeat=options.repeat, warm=2, clock=clock), batch)
            for function, given in cases
        ]
        row = f"{level:5d}{face.pixels.shape[1]:8d}{len(triangles):8d}{float(rasterize(*inputs)[0]):7.0%}"
        print(row + "".join(f"{cell:>16}" for cell in cells[:3]) + f"{cells[3]:>14}", flush=True)


if __name__ == "__main__":
    main()
