"""Aligned photos fitted without a descent: R-Net says who it is, landmarks how they look and where, least squares the
light. Some forty milliseconds a photo, which thousands of photos can afford.

Letters: B photos.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.data.records import MARGIN, RECORD_SIZE
from tf_deep3d.data.rerendered.fits import Fitter
from tf_deep3d.detection.skin import skin_attention
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE, Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import light, motion
from tf_deep3d.fitting.settings import Observation
from tf_deep3d.models.rnet import RNet, fingerprint


def load_fitter() -> Fitter:
    """The `Fitter` of the shipped R-Net and face model, as `fit` and `observe` do it."""
    rnet, model, face_model = RNet.from_preset(face_model=fingerprint()), morphable_model.load(level=0), fingerprint()
    return Fitter(model, face_model, rnet.signature(), lambda found: fit(rnet, model, observe(found)))


def observe(prepared: Sequence[dict[str, Any]]) -> Observation:
    """The `Observation` of records of photos, see `records.SCHEMA`."""
    middle = slice(MARGIN, MARGIN + IMAGE_SIZE)
    pictures = np.stack([record["image"][middle, middle] for record in prepared])
    skin = np.stack([np.reshape(record["skin"], (RECORD_SIZE, RECORD_SIZE, 1))[middle, middle] for record in prepared])
    points = [np.stack([record[name] - MARGIN for record in prepared]) for name in ("landmarks", "dense")]
    return Observation(pictures / np.float32(255), points[0], skin_attention(skin / np.float32(255)), points[1])


def fit(rnet: RNet, model: MorphableModel, observation: Observation) -> Coefficients:
    """The faces of aligned photos.

    Args:
      rnet: of the face model.
      model: `MorphableModel` at any level of detail.
      observation: `Observation` of B photos with dense landmarks if the model has them.

    Returns:
      `Coefficients` of B faces, float32 NumPy: identity and albedo are R-Net's, the others fit the photo. A face whose
      photo has no solution has coefficients that are not finite.
    """
    regressed = Coefficients(*map(ops.convert_to_numpy, rnet.regress(observation.images)[0]))
    pixels = observation.landmarks
    if "mediapipe478" in model.landmarks and observation.dense is not None:
        pixels = np.concatenate([pixels, observation.dense], axis=1)
    found = []
    for index, points in enumerate(pixels):
        mine = Coefficients(*(group[index : index + 1] for group in regressed))
        angles, translation, expression = motion.solve(motion.person(model, mine.identity[0]), points, Camera())
        mine = mine._replace(
            angles=angles[None].astype(np.float32),
            translation=translation[None].astype(np.float32),
            expression=expression[None].astype(np.float32),
        )
        face = faces.reconstruct(model, mine)
        seen = light.find_light(
            observation.images[index], observation.attention[index], model, face, mine.illumination[0]
        )
        found.append(mine._replace(illumination=seen[None]))
    return Coefficients(*(np.concatenate(groups) for groups in zip(*found, strict=True)))
