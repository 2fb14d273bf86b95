"""Distances to a surface against analytic ones and against a search through all triangles."""

import numpy as np
import pytest

from tf_deep3d.evaluation import point_to_surface
from tf_deep3d.evaluation.point_to_surface import surface_distances

TRIANGLE = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0.0]])


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ((0.5, 0.5, 3), 3),  # above the inside
        ((1, -2, 0), 2),  # beside an edge
        ((2, 2, 0), np.sqrt(2)),  # beside the long edge
        ((-3, -4, 0), 5),  # a corner
        ((5, 0, 4), 5),  # another
        ((1, 0, 0), 0),  # on an edge
    ],
)
def test_one_triangle(point, distance):
    assert surface_distances(TRIANGLE, [[0, 1, 2]], [point])[0] == pytest.approx(distance, abs=1e-12)


def test_a_degenerate_triangle_is_a_segment():
    line = np.array([[0, 0, 0], [1, 0, 0], [4, 0, 0.0]])
    np.testing.assert_allclose(surface_distances(line, [[0, 1, 2]], [[3, 1, 0], [6, 0, 0]]), [1, 2])


def test_the_nearest_vertex_may_belong_to_another_triangle():
    """Large and small triangles together, in small blocks, as by a search through all."""
    rng = np.random.default_rng(0)
    large = 40 * rng.normal(size=(20, 3, 3))
    small = 30 * rng.normal(size=(300, 1, 3)) + rng.normal(size=(300, 3, 3))
    vertices = np.concatenate([large, small]).reshape(-1, 3)
    triangles = np.arange(len(vertices)).reshape(-1, 3)
    points = 40 * rng.normal(size=(60, 3))
    everything = point_to_surface._to_triangles(
        np.repeat(points, len(triangles), 0), *(np.tile(vertices[triangles[:, i]], (len(points), 1)) for i in range(3))
    )
    found = surface_distances(vertices, triangles, points, block=50)
    np.testing.assert_allclose(found, everything.reshape(len(points), -1).min(1), rtol=1e-12)


def test_vertices_without_triangles_do_not_count():
    vertices = np.concatenate([TRIANGLE, [[0.5, 0.5, 3]]])
    np.testing.assert_allclose(surface_distances(vertices, [[0, 1, 2]], [[0.5, 0.5, 3]]), [3])
