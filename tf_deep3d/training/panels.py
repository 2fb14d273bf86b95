"""Pictures of how a training goes: what the networks make of held-out photos."""

import numpy as np
from keras import ops
from PIL import Image

from tf_deep3d import face as faces
from tf_deep3d.face.aggregation import aggregate
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.models.cnet import CNet
from tf_deep3d.models.rnet import RNet
from tf_deep3d.rendering import pictures

SHOWN = 6  # faces, or sets
SMALL = 112  # px, of a photo in a set


def face_panel(rnet: RNet, model: MorphableModel, batch: dict[str, np.ndarray]) -> np.ndarray:
    """What R-Net makes of photos, one row for each: photo, overlay, shape, albedo, and the skin mask.

    Args:
      rnet: `RNet`.
      model: `MorphableModel`.
      batch: dict of `data`, NumPy.

    Returns:
      [H, W, 3] uint8.
    """
    found = Coefficients(*(ops.convert_to_numpy(group) for group in rnet(batch["inputs"][:SHOWN])))
    cells = []
    for index, photo in enumerate(batch["images"][:SHOWN]):
        face = faces.reconstruct(model, Coefficients(*(group[index : index + 1] for group in found)))
        shown = pictures.panels(photo, face, model.triangles, scale=1, detected=batch["landmarks"][index])
        skin = np.repeat(batch["skin"][index], 3, axis=-1)
        cells += [shown["photo"], shown["overlay"], shown["shape"], shown["albedo"], skin]
    return pictures.contact_sheet(cells, 5, gap=2)


def set_panel(rnet: RNet, cnet: CNet, model: MorphableModel, batch: dict[str, np.ndarray]) -> np.ndarray:
    """What C-Net makes of sets, one row for each: the photos with their mean confidence, then the fused shape.

    Args:
      rnet, cnet: `RNet` and its `CNet`.
      model: `MorphableModel`.
      batch: dict of `image_sets`, NumPy.

    Returns:
      [H, W, 3] uint8.
    """
    cells, captions = [], []
    for inputs, present in zip(batch["inputs"][:SHOWN], batch["present"], strict=False):
        coefficients, features = rnet.regress(inputs)
        confidence = ops.convert_to_numpy(cnet(features))
        identity = ops.convert_to_numpy(coefficients.identity)
        strategy = "scalar" if cnet.confidences == 1 else "elementwise"
        fused = aggregate(identity[None], confidence[None], present[None], strategy)
        zeros = model.layout().zeros(1)
        face = faces.reconstruct(model, zeros._replace(identity=fused))
        shape = pictures.panels(inputs[0], face, model.triangles, scale=1)["shape"]
        cells += [_small(picture * there) for picture, there in zip(inputs, present, strict=True)] + [_small(shape)]
        captions += [f"{value:.2f}" if there else "" for value, there in zip(confidence.mean(1), present, strict=True)]
        captions += ["fused"]
    return pictures.contact_sheet(cells, len(cells) // len(batch["inputs"][:SHOWN]), captions, gap=2)


def _small(picture: np.ndarray) -> np.ndarray:
    picture = np.asarray(picture)
    picture = picture if picture.dtype == np.uint8 else np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return np.asarray(Image.fromarray(picture).resize((SMALL, SMALL), Image.Resampling.BOX))
