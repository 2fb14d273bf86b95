"""Whether dark skin stays dark and light skin light: the albedo found in evenly lit photos, beside the photos' skin.

In a studio's even light a camera exposes so that white is just below 1, and the picture of the skin is about its
albedo. Sections are skin tones by the individual typology angle of the photo.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import charts, model_people
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.report import Results
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import pose
from tf_deep3d.io import photos
from tf_deep3d.reconstruction import portraits
from tf_deep3d.texture import fields

VERSION = 1
FACING = 0.3  # least cosine of the angle between a normal and the camera's axis at which skin is compared


def tones(folder: str | Path, model: MorphableModel) -> Protocol:
    """The protocol.

    Args:
      folder: photo or folder of photos, evenly lit from the front.
      model: `MorphableModel` at its finest level of detail, of the methods.

    Raises:
      photos.PhotoError, FileNotFoundError: if there is no photo.
    """
    entries = photos.find_photos([folder])

    def make(entry: Path, _: Path) -> Case:
        colors, shown = skin_of(entry, model)
        tone = model_people.tone_of(np.median(colors, 0))

        def measure(prediction: Prediction) -> Measurement:
            if prediction.albedo is None or len(prediction.albedo) != len(shown):
                raise InputError("the method gives no albedo of the face model. Received: a shape only")
            skin = float(prediction.albedo[shown].mean(0) @ LUMINANCE)
            lighter = skin - float(colors.mean(0) @ LUMINANCE)
            return Measurement({"albedo": abs(lighter), "lighter": lighter, "skin": skin}, np.zeros(0))

        return Case(entry.stem, entry.stem, None, (entry,), measure, (f"skin: {tone}",))

    remark = f"{len(entries)} photos, taken for evenly lit; albedo MAE is that of the skin's mean luminance."
    return Protocol(
        f"tones {VERSION}", entries, make, remark, recognition=False, brief=("albedo", "lighter", "skin"),
        charts=lambda _, results: figures(results),
    )  # fmt: skip


def skin_of(photo: Path, model: MorphableModel) -> tuple[np.ndarray, np.ndarray]:
    """The skin of the largest face of a photo.

    Returns:
      (RGB [n, 3] in [0, 1] at the vertices of the skin that face the camera; which they are, [V] bool).

    Raises:
      photos.PhotoError, InputError: if the photo cannot be read or shows no face.
    """
    seen = portraits.observe(portraits.portraits_of(photo, model)[:1])
    face = faces.reconstruct(model, pose.initial_coefficients(model, seen.landmarks, "rgb"))
    shown = model.regions["skin"] & (face.normals[0, :, 2] > FACING)
    return fields.bilinear(seen.images[0], face.pixels[0, shown]), shown


def figures(results: Results) -> list[charts.Chart]:
    """The albedo's luminance against the photo's."""
    dots, title = {}, "Skin of the albedo against the photo's"
    for method, rows in results.items():
        numbers = [row["numbers"] for row in rows if row["numbers"]]
        if len(numbers) < 2:
            continue
        found = np.array([each["skin"] for each in numbers])
        photo = found - [each["lighter"] for each in numbers]
        dots[method] = (255 * photo, 255 * found)
        order: Any = spearmanr(photo, found)
        title += f"; {method}: Spearman {order.statistic:+.2f}"
    return [charts.Chart("tones", title, "photo's luminance, of 255", "albedo's luminance, of 255", dots, dots=True)]
