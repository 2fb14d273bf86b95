"""Photos in, textured 3D faces out: `python -m tf_deep3d.reconstruct PHOTO... --out DIR`.

With `--set` all photos show one person and become one face.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_deep3d import command_line
from tf_deep3d.errors import extra, readable
from tf_deep3d.face import aggregation
from tf_deep3d.io import photos
from tf_deep3d.io.files import refuse_existing
from tf_deep3d.io.work_folders import temporary_files
from tf_deep3d.reconstruction.folders import write_faces
from tf_deep3d.reconstruction.options import add_options, library_files, load_reconstructor

EXAMPLES = """
examples:
  python -m tf_deep3d.reconstruct --demo --out demo            a public-domain photo that scikit-image carries
  python -m tf_deep3d.reconstruct me.jpg --out faces           writes faces/me/face.obj, face.glb, overlay.png, ...
  python -m tf_deep3d.reconstruct holiday/ 'more/*.png' --all-faces --out faces
  python -m tf_deep3d.reconstruct me.jpg --out faces --level 1 --overwrite
  python -m tf_deep3d.reconstruct me.jpg --out faces --head    also head.glb: a closed head with teeth, tongue and eyes
  python -m tf_deep3d.reconstruct --set photos/of/me --out faces       all photos of one person make one face: faces/me
  python -m tf_deep3d.reconstruct --set 'trip/*.jpg' --out faces --strategy average --refine 40 --keep-outliers

Photos whose folder is there already are not made again: the same command goes on where it was cut off.

exit status: 0 if at least one face was written or is there already, 1 if none, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    if bool(options.photos) + options.demo + bool(options.set) != 1:
        print("Name at least one photo, or pass --set or --demo: just one of them. See --help.", file=sys.stderr)
        return 2
    if not options.set and (options.strategy or options.keep_outliers):
        print("--strategy and --keep-outliers need --set. See --help.", file=sys.stderr)
        return 2
    if options.set and options.all_faces:
        print("--set looks at all faces to find one person: leave --all-faces out. See --help.", file=sys.stderr)
        return 2
    return command_line.run(_run, options, interrupted="Interrupted; what was written is complete.")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "python -m tf_deep3d.reconstruct", "Reconstructs the faces of photos as textured 3D meshes.", EXAMPLES
    )
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="photo, folder (at any depth), or quoted glob")
    text = "photos of one person (a folder at any depth, photos, quoted globs), which make one neutral face"
    parser.add_argument("--set", nargs="+", metavar="DIR", help=text)
    parser.add_argument("--demo", action="store_true", help="use a public-domain photo that comes with a package")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_options(parser)
    text = "steps of the fit after R-Net (default: 5; with --set, steps of gradient descent on all photos together: 0)"
    parser.add_argument("--refine", type=int, metavar="N", help=text)
    text = "equivalent focal length of the photos in mm, such as 26 (default: what their EXIF says)"
    parser.add_argument("--focal", type=float, metavar="MM", help=text)
    text = "write the whole head, too: head.glb, closed, with teeth, tongue and eyes"
    parser.add_argument("--head", action="store_true", help=text)
    parser.add_argument("--all-faces", action="store_true", help="every face of a photo (default: the largest)")
    text = f"with --set: how the photos are weighed; all but average need a C-Net (default: {aggregation.DEFAULT})"
    parser.add_argument("--strategy", choices=list(aggregation.STRATEGIES), help=text)
    text = "with --set: fuse photos that look like another person, too"
    parser.add_argument("--keep-outliers", action="store_true", help=text)
    text = "texture that the meshes show: in the photo's light, or albedo without it (default: photo; both are written)"
    parser.add_argument("--texture", choices=["photo", "albedo"], default="photo", help=text)
    text = "take all that the photo shows into the texture: glasses, hair, masks, too"
    parser.add_argument("--keep-everything", action="store_true", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.demo:
        with temporary_files() as scratch:
            return _reconstruct([_demo_photo(scratch)], options)
    given = options.set or options.photos
    command_line.tell_passed_over(photos.passed_over(given, leave_out=options.out))
    with library_files(options):
        return _reconstruct(photos.find_photos(given, leave_out=options.out), options)


def _reconstruct(paths: list[Path], options: argparse.Namespace) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    if not os.access(options.out, os.W_OK):
        raise PermissionError(f"cannot write to {options.out}")
    if options.set:
        return _album(paths, options)
    return write_faces(
        paths,
        options.out,
        lambda: load_reconstructor(options, options.refine, options.head, focal=options.focal, **_looks(options)),
        options.all_faces,
        options.overwrite,
    )


def _album(paths: list[Path], options: argparse.Namespace) -> int:
    """One face for all photos."""
    with command_line.quiet():
        from tf_deep3d.reconstruction.album.album import album_name

    folder = options.out / album_name(options.set)
    if not options.overwrite:
        refuse_existing(folder)
    reconstructor = load_reconstructor(options, head=options.head, **_looks(options))
    with command_line.stages() as show:
        fused = reconstructor.fuse(paths, options.strategy, options.keep_outliers, options.refine or 0, show)
        outcome = fused.write(folder, options.overwrite, show)
    for photo, reason in outcome.left_out():
        print(readable(f"{photo}: {reason}"), file=sys.stderr)
    print(outcome.summary())
    return 0


def _looks(options: argparse.Namespace) -> dict[str, Any]:
    """What the texture shows."""
    return {"texture": options.texture, "keep_everything": options.keep_everything}


def _demo_photo(folder: Path) -> Path:
    from PIL import Image

    with extra("demo"):
        from skimage import data

    path = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
