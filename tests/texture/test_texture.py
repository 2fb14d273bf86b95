from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry
from tf_deep3d.rendering import renderer
from tf_deep3d.texture import texture

SIZE = 256
CAMERA = cameras.Camera()
TRANSFORM = geometry.Similarity(0.4, 0.3, (60.0, -40.0))  # photo px -> crop px
PHOTO_SHAPE = (600, 620)


def posed(model, yaw, **change):
    coefficients = model.layout().zeros(1)
    coefficients.angles[0] = [0.1, yaw, 0.05]
    return faces.reconstruct(model, coefficients._replace(**change), CAMERA)


def paint(points):
    """A smooth colour [..., 3] for every point [..., 3] of the unposed shape."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([0.5 + 0.3 * np.sin(12 * x), 0.5 + 0.3 * np.sin(15 * y), 0.5 + 0.2 * np.sin(9 * (x + y))], -1)


def take_photo(model, face, colors, transform=TRANSFORM, shape=PHOTO_SHAPE):
    """A uint8 photo of the face painted by `colors` [..., 3] -> [..., 3] or [V, 3], over pure green."""
    pixels = transform.inverse().apply(face.pixels).astype(np.float32)
    fragments = renderer.rasterize(pixels, face.depth, model.triangles, *shape)
    values = model.mean_shape if callable(colors) else np.asarray(colors, np.float32)
    picture = np.asarray(renderer.interpolate(fragments, values[None], model.triangles))[0]
    picture = colors(picture) if callable(colors) else picture
    seen = np.asarray(fragments.triangle)[0][..., None] >= 0
    return (np.where(seen, np.clip(picture, 0, 1), [0, 1, 0]) * 255 + 0.5).astype(np.uint8)


@pytest.fixture(scope="module")
def atlas(tiny_model):
    return texture.unwrap(tiny_model, SIZE)


def on_texels(atlas, values):
    return np.einsum("nk,nkc->nc", atlas.weights, values[atlas.corners])


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
    flipped = texture.unwrap(replace(tiny_model, uv=tiny_model.uv * [-1, 1] + [1, 0]), SIZE)
    assert len(flipped.texels) == SIZE * SIZE
    points = on_texels(flipped, tiny_model.mean_shape).reshape(SIZE, SIZE, 3)
    there = on_texels(atlas, tiny_model.mean_shape).reshape(SIZE, SIZE, 3)
    np.testing.assert_allclose(points, there[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_colors_are_those_of_the_photo(tiny_model, atlas, yaw):
    face = posed(tiny_model, yaw)
    photo = take_photo(tiny_model, face, paint)
    view = texture.photograph(photo, tiny_model, face, CAMERA, TRANSFORM, atlas)
    truth = paint(on_texels(atlas, tiny_model.mean_shape))
    well, somehow = view.weight > 0.99, view.weight > 0.05
    assert well.mean() > (0.7 if yaw == 0 else 0.45)
    error = abs(view.colors - truth).max(-1)
    assert error[well].mean() < 0.005
    assert error[well].max() < 0.03
    assert error[somehow].max() < 0.06  # no green from beyond the silhouette
    whole = texture.extract_texture(photo, tiny_model, face, CAMERA, TRANSFORM, SIZE, atlas=atlas)
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
    small = texture.unwrap(tiny_model, 64)
    view = texture.photograph(photo, tiny_model, face, CAMERA, transform, small)
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
    view = texture.photograph(photo, tiny_model, face, CAMERA, TRANSFORM, atlas)
    chosen = np.random.default_rng(1).choice(len(atlas.texels), 300, replace=False)
    points = on_texels(atlas, face.vertices[0])[chosen]
    origin = np.array([0, 0, CAMERA.distance])
    gap = (1 - first_hits(origin, points, face.vertices[0][tiny_model.triangles])) * np.linalg.norm(
        points - origin, axis=-1
    )
    hidden = gap > 3 * texture.DEPTH_BIAS
    assert hidden.sum() > 20
    assert view.weight[chosen][hidden].max() == 0
    toward = geometry.normalize(origin - points)
    facing = np.einsum("nc,nc->n", toward, geometry.normalize(on_texels(atlas, face.normals[0])[chosen]))
    # Seen from the front and away from every silhouette and occluder: the photo alone.
    clear = (facing > 0.7) & (abs(points[:, 1]) < 0.6)
    assert clear.sum() > 30
    assert (view.weight[chosen][clear] > 0.99).mean() > 0.9


@pytest.mark.parametrize("mirror", [True, False])
def test_hidden_parts_continue_the_photo(tiny_model, atlas, mirror):
    """A photo of the albedo under half the light gives half the albedo everywhere, seen or not."""
    face = posed(tiny_model, 0.6)
    grid = face.albedo.reshape(1, 41, 33, 3)
    face = face._replace(albedo=((grid + grid[:, :, ::-1]) / 2).reshape(1, -1, 3))
    albedo = face.albedo[0]
    photo = take_photo(tiny_model, face, 0.5 * albedo)
    whole = texture.extract_texture(photo, tiny_model, face, CAMERA, TRANSFORM, SIZE, mirror, atlas)
    truth = 0.5 * on_texels(atlas, albedo)
    hidden = whole.weight.reshape(-1) == 0
    assert hidden.mean() > 0.1
    error = abs(whole.image.reshape(-1, 3) - truth)
    # The logarithm is taken of albedo + DARKEST: a few hundredths remain.
    assert error.max() < 0.03
    steps = abs(np.diff(whole.image - truth.reshape(whole.image.shape), axis=1)).max(-1)
    assert steps.max() < 0.012  # no seam


def test_the_other_side_of_the_face_is_mirrored(tiny_model, atlas):
    """Detail that no albedo knows appears on the hidden side where it is on the seen side."""
    face = posed(tiny_model, 0.6)

    def freckles(points):
        return np.full((*points.shape[:-1], 3), 0.6) - 0.3 * (np.sin(40 * abs(points[..., :1])) > 0.5)

    photo = take_photo(tiny_model, face, freckles)
    both = [texture.extract_texture(photo, tiny_model, face, CAMERA, TRANSFORM, SIZE, m, atlas) for m in (True, False)]
    hidden = (both[0].weight == 0).reshape(-1)
    inner = abs(on_texels(atlas, tiny_model.mean_shape)[:, 0]) < 0.65
    truth = freckles(on_texels(atlas, tiny_model.mean_shape))[..., 0]
    mirrored, plain = (t.image.reshape(-1, 3)[:, 0] for t in both)
    assert np.corrcoef(mirrored[hidden & inner], truth[hidden & inner])[0, 1] > 0.8
    assert np.corrcoef(plain[hidden & inner], truth[hidden & inner])[0, 1] < 0.5


def test_photos_complete_each_other(tiny_model, atlas):
    """Two sides under different light: the light of the better photo everywhere."""
    sides = [posed(tiny_model, yaw) for yaw in (0.55, -0.6)]
    albedo = sides[0].albedo[0]
    photos = [take_photo(tiny_model, face, gain * albedo) for face, gain in zip(sides, (0.9, 0.5), strict=True)]
    views = [
        texture.photograph(photo, tiny_model, face, CAMERA, TRANSFORM, atlas)
        for photo, face in zip(photos, sides, strict=True)
    ]
    whole = texture.complete(views, albedo, atlas, mirror=False)
    swapped = texture.complete(views[::-1], albedo, atlas, mirror=False)
    np.testing.assert_array_equal(whole.image, swapped.image)
    assert (whole.weight > 0.99).mean() > 0.8
    assert (views[0].weight > 0.99).mean() < 0.75
    assert abs(whole.image.reshape(-1, 3) - 0.9 * on_texels(atlas, albedo)).max() < 0.04


def test_no_background_leaks_into_the_gutters(tiny_model):
    """One colour stays that colour over the whole picture, also outside the islands of the UV map."""
    model = replace(tiny_model, uv=tiny_model.uv * 0.45 + 0.3, mean_albedo=np.full_like(tiny_model.mean_albedo, 0.7))
    face = posed(model, 0.4)
    photo = take_photo(model, face, np.full_like(model.mean_albedo, 0.25))
    whole = texture.extract_texture(photo, model, face, CAMERA, TRANSFORM, 100)
    assert whole.image.shape == (100, 100, 3)
    np.testing.assert_allclose(whole.image, np.full((100, 100, 3), 0.25), atol=0.004)
    assert whole.weight[:20].max() == 0


def test_a_face_cut_by_the_photo(tiny_model, atlas):
    face = posed(tiny_model, 0.0)
    albedo = face.albedo[0]
    transform = geometry.Similarity(0.5)
    photo = take_photo(tiny_model, face, 0.5 * albedo, transform, (448, 448))[:, :224]
    whole = texture.extract_texture(photo, tiny_model, face, CAMERA, transform, SIZE, False, atlas)
    outside = (on_texels(atlas, face.pixels[0]) @ [1, 0] > 112).reshape(SIZE, SIZE)
    assert whole.weight[outside].max() == 0
    assert (whole.weight[~outside] > 0.99).mean() > 0.65
    assert abs(whole.image.reshape(-1, 3) - 0.5 * on_texels(atlas, albedo)).max() < 0.04


def test_what_lies_beside_a_face_fitted_too_wide_is_left_out(tiny_model, atlas):
    """A white collar within the silhouette of the fit, where the surface turns away, does not become skin."""
    face = posed(tiny_model, 0.4)
    albedo = np.full_like(tiny_model.mean_albedo, 0.4)
    facing = face.normals[0] @ [0, 0, 1]
    collar = facing < 0.42
    photo = take_photo(tiny_model, face, np.where(collar[:, None], 1.0, albedo))
    face = face._replace(albedo=albedo[None])
    whole = texture.extract_texture(photo, tiny_model, face, CAMERA, TRANSFORM, SIZE, False, atlas)
    covered = on_texels(atlas, collar[:, None].astype(float))[:, 0]
    image = whole.image.reshape(-1, 3)
    view = texture.photograph(photo, tiny_model, face, CAMERA, TRANSFORM, atlas)
    assert ((covered > 0.99) & (view.weight > 0.1)).mean() > 0.02
    error = abs(image[covered > 0.99] - 0.4)
    assert np.quantile(error, 0.98) < 0.06
    assert error.max() < 0.25  # the white would be 0.6 off; something of it stays at its border


def test_a_face_that_no_photo_shows_is_the_albedo(tiny_model, atlas):
    face = posed(tiny_model, 0.0)
    away = geometry.Similarity(1.0, 0.0, (5000.0, 0.0))
    whole = texture.extract_texture(np.zeros((50, 50, 3), np.uint8), tiny_model, face, CAMERA, away, SIZE, atlas=atlas)
    assert whole.weight.max() == 0
    np.testing.assert_allclose(whole.image.reshape(-1, 3), on_texels(atlas, face.albedo[0]), atol=1e-5)


def test_wrong_inputs_are_named(tiny_model, atlas):
    face = posed(tiny_model, 0.0)
    for photo in (np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"photo must be \[H, W, 3\] uint8\. Received"):
            texture.photograph(photo, tiny_model, face, CAMERA, TRANSFORM, atlas)
    short = face._replace(vertices=face.vertices[:, :9])
    with pytest.raises(ValueError, match=r"one level\. Received"):
        texture.photograph(np.zeros((9, 9, 3), np.uint8), tiny_model, short, CAMERA, TRANSFORM, atlas)
