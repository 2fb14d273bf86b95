"""Registers a whole statistical model to the identity modes of a face model: `python -m
tf_deep3d.porting.open_face.scanned_people MODEL OUT`.

MODEL is an .npz of `python -m tf_deep3d.porting`, e.g. of ICT-FaceKit; OUT holds its mean and its modes in coefficients
of the open face model, so that `synthetic --scanned OUT` can draw its people.

The face model is bent onto the other mean shape (`evaluation.bending`). The other model's modes follow to first order:
each moves the surface, and what of that the face model can follow is one linear solve.

Letters: V vertices, K modes of the face model, N of the other.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_deep3d import command_line
from tf_deep3d.data.rendered.people import SCANNED_SCHEMA
from tf_deep3d.evaluation import metrics, registration
from tf_deep3d.evaluation.bending import RIGID, bend, solve
from tf_deep3d.evaluation.measuring import Truth
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face import reconstruction as faces
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import NOSE_TIP
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive, files

LEVEL = 1  # of detail, of the registration


class Registration(NamedTuple):
    """Another statistical model in the coefficients of the face model.

    Attributes:
      mean: [K], of its mean shape.
      modes: [N, K], what each of its modes adds.
      residual: mm, root mean square distance from its mean shape to the fitted face.
      motion: that lays the fitted face, in mm, on the other model's mean shape.
    """

    mean: np.ndarray
    modes: np.ndarray
    residual: float
    motion: registration.Similarity3D


def register(model: MorphableModel, other: MorphableModel) -> Registration:
    """Expresses `other` in the identity coefficients of `model`; both with `ibug68`, in dm.

    What counts of the other mean shape is the skin that is seen from the front and the sides and lies within
    `metrics.CROP_RADIUS` of the nose tip, without eyes and the inside of the mouth.
    """
    vertices = other.mean_shape.astype(np.float64) * MILLIMETRES
    marks = faces.at_landmarks(other.landmarks["ibug68"], vertices[None])[0]
    skin = ~(other.regions["eyes"] | other.regions["inner_mouth"])
    near = metrics.within(vertices, marks[NOSE_TIP]) & metrics.visible(vertices, other.triangles)
    region = np.flatnonzero(skin & near)
    normals = geometry.vertex_normals(vertices[None], other.triangles, other.vertex_corners)[0]
    bent = bend(model, model.identity_basis, Truth(vertices[region], normals[region], marks))
    pairs, count = bent.pairs, len(model.identity_basis)
    moves = other.identity_basis[:, region[pairs.points]].astype(np.float64) * MILLIMETRES
    gaps = (moves * pairs.along).sum(-1).T
    modes = solve(pairs, gaps, np.zeros((count, len(moves))), bent.residual)[RIGID:].T
    return Registration(bent.coefficients, modes, metrics.root_mean_square(pairs.gap), bent.motion)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.scanned_people", __doc__)
    parser.add_argument("people", metavar="MODEL", help="model of scanned people, .npz of python -m tf_deep3d.porting")
    parser.add_argument("out", metavar="OUT", help="file to write, .npz")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    found = register(morphable_model.load(level=LEVEL), morphable_model.load(options.people))
    arrays = {"schema": np.array(SCANNED_SCHEMA), "mean": found.mean, "modes": found.modes}
    archive.write_arrays(options.out, arrays, options.overwrite)
    spread = np.sqrt((found.modes**2).sum() / len(found.mean))
    print(f"the face model comes within {found.residual:.2f} mm of their mean; they spread {spread:.2f} sd a mode")
    return 0


if __name__ == "__main__":
    sys.exit(main())
