"""Visibility against analytic truths, a slow rasteriser and bad input."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests import oracles
from tests.rendering.scenes import FRONT, rasterize, soup, sphere
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.rendering import renderer


def test_footprint_of_a_known_triangle():
    seen, barycentrics, complete = rasterize([[1, 1], [1, 5.9], [5.9, 1]], [10, 10, 10], FRONT, 8, 7)
    rows, columns = np.mgrid[:8, :7]
    expected = (rows >= 1) & (columns >= 1) & (rows + columns + 1 < 6.9)
    assert np.array_equal(seen, np.where(expected, 0, -1))
    assert expected.sum() == 10
    weights = np.stack([rows, rows - 0.5, columns - 0.5], axis=-1) / 4.9
    weights[..., 0] = 1 - weights[..., 1] - weights[..., 2]
    np.testing.assert_allclose(barycentrics, np.where(expected[..., None], weights, 0), atol=1e-6)
    assert complete


def test_vertex_on_the_optical_axis_lands_where_it_projects():
    camera = Camera(9, 7, 30.0, (4.5, 3.5))
    vertices = np.array([[0, 0, 0.2], [0.9, 0, 0], [0, 0.9, 0], [-0.9, 0, 0], [0, -0.9, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]], np.int32)
    pixels, depth = to_pixels(camera, vertices[None])
    assert np.array_equal(pixels[0, 0], [4.5, 3.5])
    seen, barycentrics, _ = rasterize(pixels[0], depth[0], triangles, 7, 9)
    assert np.array_equal(barycentrics[3, 4], [1, 0, 0])  # the apex: the centre of row 3, column 4
    covered = seen >= 0
    assert np.array_equal(covered, covered[::-1])
    assert np.array_equal(covered, covered[:, ::-1])
    assert seen[2, 5] == 0  # up and right in the world is up and right in the picture


@pytest.mark.parametrize(
    ("height", "width", "count", "size", "cull"),
    [
        (24, 31, 60, 12, True),
        (40, 17, 200, 3, True),
        (33, 33, 50, 60, False),
        (5, 5, 100, 1, True),
        (48, 64, 90, 20, False),
    ],
)
def test_agrees_with_the_slow_rasteriser(height, width, count, size, cull):
    pixels, depth, triangles = soup(count, 2, count, height, width, size)
    attributes = np.random.default_rng(0).random((2, depth.shape[1], 4), np.float32)
    fragments = renderer.rasterize(pixels, depth, triangles, height, width, cull=cull)
    values = ops.convert_to_numpy(renderer.interpolate(fragments, attributes, triangles))
    for b in range(2):
        seen, barycentrics, _, margin = oracles.rasterize(pixels[b], depth[b], triangles, height, width, cull)
        clear = margin > 1e-5
        assert clear.mean() > 0.99
        assert (seen >= 0).mean() > 0.3
        assert np.array_equal(ops.convert_to_numpy(fragments.triangle)[b][clear], seen[clear])
        np.testing.assert_allclose(
            ops.convert_to_numpy(fragments.barycentrics)[b][clear], barycentrics[clear], atol=1e-5
        )
        expected = oracles.interpolate(seen, barycentrics, attributes[b], triangles)
        np.testing.assert_allclose(values[b][clear], expected[clear], atol=1e-5)


def test_the_nearest_triangle_is_seen_and_the_first_of_equals():
    corners = np.array([[1, 1], [1, 15], [15, 1]], np.float32)
    pixels, triangles = np.concatenate([corners] * 3), np.arange(9, dtype=np.int32).reshape(3, 3)

    def seen(*depths):
        return set(np.unique(rasterize(pixels, np.repeat(depths, 3), triangles, 16, 16)[0])) - {-1}

    assert seen(5, 4, 6) == {1}
    assert seen(5, 4.0001, 4) == {2}
    assert seen(5, 4, 4) == {1}
    assert seen(4, 4, 4) == {0}


def test_back_faces():
    back = FRONT[:, ::-1]
    pixels, depth = [[1, 1], [1, 6], [6, 1]], [8, 9, 10]
    assert (rasterize(pixels, depth, back, 8, 8)[0] == -1).all()
    seen, barycentrics, _ = rasterize(pixels, depth, back, 8, 8, cull=False)
    front = rasterize(pixels, depth, FRONT, 8, 8)
    assert np.array_equal(seen, front[0])
    np.testing.assert_allclose(barycentrics, front[1][..., ::-1], atol=1e-6)


def test_a_closed_sphere_has_no_holes():
    generator = np.random.default_rng(3)
    vertices, triangles = sphere(64, 40)
    camera = Camera(90, 90, 330.0, (45.0, 45.0))
    turns = np.linalg.qr(generator.normal(size=(4, 3, 3)))[0]
    turns *= np.linalg.det(turns)[:, None, None]  # no mirrors
    pixels, depth = to_pixels(camera, vertices @ turns)
    both = renderer.rasterize(pixels, depth, triangles, 90, 90, cull=False)
    front = renderer.rasterize(pixels, depth, triangles, 90, 90)
    rows, columns = np.mgrid[:90, :90] + 0.5
    radius = np.hypot(rows - 45, columns - 45)
    silhouette = 330 / np.sqrt(99)  # of the unit sphere at distance 10: tan(asin(1 / 10))
    for seen in (*ops.convert_to_numpy(both.triangle), *ops.convert_to_numpy(front.triangle)):
        assert (seen[radius < silhouette * 0.995] >= 0).all()
        assert (seen[radius > silhouette] == -1).all()


@pytest.mark.parametrize("shift", [0.5, 0.0, 0.123])
def test_neighbours_leave_no_pixel_out(shift):
    """A grid whose vertices and edges pass exactly through pixel centres (shift 0.5), distorted otherwise."""
    index = np.arange(21 * 21).reshape(21, 21)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, d, c), (a, c, b))]).astype(np.int32)
    y, x = np.mgrid[:21, :21].reshape(2, -1) + shift
    pixels = np.stack([x, y], axis=-1) + (shift != 0.5) * np.random.default_rng(0).uniform(-0.2, 0.2, (441, 2))
    seen, _, _ = rasterize(pixels, np.full(441, 10.0), triangles, 22, 22)
    expected = np.zeros((22, 22), bool)
    expected[:20, :20] = True
    assert np.array_equal(seen >= 0, expected)


def test_a_batch_equals_its_images():
    pixels, depth, triangles = soup(5, 3, 80, 20, 30, 8)
    together = renderer.rasterize(pixels, depth, triangles, 20, 30)
    for b in range(3):
        alone = rasterize(pixels[b], depth[b], triangles, 20, 30)
        for one, all_ in zip(alone, together, strict=True):
            assert np.array_equal(one, ops.convert_to_numpy(all_)[b])


def test_partly_outside_the_image_is_clipped():
    corners = np.array([[-300, -40], [4, 500], [400, -7]], np.float32)
    inner = rasterize(corners, [7, 9, 11], FRONT, 6, 9)
    outer = rasterize(corners + np.float32([20, 30]), [7, 9, 11], FRONT, 66, 69)
    assert (inner[0] == 0).all()
    assert np.array_equal(inner[0], outer[0][30:36, 20:29])
    np.testing.assert_allclose(inner[1], outer[1][30:36, 20:29], atol=1e-6)
    assert (rasterize(corners + np.float32([900, 0]), [7, 9, 11], FRONT, 6, 9)[0] == -1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -3.0, 0.0, 0.005])
def test_bad_depth_removes_its_triangle_only(bad):
    pixels = tf.constant([[[1.0, 1], [1, 7], [7, 1], [0, 0], [0, 8], [8, 0]]])
    depth = tf.constant([[10.0, 10, 10, 9, bad, 9]])
    triangles = np.array([[3, 4, 5], [0, 1, 2]], np.int32)
    with tf.GradientTape() as tape:
        tape.watch([pixels, depth])
        fragments = renderer.rasterize(pixels, depth, triangles, 8, 8)
        total = tf.reduce_sum(renderer.interpolate(fragments, tf.random.normal((1, 6, 2), seed=1), triangles))
    assert set(np.unique(fragments.triangle)) == {-1, 1}
    assert np.isfinite(fragments.barycentrics).all()
    for gradient in tape.gradient(total, [pixels, depth]):
        assert np.isfinite(gradient).all()
        assert not np.any(gradient[0, 3:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e7])
def test_bad_pixels_remove_their_triangle_only(bad):
    pixels = [[1, 1], [1, 7], [7, 1], [0, 0], [0, bad], [8, 0]]
    seen, barycentrics, _ = rasterize(pixels, [10, 10, 10, 9, 9, 9], np.array([[3, 4, 5], [0, 1, 2]]), 8, 8)
    assert set(np.unique(seen)) == {-1, 1}
    assert np.isfinite(barycentrics).all()


def test_too_much_work_empties_that_image_only():
    """Of three images, the second would need 200 triangles of 64 x 64 px each."""
    pixels, depth, triangles = soup(7, 3, 200, 64, 64, 2)
    pixels[1] = np.tile([[-900, -900], [-900, 2000], [2000, -900]], (200, 1))
    depth[1] = 10
    all_ = renderer.rasterize(pixels, depth, triangles, 64, 64, budget=64 * 64 * 201)
    bounded = renderer.rasterize(pixels, depth, triangles, 64, 64, budget=64 * 64 * 100)
    assert ops.convert_to_numpy(all_.complete).tolist() == [True, True, True]
    assert (ops.convert_to_numpy(all_.triangle)[1] == 0).all()
    assert ops.convert_to_numpy(bounded.complete).tolist() == [True, False, True]
    expected = ops.convert_to_numpy(all_.triangle).copy()
    expected[1] = -1
    assert np.array_equal(ops.convert_to_numpy(bounded.triangle), expected)
    assert not ops.convert_to_numpy(bounded.barycentrics)[1].any()
    huge = np.tile(pixels[1:2], (1, 100, 1))
    many = renderer.rasterize(huge, np.full((1, 60000), 10.0), np.arange(60000).reshape(-1, 3), 512, 512)
    assert not ops.convert_to_numpy(many.complete)[0]  # 5 billion candidates by default are not tried


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (4097, 4096)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="Received: height="):
        rasterize(np.zeros((3, 2)), np.ones(3), FRONT, *size)
