"""Trains R-Net or C-Net from prepared photos: `python -m tf_deep3d.train CONFIG [--set key=value ...]`."""

import argparse
import sys
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.errors import extra
from tf_deep3d.io.work_folders import temporary_files

EXAMPLES = """
examples:
  python -m tf_deep3d.prepare photos/ records
  python -m tf_deep3d.synthetic rendered --count 4000
  python -m tf_deep3d.train rnet_mobilenet --set data.records=[records,rendered]
  python -m tf_deep3d.train mine.yaml --set data.records=[records] --run runs/fast --set level=0
  tensorboard --logdir runs

The same command goes on where an interrupted training stopped. All visible GPUs are used; several machines where
TF_CONFIG describes them. Exit status: 0 when the training is complete, 1 for an error, 2 for a wrong command line.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return command_line.run(
        _run, options, interrupted="Interrupted; the same command goes on from the latest checkpoint."
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        prog="python -m tf_deep3d.train",
        description="Trains R-Net or C-Net from prepared photos.",
        epilog=EXAMPLES,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a preset, as rnet_mobilenet, or a YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME OF THE CONFIG)")
    parser.add_argument("--overwrite", action="store_true", help="begin anew in a folder that holds another run")
    return parser


@temporary_files()
def _run(options: argparse.Namespace) -> int:
    with command_line.quiet(), extra("train"):
        from tf_deep3d.training import config, devices, run, run_folder
        from tf_deep3d.training.settings import TrainSettings

    settings = config.load(options.config, TrainSettings, options.set)
    folder = options.run or Path("runs", options.config.stem)
    if devices.is_chief():
        if options.overwrite and folder.exists():
            run.check(settings)
        run_folder.open_folder(folder, settings, options.overwrite)
    return run.train(folder, settings)


if __name__ == "__main__":
    sys.exit(main())
