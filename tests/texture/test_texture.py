from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tests.texture.people import PHOTO, face_of, facing, open_face, person, take_portrait
from tests.texture.photos import CAMERA, SIZE, TRANSFORM, on_texels, posed, take_photo, texture_of
from tf_deep3d.face import geometry
from tf_deep3d.texture import texture
from tf_deep3d.texture.atlas import at_texels, unwrap
from tf_deep3d.texture.views import extract_view


@pytest.fixture(scope="module")
def atlas(tiny_model):
    return unwrap(tiny_model, SIZE)


@pytest.mark.parametrize("mirror", [True, False])
def test_hidden_parts_continue_the_photo(tiny_model, atlas, mirror):
    """A photo of the albedo under half the light gives half the albedo everywhere, seen or not."""
    face = posed(tiny_model, 0.6)
    grid = face.albedo.reshape(1, 41, 33, 3)
    face = face._replace(albedo=((grid + grid[:, :, ::-1]) / 2).reshape(1, -1, 3))
    albedo = face.albedo[0]
    photo = take_photo(tiny_model, face, 0.5 * albedo)
    whole = texture_of(photo, tiny_model, face, atlas, mirror=mirror)
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
    both = [texture_of(photo, tiny_model, face, atlas, mirror=m) for m in (True, False)]
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
        extract_view(photo, tiny_model, face, CAMERA, TRANSFORM, atlas, keep_everything=True)
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
    whole = texture_of(photo, model, face, unwrap(model, 100))
    assert whole.image.shape == (100, 100, 3)
    np.testing.assert_allclose(whole.image, np.full((100, 100, 3), 0.25), atol=0.004)
    assert whole.weight[:20].max() == 0


def test_a_face_cut_by_the_photo(tiny_model, atlas):
    face = posed(tiny_model, 0.0)
    albedo = face.albedo[0]
    transform = geometry.Similarity(0.5)
    photo = take_photo(tiny_model, face, 0.5 * albedo, transform, (448, 448))[:, :224]
    whole = texture_of(photo, tiny_model, face, atlas, transform, mirror=False)
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
    face = face._replace(albedo=albedo[None], colors=albedo[None])
    whole = texture_of(photo, tiny_model, face, atlas, mirror=False, keep_everything=False)
    covered = on_texels(atlas, collar[:, None].astype(float))[:, 0]
    image = whole.image.reshape(-1, 3)
    view = extract_view(photo, tiny_model, face, CAMERA, TRANSFORM, atlas, keep_everything=True)
    assert ((covered > 0.99) & (view.weight > 0.1)).mean() > 0.02
    error = abs(image[covered > 0.99] - 0.4)
    assert np.quantile(error, 0.98) < 0.06
    assert error.max() < 0.25  # the white would be 0.6 off; something of it stays at its border


def test_a_face_that_no_photo_shows_is_the_albedo(tiny_model, atlas):
    face = posed(tiny_model, 0.0)
    away = geometry.Similarity(1.0, 0.0, (5000.0, 0.0))
    whole = texture_of(np.zeros((50, 50, 3), np.uint8), tiny_model, face, atlas, away)
    assert whole.weight.max() == 0
    np.testing.assert_allclose(whole.image.reshape(-1, 3), on_texels(atlas, face.albedo[0]), atol=1e-5)


def test_what_no_photo_shows_lies_in_the_photos_light():
    """A three-quarter view under a light from its side: the hidden side of the texture is in the shade of the fit."""
    model, atlas = open_face()
    coefficients = person(5, 0.7)
    coefficients.illumination[0, :, 3] = 0.3
    face = face_of(coefficients)
    view = extract_view(take_portrait(face), model, face, CAMERA, PHOTO, atlas)
    light = texture.light_on(face, coefficients.illumination[0])
    truth = at_texels(atlas, face.colors[0])
    hidden = (view.weight == 0) & (at_texels(atlas, light).min(axis=1) > 0.45) & ~atlas.eyes
    hidden &= at_texels(atlas, model.regions["skin"][:, None])[:, 0] > 0.5
    assert hidden.mean() > 0.01
    errors = [
        abs(texture.complete([view], face.albedo[0], atlas, on_it).image.reshape(-1, 3)[atlas.texels] - truth)[hidden]
        for on_it in (light, None)
    ]
    assert errors[0].mean() < 0.03
    assert errors[0].mean() < 0.7 * errors[1].mean()


