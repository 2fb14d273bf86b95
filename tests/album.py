"""An album of a synthetic person: photos in a folder, and what is seen in them, without any network."""

import numpy as np
from keras import ops
from PIL import Image

from tf_deep3d import face as faces
from tf_deep3d.detection import detector
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.reconstruction import photo, portraits
from tf_deep3d.reconstruction.album import sightings
from tf_deep3d.rendering import renderer
from tf_deep3d.texture.atlas import unwrap

YAWS = (-0.5, -0.2, 0.0, 0.3, 0.5)


def synthetic_models(model_file, size=128):
    """`photo.Models` of the synthetic face model, without networks; `size` of the texture in px."""
    levels = morphable_model.load_levels(model_file)
    atlas = unwrap(levels[-1], size)
    return photo.Models(levels, levels[-1], lambda _: atlas, shown=levels[-1])


def synthetic_truth(model, yaws=YAWS, seed=0):
    """`Coefficients` of one person in photos at these angles [P] in radians, each with an expression and a light."""
    layout = model.layout()
    drawn = layout.split(np.random.default_rng(seed).normal(size=(len(yaws), layout.total)).astype(np.float32))
    return drawn._replace(
        identity=drawn.identity[:1].repeat(len(yaws), 0),
        albedo=drawn.albedo[:1].repeat(len(yaws), 0),
        expression=drawn.expression * 0.5,
        angles=np.stack([np.full(len(yaws), 0.05), yaws, np.zeros(len(yaws))], 1).astype(np.float32),
        translation=drawn.translation * 0.02,
        illumination=drawn.illumination * 0.04,
    )


def synthetic_sightings(folder, models, truth, **change):
    """Photos in `folder`, and a tuple of their `sightings.Sighting`s.

    Args:
      folder: an existing one.
      models: of `synthetic_models`.
      truth: of `synthetic_truth`.
      **change: groups of coefficients that R-Net would get wrong, name -> [P, ..].
    """
    model = models.levels[-1]
    face = faces.reconstruct(model, truth)
    rendering = ops.convert_to_numpy(renderer.render(face, model.triangles, Camera()).image)
    five, dense = (faces.reconstruct(model, truth, landmarks=n).landmarks for n in ("alignment5", "mediapipe478"))
    found = []
    for i, picture in enumerate(rendering):
        path = folder / f"photo{i}.png"
        Image.fromarray(to_uint8(np.clip(picture, 0, 1))).save(path)
        points = face.landmarks[i]
        box = np.concatenate([points.min(0), points.max(0)])
        mesh = np.pad(dense[i], ((0, 0), (0, 1)))
        detected = detector.Detection(1.0, box, mesh, points, five[i])
        portrait = portraits.portrait_of(path, np.asarray(Image.open(path)), detected, model)
        seen = truth._replace(**change)
        found.append(
            sightings.Sighting(
                photo=path,
                file=path.name,
                name=path.stem,
                detected=detected,
                scale=portrait.crop.transform.scale,
                thumbnail=sightings._thumbnail(portrait.crop),
                descriptor=np.eye(4)[0],
                landmarks=portrait.crop.transform.apply(np.concatenate([points, dense[i]])),
                coefficients=type(truth)(*(group[i : i + 1] for group in seen)),
                confidence=None,
            )
        )
    return tuple(found)
