"""Photos of people of the open face model with known things before and behind them, for the tests of textures."""

import functools

import numpy as np
from PIL import Image, ImageDraw

from tests.texture.photos import CAMERA
from tf_deep3d import face as faces
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.rendering import renderer
from tf_deep3d.texture.atlas import unwrap

BACKGROUND = (0, 255, 0)  # a signal: no face has it
PHOTO = Similarity(0.5)  # photo px -> crop px
SIDE = 448  # px of the photo


@functools.cache
def open_face():
    """The open face model at its middle level of detail, and its atlas."""
    model = morphable_model.load(level=1)
    return model, unwrap(model, 256)


def person(seed=0, yaw=0.0, **change):
    """`Coefficients` of a random person."""
    model, _ = open_face()
    drawn = np.random.default_rng(seed)
    coefficients = model.layout().zeros(1)
    coefficients.identity[:] = 0.7 * drawn.normal(size=coefficients.identity.shape)
    coefficients.albedo[:] = 0.5 * drawn.normal(size=coefficients.albedo.shape)
    coefficients.illumination[0, :, :4] = [0.0, -0.1, 0.15, 0.12]
    coefficients.angles[0, 1] = yaw
    return coefficients._replace(**change)


def face_of(coefficients):
    return faces.reconstruct(open_face()[0], coefficients, CAMERA)


def take_portrait(face, colors=None, draw=None):
    """A uint8 photo of a face before `BACKGROUND`.

    Args:
      face: `Face`.
      colors: [V, 3] of the vertices, by default those of the face.
      draw: function of (`ImageDraw`, the face's 68 landmarks in px of the photo) that adds to it.
    """
    model, _ = open_face()
    pixels = PHOTO.inverse().apply(face.pixels).astype(np.float32)
    fragments = renderer.rasterize(pixels, face.depth, model.triangles, SIDE, SIDE)
    colors = face.colors if colors is None else np.asarray(colors, np.float32)[None]
    picture = np.asarray(renderer.interpolate(fragments, colors, model.triangles))[0]
    seen = np.asarray(fragments.triangle)[0][..., None] >= 0
    image = Image.fromarray((np.where(seen, np.clip(picture, 0, 1), np.divide(BACKGROUND, 255)) * 255).astype(np.uint8))
    if draw is not None:
        draw(ImageDraw.Draw(image), PHOTO.inverse().apply(face.landmarks[0]))
    return np.asarray(image)


def facing(face):
    """Cosine [V] of the angle between the vertices' normals and the viewing direction."""
    toward = geometry.normalize(np.array([0, 0, CAMERA.distance]) - face.vertices[0])
    return np.einsum("vc,vc->v", face.normals[0], toward)
