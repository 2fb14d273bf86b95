"""What is written about a face by every runtime: its meshes in two expressions, and its numbers.

Letters: V vertices.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tf_deep3d import face as faces
from tf_deep3d.face.camera import CAMERA_DISTANCE, FOCAL, IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import vertex_normals
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.face.reconstruction import Face
from tf_deep3d.mesh.mesh import Mesh

PHOTO_EXPRESSION = "photoExpression"  # the morph target that turns the neutral mesh into the photo's expression


def meshes(
    model: MorphableModel, coefficients: Coefficients, texture: np.ndarray | None = None
) -> tuple[Mesh, Mesh, dict[str, np.ndarray]]:
    """The meshes of one face, unposed, facing +z.

    Args:
      model: `MorphableModel`.
      coefficients: `Coefficients` of this one face.
      texture: [S, S, 3] in the model's texture coordinates, or None.

    Returns:
      (`Mesh` with the photo's expression, neutral `Mesh`, morph targets of the neutral one: the model's blendshapes
      and `PHOTO_EXPRESSION`, name -> [V, 3] dm).
    """
    neutral = faces.neutral_shape(model, coefficients.identity)
    shape = faces.combine(neutral, model.expression_basis, coefficients.expression)
    expressive, still = (
        Mesh(
            vertices=vertices[0],
            triangles=model.triangles,
            normals=vertex_normals(vertices, model.triangles, model.vertex_corners)[0],
            uv=model.uv,
            uv_triangles=model.uv_triangles,
            texture=texture,
        )
        for vertices in (shape, neutral)
    )
    targets = dict(zip(model.blendshape_names, model.blendshapes, strict=True))
    return expressive, still, targets | {PHOTO_EXPRESSION: (shape - neutral)[0]}


def describe(
    photo: str, portrait: Any, model: MorphableModel, coefficients: Coefficients, face: Face
) -> dict[str, Any]:
    """A face in numbers that JSON can hold.

    Args:
      photo: name of the photo.
      portrait: has `detected`, a `detection.Detection`, and `crop`, an `alignment.Crop`.
      model: `MorphableModel`.
      coefficients: `Coefficients` of this one face.
      face: `Face` of them.

    Returns:
      Dict; angles in degrees say so, lengths are px of the photo or dm.
    """
    transform = portrait.crop.transform
    pitch, yaw, roll = (float(angle) for angle in np.degrees(coefficients.angles[0]))
    return {
        "photo": photo,
        "box": numbers(portrait.detected.box),
        "coefficients": {name: numbers(group[0]) for name, group in coefficients._asdict().items()},
        "pose": {"pitch_degrees": pitch, "yaw_degrees": yaw, "roll_degrees": roll},
        "camera": {"size_px": IMAGE_SIZE, "focal_px": FOCAL, "distance_dm": CAMERA_DISTANCE},
        "crop_from_photo": {
            "scale": transform.scale,
            "rotation_radians": transform.rotation,
            "translation_px": list(transform.translation),
            "share_outside_photo": float(portrait.crop.outside),
        },
        "landmarks68_photo_px": numbers(transform.inverse().apply(face.landmarks[0])),
        "detected_landmarks68_photo_px": numbers(portrait.detected.landmarks68),
        "model": {"name": model.name, "level": model.level, "licence": model.licence},
    }


def write_json(path: Path, record: Any) -> None:
    """Writes `record`, which JSON can hold, to a new file `path`; ValueError for numbers that are not finite."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def numbers(array: ArrayLike) -> list[Any]:
    """An array as lists of numbers of six decimals, for JSON."""
    return np.round(np.asarray(array, np.float64), 6).tolist()
