"""The clay view against Lambert's law and a plate whose picture is known."""

import numpy as np
import pytest

from tf_deep3d.face.camera import Camera
from tf_deep3d.rendering import clay

TRIANGLES = np.array([[0, 2, 1], [1, 2, 3]])
TOWARD = np.array(clay.KEY_LIGHT) / np.linalg.norm(clay.KEY_LIGHT)
CAMERA = Camera(40, 30, 100.0, (20.0, 15.0))  # 10 px a dm at the origin


def plate(normal):
    """A square of 1 dm at the origin that faces the camera, with normals of its own."""
    vertices = np.array([[-0.5, 0.5, 0], [0.5, 0.5, 0], [-0.5, -0.5, 0], [0.5, -0.5, 0]])
    return vertices, TRIANGLES, np.tile(normal, (4, 1))


def test_light_follows_lamberts_law():
    across = np.cross(TOWARD, [0, 1, 0])
    across /= np.linalg.norm(across)
    slanted = 0.6 * TOWARD + 0.8 * across
    found = clay.light(np.stack([TOWARD, slanted, across, -slanted]))
    expected = [1.0, clay.AMBIENT + 0.6 * (1 - clay.AMBIENT), clay.AMBIENT, clay.AMBIENT]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-6)
    both = clay.light(np.stack([slanted, -slanted]), two_sided=True)
    np.testing.assert_allclose(both[:, 0], [expected[1]] * 2, atol=1e-6)


@pytest.mark.parametrize("colors", [None, np.tile([0.9, 0.5, 0.1], (4, 1))])
def test_a_plate_stands_on_white_in_its_light(colors):
    image = clay.picture(*plate(TOWARD), colors, CAMERA)
    expected = np.full((30, 40, 3), 255)
    expected[10:20, 15:25] = np.rint(255 * (clay.COLOR if colors is None else colors[0]) * np.ones(3))
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), expected, atol=1)


def test_what_turns_away_from_the_lamp_is_darker():
    bright, dark = (clay.picture(*plate(normal), camera=CAMERA)[15, 20, 0] for normal in (TOWARD, -TOWARD))
    assert dark == pytest.approx(clay.AMBIENT * bright, abs=1)


def test_the_usual_camera_sees_a_head():
    vertices, triangles, normals = plate(TOWARD)
    image = clay.picture(vertices * 2.6, triangles, normals)
    assert image.shape == (clay.SIZE, clay.SIZE, 3)
    seen = (image < 255).all(-1)
    assert seen.any(0).sum() == pytest.approx(2.6 * clay.SIZE * 4.2 / 12, abs=2)
    assert not seen[[0, -1]].any()
    assert not seen[:, [0, -1]].any()
    small = clay.picture(vertices * 2.6, triangles, normals, camera=clay.frontal(64))
    assert (small < 255).all(-1).mean() == pytest.approx(seen.mean(), abs=0.02)
