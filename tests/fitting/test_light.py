import numpy as np
import pytest
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.face import lighting
from tf_deep3d.face.camera import Camera
from tf_deep3d.fitting import light as relighting
from tf_deep3d.rendering import renderer


@pytest.fixture(scope="module")
def lit(tiny_model):
    """A face under a strong coloured light, and its photo."""
    coefficients = tiny_model.layout().zeros(1)
    coefficients.angles[0] = [0.1, 0.4, 0.0]
    coefficients.illumination[0, :, :4] = [[-0.1, -0.2, 0.3, 0.25], [-0.15, -0.1, 0.2, 0.2], [-0.2, 0.1, 0.2, 0.1]]
    face = faces.reconstruct(tiny_model, coefficients)
    image = ops.convert_to_numpy(renderer.render(face, tiny_model.triangles, Camera()).image)[0]
    return face, image, coefficients.illumination[0]


def shade_error(model, face, found, truth):
    """Largest difference [C] of two lights on what the camera sees of a face."""
    seen = (face.normals[0, :, 2] > 0.3) & model.regions["inner_face"]
    lights = (lighting.irradiance(face.normals, light[None])[0, seen] for light in (found, truth))
    return abs(np.subtract(*lights)).max(0)


def test_a_known_light_is_found(tiny_model, lit, monkeypatch):
    face, image, truth = lit
    monkeypatch.setattr(relighting, "PRIOR", 1e-6)
    found = relighting.find_light(image, np.ones((224, 224, 1)), tiny_model, face, np.zeros((3, 9)))
    assert found.shape == (3, 9)
    assert shade_error(tiny_model, face, found, truth).max() < 0.02


def test_a_known_white_light_is_found(tiny_model, monkeypatch):
    monkeypatch.setattr(relighting, "PRIOR", 1e-6)
    coefficients = tiny_model.layout("white").zeros(1)
    coefficients.angles[0] = [-0.1, -0.3, 0.1]
    coefficients.illumination[0, 0, :4] = [-0.2, -0.2, 0.2, -0.25]
    face = faces.reconstruct(tiny_model, coefficients)
    image = ops.convert_to_numpy(renderer.render(face, tiny_model.triangles, Camera()).image)[0]
    found = relighting.find_light(image, np.ones((224, 224, 1)), tiny_model, face, np.zeros((1, 9)))
    assert found.shape == (1, 9)
    truth = coefficients.illumination[0]
    assert shade_error(tiny_model, face, found, truth).max() < 0.02
    assert shade_error(tiny_model, face, 0 * truth, truth).max() > 0.3


def test_where_the_photo_says_little_the_start_wins(tiny_model, lit, monkeypatch):
    face, image, truth = lit
    start = truth + 0.3 * np.random.default_rng(0).normal(size=truth.shape)
    errors = []
    for prior in (1e-6, 0.02, 1e6):
        monkeypatch.setattr(relighting, "PRIOR", prior)
        found = relighting.find_light(image, np.ones((224, 224, 1)), tiny_model, face, start)
        errors.append(np.linalg.norm(found - start))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_a_mark_on_the_photo_hardly_changes_the_light(tiny_model, lit, monkeypatch):
    """Pixels that no light explains are doubted, and those without skin do not count at all."""
    face, image, truth = lit
    skin = np.ones((224, 224, 1))
    row, column = (int(np.median(face.pixels[0, :, axis])) for axis in (1, 0))
    marked = image.copy()
    marked[row : row + 30, column : column + 30] = [1.0, 1.0, 1.0]
    start = np.zeros((3, 9))
    clean = relighting.find_light(image, skin, tiny_model, face, start)
    doubted = relighting.find_light(marked, skin, tiny_model, face, start)
    trusted = np.where(marked.min(-1, keepdims=True) >= 1.0, 0.0, skin)
    ignored = relighting.find_light(marked, trusted, tiny_model, face, start)
    monkeypatch.setattr(relighting, "OUTLIER", np.inf)
    trusting = relighting.find_light(marked, skin, tiny_model, face, start)
    lights = (clean, ignored, doubted, trusting)
    errors = [shade_error(tiny_model, face, light, truth).max() for light in lights]
    assert errors[0] < 0.1
    assert errors[1] < errors[0] + 0.05
    assert errors[2] < errors[0] + 0.15
    assert errors[3] > errors[0] + 0.3


def test_a_face_that_the_photo_does_not_show_keeps_its_light(tiny_model, lit):
    face, image, truth = lit
    away = face._replace(pixels=face.pixels + 1000)
    np.testing.assert_array_equal(relighting.find_light(image, np.ones((224, 224, 1)), tiny_model, away, truth), truth)
    unknown = relighting.find_light(image, np.zeros((224, 224, 1)), tiny_model, face, truth)
    np.testing.assert_allclose(unknown, truth, atol=1e-5)
