"""What several photos of one face become, against the face they were taken of."""

import numpy as np
import pytest

from tests.texture.people import PHOTO, face_of, open_face, person, take_portrait
from tests.texture.photos import CAMERA, SIZE, TRANSFORM, on_texels, posed, take_photo
from tf_deep3d.face import lighting
from tf_deep3d.texture import fields, merging, texture
from tf_deep3d.texture.atlas import at_texels, on_texture, unwrap
from tf_deep3d.texture.views import extract_view


@pytest.fixture(scope="module")
def atlas(tiny_model):
    return unwrap(tiny_model, SIZE)


@pytest.fixture(scope="module")
def albedo(tiny_model):
    """[V, 3] with freckles that the model does not know."""
    x, y = tiny_model.mean_shape[:, :2].T
    return tiny_model.mean_albedo + 0.03 * np.stack([np.sin(25 * x) * np.sin(25 * y)] * 3, -1)


def light(*first):
    """[1, 3, 9] with these four numbers in each channel."""
    illumination = np.zeros((1, 3, 9), np.float32)
    illumination[0, :, :4] = first
    return illumination


def shown(model, atlas, albedo, yaw, illumination, spoil=None):
    """`View` of the albedo in a photo at `yaw`; `spoil` may change the photo."""
    face = posed(model, yaw, illumination=illumination)
    colors = lighting.shade(albedo[None], face.normals, illumination)[0]
    photo = take_photo(model, face, colors)
    photo = photo if spoil is None else spoil(photo, TRANSFORM.inverse().apply(face.pixels[0]))
    view = extract_view(photo, model, face, CAMERA, TRANSFORM, atlas, keep_everything=True)
    return merging.reflectance(view, face, illumination[0], atlas)


@pytest.fixture(scope="module")
def sides(tiny_model, atlas, albedo):
    """A three-quarter view from each side, the one in bright light from the left, the other dim from the right."""
    return [
        shown(tiny_model, atlas, albedo, 0.6, light(0.1, -0.1, 0.1, 0.2)),
        shown(tiny_model, atlas, albedo, -0.6, light(-0.25, 0.0, 0.1, -0.1)),
    ]


def test_the_light_leaves_the_photo(tiny_model, atlas, albedo, sides):
    truth = on_texels(atlas, albedo)
    for view in sides:
        well = view.weight > 0.99
        assert well.mean() > 0.35
        assert abs(view.colors - truth)[well].mean() < 0.01


def test_lids_and_lips_do_not_glow_where_their_light_was_found_wrong():
    """A photo in an even light, whose fitted light comes from above: it would leave folds that face down five
    times too bright; the light on a surface without folds does not."""
    model, atlas = open_face()
    face = face_of(person(4))
    view = extract_view(take_portrait(face, 0.4 * face.albedo[0]), model, face, CAMERA, PHOTO, atlas)
    above = light(-0.3, 0.0, 0.1, 0.0)[0]
    above[:, 1] = 0.25
    shown = merging.reflectance(view, face, above, atlas)
    ratio = shown.colors.mean(axis=1) / np.maximum(view.colors.mean(axis=1), 1e-3)
    sharp = 1.0 / np.maximum(at_texels(atlas, texture.light_on(face, above)).mean(axis=1), 1e-3)
    seen = view.weight > 0.5
    for name in merging.PARTS:
        on_it = seen & (at_texels(atlas, atlas.zones.parts[name][:, None])[:, 0] > 0.99)
        assert sharp[on_it].max() > 4 * np.median(sharp[on_it])
        assert ratio[on_it].max() < 2.2 * np.median(ratio[on_it])


def test_no_border_shows_around_lids_and_lips():
    """What the light without folds changes fades out: the reflectance of an even photo has no step there."""
    model, atlas = open_face()
    face = face_of(person(4))
    view = extract_view(take_portrait(face, 0.4 * face.albedo[0]), model, face, CAMERA, PHOTO, atlas)
    above = light(-0.1, 0.0, 0.1, 0.0)[0]
    above[:, 1] = 0.2
    shown = merging.reflectance(view, face, above, atlas)
    ratio = np.log(shown.colors.mean(axis=1) + 1e-3) - np.log(view.colors.mean(axis=1) + 1e-3)
    picture, seen = (on_texture(atlas, each)[..., 0] for each in (ratio, view.weight))
    zone = np.any([on_texture(atlas, at_texels(atlas, atlas.zones.parts[name][:, None])) > 0.5
                   for name in merging.PARTS], axis=0)[..., 0]  # fmt: skip
    for axis in (0, 1):
        across = np.diff(zone.astype(int), axis=axis) != 0
        known = np.minimum(*(np.take(seen, range(i, len(seen) - 1 + i), axis=axis) for i in (0, 1))) > 0.9
        steps = abs(np.diff(picture, axis=axis))
        assert np.percentile(steps[across & known], 90) < 0.1


