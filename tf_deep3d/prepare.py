"""Photos in, training records out: `python -m tf_deep3d.prepare PHOTOS... OUT`, a pipeline of Apache Beam."""

import argparse
import os
import sys
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.errors import InputError, extra
from tf_deep3d.io import photos
from tf_deep3d.io.work_folders import temporary_files

EXAMPLES = """
examples:
  python -m tf_deep3d.prepare photos/ records                        every photo is a person of its own
  python -m tf_deep3d.prepare photos/ records --identities photos/lfw --validation 0.1
                                                                     the folders in photos/lfw are one person each
  python -m tf_deep3d.prepare a/ 'b/*.png' records --identities people.csv --faces all --show 24
  python -m tf_deep3d.prepare photos/ records --runner=DaskRunner --dask_scheduler_file=cluster.json
  python -m tf_deep3d.prepare photos/ records --runner=FlinkRunner --flink_master=host:8081 --parallelism=64

The same command again goes on where it was cut off. Beam's own options are written --name=value; its workers need
tf_deep3d installed and see PHOTOS and OUT under the same paths.

exit status: 0 if there are records, 1 if not, 2 for a wrong command line, 130 if interrupted.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options, beam_options = command_line.parsed(_parser(), arguments)
    return command_line.run(_run, options, beam_options, interrupted="Interrupted; the same command goes on from here.")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        prog="python -m tf_deep3d.prepare",
        description="Finds, aligns and describes the faces of photos and writes them as records for training.",
        epilog=EXAMPLES,
        allow_abbrev=False,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTOS", help="folder (at any depth), photo, or quoted glob")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the records")
    parser.add_argument("--faces", choices=["largest", "all"], default="largest", help="of each photo")
    parser.add_argument(
        "--identities",
        action="append",
        default=[],
        metavar="PATH",
        help="folder whose sub-folders are one person each, or CSV with the columns file,person; may be repeated",
    )
    parser.add_argument("--validation", type=float, default=0.05, metavar="SHARE", help="of the people (default 0.05)")
    parser.add_argument("--smallest", type=float, default=24, metavar="PX", help="least eye distance (default 24)")
    parser.add_argument("--shard-size", type=int, default=512, metavar="N", help="photos of a shard (default 512)")
    parser.add_argument("--model", metavar="NPZ", help="face model to align by (default: the open face model)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="draw N records into contact_sheet.jpg")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (default: cores)")
    parser.add_argument("--overwrite", action="store_true", help="replace the records in OUT, do not go on with them")
    parser.add_argument("--runner", metavar="NAME", help="Beam runner (default: this machine)")
    return parser


@temporary_files()
def _run(options: argparse.Namespace, beam_options: list[str]) -> int:
    with command_line.quiet((1, 2)):
        with extra("prepare"):
            import apache_beam  # noqa: F401  told before any work
        from tf_deep3d.data import pipeline, preparation
        from tf_deep3d.data.spread import Spread

    if options.workers < 1:
        raise InputError(f"--workers must be positive. Received: {options.workers}")
    settings = preparation.Settings(
        options.faces, options.smallest, options.validation, options.shard_size, options.model
    )
    command_line.tell_passed_over(photos.passed_over(options.photos, options.out))
    listed = preparation.list_photos(options.photos, options.identities, options.out)
    spread = Spread(options.workers, options.runner, tuple(beam_options))
    info = pipeline.prepare(options.out, listed, settings, spread, options.overwrite)
    if options.show:
        pipeline.show(options.out, options.show)
    print(pipeline.summary(options.out, info))
    return 0 if sum(info["counts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