def hidden_side(view, face, beyond=0.3):
    """Texels [N] of skin on the person's left that no photo shows, facing the camera more or less."""
    model, atlas = open_face()
    side = at_texels(atlas, model.mean_shape)[:, 0] > beyond
    skin = at_texels(atlas, model.regions["skin"][:, None])[:, 0] > 0.9
    return side & skin & (view.weight == 0) & ~atlas.eyes & (at_texels(atlas, facing(face)[:, None])[:, 0] > 0.3)


def test_a_light_guessed_on_a_side_that_no_photo_shows_does_not_glare():
    """The fitted light is right where the photo shows the face, and grows five times as bright beyond."""
    model, atlas = open_face()
    face = face_of(person(5))
    view = extract_view(take_portrait(face), model, face, CAMERA, PHOTO, atlas)
    view.weight[at_texels(atlas, model.mean_shape)[:, 0] > 0.2] = 0.0
    light = texture.light_on(face, person(5).illumination[0])
    guessed = light * np.exp(np.clip(6 * (model.mean_shape[:, :1] - 0.25), 0, 1.6))
    hidden = hidden_side(view, face)
    truth = at_texels(atlas, face.colors[0])[hidden]
    for mirror in (False, True):
        whole = texture.complete([view], face.albedo[0], atlas, guessed, mirror)
        values = whole.image.reshape(-1, 3)[atlas.texels][hidden]
        assert abs(values - truth).mean() < 0.2
        assert values.max() < 0.95


def test_a_dark_side_is_no_source_of_a_bright_one():
    """Half of the face in the dark, where the photo is noise: it does not come back as blotches on the lit half."""
    model, atlas = open_face()
    face = face_of(person(5))
    view = extract_view(take_portrait(face), model, face, CAMERA, PHOTO, atlas)
    x = at_texels(atlas, model.mean_shape)[:, 0]
    shade = np.exp(-1.5 * np.clip(0.5 - 4 * model.mean_shape[:, :1], 0, 1))
    noise = np.random.default_rng(0).normal(scale=0.04, size=view.colors.shape)
    view.colors[:] = np.clip(view.colors * at_texels(atlas, shade) + noise, 0, 1)
    view.weight[x > 0.3] = 0.0
    light = texture.light_on(face, person(5).illumination[0]) * shade
    whole = texture.complete([view], face.albedo[0], atlas, light).image
    hidden = hidden_side(view, face, 0.4)
    rough = whole - ndimage.gaussian_filter(whole, (2, 2, 0))
    assert rough.reshape(-1, 3)[atlas.texels][hidden].std() < 0.015
    truth = at_texels(atlas, face.colors[0])[hidden]
    assert abs(whole.reshape(-1, 3)[atlas.texels][hidden] - truth).mean() < 0.1


def test_what_is_odd_at_the_border_does_not_spread():
    """Hair that stays in the photo beside a hidden cheek, and a fitted light that is blue there, colour no cheek."""
    model, atlas = open_face()
    coefficients = person(5)
    face = face_of(coefficients)
    view = extract_view(take_portrait(face), model, face, CAMERA, PHOTO, atlas)
    x = at_texels(atlas, model.mean_shape)[:, 0]
    view.weight[x > 0.2] = 0.0
    hair = (x > 0.12) & (x <= 0.2)
    view.colors[hair] = (0.1, 0.07, 0.16)
    light = texture.light_on(face, coefficients.illumination[0])
    blue = light * np.exp(np.clip(model.mean_shape[:, :1], 0, 1) * (-0.5, -0.5, 1.0))
    truth = at_texels(atlas, face.colors[0])
    beyond = (x > 0.4) & ~atlas.eyes & (at_texels(atlas, model.regions["skin"][:, None])[:, 0] > 0.9)
    beyond &= at_texels(atlas, facing(face)[:, None])[:, 0] > 0.3
    whole = texture.complete([view], face.albedo[0], atlas, blue, mirror=False)
    error = abs(whole.image.reshape(-1, 3)[atlas.texels] - truth)[beyond]
    assert error.mean() < 0.11
    assert np.quantile(error, 0.95) < 0.2


