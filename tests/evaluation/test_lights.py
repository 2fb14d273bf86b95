"""Light of named surroundings, against what is known by hand."""

import numpy as np
import pytest

from tf_deep3d.data.rendered import light as lamps
from tf_deep3d.evaluation import lights
from tf_deep3d.evaluation.painting import divide
from tf_deep3d.face import geometry
from tf_deep3d.face.lighting import EXPOSURE, LUMINANCE

EYE = np.array([0, 0, 12.0])
EVEN = lights.Surroundings((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def ball():
    """A ball of 1 dm: (vertices, triangles, normals)."""
    tips = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
    corners = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    vertices, triangles = divide(tips, np.array(corners), 5)
    normals = geometry.normalize(vertices)
    return normals.copy(), triangles, normals


def shone(around, ball, rotation=np.eye(3), albedo=0.4):  # noqa: B008
    vertices, triangles, normals = ball
    found = lamps.see(vertices[None], triangles)
    colors = np.full(vertices.shape, albedo)
    return lights.shine(around, found, rotation, vertices @ rotation.T, normals @ rotation.T, colors, EYE)


def test_even_light_shows_no_shape(ball, monkeypatch):
    monkeypatch.setattr(lights, "GLOSS", 0.0)
    colors = shone(EVEN, ball, albedo=0.5)
    assert colors.std() / colors.mean() < 0.03
    assert colors.mean() == pytest.approx(0.5 * EXPOSURE, rel=0.02)  # skin of that tone needs no compensation


def test_a_lamp_lights_its_side_and_stays_when_the_head_turns(ball):
    vertices = ball[0]
    around = lights.Surroundings((0.1, 0.1, 0.1), (0.1, 0.1, 0.1), (lights.Lamp(60, 0, 15, 10),))
    for yaw in (0, 50):
        rotation = geometry.rotation_matrix(np.radians([[0, yaw, 0.0]]))[0]
        right = (vertices @ rotation.T)[:, 0]
        colors = shone(around, ball, rotation)[:, 0]
        assert colors[right > 0.6].mean() > 2 * colors[right < -0.6].mean()


@pytest.mark.parametrize("name", lights.LIGHTS)
def test_a_camera_hardly_makes_up_for_the_tone(ball, name, monkeypatch):
    """Twice as bright skin is shown nearly twice as bright: 2^0.85 times, before white is near."""
    monkeypatch.setattr(lights, "GLOSS", 0.0)
    front = ball[2][:, 2] > 0.5
    dark, bright = (shone(lights.LIGHTS[name], ball, albedo=tone) for tone in (0.15, 0.3))
    ratio = np.median(bright[front] @ LUMINANCE) / np.median(dark[front] @ LUMINANCE)
    assert ratio == pytest.approx(2 ** (1 - lamps.COMPENSATION), rel=0.02)
    assert 0 <= dark.min() <= bright.max() < 1


def test_skin_has_a_gloss_where_it_mirrors_the_lamp(ball):
    """Black skin shows nothing but its gloss: brightest half way between the lamp and the camera."""
    around = lights.Surroundings((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (lights.Lamp(60, 0, 15, 10),))
    colors = shone(around, ball, albedo=0.0)[:, 0]
    brightest = ball[2][colors > 0.9 * colors.max()].mean(0)
    assert np.degrees(np.arctan2(brightest[0], brightest[2])) == pytest.approx(30, abs=8)
