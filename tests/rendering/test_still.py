"""The renderer in NumPy against the one that trains, and against truths."""

import numpy as np
import pytest
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.rendering import renderer, still

LAYOUT = morphable_model.load(level=0).layout()


def _face(level, yaw):
    model = morphable_model.load(level=level)
    drawn = LAYOUT.split(np.random.default_rng(3).normal(size=(1, LAYOUT.total)).astype(np.float32))
    turned = drawn._replace(angles=np.float32([[0.1, yaw, 0.2]]), translation=np.float32([[0.1, -0.1, 0.3]]))
    return faces.reconstruct(model, turned), model.triangles


@pytest.mark.parametrize(
    ("level", "yaw", "size", "cull"), [(0, 0.0, 224, True), (1, 1.1, 300, True), (1, -0.6, 64, False)]
)
def test_every_pixel_sees_what_the_differentiable_renderer_sees(level, yaw, size, cull):
    face, triangles = _face(level, yaw)
    pixels, depth = face.pixels * np.float32(size / 224), face.depth
    wanted = renderer.rasterize(pixels, depth, triangles, size, size, cull=cull)
    found = still.rasterize(pixels[0], depth[0], triangles, size, size, cull)
    np.testing.assert_array_equal(found.triangle, ops.convert_to_numpy(wanted.triangle)[0])
    np.testing.assert_allclose(found.barycentrics, ops.convert_to_numpy(wanted.barycentrics)[0], atol=1e-6)
    image = ops.convert_to_numpy(renderer.interpolate(wanted, face.colors, triangles))[0]
    np.testing.assert_allclose(still.interpolate(found, face.colors[0], triangles), image, atol=1e-5)


def test_the_nearer_triangle_hides_the_other_and_of_equals_the_first_is_seen():
    pixels = np.float32([[1, 1], [1, 9], [9, 1]])
    pixels, triangles = np.concatenate([pixels] * 3), np.arange(9).reshape(3, 3)
    depth = np.float32([5, 5, 5, 4, 4, 4, 4, 4, 4])
    seen = still.rasterize(pixels, depth, triangles, 10, 10)
    assert set(np.unique(seen.triangle)) == {-1, 1}
    inside = seen.triangle >= 0
    assert inside[2, 2]
    assert not inside[8, 8]
    np.testing.assert_allclose(seen.barycentrics[inside].sum(-1), 1, atol=1e-6)
    assert not seen.barycentrics[~inside].any()


@pytest.mark.parametrize("cull", [True, False])
def test_triangles_tested_together_are_seen_as_those_tested_alone(cull, monkeypatch):
    generator = np.random.default_rng(0)
    centre, depth = generator.integers(-5, 105, (3000, 1, 2)), generator.integers(4, 7, 9000)
    pixels = (centre + generator.normal(size=(3000, 3, 2)) * generator.choice([1, 3, 30], (3000, 1, 1))).reshape(-1, 2)
    pixels[::7] = np.round(pixels[::7]) + 0.5  # on centres
    triangles = np.concatenate([np.arange(9000).reshape(-1, 3)] * 2)  # each twice: the first is seen
    together = still.rasterize(pixels, depth, triangles, 90, 100, cull)
    monkeypatch.setattr(still, "ALIKE", len(triangles) + 1)
    alone = still.rasterize(pixels, depth, triangles, 90, 100, cull)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert together.triangle.max() < 3000
    assert (together.triangle >= 0).mean() > 0.9


def test_interpolation_is_perspective_correct():
    """Halfway along an edge in the picture the nearer end counts more: weights go with 1 / depth."""
    pixels = np.float32([[0, 0], [0, 20], [20, 0]])
    depth = np.float32([1, 1, 4])
    seen = still.rasterize(pixels, depth, np.array([[0, 1, 2]]), 20, 20)
    value = still.interpolate(seen, np.float32([[0], [0], [1]]), np.array([[0, 1, 2]]))
    x, y = 10.5, 0.5
    near, far = (20 - x) / 20, (x / 20) / 4
    assert value[0, 10, 0] == pytest.approx(far / (near + far), abs=1e-5), (x, y)


def test_what_is_behind_the_camera_or_not_finite_is_not_drawn():
    pixels = np.float32([[1, 1], [1, 9], [9, 1]])
    for spoiled in ([0.0, 5, 5], [np.nan, 5, 5], [np.inf, 5, 5], [-1, 5, 5]):
        assert (still.rasterize(pixels, np.float32(spoiled), np.array([[0, 1, 2]]), 10, 10).triangle == -1).all()
    far = pixels * np.float32(1e7)
    assert (still.rasterize(far, np.float32([5, 5, 5]), np.array([[0, 1, 2]]), 10, 10).triangle == -1).all()


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (5000, 5000)])
def test_an_image_must_have_a_size(size):
    with pytest.raises(ValueError, match="Received: height="):
        still.rasterize(np.zeros((3, 2)), np.ones(3), np.array([[0, 1, 2]]), *size)
