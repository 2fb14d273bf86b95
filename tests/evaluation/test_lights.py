"""Light of named surroundings, against what is known by hand."""

import numpy as np
import pytest

from tf_deep3d.evaluation import lights
from tf_deep3d.evaluation.painting import divide
from tf_deep3d.face import geometry
from tf_deep3d.face.lighting import LUMINANCE

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
    found = lights.transport(vertices, triangles, normals)
    colors = np.full(vertices.shape, albedo)
    return lights.shine(around, found, rotation, vertices @ rotation.T, normals @ rotation.T, colors, EYE)


def test_a_ball_has_nothing_in_the_way(ball):
    vertices, triangles, normals = ball
    found = lights.transport(vertices, triangles, normals)
    cosine = normals @ found.directions.T
    clear = np.abs(cosine) > 0.25  # at the rim the grid's cells decide
    np.testing.assert_array_equal(found.open[clear], cosine[clear] > 0)


def test_even_light_shows_no_shape(ball, monkeypatch):
    monkeypatch.setattr(lights, "GLOSS", 0.0)
    colors = shone(EVEN, ball)
    assert colors.std() / colors.mean() < 0.02


def test_a_plate_shades_what_lies_behind_it():
    """A small plate before a large one, both facing +z: light from the front does not reach the large one's middle."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    large, corners = divide(square, np.array([[0, 1, 2], [0, 2, 3]]), 5)
    small = 0.3 * large + [0, 0, 0.5]
    vertices, triangles = np.concatenate([large, small]), np.concatenate([corners, corners + len(large)])
    normals = np.tile([0, 0, 1.0], (len(vertices), 1))
    found = lights.transport(vertices, triangles, normals)
    ahead = found.open[:, found.directions[:, 2].argmax()]
    size = np.abs(large[:, :2]).max(1)
    assert not ahead[: len(large)][size < 0.25].any()
    assert ahead[: len(large)][size > 0.4].all()
    assert ahead[len(large) :].all()
    low = found.directions[:, 2] < 0
    assert not found.open[:, low].any()


def test_a_lamp_lights_its_side_and_stays_when_the_head_turns(ball):
    vertices = ball[0]
    around = lights.Surroundings((0.1, 0.1, 0.1), (0.1, 0.1, 0.1), (lights.Lamp(60, 0, 15, 10),))
    for yaw in (0, 50):
        rotation = geometry.rotation_matrix(np.radians([[0, yaw, 0.0]]))[0]
        right = (vertices @ rotation.T)[:, 0]
        colors = shone(around, ball, rotation)[:, 0]
        assert colors[right > 0.6].mean() > 3 * colors[right < -0.6].mean()


@pytest.mark.parametrize("name", lights.LIGHTS)
def test_skin_is_exposed_by_its_tone(ball, name):
    """Twice as bright skin is shown 2^0.6 times as bright, as long as little is near white."""
    front = ball[2][:, 2] > 0.5
    dark, bright = (shone(lights.LIGHTS[name], ball, albedo=tone) for tone in (0.1, 0.2))
    ratio = (bright[front] @ LUMINANCE).mean() / (dark[front] @ LUMINANCE).mean()
    assert ratio == pytest.approx(2**lights.ADAPTED, rel=0.05)
    assert 0 <= dark.min() <= bright.max() < 1
