"""Barycentrics, attributes and their gradients against analytic truths and central differences."""

import numpy as np
import tensorflow as tf
from keras import ops

from tests import oracles
from tests.rendering.scenes import FRONT, gradient_case
from tf_deep3d.face import Face
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.rendering import interpolation, renderer


def test_positions_are_those_where_the_ray_meets_the_plane():
    camera = Camera(32, 20, 40.0, (16.0, 10.0))
    vertices = np.array([[-3, -2, -4], [3, -1, 5], [0, 2, 1]], np.float32)
    pixels, depth = to_pixels(camera, vertices[None])
    face = Face(None, None, None, vertices[None], pixels, depth, None)
    rendering = renderer.render(face, FRONT, camera)
    covered = ops.convert_to_numpy(rendering.coverage)[0, ..., 0] > 0
    assert covered.sum() > 50
    rows, columns = np.nonzero(covered)
    rays = np.stack([(columns + 0.5 - 16) / 40, (10 - rows - 0.5) / 40, -np.ones(len(rows))], axis=-1)
    normal = np.cross(vertices[1] - vertices[0], vertices[2] - vertices[0])
    distance = ((vertices[0] - [0, 0, 10]) @ normal) / (rays @ normal)
    meeting = [0, 0, 10] + distance[:, None] * rays
    np.testing.assert_allclose(ops.convert_to_numpy(rendering.image)[0][covered], meeting, atol=2e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(rendering.depth)[0, ..., 0][covered], distance, rtol=1e-6)


def test_gradients_agree_with_central_differences():
    pixels, depth, attributes, triangles, seen, weights = gradient_case()
    inputs = [tf.constant(array[None]) for array in (pixels, depth, attributes)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        fragments = renderer.rasterize(inputs[0], inputs[1], triangles, 12, 13)
        values = renderer.interpolate(fragments, inputs[2], triangles)
        in_steps = tf.reduce_sum(values * weights.astype(np.float32))
        face = Face(None, None, None, tf.concat([inputs[2], inputs[2][..., :1]], -1), inputs[0], inputs[1], None)
        rendering = renderer.render(face, triangles, Camera(13, 12))
        at_once = tf.reduce_sum(rendering.image[..., :2] * weights.astype(np.float32))
        of_depth = tf.reduce_sum(rendering.depth * weights[..., :1].astype(np.float32))
    arrays = [array.astype(np.float64) for array in (pixels, depth, attributes)]

    def truth(place, channels=2):
        def total(array):
            given = [*arrays[:place], array, *arrays[place + 1 :]]
            extra = given[1][:, None] if channels == 1 else given[2]
            return (oracles.attributes_at(seen, given[0], given[1], extra, triangles) * weights[..., :channels]).sum()

        return oracles.central_differences(total, arrays[place])

    for place, name in enumerate(("pixels", "depth", "attributes")):
        expected = truth(place)
        assert np.abs(expected).max() > 0.05
        for value in (in_steps, at_once):
            found = tape.gradient(value, inputs[place])[0].numpy()
            np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max(), err_msg=name)
    for place in (0, 1):
        expected = truth(place, channels=1)
        found = tape.gradient(of_depth, inputs[place])[0].numpy()
        np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_gradient_of_a_sliver_is_exact_but_faded():
    pixels = tf.constant([[[1.0, 3.5], [5.0, 3.5 + 1e-5], [5.0, 3.5 - 1e-5]]])
    attributes = tf.constant([[[0.0], [1.0], [2.0]]])
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        fragments = renderer.rasterize(pixels, tf.fill((1, 3), 10.0), FRONT, 8, 8)
        values = renderer.interpolate(fragments, attributes, FRONT)
        total = tf.reduce_sum(values)
    assert np.array_equal(fragments.triangle[0, 3], [-1, 0, 0, 0, 0, -1, -1, -1])
    np.testing.assert_allclose(values[0, 3, 1:5, 0], 1.5 * (np.arange(1, 5) - 0.5) / 4, rtol=1e-3)
    gradient = tape.gradient(total, pixels)
    assert 0 < np.abs(gradient).max() < 4 * 4 / interpolation.SLIVER  # edges of 4 px, unfaded 5e4 a pixel
