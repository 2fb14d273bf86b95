r"""Turns another face model into the .npz of this project.

    python -m tf_deep3d.porting bfm2009 BFM/ bfm2009.npz
    python -m tf_deep3d.porting bfm2009 BFM_model_front.mat bfm2009.npz
    python -m tf_deep3d.porting bfm2019 model2019_bfm.h5 bfm2019.npz --landmarks bfm2019_ibug68.txt
    python -m tf_deep3d.porting flame generic_model.pkl flame.npz --landmarks landmark_embedding.npy \
        --texture FLAME_texture.npz --masks FLAME_masks.pkl
    python -m tf_deep3d.porting gnm gnm_head.npz gnm.npz --landmarks head_sparse_68.txt
    python -m tf_deep3d.porting ict-facekit ICT-FaceKit/FaceXModel ict.npz

Each kind has its own --help. You need the right to use the foreign model; its licence stays on the result.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tf_deep3d import command_line
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive, files
from tf_deep3d.porting import bfm2009, bfm2019, flame, gnm, ict_facekit
from tf_deep3d.porting.assemble import Source, model_arrays
from tf_deep3d.porting.landmarks import FILE_FORMAT

PROGRAM = "python -m tf_deep3d.porting"


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(PROGRAM, __doc__)
    made: Any = command_line.parser  # a function, where argparse's types want a class
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND", parser_class=made)

    def add(kind: str, module: ModuleType, file: str, **counts: int) -> argparse.ArgumentParser:
        text = str(module.__doc__)
        sub = kinds.add_parser(kind, help=text.splitlines()[0], description=text)
        sub.add_argument("file", type=Path, metavar="FILE", help=file)
        sub.add_argument("out", type=Path, metavar="OUT", help=".npz to write")
        sub.add_argument("--overwrite", action="store_true", help="replace OUT")
        for name, count in counts.items():
            sub.add_argument(f"--{name}", type=_count, default=count, metavar="N", help=f"{name} modes ({count})")
        return sub

    basel = {"identity": 80, "expression": 64, "albedo": 80}
    add("bfm2009", bfm2009, "folder with the files below, or BFM_model_front.mat", **basel)
    sub = add("bfm2019", bfm2019, ".h5 of BFM 2017 or 2019", **basel)
    sub.add_argument("--landmarks", type=Path, metavar="FILE", help=f"needed: {FILE_FORMAT}")
    sub.add_argument(
        "--mean-expression", choices=bfm2019.MEAN_EXPRESSION, default="mode",
        help="the average expression: an expression mode (so that zero is neutral), or part of the mean shape",
    )  # fmt: skip
    sub = add("flame", flame, ".pkl of FLAME 2020 or 2023", identity=100, expression=50, albedo=50)
    sub.add_argument("--landmarks", type=Path, metavar="FILE", help=f"needed: an embedding (below), or {FILE_FORMAT}")
    sub.add_argument("--contour", type=Path, metavar="FILE", help="flame_dynamic_embedding.npy, for 51 landmarks")
    sub.add_argument("--texture", type=Path, metavar="FILE", help=".npz of a texture model")
    sub.add_argument("--uv", type=Path, metavar="FILE", help="head_template.obj, for its texture map")
    sub.add_argument("--masks", type=Path, metavar="FILE", help="FLAME_masks.pkl")
    sub.add_argument("--whole-head", action="store_true", help="keep the back of the head")
    sub = add("gnm", gnm, "gnm_head.npz of GNM Head 3", identity=170, expression=383)
    sub.add_argument("--landmarks", type=Path, metavar="FILE", help=f"needed: head_sparse_68.txt, or {FILE_FORMAT}")
    sub.add_argument("--whole-head", action="store_true", help="keep the back of the head")
    sub = add("ict-facekit", ict_facekit, "folder FaceXModel", identity=100, expression=53)
    sub.add_argument("--landmarks", type=Path, metavar="FILE", help=f"other landmarks: {FILE_FORMAT}")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= morphable_model.MAX_MODES:
        raise argparse.ArgumentTypeError(f"must be 1 to {morphable_model.MAX_MODES}. Received: {text}")
    return value


def read(options: argparse.Namespace) -> Source:
    """The `Source` that parsed command line `options` ask for."""
    counts = {name: getattr(options, name) for name in ("identity", "expression", "albedo") if name in options}
    match options.kind:
        case "bfm2009":
            return bfm2009.read(options.file, **counts)
        case "bfm2019":
            return bfm2019.read(options.file, options.landmarks, mean_expression=options.mean_expression, **counts)
        case "flame":
            extra = flame.Files(options.landmarks, options.contour, options.texture, options.uv, options.masks)
            return flame.read(options.file, extra, whole_head=options.whole_head, **counts)
        case "gnm":
            return gnm.read(options.file, options.landmarks, whole_head=options.whole_head, **counts)
    return ict_facekit.read(options.file, options.landmarks, **counts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command_line.run(_run, _parser().parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    archive.write_arrays(options.out, model_arrays(read(options)), overwrite=options.overwrite)
    model = morphable_model.load(options.out)
    layout = model.layout()
    print(
        f"wrote {options.out}: {len(model.mean_shape)} vertices, {len(model.triangles)} triangles, "
        f"{layout.identity} identity, {layout.expression} expression, {layout.albedo} albedo modes"
    )
    print(f"licence: {model.licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
