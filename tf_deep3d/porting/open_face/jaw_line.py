"""Puts the 3D jaw line of iBUG's 68 points on the open face model: `python -m tf_deep3d.porting.open_face.jaw_line
--people MODEL OUT`, after `embedding`.

A detector's 17 jaw points follow the visible contour of a face. Those of 300W-LP, AFLW2000-3D and most 3D models lie
on another line, the edge of the jaw, whatever the view; ICT-FaceKit has it. MODEL, an .npz of `python -m
tf_deep3d.porting`, is registered to the face model (`scanned_people`), and the places of the surface nearest to its jaw
points, made symmetric, become the landmark set `jaw17`. Nothing else in the file changes.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from tf_deep3d import command_line
from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import JAW
from tf_deep3d.face.morphable_model import Landmarks, MorphableModel
from tf_deep3d.io import archive, files
from tf_deep3d.porting.open_face import landmarks
from tf_deep3d.porting.open_face.embedding import parts_of
from tf_deep3d.porting.open_face.scanned_people import register
from tf_deep3d.porting.open_face.surface import FACE

LEVEL = 1  # of detail, of the registration
SET = "jaw17"


def jaw_line(model: MorphableModel, other: MorphableModel) -> tuple[np.ndarray, float]:
    """The jaw points of `other` [17, 3] dm on the mean face of `model`, symmetric, and how far they lay off its surface
    in mm on average."""
    found = register(model, other)
    points = faces.at_landmarks(other.landmarks["ibug68"], other.mean_shape[None])[0][JAW]
    shape = model.mean_shape + np.tensordot(found.mean, model.identity_basis, 1)
    placed = found.motion.apply(MILLIMETRES * shape.astype(np.float64)) / MILLIMETRES
    own = Landmarks(*landmarks.snap(points, placed, model.triangles[parts_of(model) == FACE]))
    off = np.linalg.norm(faces.at_landmarks(own, placed[None])[0] - points, axis=1)
    places = faces.at_landmarks(own, model.mean_shape[None])[0]
    return (places + places[::-1] * [-1, 1, 1]) / 2, MILLIMETRES * float(off.mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.jaw_line", __doc__)
    parser.add_argument("--face", help="model file of .open_face (default: the shipped one)")
    parser.add_argument("--people", required=True, help="model of scanned people, .npz of python -m tf_deep3d.porting")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="model file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    levels = morphable_model.load_levels(options.face)
    points, off = jaw_line(levels[LEVEL], morphable_model.load(options.people))
    arrays = archive.read_arrays(options.face or morphable_model.OPEN_FACE)
    for level, model in enumerate(levels):
        own = Landmarks(*landmarks.snap(points, model.mean_shape, model.triangles[parts_of(model) == FACE]))
        arrays |= landmarks.landmark_arrays(level, {SET: own})
    archive.write_arrays(options.out, arrays, options.overwrite)
    print(f"the jaw points lay {off:.2f} mm off the registered surface")
    return 0


if __name__ == "__main__":
    sys.exit(main())
