"""Trains R-Net from prepared photos: `python -m tf_deep3d.train CONFIG [--set key=value ...]`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up remarks are not ours to show

import argparse
import sys
from pathlib import Path

EXAMPLES = """
examples:
  python -m tf_deep3d.prepare photos/ records
  python -m tf_deep3d.train configs/rnet_mobilenet.yaml --set data.records=[records]
  python -m tf_deep3d.train configs/rnet_mobilenet.yaml --run runs/fast --set level=0 --set data.batch=4
  tensorboard --logdir runs

The same command goes on where an interrupted training stopped. All visible GPUs are used; several machines where
TF_CONFIG describes them. Exit status: 0 when the training is complete, 1 for an error, 2 for a wrong command line.
"""


def main(arguments=None):
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from the latest checkpoint.", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:  # ours say what was received
        if not _is_ours(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tf_deep3d.train",
        description="Trains R-Net from prepared photos.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file, see configs/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME OF THE CONFIG)")
    parser.add_argument("--overwrite", action="store_true", help="begin anew in a folder that holds another run")
    return parser


def _is_ours(error):
    """Whether the message of `error` is written for the user; anything else keeps its traceback."""
    return isinstance(error, OSError) or "Received" in str(error)


def _run(options):
    from tf_deep3d import config
    from tf_deep3d.training import TrainSettings

    settings = config.load(options.config, TrainSettings, options.set)
    folder = options.run or Path("runs", options.config.stem)

    from tf_deep3d import runs

    runs.open_folder(folder, settings, options.overwrite)
    return runs.train(folder, settings)


if __name__ == "__main__":
    sys.exit(main())