def test_deep_shade_says_nothing(tiny_model, atlas, albedo):
    view = shown(tiny_model, atlas, albedo, 0.0, light(-0.2, 0.0, 0.0, 0.75))
    face = posed(tiny_model, 0.0)
    strength = lighting.irradiance(on_texels(atlas, face.normals[0])[None], light(-0.2, 0.0, 0.0, 0.75))[0, :, 0]
    dark = strength < 0.1 * np.median(strength)
    assert dark.mean() > 0.02
    assert view.weight[dark].max() == 0
    night = shown(tiny_model, atlas, albedo, 0.0, light(-2.0, 0.0, 0.0, 0.0))
    assert night.weight.max() == 0


def test_two_sides_become_a_whole_face_without_a_seam(tiny_model, atlas, albedo, sides):
    truth = on_texels(atlas, albedo).reshape(SIZE, SIZE, 3)
    for views in (sides, [s._replace(colors=s.colors * f) for s, f in zip(sides, (1.15, 0.9), strict=True)]):
        whole = merging.merge([merging.Shot(view, 1.0) for view in views], tiny_model.mean_albedo, atlas, mirror=False)
        inside = whole.weight > 0.5
        assert inside.mean() > 0.8
        assert all((view.weight > 0.5).mean() < 0.7 for view in views)
        ratio = np.log(whole.image) - np.log(truth)
        step = abs(np.diff(ratio, axis=1)).max(-1)[inside[:, 1:] & inside[:, :-1]]
        assert np.quantile(step, 0.999) < 0.03  # cut and pasted, the second pair would step by 0.25
        assert abs(ratio[inside]).mean() < 0.15


def test_freckles_survive(tiny_model, atlas, albedo, sides):
    """The fine band is not blurred by the mean of photos."""
    whole = merging.merge([merging.Shot(view, 1.0) for view in sides], tiny_model.mean_albedo, atlas)
    smooth = np.log(on_texels(atlas, tiny_model.mean_albedo)).reshape(SIZE, SIZE, 3)
    found, truth = (np.log(a.reshape(SIZE, SIZE, 3)) - smooth for a in (whole.image, on_texels(atlas, albedo)))
    inside = whole.weight > 0.99
    found, truth = ((a - fields.mean_around(a[..., :1], 41))[..., 0][inside] for a in (found, truth))
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert found.std() / truth.std() == pytest.approx(1.0, abs=0.15)


def test_the_order_of_photos_does_not_matter(tiny_model, atlas, sides):
    pairs = [merging.Shot(*each) for each in zip(sides, (1.0, 0.6), strict=True)]
    one, two = (merging.merge(views, tiny_model.mean_albedo, atlas) for views in (pairs, pairs[::-1]))
    np.testing.assert_allclose(one.image, two.image, atol=1e-5)


def test_a_hand_in_one_photo_is_outvoted(tiny_model, atlas, albedo):
    def cover(photo, places):
        x, y = np.median(places, axis=0).astype(int)
        photo[y - 60 : y + 60, x - 60 : x + 60] = 250
        return photo

    fine = [shown(tiny_model, atlas, albedo, yaw, light(0, 0, 0, 0)) for yaw in (0.1, -0.1)]
    covered = shown(tiny_model, atlas, albedo, 0.0, light(0, 0, 0, 0), cover)
    clean = merging.merge([merging.Shot(view, 1.0) for view in fine], tiny_model.mean_albedo, atlas).image
    whole = merging.merge([merging.Shot(view, 1.0) for view in (*fine, covered)], tiny_model.mean_albedo, atlas).image
    alone = merging.merge([merging.Shot(covered, 1.0)], tiny_model.mean_albedo, atlas).image
    hand = abs(alone - clean).max(-1) > 0.2
    assert hand.mean() > 0.02
    assert abs(whole - clean)[hand].mean() < 0.3 * abs(alone - clean)[hand].mean()


def test_details_come_from_the_important_photo(tiny_model, atlas, albedo):
    sharp = shown(tiny_model, atlas, albedo, 0.0, light(0, 0, 0, 0))
    blurred = shown(tiny_model, atlas, tiny_model.mean_albedo, 0.0, light(0, 0, 0, 0))
    merged = [
        merging.merge([merging.Shot(sharp, a), merging.Shot(blurred, b)], tiny_model.mean_albedo, atlas).image
        for a, b in ((1.0, 0.4), (0.4, 1.0))
    ]
    freckled, plain = (on_texels(atlas, a).reshape(SIZE, SIZE, 3) for a in (albedo, tiny_model.mean_albedo))
    inner = (slice(90, 170), slice(90, 170))
    assert abs(merged[0] - freckled)[inner].mean() < 0.5 * abs(merged[0] - plain)[inner].mean()
    assert abs(merged[1] - plain)[inner].mean() < 0.5 * abs(merged[1] - freckled)[inner].mean()


