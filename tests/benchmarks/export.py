"""Speed of what a bundle holds: TFLite files by threads, SavedModel by batch size.

    python -m tests.benchmarks.export BUNDLE [--resnet50] [--batches 1,2,4,8,16] [--calls 30]

Prints milliseconds on the clock of one picture, median and least; for the SavedModel milliseconds of a call, median
and 99th percentile, and pictures per second. --resnet50 adds an untrained ResNet-50 in every precision: its speed does
not depend on its weights.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from tests.benchmarks.timing import both, machine, milliseconds
from tests.exported import encode, smooth_pictures

THREADS = (1, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="folder that `python -m export` wrote")
    parser.add_argument("--resnet50", action="store_true", help="also an untrained ResNet-50")
    parser.add_argument("--batches", default="1,2,4,8,16", help="of the SavedModel (%(default)s)")
    parser.add_argument("--calls", type=int, default=30, help="of each (%(default)s)")
    options = parser.parse_args()
    head = "".join(f"{f'{threads} threads, ms':>18}" for threads in THREADS)
    print(f"{machine()}\n{'file':32}{'MB':>7}{head}")
    listed = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))["networks"]
    for entry in listed:
        _row(entry["file"], (options.bundle / entry["file"]).read_bytes(), options.calls)
    for name, data in _resnet50() if options.resnet50 else ():
        _row(name, data, options.calls)
    print(f"\n{'signature':20}{'batch':>6}{'ms, median':>12}{'99 %':>9}{'pictures a s':>14}")
    for signature, batch, times in _saved_model(options):
        rate = 1e3 * batch * len(times) / sum(times)
        print(f"{signature:20}{batch:>6}{np.median(times):>12.1f}{np.percentile(times, 99):>9.1f}{rate:>14.1f}")


def _row(name, data, calls):
    print(f"{name:32}{len(data) / 1e6:>7.1f}", end="", flush=True)
    for threads in THREADS:
        print(f"{both(_tflite(data, threads, calls)):>18}", end="", flush=True)
    print()


def _tflite(data, threads, calls):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 256, given["shape"], np.uint8)
    interpreter.set_tensor(given["index"], noise if given["dtype"] == np.uint8 else noise / np.float32(255))
    return milliseconds(interpreter.invoke, repeat=calls, warm=3)


def _resnet50():
    from export import tflite
    from export.networks import Networks
    from export.variants import QUANTIZATIONS
    from tf_deep3d.face.coefficients import Layout
    from tf_deep3d.models.rnet import RNet

    plain = tflite.convert(Networks(RNet("resnet50", Layout(80, 64, 80), "untrained")))
    for quantization in QUANTIZATIONS:
        yield f"resnet50 {quantization}", tflite.quantize(plain, quantization, smooth_pictures(4))


def _saved_model(options):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(options.bundle / "saved_model" / "1")).signatures
    for batch in map(int, options.batches.split(",")):
        pictures = smooth_pictures(batch)
        given = {
            "coefficients": {"images": tf.constant(pictures / np.float32(255))},
            "serving_default": {"image_bytes": tf.constant([encode(picture, "JPEG") for picture in pictures])},
        }
        for name, inputs in given.items():
            call = signatures[name]
            yield (
                name,
                batch,
                milliseconds(lambda call=call, inputs=inputs: call(**inputs), repeat=options.calls, warm=3),
            )


if __name__ == "__main__":
    main()