def test_the_albedo_has_no_light():
    """Of a photo in a strong light from one side, the albedo is that of the person on both sides."""
    model, atlas = open_face()
    coefficients = person(6)
    coefficients.illumination[0, :, 3] = 0.35
    face = face_of(coefficients)
    view = extract_view(take_portrait(face), model, face, CAMERA, PHOTO, atlas)
    whole = texture.complete([view], face.albedo[0], atlas, texture.light_on(face, coefficients.illumination[0]))
    skin = (at_texels(atlas, model.regions["skin"][:, None])[:, 0] > 0.9) & (view.weight > 0.9)
    truth = at_texels(atlas, face.albedo[0])[skin]
    lit, bare = (picture.reshape(-1, 3)[atlas.texels][skin] for picture in (whole.image, whole.albedo))
    assert abs(lit - truth).mean() > 0.08
    assert abs(bare - truth).mean() < 0.02


def test_the_albedo_has_no_cast_shadow_and_no_halo_where_the_light_was_found_wrong():
    """A shadow with an edge over half of the face, and a fitted light from above where the photo's is even.

    A mole, brows and painted lips are the person's own.
    """
    model, atlas = open_face()
    coefficients = person(8)
    face = face_of(coefficients)
    x, y = model.mean_shape[:, 0], model.mean_shape[:, 1]
    mole = np.linalg.norm(model.mean_shape[:, :2] - (0.35, 0.0), axis=1) < 0.04
    own = face.albedo[0] * np.where(mole, 0.4, 1.0)[:, None]
    own = np.where(model.regions["lips"][:, None], own * (1.0, 0.5, 0.7), own)
    own = own * np.where(atlas.zones.parts["brows"] & ~model.regions["eyes"], 0.6, 1.0)[:, None]
    shadow = np.where(x + 0.3 * y < 0.05, 0.45, 1.0)[:, None]
    photo = take_portrait(face, own * shadow * texture.light_on(face, coefficients.illumination[0]))
    view = extract_view(photo, model, face._replace(colors=own[None]), CAMERA, PHOTO, atlas)
    wrong = coefficients.illumination[0].copy()
    wrong[:, 2] += 0.25
    whole = texture.complete([view], face.albedo[0], atlas, texture.light_on(face, wrong))
    bare = whole.albedo.reshape(-1, 3)[atlas.texels]
    shown = (view.weight > 0.9) & (at_texels(atlas, facing(face)[:, None])[:, 0] > 0.6) & ~atlas.eyes
    skin = shown & (at_texels(atlas, model.regions["skin"][:, None])[:, 0] > 0.9)
    truth = at_texels(atlas, own)
    bare *= np.median(truth[skin]) / np.median(bare[skin])  # how strong a light is no photo tells
    error = abs(bare - truth).max(axis=-1)
    assert error[skin].mean() < 0.06
    assert np.quantile(error[skin], 0.95) < 0.25
    spot, lips, brows = (
        shown & (at_texels(atlas, part[:, None])[:, 0] > 0.9)
        for part in (mole, model.regions["lips"], atlas.zones.parts["brows"])
    )
    assert bare[spot].mean() < 0.6 * bare[skin].mean()
    assert abs(bare[lips].mean(axis=0) / bare[lips].mean() - truth[lips].mean(axis=0) / truth[lips].mean()).max() < 0.08
    assert error[brows].mean() < 0.08


def test_teeth_are_the_photos_where_it_shows_them_and_else_the_models():
    model, atlas = open_face()
    inner = at_texels(atlas, model.regions["inner_mouth"][:, None])[:, 0] > 0.99
    teeth = np.array([0.9, 0.88, 0.8])
    found = []
    for weight in (0.0, 1.0):
        unit = model.blendshapes[model.blendshape_names.index("jawOpen")]
        expression = np.linalg.lstsq(
            model.expression_basis.reshape(len(model.expression_basis), -1).T, weight * unit.reshape(-1), rcond=None
        )[0]
        coefficients = person(7, expression=expression[None].astype(np.float32))
        face = face_of(coefficients)
        colors = np.where(model.regions["inner_mouth"][:, None], teeth, face.colors[0])
        view = extract_view(take_portrait(face, colors), model, face, CAMERA, PHOTO, atlas)
        light = texture.light_on(face, coefficients.illumination[0])
        image = texture.complete([view], face.albedo[0], atlas, light).image.reshape(-1, 3)[atlas.texels]
        found.append((image[inner], view.weight[inner], at_texels(atlas, face.colors[0])[inner]))
    (closed, unseen, own), (opened, seen, _) = found
    assert unseen.mean() < 0.01
    assert abs(closed - own)[unseen == 0].mean() < 0.12
    assert (seen > 0.9).mean() > 0.1
    assert abs(opened[seen > 0.9] - teeth).mean() < 0.06
