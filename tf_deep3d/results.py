"""What is written about a reconstructed face: meshes, texture, pictures and numbers, in a folder of its own."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import tf_deep3d
from tf_deep3d import face as faces
from tf_deep3d import meshio, pictures, texture
from tf_deep3d.camera import CAMERA_DISTANCE, FOCAL, IMAGE_SIZE, Camera
from tf_deep3d.files import refuse_existing
from tf_deep3d.geometry import vertex_normals

FILES = ("face.obj", "face.mtl", "texture.png", "face.glb", "face.ply", "overlay.png", "coefficients.json")
PHOTO_EXPRESSION = "photoExpression"  # the morph target that turns the neutral GLB into the photo's expression


def landmark_error(predicted, detected):
    """Normalised mean error of the 51 inner landmarks, over the distance of the outer eye corners.

    Args:
      predicted, detected: [B, 68, 2] px.

    Returns:
      [B].
    """
    distance = np.linalg.norm(predicted - detected, axis=-1)[:, 17:].mean(-1)
    return distance / np.linalg.norm(detected[:, 36] - detected[:, 45], axis=-1)


def write_face(folder, portrait, model, atlas, coefficients, terms, overwrite=False):
    """Writes everything about one face into `folder`, which appears whole or not at all.

    Args:
      folder: to create.
      portrait: `pipeline.Portrait`.
      model: `MorphableModel` at the level of detail to write.
      atlas: `texture.unwrap(model)`.
      coefficients: `Coefficients` of this one face.
      terms: raw losses, name -> number.
      overwrite: replace an existing folder.

    Returns:
      The normalised landmark error, see `landmark_error`.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
    """
    folder = Path(folder)
    if not overwrite:
        refuse_existing(folder)
    face = faces.reconstruct(model, coefficients)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:40]}."))
    try:
        _write_meshes(temporary, portrait, model, atlas, coefficients, face)
        strip = pictures.overlay_strip(portrait.crop.image, face, model.triangles, detected=portrait.landmarks())
        Image.fromarray(strip).save(temporary / "overlay.png", compress_level=meshio.PNG_LEVEL)
        error = float(landmark_error(face.landmarks, portrait.landmarks()[None])[0])
        record = _record(portrait, model, coefficients, face, terms, error)
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / "coefficients.json").write_text(text + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return error


def _write_meshes(folder, portrait, model, atlas, coefficients, face):
    """OBJ and PLY as in the photo but facing the viewer, GLB neutral with the photo's expression as a morph target."""
    transform = portrait.crop.transform
    from_window = replace(transform, translation=tuple(transform.apply(portrait.corner)))
    skin = texture.extract_texture(portrait.window, model, face, Camera(), from_window, atlas=atlas)
    neutral = faces.neutral_shape(model, coefficients.identity)
    shape = faces.combine(neutral, model.expression_basis, coefficients.expression)
    expressive, still = (
        meshio.Mesh(
            vertices=vertices[0],
            triangles=model.triangles,
            normals=vertex_normals(vertices, model.triangles, model.vertex_corners)[0],
            uv=model.uv,
            uv_triangles=model.uv_triangles,
            texture=skin.image,
        )
        for vertices in (shape, neutral)
    )
    name, terms = portrait.folder, model.licence
    meshio.write_obj(folder / "face.obj", expressive, name, terms, texture_name="texture.png")
    colored = expressive._replace(texture=None, uv=None, uv_triangles=None, colors=np.clip(face.albedo[0], 0, 1))
    meshio.write_ply(folder / "face.ply", colored, name, terms)
    targets = dict(zip(model.blendshape_names, model.blendshapes, strict=True))
    targets[PHOTO_EXPRESSION] = (shape - neutral)[0]
    meshio.write_glb(folder / "face.glb", still, targets, name, terms, weights={PHOTO_EXPRESSION: 1.0})


def _record(portrait, model, coefficients, face, terms, error):
    """The content of coefficients.json."""
    transform = portrait.crop.transform
    pitch, yaw, roll = (float(angle) for angle in np.degrees(coefficients.angles[0]))
    return {
        "photo": portrait.photo.name,
        "box": _numbers(portrait.detected.box),
        "coefficients": {name: _numbers(group[0]) for name, group in coefficients._asdict().items()},
        "pose": {"pitch_degrees": pitch, "yaw_degrees": yaw, "roll_degrees": roll},
        "camera": {"size_px": IMAGE_SIZE, "focal_px": FOCAL, "distance_dm": CAMERA_DISTANCE},
        "crop_from_photo": {
            "scale": transform.scale,
            "rotation_radians": transform.rotation,
            "translation_px": list(transform.translation),
            "share_outside_photo": float(portrait.crop.outside),
        },
        "landmarks68_photo_px": _numbers(transform.inverse().apply(face.landmarks[0])),
        "detected_landmarks68_photo_px": _numbers(portrait.detected.landmarks68),
        "losses": terms,
        "landmark_error": error,
        "method": "fit",
        "model": {"name": model.name, "level": model.level, "licence": model.licence},
        "versions": {"tf_deep3d": tf_deep3d.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }


def _numbers(array):
    return np.round(np.asarray(array, np.float64), 6).tolist()


def _move_into_place(temporary, folder):
    """Renames `temporary` to `folder`; an existing folder steps aside first and is removed last."""
    if folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name[:40]}.") as aside:
            folder.rename(Path(aside) / "old")
            temporary.rename(folder)
    else:
        temporary.rename(folder)
