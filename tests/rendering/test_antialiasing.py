import numpy as np

from tf_deep3d.rendering.antialiasing import SUPERSAMPLING, antialiased, averaged


def test_average_is_that_of_each_block():
    image = np.random.default_rng(0).random((6 * SUPERSAMPLING, 5 * SUPERSAMPLING, 3))
    blocks = image.reshape(6, SUPERSAMPLING, 5, SUPERSAMPLING, 3)
    np.testing.assert_allclose(averaged(image), blocks.mean((1, 3)), atol=1e-6)


def test_border_pixels_are_covered_in_part():
    """A plate over half of its first column and all else within it."""
    corners = np.float32([[2.5, 3], [8, 3], [2.5, 7], [8, 7]])
    triangles = np.array([[0, 2, 1], [1, 2, 3]], np.int32)
    attributes = np.tile([0.25, 4.0], (4, 1))
    values, coverage = antialiased(corners, np.full(4, 10.0), triangles, attributes, (12, 9))
    expected = np.zeros((9, 12))
    expected[3:7, 3:8] = 1.0
    expected[3:7, 2] = 0.5
    np.testing.assert_array_equal(coverage[..., 0], expected)
    np.testing.assert_allclose(values, expected[..., None] * [0.25, 4.0], atol=1e-6)
