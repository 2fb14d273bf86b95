"""What the sources' face units do to eyes and lids, put right: blinks close eyes, and gaze turns eyeballs in place.

The sources' blinks pass over the lower lid, and their gazes shift the eyeballs by up to 2 mm. Only units change, and
the expression modes as sums of units: their number, order, symmetry and all else about them stay.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from tf_deep3d.porting.open_face import bones, people, shape
from tf_deep3d.porting.open_face.lids import BLINKS, closing
from tf_deep3d.porting.open_face.sources import Sources
from tf_deep3d.porting.open_face.surface import Surface

_UNIT = "faceunits/"  # of the names of targets that are ARKit's units


def mended(
    sources: Sources, face: Surface, mean: np.ndarray, expression: np.ndarray, units: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expression modes and units with mended eyes and lids.

    Args:
      sources: `Sources`.
      face: `surface.Surface` of the face.
      mean: [C, 3] dm, the mean face's control points.
      expression: [Ke, C, 3] dm, modes within the span of `shape.expression_targets`.
      units: [N, C, 3] dm, of `people.ARKIT`.

    Returns:
      (expression, units).
    """
    names = shape.expression_targets(sources)
    moves = people.SCALE * shape.displacements(sources, face, names)
    flat = moves.reshape(len(names), -1)
    mixes = np.linalg.lstsq(flat.T, expression.reshape(len(expression), -1).T, rcond=None)[0].T  # [Ke, targets]
    changes = np.zeros_like(moves)
    turns, _, _ = bones.motions(sources, names, np.zeros(3))
    for bone, side in (("eyeLeft", 1), ("eyeRight", -1)):
        own = bones.eyeball(face, side)
        arms = mean[own] - bones.eyeball_frame(face, side)[-1] @ mean
        turned = np.stack([Rotation.from_rotvec(turn).apply(arms) for turn in turns[:, bones.NAMES.index(bone)]])
        changes[:, own] = turned - arms - moves[:, own]
    for name, side in BLINKS.items():
        target = names.index(_UNIT + name)
        changes[target] += closing(face, mean, moves[target], side)
    expression = _symmetric(expression + np.tensordot(mixes, changes, 1), face.mirror)
    units = units.copy()
    for name in names:
        if name.startswith(_UNIT):
            units[people.ARKIT.index(name.removeprefix(_UNIT))] += changes[names.index(name)]
    return expression, units


def _symmetric(modes: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """`modes` [K, C, 3], each of which is its own mirror image, or that with the other sign, but for roundings."""
    mirrored = modes[:, mirror] * [-1, 1, 1]
    signs = np.sign((modes * mirrored).sum((1, 2), keepdims=True))
    return (modes + signs * mirrored) / 2
