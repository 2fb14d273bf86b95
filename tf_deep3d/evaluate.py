"""Measures reconstruction methods against known truth: `python -m tf_deep3d.evaluate open --out DIR`."""

import argparse
import os
import re
import sys
from pathlib import Path

from tf_deep3d import command_line
from tf_deep3d.errors import InputError

EXAMPLES = """
examples:
  python -m tf_deep3d.evaluate open --methods mean,rnet --out results          downloads nothing
  python -m tf_deep3d.evaluate open --methods mean,fit --limit 8 --out quick   8 of the pictures
  python -m tf_deep3d.evaluate open --methods rnet:0,rnet:20 --compare rnet:0 rnet:20 --out results
  python -m tf_deep3d.evaluate open --methods rnet --weights runs/mine --out mine
  python -m tf_deep3d.evaluate open --methods mean --meshes theirs=meshes/ --out results
      after the same command without --meshes the photos lie in results/pictures; reconstruct each NAME.png to
      meshes/NAME.obj with another program, and write the indices of its 68, 51 or 7 landmark vertices to
      meshes/landmarks.txt; meshes that are missing or unusable are read again the next time
  python -m tf_deep3d.evaluate open --bundle small=bundle:int8 --bundle exact=bundle:float32 --out results
  python -m tf_deep3d.evaluate aflw2000 AFLW2000/ --methods rnet --out aflw2000
  python -m tf_deep3d.evaluate now NoW_Dataset/ --methods rnet --submission --part test --out now
  python -m tf_deep3d.evaluate csv mine.csv --methods mean,rnet --out mine     your own scans
  python -m tf_deep3d.evaluate sets --cnet runs/cnet --compare elementwise average --out sets

methods:
  mean     the mean face in the pose of the detected landmarks
  fit      analysis by synthesis from the mean face
  rnet     R-Net and --refine steps of the fit; rnet:N is R-Net and N steps
  average, scalar, summed, best, elementwise
           R-Net alone; the photos of a set count the same, or as C-Net says: S1 (needs --scalar), S2, S3, S4
  single   R-Net alone, the errors of a set's single photos averaged
Of several photos of one person the first three average the shapes.

Results are kept in DIR: an interrupted command goes on where it stopped, and more methods can join later.

exit status: 0 if every method solved a picture, 1 if not, 2 for a wrong command line.
"""
# Command -> what it is, and its options besides those of all.
BENCHMARKS = {
    "open": ("rendered people and a scan that come with this package", ()),
    "sets": ("sets of 20 and 5 photos of one person, clean and spoiled: table 5 of the paper", ("members",)),
    "robustness": ("errors against yaw, blur, JPEG quality, occluders, darkness and size", ("members",)),
    "fairness": ("errors by sex and skin tone of rendered people", ("members",)),
    "confidence": ("C-Net's confidence by yaw, blur, occluders, darkness", ("members", "photos_used")),
    "consistency": ("one half of a person's photos against the other half, real photos", ("list", "held_out")),
    "micc": (
        "MICC Florence: videos of people with a scan; or its scans rendered",
        ("frames", "rendered", "together", "unit"),
    ),
    "facewarehouse": ("FaceWarehouse: people with 20 expressions, two regions", ("people", "unit")),
    "bu3dfe": ("BU-3DFE: neutral frontal photos", ("unit",)),
    "now": ("the NoW challenge: its measure, and folders to submit", ("part", "submission", "unit")),
    "realy": ("REALY: errors by region of the face", ("images", "unit")),
    "aflw2000": ("AFLW2000-3D: landmarks by yaw", ()),
    "pts": ("photos with .pts landmarks, as of 300W", ()),
    "stirling": ("Stirling ESRC, as in the FG 2018 challenge", ("unit",)),
    "csv": ("your own photos and scans, from a .csv: photos,scan,landmarks,group,section", ("neutral", "unit")),
}
OWN = ("open", "sets", "robustness", "fairness")  # need no data


def main(arguments=None):
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return command_line.run(_run, options, interrupted="Interrupted; the same command goes on from here.")


def _parser():
    parser = command_line.parser(
        prog="python -m tf_deep3d.evaluate",
        description="Measures reconstruction methods against known truth: geometry, landmarks, pose, colours.",
        epilog=EXAMPLES,
    )
    benchmarks = parser.add_subparsers(
        dest="benchmark", required=True, metavar="BENCHMARK", parser_class=command_line.parser
    )
    for name, (text, own) in BENCHMARKS.items():
        sub = benchmarks.add_parser(name, help=text, description=text, epilog=EXAMPLES)
        if name not in OWN:
            what = {"csv": "the list", "consistency": "folder of people", "confidence": "photos (default: rendered)"}
            what = what.get(name, "folder of the data set, as published")
            label = {"csv": "FILE", "confidence": "PHOTOS"}.get(name, "DATA")
            some = "?" if name == "confidence" else None
            sub.add_argument("data", type=Path, nargs=some, metavar=label, help=what)
        _add_options(sub)
        for option in own:
            _OWN[option](sub)
    return parser


def _add_options(sub):
    sub.add_argument("--methods", metavar="LIST", help="separated by commas (mean,fit,rnet; what suits a benchmark)")
    sub.add_argument("--meshes", action="append", default=[], type=_named, metavar="NAME=DIR", help="see the examples")
    sub.add_argument(
        "--bundle",
        action="append",
        default=[],
        type=_bundle,
        metavar="NAME=DIR[:KIND]",
        help="networks of python -m export; KIND is float32, float16, dynamic or int8",
    )
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for pictures and results")
    sub.add_argument("--limit", type=int, metavar="N", help="evaluate N cases, evenly spread")
    sub.add_argument("--weights", type=Path, metavar="RUN", help="folder of a training or .keras file, for R-Net")
    sub.add_argument("--cnet", type=Path, metavar="RUN", help="the same for C-Net")
    sub.add_argument("--scalar", type=Path, metavar="RUN", help="the same for a C-Net with one confidence a photo")
    sub.add_argument("--refine", type=int, metavar="N", help="steps of the fit after R-Net (default: 20)")
    sub.add_argument("--model", type=Path, metavar="NPZ", help="face model (default: the open face model)")
    sub.add_argument(
        "--compare", nargs=2, action="append", default=[], metavar=("A", "B"), help="test the paired differences A - B"
    )
    sub.add_argument("--overwrite", action="store_true", help="measure again what was measured before")


