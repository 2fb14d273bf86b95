"""Whole renderings: of a model, in a graph, a SavedModel, on two devices and on JAX."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.rendering.scenes import FRONT, rasterize, soup
from tf_deep3d import face as faces
from tf_deep3d.face import Face
from tf_deep3d.face.camera import Camera
from tf_deep3d.rendering import renderer


def test_nothing_to_see():
    points = tf.constant(np.full((2, 3, 2), np.nan, np.float32))
    with tf.GradientTape() as tape:
        tape.watch(points)
        face = Face(None, None, None, tf.ones((2, 3, 3)), points, tf.ones((2, 3)), None)
        rendering = renderer.render(face, FRONT, Camera(5, 4), normals=False)
        total = tf.reduce_sum(rendering.image) + tf.reduce_sum(rendering.depth)
    assert (rendering.fragments.triangle.numpy() == -1).all()
    assert rendering.image.shape == (2, 4, 5, 3)
    assert not rendering.image.numpy().any()
    assert not rendering.coverage.numpy().any()
    assert not tape.gradient(total, points).numpy().any()
    assert (rasterize(np.zeros((3, 2)), [1, 1, 1], FRONT, 4, 5)[0] == -1).all()  # no area


def test_render_of_the_model(tiny_model):
    camera = Camera.for_size(64)
    coefficients = tiny_model.layout().zeros(2)
    coefficients = coefficients._replace(angles=np.array([[0, 0, 0], [0.1, 0.4, 0]], np.float32))
    face = faces.reconstruct(tiny_model, coefficients, camera)
    inner = renderer.triangles_within(tiny_model.regions["inner_face"], tiny_model.triangles)
    rendering = renderer.render(face, tiny_model.triangles, camera, inner, normals=True)
    fragments = renderer.rasterize(face.pixels, face.depth, tiny_model.triangles, 64, 64)
    seen = ops.convert_to_numpy(fragments.triangle)
    assert np.array_equal(seen, ops.convert_to_numpy(rendering.fragments.triangle))
    assert 0.1 < (seen >= 0).mean() < 0.9
    assert np.array_equal(ops.convert_to_numpy(rendering.coverage)[..., 0], seen >= 0)
    expected = (seen >= 0) & inner[seen]
    assert 0 < expected.sum() < (seen >= 0).sum()
    assert np.array_equal(ops.convert_to_numpy(rendering.inner_face)[..., 0], expected)
    for values, attributes in ((rendering.image, face.colors), (rendering.normals, face.normals)):
        in_steps = ops.convert_to_numpy(renderer.interpolate(fragments, attributes, tiny_model.triangles))
        np.testing.assert_allclose(ops.convert_to_numpy(values), in_steps, atol=2e-6)
        assert np.abs(in_steps).max() > 0.1
    background = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    composite = ops.convert_to_numpy(renderer.composite(rendering, background))
    image = ops.convert_to_numpy(rendering.image)
    assert np.array_equal(composite, np.where(seen[..., None] >= 0, image, background))
    assert renderer.render(face, tiny_model.triangles, camera).normals is None


def test_graph_of_unknown_batch_and_saved_model(tmp_path):
    module, triangles = tf.Module(), soup(5, 1, 80, 20, 30, 8)[2]

    @tf.function(
        input_signature=[tf.TensorSpec((None, 240, 2)), tf.TensorSpec((None, 240)), tf.TensorSpec((None, 240, 3))]
    )
    def render(pixels, depth, colors):
        face = Face(None, None, None, colors, pixels, depth, None)
        with tf.GradientTape() as tape:
            tape.watch([pixels, colors])
            rendering = renderer.render(face, triangles, Camera(30, 20))
            total = tf.reduce_sum(rendering.image**2)
        by_pixels, by_colors = tape.gradient(total, [pixels, colors])
        return {
            "image": rendering.image,
            "triangle": rendering.fragments.triangle,
            "by": by_pixels,
            "colors": by_colors,
        }

    module.render = render
    tf.saved_model.save(module, tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    for batch in (1, 3):
        pixels, depth, _ = soup(batch, batch, 80, 20, 30, 8)
        colors = np.random.default_rng(0).random((batch, 240, 3), np.float32)
        eager = render.python_function(*map(tf.constant, (pixels, depth, colors)))
        assert np.abs(eager["by"]).max() > 0.1
        # The barycentrics of a pixel sum to 1, so all of its gradient arrives at the colours.
        np.testing.assert_allclose(np.sum(eager["colors"], axis=1), 2 * np.sum(eager["image"], axis=(1, 2)), rtol=1e-4)
        for result in (render(pixels, depth, colors), loaded.render(pixels, depth, colors)):
            assert np.array_equal(result["triangle"], eager["triangle"])
            np.testing.assert_allclose(result["image"], eager["image"], atol=1e-6)
            for name in ("by", "colors"):
                close = 1e-4 * np.abs(eager[name]).max()
                np.testing.assert_allclose(result[name], eager[name], atol=close, err_msg=name)


def run(script, tmp_path, **environment):
    """Runs Python text from the root of the repository; returns the arrays it saved."""
    path = tmp_path / "arrays.npz"
    command = [sys.executable, "-c", script, str(path)]
    result = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return np.load(path, allow_pickle=False)


STRATEGY = """
import sys
import numpy as np
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.rendering.scenes import soup
from tests.rendering.test_renderer import training_step
pixels, depth, triangles = soup(3, 4, 80, 20, 30, 8)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
@tf.function(autograph=False)
def both(pixels, depth):
    return strategy.run(training_step, (pixels, depth, triangles))
