"""`python -m export web [BUNDLE] OUT`: writes the page in the browser."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.errors import extra
from tf_deep3d.io import photos
from tf_deep3d.io.files import refuse_existing, refuse_foreign
from tf_deep3d.io.work_folders import work_folder

NAME = "web"
EXAMPLES = """
examples:
  python -m export web page                                 of the shipped weights, which are exported first (minutes)
  python -m export web bundle page --sample me.jpg          of a bundle that `python -m export` wrote
  python -m http.server --directory page                    shows it on http://localhost:8000

The page is a folder of static files: put it on any server with https (cameras and offline use ask for that). It asks no
other place for anything, its content security policy forbids it, and photos never leave the device.

exit status: 0 if the page was written, 1 if not, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command_line.run(
        _run, _parser().parse_intermixed_args(arguments), interrupted="Interrupted; nothing was written."
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        prog=f"python -m export {NAME}",
        description="Writes a page that turns photos into 3D faces in the browser, of a bundle.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="folder of `python -m export` (default: made anew)"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--sample", type=Path, metavar="PHOTO", help="a photo that the page offers to begin with")
    parser.add_argument("--overwrite", action="store_true", help="replace the page in OUT")
    return parser


def _run(options: argparse.Namespace) -> int:
    from export.web import page

    sample = None if options.sample is None else photos.as_pixels(options.sample)
    if options.overwrite:
        refuse_foreign(options.out, page.MARK)
    else:
        refuse_existing(options.out)
    with work_folder(Path(tempfile.gettempdir())) as place:
        bundle = options.bundle or _export(place / "bundle")
        files = page.write_page(options.out, bundle, sample, options.overwrite)
    print("\n".join(page.sizes(files)))
    print(f"{options.out}: {command_line.counted(len(files), 'file')}, {sum(files.values()) / 1e6:.1f} MB")
    return 0


def _export(folder: Path) -> Path:
    """A bundle of the shipped weights, with what the page takes alone."""
    with command_line.quiet(), extra("export"):
        from export import bundle, crops, networks

    model = bundle.load_model()
    subject = bundle.Subject(networks.load_networks(), model, shipped=True)
    bundle.write_bundle(folder, subject, crops.gather(None, model), ["int8"])
    return folder


if __name__ == "__main__":
    sys.exit(main())
