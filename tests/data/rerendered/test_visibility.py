"""Visibility of one picture: the renderer's rule, and what follows from geometry."""

import numpy as np
import pytest

from tf_deep3d.data.rerendered import visibility
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.rendering import renderer

SQUARE = np.array([[2, 2], [2, 6], [6, 6], [6, 2]], float)
TWO = np.array([[0, 1, 2], [0, 2, 3]])  # counter-clockwise in the world, where y points up


def test_it_sees_what_the_renderer_sees(tiny_model):
    turned = tiny_model.mean_shape @ np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]], np.float32)
    pixels, depth = to_pixels(Camera(), turned[None])
    place, triangle, weights = visibility.visible(pixels[0], depth[0], tiny_model.triangles, 224)
    theirs = renderer.rasterize(pixels, depth, tiny_model.triangles, 224, 224)
    expected = np.asarray(theirs.triangle)[0].reshape(-1)
    seen = np.full(224 * 224, -1)
    seen[place] = triangle
    assert len(place) > 5_000
    assert (seen != expected).sum() <= 5  # centres on an edge
    same = triangle == expected[place]
    barycentrics = np.asarray(theirs.barycentrics)[0].reshape(-1, 3)[place[same]]
    np.testing.assert_allclose(weights[same], barycentrics, atol=2e-3)


def test_a_square_covers_the_pixels_whose_centres_it_covers():
    place, triangle, weights = visibility.visible(SQUARE, np.full(4, 10.0), TWO, 8)
    rows, columns = np.divmod(place, 8)
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [2, 3, 4, 5]
    assert len(place) == 16
    middle = np.einsum("nk,nkc->nc", weights, SQUARE[TWO[triangle]])
    np.testing.assert_allclose(middle, np.stack([columns, rows], 1) + 0.5, atol=1e-5)


def test_the_nearer_triangle_is_seen_and_a_back_is_not():
    points = np.concatenate([SQUARE, SQUARE])
    depth = np.repeat([10.0, 9.0], 4)
    both = np.concatenate([TWO, TWO + 4])
    assert set(visibility.visible(points, depth, both, 8)[1].tolist()) == {2, 3}
    assert set(visibility.visible(points, depth[::-1], both, 8)[1].tolist()) == {0, 1}
    assert len(visibility.visible(points, depth, both[:, ::-1], 8)[0]) == 0


def test_weights_are_correct_in_perspective():
    """Half way on the picture between depths 1 and 3, a straight line is at a quarter of its length."""
    points = np.array([[0, 0], [0, 4], [4, 0]], float)
    _, _, weights = visibility.visible(points, np.array([1.0, 1.0, 3.0]), np.array([[0, 1, 2]]), 4)
    place = visibility.visible(points, np.array([1.0, 1.0, 3.0]), np.array([[0, 1, 2]]), 4)[0]
    (index,) = np.flatnonzero(place == 1)  # the centre (1.5, 0.5)
    flat = np.array([1 - 0.5, 0.125, 0.375])
    expected = flat / np.array([1, 1, 3]) / (flat / np.array([1, 1, 3])).sum()
    assert weights[index] == pytest.approx(expected, abs=1e-6)


def test_beyond_the_picture_there_is_nothing_to_see():
    assert len(visibility.visible(SQUARE + 100, np.full(4, 10.0), TWO, 8)[0]) == 0
    place, _, _ = visibility.visible(SQUARE - 4, np.full(4, 10.0), TWO, 8)
    assert sorted(place.tolist()) == [0, 1, 8, 9]
