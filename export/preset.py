"""The shipped networks as the commands start them: `python -m export preset OUT`.

R-Net with its C-Net, and the recognition network, each as a TFLite file with half precision weights: what
`tf_deep3d/assets` has beside the weights for Keras, made anew whenever those change. `SHA256SUMS` there
says what they are.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tf_deep3d import command_line
from tf_deep3d.errors import extra
from tf_deep3d.io.files import refuse_existing, sha256, writing
from tf_deep3d.io.work_folders import temporary_files

NAME = "preset"
EXAMPLES = """
examples:
  python -m export preset networks          writes networks/rnet_mobilenet.tflite and networks/recognition.tflite
"""


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m export preset", "Writes the shipped networks for LiteRT.", EXAMPLES)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write into")
    parser.add_argument("--overwrite", action="store_true", help="replace the files in OUT")
    return command_line.run(_run, parser.parse_args(arguments), interrupted="Interrupted.")


@temporary_files()
def _run(options: argparse.Namespace) -> int:
    with command_line.quiet(), extra("export"):
        from export import networks, tflite
        from tf_deep3d.models import likeness, presets

    made: dict[str, Callable[[], bytes]] = {
        presets.PRESETS[presets.DEFAULT].runtime.file: lambda: tflite.convert(networks.load_networks()),
        likeness.FILE.name: lambda: tflite.convert_function(_describe(likeness.DESCRIPTOR)),
    }
    for name in made if not options.overwrite else ():
        refuse_existing(options.out / name)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, convert in made.items():
        model = tflite.quantize(convert(), "float16")
        with writing(options.out / name, options.overwrite) as file:
            file.write(model)
        print(f"{options.out / name}: {len(model) / 1e6:.1f} MB, SHA-256 {sha256(options.out / name)}")
    return 0


def _describe(name: str) -> Callable[[Any], dict[str, Any]]:
    """The recognition network with its crop, whose output is called `name`."""
    from tf_deep3d.models import recognition

    network = recognition.build_recognition()
    return lambda images: {name: recognition.describe(network, images)}
