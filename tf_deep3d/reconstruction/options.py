"""What the commands that reconstruct have in common: how faces are found and shown, said on a command line."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from tf_deep3d import command_line
from tf_deep3d.io.work_folders import temporary_files
from tf_deep3d.mesh.gltf import PACKING_HELP, PACKINGS

if TYPE_CHECKING:
    from tf_deep3d.reconstruction.reconstructor import FaceReconstructor


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --method, --weights, --model, --level, --no-view and --glb."""
    parser.add_argument(
        "--method",
        choices=["rnet", "fit"],
        help="rnet: a network regresses the face, a few steps of the fit refine it (default for the open face model); "
        "fit: from the mean face (default for other models without --weights)",
    )
    parser.add_argument(
        "--weights", metavar="RUN", help="folder of a training, .keras file or preset (default: mobilenet, shipped)"
    )
    parser.add_argument("--model", metavar="NPZ", help="face model (default: the open face model)")
    parser.add_argument(
        "--level", type=int, default=-1, metavar="N", help="level of detail, 0 the coarsest (default: -1, the finest)"
    )
    text = "leave out view.html, a page to look at the result in a browser"
    parser.add_argument("--no-view", dest="view", action="store_false", help=text)
    parser.add_argument("--glb", dest="packing", choices=list(PACKINGS), default="compact", help=PACKING_HELP)


def library_files(options: argparse.Namespace) -> AbstractContextManager[object]:
    """`temporary_files` around what makes TensorFlow work: other weights than the shipped ones, and gradient descent,
    from the mean face or (`options.set`) on all photos together. What does not needs no folder for them."""
    descends = _method(options) == "fit" or bool(getattr(options, "set", None) and options.refine)
    return temporary_files() if descends or options.weights else nullcontext()


def _method(options: argparse.Namespace) -> str:
    return options.method or ("fit" if options.model and not options.weights else "rnet")


def load_reconstructor(
    options: argparse.Namespace, refine: int | None = None, head: bool = False, **further: Any
) -> "FaceReconstructor":
    """The `FaceReconstructor` of a command line.

    Args:
      options: of `add_options`.
      refine: its number of steps, None for the default.
      head: load the head, too.
      **further: of `FaceReconstructor.from_preset`.
    """
    with command_line.quiet():
        from tf_deep3d.reconstruction.reconstructor import FaceReconstructor

    chosen = {
        "preset": options.weights,
        "model": options.model,
        "level": options.level,
        "method": _method(options),
        "refine": refine,
        "head": head,
        "view": options.view,
        "packing": options.packing,
        **further,
    }
    return FaceReconstructor.from_preset(**{name: value for name, value in chosen.items() if value is not None})