def test_an_eye_that_one_photo_hides_comes_from_another(tiny_model, atlas, albedo):
    """Profiles from both sides: neither shows both eyes, and what it does not show is not black."""
    views = [shown(tiny_model, atlas, albedo, yaw, light(0, 0, 0, 0)) for yaw in (1.2, -1.2)]
    whole = merging.merge([merging.Shot(view, 1.0) for view in views], tiny_model.mean_albedo, atlas)
    best = np.maximum(*(view.weight for view in views))
    seen = atlas.eyes & (best > 0.9)
    for view in views:
        hidden = seen & (view.weight == 0)
        assert hidden.sum() > 5
        error = abs(whole.image.reshape(-1, 3)[atlas.texels] - on_texels(atlas, albedo))[hidden]
        assert error.max() < 0.1


def test_photos_that_show_nothing_leave_the_albedo(tiny_model, atlas, sides):
    nothing = sides[0]._replace(weight=np.zeros_like(sides[0].weight), facing=np.zeros_like(sides[0].facing))
    whole = merging.merge([merging.Shot(nothing, 1.0)], tiny_model.mean_albedo, atlas)
    assert whole.weight.max() == 0
    np.testing.assert_allclose(whole.image.reshape(-1, 3), on_texels(atlas, tiny_model.mean_albedo), atol=1e-4)


def test_agreement_follows_the_majority_and_keeps_a_lonely_photo():
    coarse = np.zeros((3, 32, 32, 3))
    coarse[0] = 1.0
    reach = np.ones((3, 32, 32, 1))
    common, agreement = merging.agree(coarse, reach)
    assert abs(common).max() < 0.1
    assert agreement[0].max() < 0.15
    assert agreement[1:].min() > 0.85
    alone, _ = merging.agree(coarse[:1], reach[:1])
    np.testing.assert_allclose(alone, 1.0)


def test_exposure_is_that_of_the_photos(atlas, sides):
    skin = texture.Texture(np.full((4, 4, 3), 0.4), np.full((4, 4, 3), 0.4), np.ones((4, 4)))
    dim, bright = light(-0.4, 0, 0, 0), light(0.0, 0, 0, 0)
    both = merging.expose(skin, np.concatenate([dim, bright]), [1.0, 1.0]).image
    np.testing.assert_allclose(
        both, 0.5 * sum(merging.expose(skin, one, [1.0]).image for one in (dim, bright)), rtol=1e-5
    )
    strength = lighting.irradiance(np.float32([[[0, 0, 1]]]), bright)[0, 0]
    np.testing.assert_allclose(merging.expose(skin, bright, [3.0]).image, np.full((4, 4, 3), 0.4 * strength), rtol=1e-5)


def test_eyes_and_mouth_come_from_one_photo_each(tiny_model, atlas):
    """Of two photos that look elsewhere and smile otherwise, the texture has the told one's, and never a mean."""
    parts = atlas.zones.parts
    painted = []
    for eyes, mouth in (((0.1, 0.2, 0.6), (0.7, 0.2, 0.3)), ((0.6, 0.5, 0.1), (0.3, 0.1, 0.5))):
        stripes = 1.0 + 0.2 * np.sin(60 * tiny_model.mean_shape[:, :1])  # something sharp
        colors = np.where(parts["eyes"][:, None], np.multiply(eyes, stripes), tiny_model.mean_albedo)
        painted.append(np.where(parts["mouth"][:, None], np.multiply(mouth, stripes), colors))
    views = [shown(tiny_model, atlas, colors, 0.0, light(0, 0, 0, 0)) for colors in painted]
    zones = {name: on_texels(atlas, parts[name][:, None].astype(float))[:, 0] > 0.99 for name in merging.PARTS}
    zones["eyes"] = atlas.eyes & zones["eyes"]
    for first in ({"eyes": 1.0, "mouth": 0.1}, {"eyes": 0.1, "mouth": 1.0}):
        second = {name: 1.1 - value for name, value in first.items()}
        shots = [merging.Shot(view, 1.0, told) for view, told in zip(views, (first, second), strict=True)]
        image = merging.merge(shots, tiny_model.mean_albedo, atlas).image.reshape(-1, 3)[atlas.texels]
        for name, zone in zones.items():
            seen = zone & (np.minimum(views[0].weight, views[1].weight) > 0.95)
            assert seen.sum() > 50
            mine, others = painted if first[name] == 1.0 else painted[::-1]
            error = [abs(image - on_texels(atlas, colors))[seen].mean() for colors in (mine, others)]
            assert error[0] < 0.3 * error[1]


def test_goggles_in_one_of_three_photos_do_not_show(tiny_model, atlas, albedo):
    def goggles(photo, places):
        x, y = np.median(places, axis=0).astype(int)
        photo[y - 110 : y - 60, x - 90 : x + 90] = (250, 120, 20)
        return photo

    fine = [shown(tiny_model, atlas, albedo, yaw, light(0, 0, 0, 0)) for yaw in (0.15, -0.15)]
    worn = shown(tiny_model, atlas, albedo, 0.0, light(0, 0, 0, 0), goggles)
    clean, alone, whole = (
        merging.merge([merging.Shot(view, 1.0) for view in views], tiny_model.mean_albedo, atlas).image
        for views in (fine, [worn], [*fine, worn])
    )
    covered = abs(alone - clean).max(-1) > 0.2
    assert covered.mean() > 0.03
    assert abs(whole - clean)[covered].mean() < 0.03
