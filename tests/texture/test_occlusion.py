"""What of a photo is taken for the face: people of the open face model with known things before and behind them."""

import numpy as np
import pytest

from tests.texture.people import PHOTO, face_of, facing, open_face, person, take_portrait
from tests.texture.photos import CAMERA
from tf_deep3d.face.landmarks import BROWS, EYES
from tf_deep3d.texture import occlusion, texture
from tf_deep3d.texture.atlas import at_texels
from tf_deep3d.texture.views import extract_view


def seen_in(photo, face, keep_everything=False):
    model, atlas = open_face()
    return extract_view(photo, model, face, CAMERA, PHOTO, atlas, keep_everything)


def completed(photo, face, coefficients, keep_everything=False):
    """The colours [N, 3] of the texels of the texture, and the `View`."""
    _, atlas = open_face()
    view = seen_in(photo, face, keep_everything)
    light = texture.light_on(face, coefficients.illumination[0])
    whole = texture.complete([view], face.albedo[0], atlas, light)
    return whole.image.reshape(-1, 3)[atlas.texels], view


def green(colors):
    return (colors[:, 1] - np.maximum(colors[:, 0], colors[:, 2])).max()


@pytest.mark.parametrize(("yaw", "beside"), [(0.0, 0.16), (1.0, 0.06), (1.25, 0.06)])  # radians, dm: 1 is 102 px
def test_the_background_never_enters(yaw, beside):
    """A face fitted some pixels beside and turned too little takes the background in; the texture does not."""
    coefficients = person(1, yaw)
    photo = take_portrait(face_of(coefficients))
    wrong = person(1, yaw - 0.05 * np.sign(yaw))
    wrong.translation[0, 0] += beside
    face = face_of(wrong)
    blind, _ = completed(photo, face, wrong, keep_everything=True)
    assert green(blind) > 0.3
    colors, _ = completed(photo, face, wrong)
    assert green(colors) < 0.06


def glasses(draw, points):
    for eye in EYES:
        x, y = points[eye].mean(0)
        draw.ellipse((x - 36, y - 26, x + 36, y + 30), fill=(12, 12, 14))


def mask(draw, points):
    draw.polygon([tuple(points[i] + (0, 10 * (i == 8))) for i in (1, 29, 15, 12, 8, 4)], fill=(120, 180, 215))


def fringe(draw, points):
    (left, top), right = points[17:27].min(0), points[17:27].max(0)[0]
    draw.rectangle((left - 60, 0, right - 20, top - 12), fill=(38, 26, 20))


@pytest.mark.parametrize(
    ("draw", "area", "share"), [(glasses, "eyes", 0.2), (mask, "mouth and chin", 0.9), (fringe, "forehead", 0.3)]
)
def test_what_lies_before_the_face_is_left_out_and_told(draw, area, share):
    _, atlas = open_face()
    coefficients = person(2)
    face = face_of(coefficients)
    photo = take_portrait(face, draw=draw)
    blind, _ = completed(photo, face, coefficients, keep_everything=True)
    colors, view = completed(photo, face, coefficients)
    assert view.left_out[area] > share
    assert f"of the {area}" in occlusion.told(view.left_out)
    truth, front = (at_texels(atlas, a) for a in (face.colors[0], facing(face)[:, None]))
    shown = (front[:, 0] > 0.5) & ~atlas.eyes  # where the colours of the renderer and of the model are one
    error, before = (abs(a - truth)[shown].max(axis=-1) for a in (colors, blind))
    covered = before > 0.15
    assert covered.mean() > 0.04
    assert view.weight[shown][covered].mean() < 0.02
    assert error[covered].mean() < 0.05
    assert np.quantile(error[covered], 0.95) < 0.15


def test_brows_that_are_seen_below_a_fringe_stay():
    _, atlas = open_face()
    face = face_of(person(2))
    brows = []

    def hair(draw, points):
        brows.extend(points[BROWS[0].start : BROWS[1].stop])
        outline = [tuple(point - (0, 16)) for point in brows]
        draw.polygon([(0, 0), (0, outline[0][1]), *outline, (447, outline[-1][1]), (447, 0)], fill=(38, 26, 20))

    view = seen_in(take_portrait(face, draw=hair), face)
    assert view.left_out["forehead"] > 0.6
    places = at_texels(atlas, PHOTO.inverse().apply(face.pixels[0]))
    front = (at_texels(atlas, facing(face)[:, None])[:, 0] > 0.6) & ~atlas.eyes
    for brow in brows[2:4] + brows[6:8]:  # their ends are turned away
        near = front & (np.linalg.norm(places - brow, axis=-1) < 6)
        assert np.median(view.weight[near]) > 0.9


