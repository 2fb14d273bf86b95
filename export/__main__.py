"""What leaves the building: `python -m export [RUN] OUT` writes a bundle for servers and phones, and
`python -m export web [BUNDLE] OUT` a page for browsers (`web`)."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export import preset
from export.variants import QUANTIZATIONS, variants
from export.web import command as web
from tf_deep3d import command_line
from tf_deep3d.errors import extra
from tf_deep3d.io.files import refuse_existing, refuse_foreign
from tf_deep3d.io.work_folders import temporary_files

if TYPE_CHECKING:
    from export.networks import Networks

EXAMPLES = """
examples:
  python -m export bundle                                   the shipped weights
  python -m export runs/rnet_mobilenet bundle               a training's
  python -m export bundle --quantize int8 --calibration photos/ --overwrite
  python -m export runs/bfm bundle --model bfm2009.npz
  python -m export web bundle page                          a page in the browser; see `python -m export web --help`

Every file is compared with Keras on faces that chose no range of int8. One that differs by more than its bound
(export/parity.py) is refused, and nothing is written; --force writes it all the same.

exit status: 0 if the bundle was written, 1 if not, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == [web.NAME]:
        return web.main(arguments[1:])
    if arguments[:1] == [preset.NAME]:
        return preset.main(arguments[1:])
    return command_line.run(
        _run, _parser().parse_intermixed_args(arguments), interrupted="Interrupted; nothing was written."
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        prog="python -m export",
        description="Writes a SavedModel, TFLite models, the face model and the device runtime into one folder.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "run", nargs="?", type=Path, metavar="RUN", help="folder of a training (default: shipped R-Net)"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument(
        "--quantize", default=",".join(QUANTIZATIONS), metavar="LIST", help="of the TFLite files (%(default)s)"
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR",
        help="folder of photos, or of records, to choose int8's ranges and to compare by (default: rendered people)",
    )  # fmt: skip
    parser.add_argument("--level", type=int, metavar="N", help="level of detail of the face model (default: 1)")
    parser.add_argument("--model", type=Path, metavar="NPZ", help="face model (default: the open face model)")
    parser.add_argument("--force", action="store_true", help="write models that differ too much from Keras")
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle in OUT")
    return parser


@temporary_files()
def _run(options: argparse.Namespace) -> int:
    names = [name.strip() for name in options.quantize.split(",") if name.strip()]
    variants(names)  # a wrong name is said before the work
    if not options.overwrite:
        refuse_existing(options.out)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(options.out.parent, os.W_OK):
        raise PermissionError(f"cannot write to {options.out.parent}")

    with command_line.quiet(), extra("export"):
        from export import bundle, crops, networks

    if options.overwrite:
        refuse_foreign(options.out, bundle.MANIFEST)
    loaded = networks.load_networks(options.run, options.model)
    model = bundle.load_model(options.model, options.level)
    gathered = crops.gather(options.calibration, model)
    subject = bundle.Subject(loaded, model, options.model, shipped=options.run is None)
    manifest, lines = bundle.write_bundle(options.out, subject, gathered, names, options.force, options.overwrite)
    print("\n".join(lines))
    checked = {entry["file"]: entry for entry in manifest["networks"]} | manifest["parity"]
    for name, entry in checked.items():
        for text in entry.get("refused", ()):
            print(f"warning: {name} differs in {text}", file=sys.stderr)
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"{options.out}: {len(manifest['files'])} files, {size / 1e6:.0f} MB{_without(loaded, options.run)}")
    return 0


def _without(loaded: "Networks", run: Path | None) -> str:
    if loaded.cnet is not None:
        return ""
    return f"; no C-Net {'belongs to this R-Net' if run else 'is shipped yet'}, so sets of photos are averaged"


if __name__ == "__main__":
    sys.exit(main())
