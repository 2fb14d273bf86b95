"""Photos of painted faces, for the tests of textures."""

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.rendering import renderer
from tf_deep3d.texture import texture
from tf_deep3d.texture.views import extract_view

SIZE = 256
CAMERA = cameras.Camera()
TRANSFORM = geometry.Similarity(0.4, 0.3, (60.0, -40.0))  # photo px -> crop px
PHOTO_SHAPE = (600, 620)


def posed(model, yaw, **change):
    coefficients = model.layout().zeros(1)
    coefficients.angles[0] = [0.1, yaw, 0.05]
    return faces.reconstruct(model, coefficients._replace(**change), CAMERA)


def paint(points):
    """A smooth colour [..., 3] for every point [..., 3] of the unposed shape."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([0.5 + 0.3 * np.sin(12 * x), 0.5 + 0.3 * np.sin(15 * y), 0.5 + 0.2 * np.sin(9 * (x + y))], -1)


def take_photo(model, face, colors, transform=TRANSFORM, shape=PHOTO_SHAPE):
    """A uint8 photo of the face painted by `colors` [..., 3] -> [..., 3] or [V, 3], over pure green."""
    pixels = transform.inverse().apply(face.pixels).astype(np.float32)
    fragments = renderer.rasterize(pixels, face.depth, model.triangles, *shape)
    values = model.mean_shape if callable(colors) else np.asarray(colors, np.float32)
    picture = np.asarray(renderer.interpolate(fragments, values[None], model.triangles))[0]
    picture = colors(picture) if callable(colors) else picture
    seen = np.asarray(fragments.triangle)[0][..., None] >= 0
    return (np.where(seen, np.clip(picture, 0, 1), [0, 1, 0]) * 255 + 0.5).astype(np.uint8)


def on_texels(atlas, values):
    return np.einsum("nk,nkc->nc", atlas.weights, values[atlas.corners])


def texture_of(photo, model, face, atlas, transform=TRANSFORM, mirror=True, keep_everything=True):
    """The complete texture of a face from one photo, which may show anything."""
    view = extract_view(photo, model, face, CAMERA, transform, atlas, keep_everything)
    return texture.complete([view], face.albedo[0], atlas, mirror=mirror)