@pytest.mark.parametrize("color", [(60, 40, 34), (250, 240, 225)], ids=["dark", "light"])
def test_the_thin_frame_of_glasses_is_left_out(color):
    _, atlas = open_face()
    face = face_of(person(3))
    wire = []

    def frame(draw, points):
        middles = [points[eye].mean(0) + np.array([0, 6]) for eye in EYES]
        for x, y in middles:
            draw.ellipse((x - 50, y - 38, x + 50, y + 38), outline=color, width=3)
        inner = [middles[0][0] + 50, middles[1][0] - 50]
        wire.append((sum(inner) / 2, middles[0][1]))
        draw.line([(inner[0], middles[0][1]), (inner[1], middles[1][1])], fill=color, width=3)
        wire.extend((x, y + 38) for x, y in middles)

    view = seen_in(take_portrait(face, draw=frame), face)
    bare = seen_in(take_portrait(face), face)
    assert view.left_out["eyes"] > bare.left_out["eyes"] + 0.03
    places = at_texels(atlas, PHOTO.inverse().apply(face.pixels[0]))
    for point in wire:
        near = np.linalg.norm(places - point, axis=-1) < 3
        assert bare.weight[near].max() > 0.8
        assert view.weight[near].max() < 0.1


def test_a_clear_frame_that_is_faint_between_the_eyes_is_left_out():
    """Rims that are plainly lighter than the skin, joined by a bridge that hardly is; the brows stay."""
    _, atlas = open_face()
    face = face_of(person(3))
    rims, brows = [], []

    def frame(draw, points):
        middles = [points[eye].mean(0) + np.array([0, 6]) for eye in EYES]
        for x, y in middles:
            draw.ellipse((x - 50, y - 38, x + 50, y + 38), outline=(250, 240, 225), width=3)
        (left, y), (right, _) = middles
        skin = np.array(draw._image.getpixel((int(left + right) // 2, int(y))))
        bridge = tuple(int(each) for each in np.minimum(1.17 * skin, 255))
        draw.line([(left + 51, y), (right - 51, y)], fill=bridge, width=3)
        rims.extend((x, y + 38) for x, y in middles)
        brows.extend(points[each] for each in (19, 24))

    view = seen_in(take_portrait(face, draw=frame), face)
    places = at_texels(atlas, PHOTO.inverse().apply(face.pixels[0]))
    for point in rims:
        assert view.weight[np.linalg.norm(places - point, axis=-1) < 3].max() < 0.1
    for point in brows:
        assert view.weight[np.linalg.norm(places - point, axis=-1) < 3].max() > 0.9


def test_hair_over_one_half_of_the_face_is_left_out_and_a_beard_stays():
    """A dark curtain before the person's left: before the eye, the brow and where a beard may grow."""
    _, atlas = open_face()
    face = face_of(person(3))
    edge = []

    def curtain(draw, points):
        edge.append(points[27, 0] + 14)
        draw.rectangle((edge[0], 0, 447, points[8, 1] - 24), fill=(30, 22, 18))

    view = seen_in(take_portrait(face, draw=curtain), face)
    places = at_texels(atlas, PHOTO.inverse().apply(face.pixels[0]))
    front = at_texels(atlas, facing(face)[:, None])[:, 0] > 0.5
    hidden = front & (places[:, 0] > edge[0] + 4)
    for name in ("brows", "beard", "eyes"):
        part = (at_texels(atlas, atlas.zones.parts[name][:, None])[:, 0] > 0.9) & ~atlas.eyes
        high = places[:, 1] < PHOTO.inverse().apply(face.landmarks[0])[57, 1]
        assert view.weight[part & hidden & high].mean() < 0.1, name
    colors = face.colors[0].copy()
    colors[atlas.zones.parts["beard"]] *= 0.35
    bearded = seen_in(take_portrait(face, colors), face)
    beard = front & (at_texels(atlas, atlas.zones.parts["beard"][:, None])[:, 0] > 0.9)
    assert np.median(bearded.weight[beard]) > 0.9


def test_fingers_of_skin_s_colour_before_the_mouth_are_left_out():
    """Told by the dark lines between them, which run across both lips."""
    _, atlas = open_face()
    face = face_of(person(3))
    mouth = []

    def fingers(draw, points):
        (x, y), nose, chin = points[48:68].mean(0), points[33, 1], points[8, 1]
        mouth.append((x, y))
        skin = draw._image.getpixel((int(points[31, 0]) - 30, int(nose)))
        for column in (-24, 0, 24):
            draw.rounded_rectangle((x + column - 11, nose + 12, x + column + 11, chin), 10, fill=skin)
        for column in (-12, 12):
            draw.line([(x + column, nose + 16), (x + column, chin)], fill=(40, 24, 20), width=5)

    view = seen_in(take_portrait(face, draw=fingers), face)
    assert view.left_out["mouth and chin"] > 0.3
    places = at_texels(atlas, PHOTO.inverse().apply(face.pixels[0]))
    lips = at_texels(atlas, atlas.zones.parts["mouth"][:, None])[:, 0] > 0.9
    assert view.weight[lips].max() < 0.1
    near = np.linalg.norm(places - mouth[0], axis=-1) < 20
    assert view.weight[near].max() < 0.1


def test_the_line_between_lips_is_no_finger():
    _, atlas = open_face()
    face = face_of(person(3))

    def line(draw, points):
        draw.line([tuple(points[i]) for i in (48, 60, 61, 62, 63, 64, 54)], fill=(50, 20, 20), width=3)
        for corner in (48, 54):  # and the folds beside the mouth
            x, y = points[corner]
            draw.line([(x, y - 30), (x, y + 30)], fill=(90, 50, 40), width=3)

    plain, lined = (seen_in(take_portrait(face, draw=draw), face) for draw in (None, line))
    lips = at_texels(atlas, atlas.zones.parts["mouth"][:, None])[:, 0] > 0.9
    assert lined.weight[lips].mean() > 0.9 * plain.weight[lips].mean()


def test_a_bare_face_is_left_alone_whatever_its_light():
    """The light that was found is wrong, and so is its colour."""
    coefficients = person(3)
    other = coefficients._replace(illumination=coefficients.illumination.copy())
    other.illumination[0, :, :4] += [[0.06, 0.0, 0.0, -0.2], [0.0, 0.05, 0.0, -0.2], [-0.06, 0.0, 0.05, -0.2]]
    view = seen_in(take_portrait(face_of(other)), face_of(coefficients))
    assert max(view.left_out.values()) < 0.03
    assert occlusion.told(view.left_out) == ""


def test_moles_and_beards_stay():
    """Small dark patches and a dark lower face around lips that can be seen are the person's own."""
    _, atlas = open_face()
    coefficients = person(4)
    face = face_of(coefficients)
    grown = atlas.zones.parts["beard"]
    colors = face.colors[0] * np.where(grown, 0.35, 1.0)[:, None]
    where = []

    def mole(draw, points):
        x, y = points[[31, 1]].mean(0)
        where.append((x, y))
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(40, 25, 20))

    view = seen_in(take_portrait(face, colors, mole), face)
    assert view.left_out["mouth and chin"] < 0.1
    assert view.left_out["cheeks and nose"] < 0.03
    places = at_texels(atlas, PHOTO.inverse().apply(face.pixels[0]))
    on_it = (np.linalg.norm(places - where[0], axis=-1) < 2) & (at_texels(atlas, facing(face)[:, None])[:, 0] > 0.5)
    assert on_it.sum() > 3
    assert view.weight[on_it].min() > 0.9
    assert view.colors[on_it].max() < 0.35


def test_zones_are_where_their_names_say():
    model, atlas = open_face()
    height = model.mean_shape[:, 1]
    order = [np.median(height[atlas.zones.area == i]) for i in range(len(occlusion.AREAS))]
    assert order == sorted(order, reverse=True)
    parts = atlas.zones.parts
    assert model.regions["eyes"][parts["eyes"]].any()
    assert not (parts["beard"] & parts["mouth"]).any()
    assert not (parts["core"] & (parts["eyes"] | parts["brows"] | parts["nostrils"])).any()
    assert parts["core"].mean() > 0.05


def test_little_is_not_told():
    shares = dict.fromkeys(occlusion.AREAS, 0.0)
    assert occlusion.told(shares | {"eyes": 0.04}) == ""
    assert occlusion.told(shares | {"eyes": 0.42, "forehead": 0.06}) == "6 % of the forehead, 42 % of the eyes"
