from dataclasses import replace

import numpy as np
import pytest

from tests.texture.photos import SIZE, on_texels
from tf_deep3d.texture.atlas import COARSE, at_texels, on_texture, refined, unwrap


@pytest.fixture(scope="module")
def atlas(tiny_model):
    return unwrap(tiny_model, SIZE)


def test_unwrap_knows_every_texel(tiny_model, atlas):
    # The fixture's UV map is its own grid: texel (row, column) is the point x = 2u - 1, y = 2v - 1.
    assert len(atlas.texels) == SIZE * SIZE
    row, column = np.divmod(atlas.texels, SIZE)
    uv = np.stack([(column + 0.5) / SIZE, 1 - (row + 0.5) / SIZE], -1)
    points = on_texels(atlas, tiny_model.mean_shape)
    np.testing.assert_allclose(points[:, 0], 0.8 * (2 * uv[:, 0] - 1), atol=1e-5)
    np.testing.assert_allclose(points[:, 1], 2 * uv[:, 1] - 1, atol=1e-5)
    np.testing.assert_allclose(atlas.mirror, np.stack([SIZE - column - 0.5, row + 0.5], -1), atol=1e-3)


def test_mirrored_islands_are_unwrapped_too(tiny_model, atlas):
    """A UV map that runs clockwise is covered like any other."""
    flipped = unwrap(replace(tiny_model, uv=tiny_model.uv * [-1, 1] + [1, 0]), SIZE)
    assert len(flipped.texels) == SIZE * SIZE
    points = on_texels(flipped, tiny_model.mean_shape).reshape(SIZE, SIZE, 3)
    there = on_texels(atlas, tiny_model.mean_shape).reshape(SIZE, SIZE, 3)
    np.testing.assert_allclose(points, there[:, ::-1], atol=1e-5)


def test_values_go_to_their_texels_and_vertices_are_interpolated(tiny_model):
    atlas = unwrap(replace(tiny_model, uv=tiny_model.uv * 0.45 + 0.3), 64)
    assert 0.1 < len(atlas.texels) / 64**2 < 0.3
    values = np.random.default_rng(0).random((len(atlas.texels), 2))
    picture = on_texture(atlas, values)
    rows, columns = np.divmod(atlas.texels, 64)
    np.testing.assert_allclose(picture[rows, columns], values, atol=1e-6)
    assert not np.delete(picture.reshape(-1, 2), atlas.texels, axis=0).any()
    uv = at_texels(atlas, tiny_model.mean_shape)
    np.testing.assert_allclose(uv, on_texels(atlas, tiny_model.mean_shape), atol=1e-6)


def test_the_coarse_atlas_is_the_same_surface(tiny_model):
    fine = unwrap(tiny_model, 2 * COARSE)
    assert fine.coarse.size == COARSE
    assert unwrap(tiny_model, COARSE).own_coarse is None
    points = at_texels(fine.coarse, tiny_model.mean_shape)
    np.testing.assert_allclose(refined(fine, points), at_texels(fine, tiny_model.mean_shape), atol=4e-3)
    chosen = np.array([5, 700])
    np.testing.assert_array_equal(refined(fine, points, chosen), refined(fine, points)[chosen])
    with pytest.raises(ValueError, match=r"power of two\. Received: 600"):
        unwrap(tiny_model, 600)
