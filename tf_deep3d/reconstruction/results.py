"""What is written about a reconstructed face: meshes, texture, pictures and numbers, in a folder of its own."""

from dataclasses import replace

import keras
import numpy as np
from PIL import Image

import tf_deep3d
from tf_deep3d import face as faces
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.landmarks import nme
from tf_deep3d.io.files import writing_folder
from tf_deep3d.mesh import face_files, gltf
from tf_deep3d.mesh.mesh import PNG_LEVEL
from tf_deep3d.mesh.obj import write_obj
from tf_deep3d.mesh.ply import write_ply
from tf_deep3d.rendering import pictures
from tf_deep3d.texture import texture, views

FILES = ("face.obj", "face.mtl", "texture.png", "face.glb", "face.ply", "overlay.png", "coefficients.json")


def write_face(folder, portrait, model, atlas, coefficients, terms, method, overwrite=False):
    """Writes everything about one face into `folder`, which appears whole or not at all.

    Args:
      folder: to create.
      portrait: `pipeline.Portrait`.
      model: `MorphableModel` at the level of detail to write.
      atlas: `atlas.unwrap(model)`.
      coefficients: `Coefficients` of this one face.
      terms: raw losses, name -> number.
      method: that made the face, see `pipeline.Options`.
      overwrite: replace an existing folder.

    Returns:
      The normalised landmark error, see `landmark_error`.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
    """
    face = faces.reconstruct(model, coefficients)
    with writing_folder(folder, overwrite) as temporary:
        view = photograph(portrait, model, atlas, face)
        skin = texture.complete([view], face.albedo[0], atlas)
        write_meshes(temporary, portrait.folder, model, coefficients, skin.image)
        strip = pictures.overlay_strip(portrait.crop.image, face, model.triangles, detected=portrait.landmarks())
        write_picture(temporary / "overlay.png", strip)
        error = float(nme(face.landmarks, portrait.landmarks()[None])[0])
        record = {
            **face_files.describe(portrait.photo.name, portrait, model, coefficients, face),
            "losses": terms,
            "landmark_error": error,
            "method": method,
            "versions": versions(),
        }
        face_files.write_json(temporary / "coefficients.json", record)
    return error


def photograph(portrait, model, atlas, face):
    """What the photo of a `pipeline.Portrait` shows of its `Face`: `views.View`."""
    transform = portrait.crop.transform
    from_window = replace(transform, translation=tuple(transform.apply(portrait.corner)))
    return views.extract_view(portrait.window, model, face, Camera(), from_window, atlas)


def write_meshes(folder, name, model, coefficients, image):
    """Writes OBJ, PLY and GLB of a face, facing the viewer.

    OBJ and PLY have its expression. GLB is neutral, with the expression as a morph target where there is one.

    Args:
      folder: to write into.
      name: of the face.
      model: `MorphableModel`.
      coefficients: `Coefficients` of this one face; its pose and light do not matter.
      image: [S, S, 3] texture.
    """
    expressive, still, targets = face_files.meshes(model, coefficients, texture=image)
    terms = model.licence
    write_obj(folder / "face.obj", expressive, name, terms, texture_name="texture.png")
    colors = np.clip(faces.albedo(model, coefficients.albedo)[0], 0, 1)
    colored = expressive._replace(texture=None, uv=None, uv_triangles=None, colors=colors)
    write_ply(folder / "face.ply", colored, name, terms)
    weights = {face_files.PHOTO_EXPRESSION: 1.0}
    if not np.any(coefficients.expression):
        targets.pop(face_files.PHOTO_EXPRESSION)
        weights = {}
    gltf.write_glb(folder / "face.glb", gltf.build(still, targets, weights, name, terms))


def write_picture(path, picture):
    """Writes a picture [H, W, 3] as PNG."""
    Image.fromarray(picture).save(path, compress_level=PNG_LEVEL)


def versions():
    """Versions of what made the results, name -> version."""
    return {"tf_deep3d": tf_deep3d.__version__, "keras": keras.__version__, "numpy": np.__version__}
