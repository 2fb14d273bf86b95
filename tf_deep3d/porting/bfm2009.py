"""Basel Face Model 2009 with the FaceWarehouse expressions, cut out as the paper's code does: 35,709 vertices.

A folder holds, under their published names:
- 01_MorphableModel.mat (University of Basel): shapeMU [3 * 53490, 1], shapePC [3 * 53490, 199] in micrometres, texMU
  and texPC likewise with RGB in 0..255, shapeEV and texEV [199, 1]: standard deviations, in spite of their name;
- Exp_Pca.bin (Guo et al., "CoarseData"): int32 number of modes K, then float32 mean [3 * 53215] and modes
  [K, 3 * 53215] in micrometres, little-endian; std_exp.txt: the K standard deviations;
- from the BFM folder of microsoft/Deep3DFaceReconstruction: BFM_exp_idx.mat (trimIndex: which of the 53,490 vertices
  are the 53,215), BFM_front_idx.mat (idx: which of those are the 35,709), facemodel_info.mat (on the 35,709: tri,
  keypoints, skinmask, frontmask2_idx), and similarity_Lm3D_all.mat (lm, optional: 68 points, dm, of which the paper's
  code aligns photos by five). All indices count from 1, most are stored as floats.

BFM_model_front.mat, which that code writes from all these, is accepted alone: meanshape, idBase, exBase in dm, meantex
and texBase in 0..255, standard deviations in the bases already, and facemodel_info's variables.

As in the paper's code the mean of Exp_Pca.bin is left out (it opens the mouth of the neutral face) and the world's
origin is the mean of the mean shape's vertices, so that coefficients, angles and translations mean the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tf_deep3d.face.landmarks import COUNT
from tf_deep3d.porting import PortingError, landmarks
from tf_deep3d.porting.assemble import Source
from tf_deep3d.porting.containers import checked_file, indices, numbers, read_mat

LICENCE = "Basel Face Model licence: non-commercial research only, no redistribution (faces.dmi.unibas.ch/bfm)"
MICROMETRES = 1e5  # per dm
COLOURS = 255.0
MODEL, EXPRESSIONS, DEVIATIONS = "01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt"
EXPRESSION_INDEX, FRONT_INDEX, INFO = "BFM_exp_idx.mat", "BFM_front_idx.mat", "facemodel_info.mat"
ALIGNMENT, READY_MADE = "similarity_Lm3D_all.mat", "BFM_model_front.mat"
# Vertices [V, 3] dm, identity and expression modes [K, V, 3] dm, mean albedo [V, 3] and its modes, 0..255.
Parts: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_INFO = ("tri", "keypoints", "skinmask", "frontmask2_idx")


def read(path: str | Path, identity: int = 80, expression: int = 64, albedo: int = 80) -> Source:
    """Reads BFM 2009.

    Args:
      path: folder with the files above, or a BFM_model_front.mat.
      identity, expression, albedo: how many modes to take, at most as many as there are.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if a file is missing.
      PortingError: if a file is not what it should be.
    """
    path = Path(path)
    if path.is_dir():
        parts, info, name = _from_folder(path, identity, expression, albedo), read_mat(path / INFO, _INFO), INFO
    else:
        info, name = read_mat(path, ("meanshape", "idBase", "exBase", "meantex", "texBase", *_INFO)), path.name
        parts = _from_ready_made(info, name, (identity, expression, albedo))
    vertices, identity_basis, expression_basis, mean_albedo, albedo_basis = parts
    count = len(vertices)
    triangles = indices(info["tri"], f"{name}: tri", (None, 3), count, base=1)
    keypoints = indices(info["keypoints"].reshape(-1), f"{name}: keypoints", (COUNT,), count, base=1)
    front = indices(info["frontmask2_idx"].reshape(-1), f"{name}: frontmask2_idx", (None,), count, base=1)
    skin = numbers(info["skinmask"].reshape(-1), f"{name}: skinmask", (count,)) > 0.5
    inner_face = np.zeros(count, bool)
    inner_face[front] = True
    center = vertices.mean(0)
    return Source(
        name="BFM 2009",
        licence=LICENCE,
        origin=f"{MODEL}, {EXPRESSIONS} (Guo et al.), {name} (microsoft/Deep3DFaceReconstruction)",
        vertices=vertices,
        triangles=triangles,
        identity=identity_basis,
        expression=expression_basis,
        landmarks=landmarks.at_vertices(keypoints, triangles),
        albedo=mean_albedo / COLOURS,
        albedo_basis=albedo_basis / COLOURS,
        regions={"skin": skin, "inner_face": inner_face},
        center=center,
        alignment=_alignment((path if path.is_dir() else path.parent) / ALIGNMENT, center),
    )


def _from_folder(folder: Path, identity: int, expression: int, albedo: int) -> Parts:
    model = read_mat(folder / MODEL, ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV"))
    total = _vertex_count(model["shapeMU"], f"{MODEL}: shapeMU")
    trimmed = read_mat(folder / EXPRESSION_INDEX, ("trimIndex",))["trimIndex"].reshape(-1)
    trimmed = indices(trimmed, f"{EXPRESSION_INDEX}: trimIndex", (None,), total, base=1)
    front = read_mat(folder / FRONT_INDEX, ("idx",))["idx"].reshape(-1)
    front = indices(front, f"{FRONT_INDEX}: idx", (None,), len(trimmed), base=1)
    kept = trimmed[front]

    def scaled(basis: str, deviations: str, count: int, unit: float) -> np.ndarray:
        modes = model[basis].shape[-1]
        spread = numbers(model[deviations].reshape(-1), f"{MODEL}: {deviations}", (modes,))
        columns = numbers(model[basis], f"{MODEL}: {basis}", (3 * total, None))
        return _modes(columns[:, :count] * spread[:count], kept) / unit

    shape = numbers(model["shapeMU"].reshape(-1), f"{MODEL}: shapeMU", (3 * total,)).reshape(-1, 3)
    colours = numbers(model["texMU"].reshape(-1), f"{MODEL}: texMU", (3 * total,)).reshape(-1, 3)
    return (
        shape[kept].astype(np.float64) / MICROMETRES,
        scaled("shapePC", "shapeEV", identity, MICROMETRES),
        _expressions(folder, len(trimmed), expression)[:, front] / MICROMETRES,
        colours[kept],
        scaled("texPC", "texEV", albedo, 1.0),
    )


def _expressions(folder: Path, count: int, modes: int) -> np.ndarray:
    """The first `modes` expression modes [K, count, 3] in micrometres for one standard deviation."""
    data = checked_file(folder / EXPRESSIONS).read_bytes()
    stored = int.from_bytes(data[:4], "little", signed=True)
    wanted = 4 * (1 + 3 * count * (1 + stored))
    if stored < 1 or len(data) != wanted:
        raise PortingError(
            f"{EXPRESSIONS} must hold K, a mean and K modes of {count} vertices. Received: K = {stored}, "
            f"{len(data)} bytes instead of {wanted}"
        )
    try:
        deviations = np.loadtxt(checked_file(folder / DEVIATIONS, 1 << 20)).reshape(-1)
    except ValueError as error:
        raise PortingError(f"{DEVIATIONS} must hold numbers. Received: {error}") from error
    deviations = numbers(deviations, DEVIATIONS, (stored,))[:modes]
    basis = np.frombuffer(data, "<f4", offset=4 * (1 + 3 * count), count=3 * count * len(deviations))
    basis = numbers(basis.reshape(len(deviations), count, 3), EXPRESSIONS, (len(deviations), count, 3))
    return basis * deviations[:, None, None]


def _from_ready_made(content: Mapping[str, np.ndarray], name: str, counts: tuple[int, int, int]) -> Parts:
    total = _vertex_count(content["meanshape"], f"{name}: meanshape")
    everything = np.arange(total)
    bases = [
        _modes(numbers(content[key], f"{name}: {key}", (3 * total, None))[:, :count], everything)
        for key, count in zip(("idBase", "exBase", "texBase"), counts, strict=True)
    ]
    shape = numbers(content["meanshape"].reshape(-1), f"{name}: meanshape", (3 * total,)).reshape(-1, 3)
    colours = numbers(content["meantex"].reshape(-1), f"{name}: meantex", (3 * total,)).reshape(-1, 3)
    return shape.astype(np.float64), bases[0], bases[1], colours, bases[2]


def _vertex_count(mean: np.ndarray, name: str) -> int:
    if mean.size == 0 or mean.size % 3:
        raise PortingError(f"{name} must hold x, y, z of every vertex. Received: shape {mean.shape}")
    return mean.size // 3


def _modes(columns: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Modes as columns [3 * V, K] (x, y, z of each vertex in turn) -> [K, V', 3] of the kept vertices."""
    return columns.reshape(-1, 3, columns.shape[1])[kept].transpose(2, 0, 1)


def _alignment(path: Path, center: np.ndarray) -> np.ndarray | None:
    """The points `ALIGNED_BY` that the paper's code aligns photos by, on the uncentred mesh, if the file is there."""
    if not path.exists():
        return None
    lm = numbers(read_mat(path, ("lm",))["lm"], f"{ALIGNMENT}: lm", (COUNT, 3))
    return lm[landmarks.ALIGNED_BY] + center
