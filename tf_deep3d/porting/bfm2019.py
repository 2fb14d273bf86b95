"""Basel Face Model 2017 and 2019 (HDF5 of Statismo): model2017-1_face12_nomouth.h5, model2019_bfm.h5 and so on.

For each of shape, expression and color: NAME/model/mean [3 * V], NAME/model/pcaBasis [3 * V, K], orthonormal columns,
NAME/model/pcaVariance [K]. Millimetres, colours RGB in [0, 1]; x, y, z of each vertex in turn; x to the person's left,
y up, z forward, as ours. shape/representer/cells [3, T] counts from 0.

The mean of `expression` is not zero (up to 17 mm in the 2019 model): the model's average face is not neutral. Here the
neutral face stays the mean shape, and the average expression becomes one more mode, the first; or, as the model's
authors sum it, part of the mean shape.

The files name about 70 landmarks of their own, but not iBUG's 68: pass those.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.porting import PortingError, landmarks
from tf_deep3d.porting.assemble import Source
from tf_deep3d.porting.containers import checked_file, indices, numbers, read_hdf5

LICENCE = "Basel Face Model licence: non-commercial research only, no redistribution (faces.dmi.unibas.ch/bfm)"
PARTS = ("shape", "expression", "color")
CELLS = "shape/representer/cells"
MEAN_EXPRESSION = ("mode", "shape")


def read(
    path: str | Path,
    landmark_file: str | Path | None = None,
    identity: int = 80,
    expression: int = 64,
    albedo: int = 80,
    mean_expression: str = "mode",
) -> Source:
    """Reads BFM 2017 or 2019.

    Args:
      path: .h5 file.
      landmark_file: the 68 landmarks, see `landmarks.FILE_FORMAT`.
      identity, expression, albedo: how many modes to take, at most as many as there are.
      mean_expression: "mode": zero coefficients are the neutral face, and the average expression is an additional
        first expression mode; "shape": the average expression is added to the mean shape.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if a file is missing.
      PortingError: if a file is not what it should be, or there are no landmarks.
    """
    path = checked_file(path)
    if landmark_file is None:
        raise PortingError(
            f"{path.name} does not say where iBUG's 68 landmarks lie: pass --landmarks FILE, {landmarks.FILE_FORMAT}. "
            "Received: no landmarks"
        )
    if mean_expression not in MEAN_EXPRESSION:
        raise PortingError(f"mean_expression must be one of {MEAN_EXPRESSION}. Received: {mean_expression!r}")
    names = [f"{part}/model/{array}" for part in PARTS for array in ("mean", "pcaBasis", "pcaVariance")]
    content = read_hdf5(path, [*names, CELLS])
    size = content["shape/model/mean"].size
    if size == 0 or size % 3:
        raise PortingError(f"{path.name}: shape/model/mean must hold x, y, z of every vertex. Received: {size} numbers")
    means, bases = {}, {}
    for part, count in zip(PARTS, (identity, expression, albedo), strict=True):
        means[part], bases[part] = _part(content, part, size, count)
    cells = content[CELLS]
    cells = cells.T if cells.ndim == 2 and cells.shape[0] == 3 else cells
    triangles = indices(cells, CELLS, (None, 3), size // 3)
    points = landmarks.read_landmarks(landmark_file, means["shape"], triangles)
    offset = means["expression"] / MILLIMETRES
    vertices, expressions = means["shape"] / MILLIMETRES, bases["expression"] / MILLIMETRES
    if mean_expression == "shape":
        vertices = vertices + offset
    elif offset.any():
        expressions = np.concatenate([offset[None], expressions])
    return Source(
        name="BFM 2019" if "2019" in path.name else "BFM 2017" if "2017" in path.name else "Basel Face Model",
        licence=LICENCE,
        origin=f"{path.name} (University of Basel)",
        vertices=vertices,
        triangles=triangles,
        identity=bases["shape"] / MILLIMETRES,
        expression=expressions,
        landmarks=points,
        albedo=means["color"],
        albedo_basis=bases["color"],
    )


def _part(content: Mapping[str, np.ndarray], part: str, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [V, 3] and modes [K, V, 3] for one standard deviation, in the file's unit."""
    prefix = f"{part}/model/"
    mean = numbers(content[prefix + "mean"].reshape(-1), prefix + "mean", (size,)).astype(np.float64)
    basis = numbers(content[prefix + "pcaBasis"], prefix + "pcaBasis", (size, None))
    variance = numbers(content[prefix + "pcaVariance"].reshape(-1), prefix + "pcaVariance", (basis.shape[1],))
    if variance.min() < 0:
        raise PortingError(f"{prefix}pcaVariance must not be negative. Received: {variance.min()}")
    columns = basis[:, :count] * np.sqrt(variance[:count])
    return mean.reshape(-1, 3), columns.reshape(-1, 3, columns.shape[1]).transpose(2, 0, 1)