def _flag(name, text):
    return lambda sub: sub.add_argument(f"--{name}", action="store_true", help=text)


_OWN = {
    "frames": lambda sub: sub.add_argument("--frames", type=int, metavar="N", help="frames of a video (default: 20)"),
    "rendered": _flag("rendered", "render the scans in 20 poses instead of the videos"),
    "together": _flag("together", "with --rendered: the 20 pictures of a person are one case"),
    "unit": lambda sub: sub.add_argument(
        "--unit", type=float, metavar="MM", help="of the scans (default: m, dm, cm or mm by size)"
    ),
    "people": lambda sub: sub.add_argument(
        "--people", type=_numbers, metavar="1,2,..", help="numbers of the testers (default: all)"
    ),
    "part": lambda sub: sub.add_argument(
        "--part", choices=("validation", "test"), default="validation", help="(validation)"
    ),
    "submission": _flag("submission", "write the meshes to submit into DIR/submission"),
    "images": lambda sub: sub.add_argument(
        "--images", metavar="NAME", help="folder in REALY_image (crop_image_frontal_512x512)"
    ),
    "members": lambda sub: sub.add_argument(
        "--members", type=int, metavar="N", help="people of the face model besides the others"
    ),
    "photos_used": lambda sub: sub.add_argument(
        "--photos-used", type=int, metavar="N", help="of the photos, evenly spread (100)"
    ),
    "list": lambda sub: sub.add_argument(
        "--list", type=Path, metavar="CSV", help="with the columns identity and file, instead of a folder each"
    ),
    "held_out": lambda sub: sub.add_argument(
        "--held-out", type=float, metavar="SHARE", help="of the people, as prepare --validation (0.1); 1 for all"
    ),
    "neutral": _flag("neutral", "the scans are neutral: leave expressions out"),
}


def _numbers(text):
    return [int(number) for number in text.split(",")]


def _named(text):
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR. Received: {text}")
    return name, Path(folder)


def _bundle(text):
    """(name, folder, quantization or None); a colon within the folder's path is none of ours."""
    name, place = _named(text)
    folder, _, kind = str(place).rpartition(":")
    return (name, Path(folder), kind) if folder and re.fullmatch(r"\w+", kind) else (name, place, None)


def _check_names(wanted, compare):
    """Raises ValueError unless the methods differ and those to compare are among them."""
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError(
            f"--methods, --meshes and --bundle must name different methods. Received: {', '.join(wanted) or 'none'}"
        )
    unknown = [name for pair in compare for name in pair if name not in wanted]
    if unknown:
        raise InputError(f"--compare must name methods that are evaluated: {', '.join(wanted)}. Received: {unknown[0]}")


def _run(options):
    names = None if options.methods is None else [name.strip() for name in options.methods.split(",") if name.strip()]
    others = [name for name, *_ in options.meshes + options.bundle]
    if names is not None:
        _check_names(names + others, options.compare)
    if options.limit is not None and options.limit < 1:
        raise InputError(f"limit must be at least 1. Received: {options.limit}")
    options.out.mkdir(parents=True, exist_ok=True)
    if not os.access(options.out, os.W_OK):
        raise PermissionError(f"cannot write to {options.out}")

    from tqdm import tqdm

    with command_line.quiet():
        from tf_deep3d.evaluation import benchmark, foreign_methods, output
        from tf_deep3d.evaluation import methods as evaluation_methods
        from tf_deep3d.evaluation.protocols import loading, now
        from tf_deep3d.face import morphable_model

    if names is None:
        names = evaluation_methods.usual(options.benchmark, options.cnet, options.scalar)
        _check_names(names + others, options.compare)
    folders = [benchmark.result_folder(options.out, name) for name in names + others]
    if len(set(folders)) < len(folders):
        raise InputError(f"the methods' names must differ in letters and digits. Received: {', '.join(names + others)}")
    levels = morphable_model.load_levels(options.model)
    own = {name: getattr(options, name) for name in BENCHMARKS[options.benchmark][1]}
    protocol = loading.load(options.benchmark, getattr(options, "data", None), levels[-1], own, options.limit)
    methods = evaluation_methods.own_methods(
        names, levels, options.model, options.weights, options.refine, options.cnet, options.scalar, protocol.detail
    )
    methods += [foreign_methods.bundle(*each) for each in options.bundle]
    methods += [foreign_methods.mesh_folder(name, folder) for name, folder in options.meshes]
    submit = now.submitting(options.out) if own.get("submission") else None
    cases = protocol.cases(benchmark.picture_folder(options.out, protocol.name))
    style = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=len(protocol.entries) * len(methods), bar_format=style, disable=None) as bar:
        results = benchmark.run(
            protocol.name, cases, methods, levels[-1], options.out, options.overwrite, bar.update,
            evaluation_methods.descriptor() if protocol.recognition and names + options.bundle else None, submit,
        )  # fmt: skip
    if protocol.finish:
        protocol.finish(options.out, results)
    output.write(options.out, protocol, results, options.compare)
    return 0 if all(any(row["numbers"] for row in rows) for rows in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
