"""Photos in, textured 3D faces out: `python -m tf_deep3d.reconstruct PHOTO... --out DIR`.

With `--set` all photos show one person and become one face.
"""

import os
import sys
import tempfile
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.errors import extra
from tf_deep3d.face import aggregation

EXAMPLES = """
examples:
  python -m tf_deep3d.reconstruct --demo --out demo            a public-domain photo that scikit-image carries
  python -m tf_deep3d.reconstruct me.jpg --out faces           writes faces/me/face.obj, face.glb, overlay.png, ...
  python -m tf_deep3d.reconstruct holiday/ 'more/*.png' --all-faces --out faces
  python -m tf_deep3d.reconstruct me.jpg --out faces --level 1 --overwrite
  python -m tf_deep3d.reconstruct --set photos/of/me --out faces       all photos of one person make one face: faces/me
  python -m tf_deep3d.reconstruct --set 'trip/*.jpg' --out faces --strategy average --refine 40 --keep-outliers

exit status: 0 if at least one face was written, 1 if none, 2 for a wrong command line.
"""


def main(arguments=None):
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
    with tempfile.TemporaryDirectory() as scratch:
        return command_line.run(_run, options, Path(scratch), interrupted="Interrupted; what was written is complete.")


def _parser():
    parser = command_line.parser(
        prog="python -m tf_deep3d.reconstruct",
        description="Reconstructs the faces of photos as textured 3D meshes.",
        epilog=EXAMPLES,
    )
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="photo, folder (at any depth), or quoted glob")
    parser.add_argument(
        "--set",
        nargs="+",
        metavar="DIR",
        help="photos of one person (a folder, at any depth, photos, quoted globs), which make one neutral face",
    )
    parser.add_argument("--demo", action="store_true", help="use a public-domain photo that comes with a package")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--method",
        choices=["rnet", "fit"],
        help="rnet: a network regresses the face, a few steps of the fit refine it (default for the open face model); "
        "fit: from the mean face (default for other models without --weights)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="RUN", help="folder of a training or .keras file (default: the shipped R-Net)"
    )
    parser.add_argument(
        "--refine",
        type=int,
        metavar="N",
        help="steps of the fit after R-Net (default: 20; with --set, of all photos together: 0)",
    )
    parser.add_argument("--model", type=Path, metavar="NPZ", help="face model (default: the open face model)")
    parser.add_argument("--level", type=int, metavar="N", help="level of detail of the meshes (default: finest)")
    parser.add_argument("--all-faces", action="store_true", help="every face of a photo (default: the largest)")
    parser.add_argument(
        "--strategy",
        choices=list(aggregation.STRATEGIES),
        help=f"with --set: how the photos are weighed; all but average need a C-Net (default: {aggregation.DEFAULT})",
    )
    parser.add_argument(
        "--keep-outliers", action="store_true", help="with --set: fuse photos that look like another person, too"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def _run(options, scratch):
    from tf_deep3d.io import photos

    given = options.set or options.photos
    paths = [_demo_photo(scratch)] if options.demo else photos.find_photos(given, leave_out=options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    if not os.access(options.out, os.W_OK):
        raise PermissionError(f"cannot write to {options.out}")
    with command_line.quiet():
        from tf_deep3d.reconstruction import photo as pipeline

    chosen = {name: getattr(options, name) for name in ("model", "level", "all_faces", "overwrite", "weights")}
    method = options.method or ("fit" if options.model and not options.weights else "rnet")
    usual = 0 if options.set else pipeline.REFINE
    refine = usual if options.refine is None else options.refine
    choice = pipeline.Options(**chosen, method=method, refine=refine)
    return _album(paths, options, choice) if options.set else _photos(paths, options, choice)


def _photos(paths, options, choice):
    """A face for each photo."""
    from tqdm import tqdm

    from tf_deep3d.reconstruction import photo as pipeline

    models = pipeline.load_models(choice)
    written = failed = 0
    style = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=len(paths), bar_format=style, disable=None) as bar:
        for outcome in pipeline.reconstruct_photos(paths, options.out, choice, models, bar.update):
            if isinstance(outcome, pipeline.Failure):
                failed += 1
                bar.write(f"{outcome.photo}: {outcome.reason}", file=sys.stderr)
            else:
                written += 1
                bar.write(_summary(outcome))
    print(
        f"{command_line.counted(written, 'face')} written to {options.out}" + (f", {failed} failed" if failed else "")
    )
    return 0 if written else 1


def _album(paths, options, choice):
    """One face for all photos."""
    with command_line.quiet():
        from tf_deep3d.reconstruction.album import album, results

    settings = album.AlbumSettings(options.strategy, options.keep_outliers)
    folder = options.out / album.album_name(options.set)
    with command_line.stages() as show:
        outcome = results.reconstruct_album(paths, folder, settings, choice, show)
    for photo, reason in outcome.left_out():
        print(f"{photo}: {reason}", file=sys.stderr)
    print(outcome.summary())
    return 0


def _summary(outcome):
    return (
        f"{outcome.photo.name} -> {outcome.folder}: "
        f"landmarks {100 * outcome.landmark_error:.1f} % of the eye distance, "
        f"colours {outcome.terms['photometric']:.3f}, likeness {1 - outcome.terms['perceptual']:.2f}"
    )


def _demo_photo(folder):
    from PIL import Image

    with extra("demo"):
        from skimage import data

    path = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
