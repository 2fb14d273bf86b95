"""Splitting a mesh, and its texture at the vertices."""

import numpy as np

from tf_deep3d.evaluation import painting

SQUARE = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0.0]], np.float32)
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def test_division_keeps_the_surface():
    fine, corners = painting.divide(SQUARE, HALVES, 2)
    assert corners.shape == (32, 3)
    assert len(fine) == 25
    np.testing.assert_array_equal(fine[:4], SQUARE)
    a, b, c = (fine[corners[:, i], :2] for i in range(3))
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    np.testing.assert_allclose(area, 4 / 32)


def test_the_split_vertices_carry_the_texture():
    """A texture of two colours, left and right, on a square: the middle line belongs to the right half."""
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:, 4:] = (200, 100, 50)
    uv = SQUARE[:, :2] / 2
    places, triangles, colors = painting.paint(SQUARE, HALVES, uv, HALVES, texture, 2)
    np.testing.assert_array_equal(colors, np.where(places[:, :1] >= 1, [[200, 100, 50]], 0))
    np.testing.assert_array_equal(triangles, painting.divide(SQUARE, HALVES, 2)[1])


def test_v_points_upwards_and_corners_may_have_places_of_their_own():
    texture = np.array([[[1, 1, 1]], [[9, 9, 9]]], np.uint8)  # above, below
    uv = np.array([[0.5, 0.9], [0.5, 0.1]])
    corners = np.array([[0, 0, 0], [1, 1, 1]])
    apart = np.array([[0, 1, 2], [3, 4, 5]])
    _, _, colors = painting.paint(np.zeros((6, 3)), apart, uv, corners, texture, 0)
    assert colors[:, 0].tolist() == [1, 1, 1, 9, 9, 9]


def test_a_mesh_is_split_until_it_is_fine():
    assert painting.times_for(painting.FINE) == 0
    assert painting.times_for(painting.FINE - 1) == 1
    assert painting.times_for(painting.FINE // 16 - 1) == 3
