import numpy as np
import pytest

from tests.texture.photos import CAMERA, SIZE, TRANSFORM, on_texels, paint, posed, take_photo, texture_of
from tf_deep3d.face import geometry
from tf_deep3d.texture.atlas import unwrap
from tf_deep3d.texture.views import DEPTH_BIAS, SIZES, extract_view, texture_size


@pytest.fixture(scope="module")
def atlas(tiny_model):
    return unwrap(tiny_model, SIZE)


@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_colors_are_those_of_the_photo(tiny_model, atlas, yaw):
    face = posed(tiny_model, yaw)
    photo = take_photo(tiny_model, face, paint)
    view = extract_view(photo, tiny_model, face, CAMERA, TRANSFORM, atlas, keep_everything=True)
    truth = paint(on_texels(atlas, tiny_model.mean_shape))
    well, somehow = view.weight > 0.99, view.weight > 0.05
    assert well.mean() > (0.7 if yaw == 0 else 0.45)
    error = abs(view.colors - truth).max(-1)
    assert error[well].mean() < 0.005
    assert error[well].max() < 0.03
    assert error[somehow].max() < 0.06  # no green from beyond the silhouette
    whole = texture_of(photo, tiny_model, face, atlas)
    trusted = whole.weight.reshape(-1)
    assert (trusted <= view.weight).all()
    assert (trusted[well] > 0.99).mean() > 0.9
    np.testing.assert_allclose(whole.image.reshape(-1, 3)[trusted > 0.99], view.colors[trusted > 0.99], atol=0.01)


def test_a_large_photo_is_averaged(tiny_model):
    """Detail finer than a texel becomes its mean, not an arbitrary sample."""
    face = posed(tiny_model, 0.0)
    transform = geometry.Similarity(0.2, 0.0, (0.0, 0.0))
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 2, (1120, 1120, 1)).repeat(3, -1).astype(np.uint8) * 255
    small = unwrap(tiny_model, 64)
    view = extract_view(photo, tiny_model, face, CAMERA, transform, small, keep_everything=True)
    assert view.colors[view.weight > 0.99].std() < 0.1  # a sample of one pixel: 0.5


def first_hits(origin, points, corners):
    """Depth along the rays origin -> points [N, 3] of the nearest of the triangles [T, 3, 3], 1 at the point itself."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    direction = (points - origin)[:, None]
    p = np.cross(direction, ac)
    determinant = np.einsum("ntc,tc->nt", p, ab)
    determinant = np.where(abs(determinant) < 1e-12, np.inf, determinant)
    s = origin - a
    u = np.einsum("ntc,tc->nt", p, s) / determinant
    q = np.cross(s, ab)
    v = np.einsum("ntc,tc->nt", direction.repeat(len(a), 1), q) / determinant
    t = np.einsum("tc,tc->t", ac, q) / determinant
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return np.where(hit, t, np.inf).min(1)


def test_hidden_texels_have_no_weight(tiny_model, atlas):
    face = posed(tiny_model, 0.7)
    photo = take_photo(tiny_model, face, paint)
    view = extract_view(photo, tiny_model, face, CAMERA, TRANSFORM, atlas, keep_everything=True)
    chosen = np.random.default_rng(1).choice(len(atlas.texels), 300, replace=False)
    points = on_texels(atlas, face.vertices[0])[chosen]
    origin = np.array([0, 0, CAMERA.distance])
    gap = (1 - first_hits(origin, points, face.vertices[0][tiny_model.triangles])) * np.linalg.norm(
        points - origin, axis=-1
    )
    hidden = gap > 3 * DEPTH_BIAS
    assert hidden.sum() > 20
    assert view.weight[chosen][hidden].max() == 0
    toward = geometry.normalize(origin - points)
    facing = np.einsum("nc,nc->n", toward, geometry.normalize(on_texels(atlas, face.normals[0])[chosen]))
    # Seen from the front and away from every silhouette and occluder: the photo alone.
    clear = (facing > 0.7) & (abs(points[:, 1]) < 0.6)
    assert clear.sum() > 30
    assert (view.weight[chosen][clear] > 0.99).mean() > 0.9


def test_wrong_inputs_are_named(tiny_model, atlas):
    face = posed(tiny_model, 0.0)
    for photo in (np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"photo must be \[H, W, 3\] uint8\. Received"):
            extract_view(photo, tiny_model, face, CAMERA, TRANSFORM, atlas, keep_everything=True)
    short = face._replace(vertices=face.vertices[:, :9])
    with pytest.raises(ValueError, match=r"one level\. Received"):
        extract_view(np.zeros((9, 9, 3), np.uint8), tiny_model, short, CAMERA, TRANSFORM, atlas)


def test_the_texture_is_as_large_as_the_photo_is_fine(tiny_model):
    """Seen from the front, the unit square of the UV map is 1.6 x 2 dm: 162 x 203 px of the crop at its distance."""
    face = posed(tiny_model, 0.0)
    across = np.ptp(face.pixels[0], axis=0).mean()  # about the px of the crop for 1 of u or v
    for scale in (1.0, 0.2, 0.1, 0.05, 0.01):
        wanted = across / scale
        size = texture_size(tiny_model, face, scale)
        assert size in SIZES
        assert size >= min(0.7 * wanted, SIZES[-1])
        assert size <= max(1.8 * wanted, SIZES[0])
    away = face._replace(pixels=face.pixels[:, :, ::-1])  # every triangle shows its back
    assert texture_size(tiny_model, away, 1.0) == SIZES[0]
