"""The renderer against analytic truths, a slow rasteriser, central differences, other runtimes and bad input."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests import oracles
from tf_deep3d import face as faces
from tf_deep3d.face import Face
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.rendering import renderer

FRONT = np.array([[0, 1, 2]], np.int32)


def rasterize(pixels, depth, triangles, height, width, **options):
    """`renderer.rasterize` of one image, as NumPy: (triangle, barycentrics, complete)."""
    pixels, depth = np.asarray(pixels, np.float32)[None], np.asarray(depth, np.float32)[None]
    fragments = renderer.rasterize(pixels, depth, triangles, height, width, **options)
    return tuple(ops.convert_to_numpy(array)[0] for array in fragments)


def soup(seed, batch, count, height, width, size):
    """Random triangles, some of them partly outside or behind the camera: pixels, depth, triangles."""
    generator = np.random.default_rng(seed)
    centers = generator.uniform(-0.2, 1.2, (batch, count, 1, 2)) * [width, height]
    pixels = (centers + generator.normal(size=(batch, count, 3, 2)) * size).reshape(batch, -1, 2).astype(np.float32)
    depth = generator.uniform(5, 15, (batch, count * 3)).astype(np.float32)
    depth[generator.random(depth.shape) < 0.02] *= -1
    return pixels, depth, np.arange(3 * count, dtype=np.int32).reshape(count, 3)


def sphere(columns, rows):
    """Unit sphere, closed, triangles counter-clockwise from outside: vertices [V, 3], triangles [T, 3]."""
    polar = np.pi * np.arange(1, rows) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack([np.sin(around), 0 * around, np.cos(around)], axis=-1)
    points = [np.sin(p) * ring + [0, np.cos(p), 0] for p in polar]
    vertices = np.concatenate([*points, [[0, 1, 0], [0, -1, 0]]])
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b = index, np.roll(index, -1, axis=1)
    top, bottom = len(vertices) - 2, len(vertices) - 1
    quads = [np.stack(corners, -1).reshape(-1, 3) for corners in ((a[:-1], a[1:], b[1:]), (a[:-1], b[1:], b[:-1]))]
    caps = [np.stack([a[0], b[0], 0 * a[0] + top], -1), np.stack([b[-1], a[-1], 0 * a[0] + bottom], -1)]
    return vertices, np.concatenate([*quads, *caps]).astype(np.int32)


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


def gradient_case():
    """A small distorted mesh, its visibility, and random weights on interior pixels."""
    generator = np.random.default_rng(1)
    y, x = np.mgrid[:3, :3].reshape(2, -1) * 5.0 + 1.2
    pixels = (np.stack([x, y], axis=-1) + generator.uniform(-0.9, 0.9, (9, 2))).astype(np.float32)
    depth = generator.uniform(6, 12, 9).astype(np.float32)
    index = np.arange(9).reshape(3, 3)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, d, c), (a, c, b))]).astype(np.int32)
    attributes = generator.normal(size=(9, 2)).astype(np.float32)
    seen, _, _, margin = oracles.rasterize(pixels, depth, triangles, 12, 13)
    weights = generator.normal(size=(12, 13, 2)) * ((seen >= 0) & (margin > 1e-2))[..., None]
    assert (weights != 0).any(axis=-1).sum() > 40
    return pixels, depth, attributes, triangles, seen, weights


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
    assert 0 < np.abs(gradient).max() < 4 * 4 / renderer.SLIVER  # edges of 4 px, unfaded 5e4 a pixel


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
        eager = renderer.render(Face(None, None, None, colors, pixels, depth, None), triangles, Camera(30, 20))
        for result in (render(pixels, depth, colors), loaded.render(pixels, depth, colors)):
            assert np.array_equal(result["triangle"], ops.convert_to_numpy(eager.fragments.triangle))
            np.testing.assert_allclose(result["image"], ops.convert_to_numpy(eager.image), atol=1e-6)
            assert np.isfinite(result["by"]).all()
            assert np.abs(result["by"]).max() > 0.1
            assert result["colors"].shape == colors.shape


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
from tests.rendering.test_renderer import soup, training_step
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
