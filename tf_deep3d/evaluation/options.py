"""The benchmarks that `python -m tf_deep3d.evaluate` knows, and the options of its command line.

Imports nothing heavy, so that the help is there at once.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tf_deep3d import command_line

# Command -> what it is, and its options besides those of all.
BENCHMARKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "open": ("rendered people and a scan that come with this package", ()),
    "sets": ("sets of 20 and 5 photos of one person, clean and spoiled: table 5 of the paper", ("members",)),
    "robustness": ("errors against yaw, blur, JPEG quality, occluders, darkness and size", ("members",)),
    "fairness": ("errors by sex and skin tone of rendered people", ("members",)),
    "confidence": ("C-Net's confidence by yaw, blur, occluders, darkness", ("members", "photos_used")),
    "tones": ("the albedo's skin beside that of evenly lit photos, by tone", ()),
    "expressions": (
        "ARKit's units on rendered people who show known ones, and on photos of eyes and smiles",
        (),
    ),
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
    "scans": (
        "a folder of your own scans, rendered, and photos that lie beside them",
        ("unit", "yaws", "pitches", "albedo"),
    ),
    "csv": ("your own photos and scans, from a .csv: photos,scan,landmarks,group,section", ("neutral", "unit")),
}
WITHOUT_DATA = ("open", "sets", "robustness", "fairness")
OPTIONAL_DATA = ("confidence", "expressions")
DATA = {  # of the others: name for the help, and what it is; by default the folder of the data set
    "csv": ("FILE", "the list"),
    "scans": ("FOLDER", "NAME.obj or .ply, or folders with them; photos of NAME in NAME/photos"),
    "consistency": ("DATA", "folder of people"),
    "tones": ("PHOTOS", "evenly lit photos"),
    "expressions": ("PHOTOS", "photos whose paths say closed, open or smile (default: rendered people alone)"),
    "confidence": ("PHOTOS", "photos (default: rendered)"),
}


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _angles(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


# Option of a benchmark -> what argparse needs to know of it.
OWN: dict[str, dict[str, Any]] = {
    "frames": {"type": int, "metavar": "N", "help": "frames of a video (default: 20)"},
    "rendered": {"action": "store_true", "help": "render the scans in 20 poses instead of the videos"},
    "together": {"action": "store_true", "help": "with --rendered: the 20 pictures of a person are one case"},
    "unit": {"type": float, "metavar": "MM", "help": "of the scans (default: m, dm, cm or mm by size)"},
    "yaws": {"type": _angles, "metavar": "A,B,..", "help": "degrees of the pictures (-60,-30,0,30,60)"},
    "pitches": {"type": _angles, "metavar": "A,B,..", "help": "degrees of the pictures, each with each yaw (0)"},
    "albedo": {"action": "store_true", "help": "the scans' colours are albedo, without light: light them"},
    "people": {"type": _numbers, "metavar": "1,2,..", "help": "numbers of the testers (default: all)"},
    "part": {"choices": ("validation", "test"), "default": "validation", "help": "(validation)"},
    "submission": {"action": "store_true", "help": "write the meshes to submit into DIR/submission"},
    "images": {"metavar": "NAME", "help": "folder in REALY_image (crop_image_frontal_512x512)"},
    "members": {"type": int, "metavar": "N", "help": "people of the face model besides the others"},
    "photos_used": {"type": int, "metavar": "N", "help": "of the photos, evenly spread (100)"},
    "list": {"type": Path, "metavar": "CSV", "help": "with the columns identity and file, instead of a folder each"},
    "held_out": {"type": float, "metavar": "SHARE", "help": "of the people, as prepare --validation (0.1); 1 for all"},
    "neutral": {"action": "store_true", "help": "the scans are neutral: leave expressions out"},
}


class ForeignMethods(NamedTuple):
    """An option that adds methods which are not this project's networks in Keras.

    Attributes:
      flag: of the command line, e.g. "--meshes".
      metavar: what follows it.
      help: text.
      parse: that text -> tuple, the method's name first.
      make: function of the tuple's items -> `benchmark.Method`.
    """

    flag: str
    metavar: str
    help: str
    parse: Callable[[str], tuple]
    make: Callable[..., Any]


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR as (name, folder).

    Raises:
      argparse.ArgumentTypeError: for another text.
    """
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR. Received: {text}")
    return name, Path(folder)


