"""Time of R-Net's training step and of its parts, and of the input pipeline, on the TensorFlow backend.

    python -m tests.benchmarks.training [--backbones mobilenet] [--batches 5 16] [--levels 1 2] [--repeat 5]

Prints the median of `repeat` times and below it the least, ms an image, forward and backward: the network alone; face,
renderer and all losses but the perceptual one; the perceptual network; these two, the step without the network; the
whole step. The pictures are rendered faces.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tf_deep3d import command_line

with command_line.quiet():
    import keras
    import numpy as np
    import tensorflow as tf

    from tests.benchmarks.timing import machine, milliseconds
    from tests.prepared import write_records
    from tf_deep3d.data import augmentation
    from tf_deep3d.data import batches as data
    from tf_deep3d.data.mixture import DataSettings
    from tf_deep3d.face import morphable_model
    from tf_deep3d.losses.weighing import LossWeights
    from tf_deep3d.models.recognition import build_recognition
    from tf_deep3d.training.networks import build_rnet
    from tf_deep3d.training.objective import Reconstructor
    from tf_deep3d.training.optimizer import build_optimizer
    from tf_deep3d.training.settings import Network, TrainSettings


def measure(settings, batch, repeat):
    """Name of a part -> [2], ms an image: the median of `repeat` calls, and the least."""
    images = settings.data.batch
    model = morphable_model.load(None, settings.level)
    recognition = build_recognition()

    def step(weights):
        built = Reconstructor(rnet, model, recognition, replace(settings, loss=weights))
        built.compile(build_optimizer(settings), jit_compile=False)
        built.optimizer.build(rnet.trainable_variables)
        function = tf.function(built.train_step)
        return lambda: float(function(batch)["loss"])

    rnet = build_rnet(settings)
    variables = rnet.trainable_variables

    @tf.function
    def network():
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_sum(group) for group in rnet(batch["inputs"], training=True))
        return sum(tf.reduce_sum(g) for g in tape.gradient(loss, variables) if g is not None)

    cases = [lambda: float(network()), step(replace(settings.loss, perceptual=0.0)), step(settings.loss)]
    times = [milliseconds(case, repeat=repeat) / images for case in cases]
    alone, without, whole = (np.array([np.median(each), np.min(each)]) for each in times)
    return {
        "network": alone,
        "face, renderer, losses": without - alone,
        "perceptual": whole - without,
        "but the network": whole - alone,
        "step": whole,
    }


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["mobilenet", "resnet50"])
    parser.add_argument("--batches", nargs="+", type=int, default=[5, 16])
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = morphable_model.load(level=1)
        write_records(Path(folder), model, 32, shard=16)
        print(machine())
        widths = {"network": 10, "face, renderer, losses": 25, "perceptual": 12, "but the network": 18, "step": 8}
        titles = "".join(f"{name:>{width}}" for name, width in widths.items())
        print(f"{'ms an image':<28}{titles}{'images/s':>10}")
        for backbone in options.backbones:
            for size in options.batches:
                for level in options.levels:
                    settings = TrainSettings(
                        network=Network(backbone, "shipped" if backbone == "mobilenet" else "random"),
                        data=DataSettings(records=(folder,), batch=size),
                        loss=LossWeights(shape=0.02),
                        level=level,
                    )
                    mirror = augmentation.mirror(model, model.layout())
                    batches = iter(data.open_batches(settings.data, model.layout().total, mirror, 0).training())
                    times = measure(settings, next(batches), options.repeat)
                    for index, label in enumerate((f"{backbone}, batch {size}, level {level}", "  least")):
                        row = "".join(f"{times[name][index]:>{width}.1f}" for name, width in widths.items())
                        print(f"{label:<28}{row}{1e3 / times['step'][index]:>10.1f}", flush=True)
                    keras.backend.clear_session()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 5:
            count += len(np.asarray(next(batches)["known"]))
        print(f"input pipeline alone, batch {size}: {count / (time.perf_counter() - start):.0f} images/s")


if __name__ == "__main__":
    main()
