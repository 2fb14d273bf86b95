"""The light of a photo of a known face: linear least squares, since colours are linear in the light.

    color = albedo (Phi(normal) . (illumination + ambient))         (Deng et al. 2019, section 3)

Shadows, highlights, hair and whatever else no light explains are doubted more with each round (Huber).
"""

import numpy as np

from tf_deep3d.face import Face, geometry, lighting
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.texture import fields

ROUNDS = 5
OUTLIER = 0.05  # colour difference from which a vertex' pull grows no more
PRIOR = 0.02  # share of the evidence that pulls towards the light to start from
COSINE = 0.2  # of the angle to the viewing direction, below which a vertex is left out


def find_light(
    image: np.ndarray, attention: np.ndarray, model: MorphableModel, face: Face, start: np.ndarray
) -> np.ndarray:
    """The illumination under which a face looks like its photo.

    Args:
      image: [H, W, 3] float RGB in [0, 1], the aligned photo.
      attention: [H, W, 1] in [0, 1], where its skin is.
      model: `MorphableModel` of the face's level of detail.
      face: `Face` of NumPy arrays in the camera of the aligned photo; its first face is taken.
      start: [C, 9], illumination that wins where the photo says little.

    Returns:
      [C, 9] float32, C as in `start`.
    """
    normals, albedo, pixels = (np.asarray(part)[0] for part in (face.normals, face.albedo, face.pixels))
    toward = geometry.normalize(np.array([0, 0, Camera().distance], np.float32) - np.asarray(face.vertices)[0])
    cosine = np.einsum("vc,vc->v", normals, toward)
    inside = ((pixels > 1) & (pixels < np.array(image.shape[1::-1]) - 1)).all(-1)
    shown = np.flatnonzero((cosine > COSINE) & inside & model.regions["inner_face"] & ~model.regions["eyes"])
    start = np.asarray(start, np.float64)
    if not len(shown):
        return start.astype(np.float32)
    samples = fields.bilinear(np.concatenate([image, attention], axis=-1), pixels[shown])
    basis = lighting.sh_basis(normals[shown]).astype(np.float64)
    columns = np.clip(albedo[shown], 0.0, 1.0)[:, :, None] * basis[:, None]  # [n, 3, 9]
    target = samples[:, :3] - lighting.AMBIENT * columns[..., 0]
    evidence = (samples[:, 3] * cosine[shown])[:, None]
    light = start
    for _ in range(ROUNDS):
        distance = np.linalg.norm(target - np.einsum("ncj,cj->nc", columns, _three(light)), axis=-1, keepdims=True)
        weights = evidence * np.minimum(1.0, OUTLIER / np.maximum(distance, 1e-9))
        light = _solve(columns, target, weights, start)
    return light.astype(np.float32)


def _solve(columns: np.ndarray, target: np.ndarray, weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Weighted least squares of `columns` [n, 3, 9] for `target` [n, 3], with a pull towards `start` [C, 9]."""
    pulled = columns * weights[..., None]
    normal = np.einsum("ncj,nck->cjk", pulled, columns)
    right = np.einsum("ncj,nc->cj", pulled, target)
    if len(start) == 1:
        normal, right = normal.sum(0, keepdims=True), right.sum(0, keepdims=True)
    pull = PRIOR * np.trace(normal, axis1=1, axis2=2) / lighting.HARMONICS + 1e-9  # also where there is no evidence
    prior = pull[:, None, None] * np.eye(lighting.HARMONICS)
    return np.linalg.solve(normal + prior, (right + np.einsum("cjk,ck->cj", prior, start))[..., None])[..., 0]


def _three(light: np.ndarray) -> np.ndarray:
    """[3, 9] of a light [C, 9]."""
    return np.broadcast_to(light, (3, lighting.HARMONICS))