split = [strategy.experimental_distribute_values_from_function(
    lambda context, a=a: tf.constant(a[2 * context.replica_id_in_sync_group :][:2])) for a in (pixels, depth)]
found = [tf.concat(strategy.experimental_local_results(values), 0).numpy() for values in both(*split)]
np.savez(sys.argv[1], *found, replicas=strategy.num_replicas_in_sync)
"""


def training_step(pixels, depth, triangles):
    """An image and the gradient of its squares."""
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        colors = tf.stack([tf.sin(pixels[..., 0]), tf.cos(pixels[..., 1]), depth / 10], axis=-1)
        rendering = renderer.render(Face(None, None, None, colors, pixels, depth, None), triangles, Camera(30, 20))
        total = tf.reduce_sum(rendering.image**2)
    return rendering.image, tape.gradient(total, pixels)


def test_mirrored_strategy_on_two_devices(tmp_path):
    found = run(STRATEGY, tmp_path, CUDA_VISIBLE_DEVICES="-1")
    pixels, depth, triangles = soup(3, 4, 80, 20, 30, 8)
    image, gradient = (value.numpy() for value in training_step(tf.constant(pixels), tf.constant(depth), triangles))
    assert found["replicas"] == 2
    assert np.abs(image).max() > 0.5
    np.testing.assert_allclose(found["arr_0"], image, atol=1e-6)
    np.testing.assert_allclose(found["arr_1"], gradient, atol=1e-5 * np.abs(gradient).max())


JAX = """
import sys
import jax
import numpy as np
from tf_deep3d.rendering import renderer
from tf_deep3d.face.camera import Camera
from tf_deep3d.face import Face
data = np.load(sys.argv[1])
triangles, weights = data["triangles"], data["weights"]
def total(pixels, depth, colors):
    rendering = renderer.render(Face(None, None, None, colors, pixels, depth, None), triangles, Camera(30, 20))
    small = renderer.rasterize(pixels, depth, triangles, 20, 30, budget=1800)
    steps = renderer.interpolate(rendering.fragments, colors, triangles)
    rest = small.complete, small.triangle, steps
    return (rendering.image * weights).sum(), ((*rendering.fragments, rendering.image, rendering.depth), rest)
inputs = data["pixels"], data["depth"], data["colors"]
(_, (values, rest)), gradients = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*inputs)
np.savez(sys.argv[1], *values, *gradients, *rest)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax, a test requirement, is not installed")
def test_jax_agrees(tmp_path):
    pixels, depth, triangles = soup(2, 3, 60, 20, 30, 9)
    pixels[1] += 100  # nothing to see
    pixels[2] *= 3  # larger triangles
    pixels[0, :2] = np.nan
    generator = np.random.default_rng(0)
    colors = generator.random((3, 180, 3), np.float32)
    weights = generator.normal(size=(3, 20, 30, 3)).astype(np.float32)
    path = tmp_path / "arrays.npz"
    np.savez(path, pixels=pixels, depth=depth, colors=colors, triangles=triangles, weights=weights)
    found = run(JAX, tmp_path, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    inputs = [tf.constant(array) for array in (pixels, depth, colors)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        rendering = renderer.render(Face(None, None, None, inputs[2], *inputs[:2], None), triangles, Camera(30, 20))
        total = tf.reduce_sum(rendering.image * weights)
    expected = [*rendering.fragments, rendering.image, rendering.depth, *tape.gradient(total, inputs)]
    assert np.array_equal(found["arr_0"], expected[0])
    assert (found["arr_0"] >= 0).mean(axis=(1, 2))[[0, 2]].min() > 0.3
    assert found["arr_2"].all()
    for place in (1, 3, 4, 5, 6, 7):
        truth = expected[place].numpy()
        np.testing.assert_allclose(found[f"arr_{place}"], truth, atol=2e-4 * np.abs(truth).max(), err_msg=str(place))
    np.testing.assert_allclose(found["arr_10"], found["arr_3"], atol=1e-6)
    assert found["arr_8"].tolist() == [True, True, False]
    assert (found["arr_9"][2] == -1).all()
    assert np.array_equal(found["arr_9"][:2], found["arr_0"][:2])
