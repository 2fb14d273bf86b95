"""The shipped networks as the commands start them: `python -m export preset OUT`.

R-Net with its C-Net, and the recognition network, each as a TFLite file with half precision weights; and, with records
of faces whose shape is known, how R-Net errs: what `tf_deep3d/assets` has beside the weights for Keras, made anew
whenever those change. `SHA256SUMS` there says what they are.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tf_deep3d import command_line
from tf_deep3d.errors import extra
from tf_deep3d.io.files import refuse_existing, sha256, writing

NAME = "preset"
EXAMPLES = """
examples:
  python -m export preset networks          writes networks/rnet_mobilenet.tflite and networks/recognition.tflite
  python -m export preset networks --records rendered --records rerendered
                                            and networks/rnet_mobilenet_errors.npz, from people R-Net never saw
"""
EVENLY = 0.05  # share of the measured covariance that is spread evenly: few pictures know nothing of 80 dimensions
BATCH = 16


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m export preset", "Writes the shipped networks for LiteRT.", EXAMPLES)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write into")
    parser.add_argument(
        "--records",
        action="append",
        default=[],
        metavar="FOLDER",
        help="of `synthetic`, whose held-out people show how R-Net errs; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the files in OUT")
    return command_line.run(_run, parser.parse_args(arguments), interrupted="Interrupted.")


def _run(options: argparse.Namespace) -> int:
    with command_line.quiet(), extra("export"):
        from export import networks, tflite
        from tf_deep3d.io import archive
        from tf_deep3d.models import likeness, presets, regression

    made: dict[str, Callable[[], bytes]] = {
        presets.PRESETS[presets.DEFAULT].runtime.file: lambda: tflite.convert(networks.load_networks()),
        likeness.FILE.name: lambda: tflite.convert_function(_describe(likeness.DESCRIPTOR)),
    }
    preset = presets.PRESETS[presets.DEFAULT]
    names = [*made, preset.errors.file] if options.records else made
    for name in names if not options.overwrite else ():
        refuse_existing(options.out / name)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, convert in made.items():
        model = tflite.quantize(convert(), "float16")
        with writing(options.out / name, options.overwrite) as file:
            file.write(model)
        print(f"{options.out / name}: {len(model) / 1e6:.1f} MB, SHA-256 {sha256(options.out / name)}")
    if options.records:
        path = options.out / preset.errors.file
        covariance, count = _errors(options.records)
        arrays = {"schema": np.array(regression.ERRORS_SCHEMA), "covariance": covariance.astype(np.float32)}
        archive.write_arrays(path, arrays, options.overwrite)
        print(f"{path}: of {count} pictures, SHA-256 {sha256(path)}")
    return 0


def _errors(folders: Sequence[str]) -> tuple[np.ndarray, int]:
    """`regression.read_errors` of the shipped R-Net, and from how many pictures: those of the validation split."""
    from tf_deep3d.data import records, tfrecord
    from tf_deep3d.models import regression

    regressor = regression.load_regressor()
    lacking, margin = [], records.MARGIN
    for folder in folders:
        for shard in records.open_records(folder, "validation").shards:
            read = (tfrecord.parse(each, records.SCHEMA) for each in islice(tfrecord.read(shard.path), shard.count))
            while batch := list(islice(read, BATCH)):
                images = np.stack([each["image"][margin:-margin, margin:-margin] for each in batch]) / np.float32(255)
                found = regressor.regress(images)[0].identity
                truth = np.stack([each["coefficients"][: found.shape[1]] for each in batch])
                lacking.append(truth.astype(np.float64) - found)
    errors = np.concatenate(lacking)
    covariance = errors.T @ errors / len(errors)
    even = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return (1 - EVENLY) * covariance + EVENLY * even, len(errors)


def _describe(name: str) -> Callable[[Any], dict[str, Any]]:
    """The recognition network with its crop, whose output is called `name`."""
    from tf_deep3d.models import recognition

    network = recognition.build_recognition()
    return lambda images: {name: recognition.describe(network, images)}