def _mesh_folder(name: str, folder: Path) -> Any:
    from tf_deep3d.evaluation import methods

    return methods.mesh_folder(name, folder)


MESHES = ForeignMethods(
    "--meshes", "NAME=DIR", "meshes of another program, see the examples", named_folder, _mesh_folder
)


def parser(program: str, examples: str, foreign: Sequence[ForeignMethods]) -> argparse.ArgumentParser:
    """The command line of the evaluation.

    Args:
      program: how the command is called.
      examples: text below every help.
      foreign: options for further methods; what they hold goes to `foreign_of`.
    """
    found = command_line.parser(
        prog=program,
        description="Measures reconstruction methods against known truth: geometry, landmarks, pose, colours.",
        epilog=examples,
    )
    made: Any = command_line.parser  # a function, where argparse's types want a class
    benchmarks = found.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK", parser_class=made)
    for name, (text, own) in BENCHMARKS.items():
        sub = benchmarks.add_parser(name, help=text, description=text, epilog=examples, allow_abbrev=False)
        if name not in WITHOUT_DATA:
            label, what = DATA.get(name, ("DATA", "folder of the data set, as published"))
            count = "?" if name in OPTIONAL_DATA else None
            sub.add_argument("data", type=Path, nargs=count, metavar=label, help=what)
        _add_options(sub, foreign)
        for option in own:
            sub.add_argument(f"--{option.replace('_', '-')}", **OWN[option])
    return found


def own_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options that the chosen benchmark alone has: name -> value, None where nothing is given."""
    return {name: getattr(options, name) for name in BENCHMARKS[options.benchmark][1]}


def foreign_of(options: argparse.Namespace, foreign: Sequence[ForeignMethods]) -> list[tuple[ForeignMethods, tuple]]:
    """What the options for further methods hold: [(option, what its `parse` gave)]."""
    return [(each, given) for each in foreign for given in getattr(options, each.flag.removeprefix("--"))]


def _add_options(sub: argparse.ArgumentParser, foreign: Sequence[ForeignMethods]) -> None:
    add = sub.add_argument
    add("--methods", metavar="LIST", help="separated by commas (mean,fit,rnet; what suits a benchmark)")
    for each in foreign:
        add(each.flag, action="append", default=[], type=each.parse, metavar=each.metavar, help=each.help)
    add("--out", type=Path, required=True, metavar="DIR", help="folder for pictures and results")
    add("--limit", type=int, metavar="N", help="evaluate N cases, evenly spread")
    add("--weights", type=Path, metavar="RUN", help="folder of a training or .keras file, for R-Net")
    add("--cnet", type=Path, metavar="RUN", help="the same for C-Net")
    add("--scalar", type=Path, metavar="RUN", help="the same for a C-Net with one confidence a photo")
    add("--refine", type=int, metavar="N", help="steps of the fit after R-Net (default: 5)")
    add("--model", type=Path, metavar="NPZ", help="face model (default: the open face model)")
    add("--compare", nargs=2, action="append", default=[], metavar=("A", "B"), help="test the paired differences A - B")
    add("--workers", type=int, default=1, metavar="N", help="processes that measure (1)")
    add("--runner", metavar="NAME", help="Beam runner (default: this machine)")
    text = "leave out views/, pages to turn the best and worst faces"
    add("--no-views", dest="views", action="store_false", help=text)
    add("--overwrite", action="store_true", help="measure again what was measured before")
