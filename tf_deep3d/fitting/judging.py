"""How well fitted faces explain their photos: the terms of `losses.hybrid` in NumPy, for what is told of a result.

Letters: B photos.
"""

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import lighting
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting.settings import FitSettings, Observation
from tf_deep3d.fitting.targets import landmark_targets
from tf_deep3d.models import likeness
from tf_deep3d.rendering import still


def terms(
    model: MorphableModel, observation: Observation, coefficients: Coefficients, settings: FitSettings
) -> list[dict[str, float]]:
    """The raw terms of the loss of each of B photos, name in `weighing.TERMS` -> value.

    Args:
      model: `MorphableModel` at the level of detail to look at.
      observation: `Observation` of B photos.
      coefficients: `Coefficients` of their faces, finite.
      settings: `FitSettings`.
    """
    count = len(observation.images)
    rows = [Coefficients(*(group[index : index + 1] for group in coefficients)) for index in range(count)]
    return [_terms(model, observation.one(index), row, settings) for index, row in enumerate(rows)]


def _terms(model: MorphableModel, photo: Observation, mine: Coefficients, settings: FitSettings) -> dict[str, float]:
    camera, image = photo.camera or Camera(), photo.images[0]
    compared, targets, weights = landmark_targets(model, photo, settings, mine)
    face = faces.reconstruct(compared, mine, camera, landmarks="fit")
    seen = still.rasterize(face.pixels[0], face.depth[0], model.triangles, camera.height, camera.width)
    rendered = still.interpolate(seen, face.colors[0], model.triangles)
    shown = seen.triangle >= 0
    inner = np.all(model.regions["inner_face"][model.triangles], axis=-1)
    attention = photo.attention[0, ..., 0] * (shown & inner[seen.triangle])
    distance = np.linalg.norm(image - rendered, axis=-1)
    apart = face.landmarks[0] - targets[0]
    squared = (
        np.einsum("li,lij,lj->l", apart, weights[0], apart) if weights.ndim == 4 else weights[0] * (apart**2).sum(1)
    )
    light, skin = mine.illumination[0], model.regions["skin"]
    arriving = lighting.irradiance(face.normals[:, skin], mine.illumination)[0].mean(axis=0)
    luminance = arriving @ (lighting.LUMINANCE if len(light) == len(lighting.LUMINANCE) else np.ones(1))
    groups = ("identity", "expression", "albedo")
    prior = sum(getattr(settings.weights, f"prior_{name}") * np.sum(getattr(mine, name) ** 2) for name in groups)
    pair = likeness.describe(np.stack([image, np.where(shown[..., None], rendered, image)]))
    first, second = pair / np.maximum(np.linalg.norm(pair, axis=-1, keepdims=True), 1e-9)
    found = {
        "photometric": np.sum(attention * distance) / max(np.sum(attention), 1.0),
        "landmark": squared.mean(),
        "prior": prior,
        "albedo_flatness": face.albedo[0, skin].var(axis=0).sum(),
        "illumination_whiteness": np.mean((light - light.mean(axis=0)) ** 2),
        "exposure": ((luminance - lighting.EXPOSURE) / lighting.EXPOSURE_SPREAD) ** 2,
        "perceptual": 1.0 - first @ second,
    }
    return {name: float(value) for name, value in found.items()}
