import numpy as np
import pytest

from tf_deep3d.face import Face
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.rendering import clay, pictures

COLOR, ALBEDO = (0.2, 0.4, 0.6), (0.8, 0.6, 0.4)
TRIANGLES = np.array([[0, 2, 1], [1, 2, 3]], np.int32)


def plate(left, top, right, bottom):
    """A rectangle that faces the camera, in px of the crop; its right side is 1 dm farther away."""
    corners = np.float32([[left, top], [right, top], [left, bottom], [right, bottom]])
    depth = np.float32([9.5, 10.5, 9.5, 10.5])
    normals = np.tile(np.float32([0, 0, 1]), (4, 1))
    colors = [np.tile(np.float32(c), (4, 1)) for c in (ALBEDO, COLOR)]
    landmarks = np.float32([[20.5, 24.5]])
    return Face(*(a[None] for a in (normals, normals, *colors, corners, depth, landmarks)))


@pytest.fixture
def face():
    return plate(8, 12, 40, 36)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (48, 56, 3)).astype(np.uint8)


def test_panels(face, photo):
    shown = pictures.panels(photo, face, TRIANGLES, scale=1)
    assert tuple(shown) == pictures.PANELS
    assert all(panel.shape == photo.shape and panel.dtype == np.uint8 for panel in shown.values())
    np.testing.assert_array_equal(shown["photo"], photo)
    inside = np.zeros(photo.shape[:2], bool)
    inside[12:36, 8:40] = True
    np.testing.assert_array_equal(shown["overlay"][~inside], photo[~inside])
    np.testing.assert_allclose(shown["overlay"][inside], np.tile(np.uint8([51, 102, 153]), (inside.sum(), 1)), atol=1)
    np.testing.assert_allclose(shown["albedo"][inside], np.tile(np.uint8([204, 153, 102]), (inside.sum(), 1)), atol=1)
    np.testing.assert_allclose(shown["normals"][inside], np.tile(np.uint8([128, 128, 255]), (inside.sum(), 1)), atol=1)
    grey = 255 * clay.COLOR * clay.light(np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(shown["shape"][inside], np.tile(grey, (inside.sum(), 3)), atol=1)
    assert (np.diff(shown["depth"][20, 8:40, 0].astype(int)) < 0).all()  # near is bright
    for name in ("shape", "albedo", "normals", "depth"):
        assert (shown[name][~inside] == 255).all()


def test_edges_are_smooth(photo):
    """A plate that covers half of its border pixels is half transparent there."""
    overlay = pictures.panels(np.zeros_like(photo), plate(8.5, 12, 40, 36), TRIANGLES, scale=1)["overlay"]
    np.testing.assert_allclose(overlay[20, 8].astype(int), overlay[20, 20] // 2, atol=2)


def test_strip_has_the_panels_side_by_side(face, photo):
    shown = pictures.panels(photo, face, TRIANGLES, scale=2)
    strip = pictures.overlay_strip(photo, face, TRIANGLES, scale=2, captions=False)
    np.testing.assert_array_equal(strip, np.concatenate(list(shown.values()), axis=1))
    captioned = pictures.overlay_strip(photo / 255, face, TRIANGLES, scale=2)
    np.testing.assert_array_equal(captioned[:96], strip)
    assert captioned.shape[0] > 96
    assert (captioned[96:] < 128).any(axis=(0, 2)).reshape(6, -1).any(axis=1).all()  # ink below every panel


def test_landmarks_are_drawn_where_they_are(face, photo):
    shown = pictures.panels(np.zeros_like(photo), face, TRIANGLES, scale=4, detected=np.array([[50.5, 5.5]]))
    overlay = shown["overlay"]
    np.testing.assert_array_equal(overlay[4 * 5 + 2, 4 * 50 + 2], pictures.DETECTED)
    np.testing.assert_array_equal(overlay[4 * 24 + 2, 4 * 20 + 2], pictures.MODELLED)
    assert (overlay[4 * 5 + 2, 4 * 52 :] == 0).all()
    assert (shown["photo"] == 0).all()


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_overlay_photo_puts_the_face_back(face, scale):
    photo = np.random.default_rng(1).integers(0, 256, (400, 500, 3)).astype(np.uint8)
    transform = Similarity(scale, 0.0, (-100.0 * scale, -50.0 * scale))  # crop = scale * (photo - (100, 50))
    picture = pictures.overlay_photo(photo, face, TRIANGLES, transform)
    inside = np.zeros(photo.shape[:2], bool)
    left, top, right, bottom = (np.array([8, 12, 40, 36]) / scale + [100, 50, 100, 50]).astype(int)
    inside[top:bottom, left:right] = True
    assert inside.any()
    np.testing.assert_array_equal(picture[~inside], photo[~inside])
    np.testing.assert_allclose(picture[inside], np.tile(np.uint8([51, 102, 153]), (inside.sum(), 1)), atol=1)
    half = pictures.overlay_photo(photo, face, TRIANGLES, transform, opacity=0.5)
    np.testing.assert_allclose(half[inside], (photo[inside] + [51.0, 102.0, 153.0]) / 2, atol=1.5)


def test_overlay_photo_turned_by_a_quarter(face):
    photo = np.zeros((60, 60, 3), np.uint8)
    transform = Similarity(1.0, np.pi / 2, (60.0, 0.0))  # crop x = 60 - photo y, crop y = photo x
    picture = pictures.overlay_photo(photo, face, TRIANGLES, transform)
    expected = np.zeros((60, 60), bool)
    expected[60 - 40 : 60 - 8, 12:36] = True
    np.testing.assert_array_equal(picture.any(axis=-1), expected)


def test_overlay_photo_at_and_beyond_the_border(face):
    photo = np.full((30, 30, 3), 9, np.uint8)
    cut = pictures.overlay_photo(photo, face, TRIANGLES, Similarity())
    assert (cut[12:, 8:] == cut[12, 8]).all()
    assert (cut[:12] == 9).all()
    away = pictures.overlay_photo(photo, face, TRIANGLES, Similarity(translation=(100.0, 0.0)))
    np.testing.assert_array_equal(away, photo)


def test_large_faces_are_rendered_smaller_and_enlarged(face, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST_RENDERING", 16)
    photo = np.zeros((48, 56, 3), np.uint8)
    picture = pictures.overlay_photo(photo, face, TRIANGLES, Similarity())
    np.testing.assert_allclose(picture[16:32, 12:36].reshape(-1, 3), np.tile([51, 102, 153], (16 * 24, 1)), atol=1)
    assert not picture[:12].any()


def test_contact_sheet_places_pictures():
    red = np.tile(np.uint8([255, 0, 0]), (10, 20, 1))
    small = np.tile(np.float32([0, 0, 1]), (4, 8, 1))
    sheet = pictures.contact_sheet([red, small, red], columns=2, gap=3)
    assert sheet.shape == (10 + 3 + 10, 20 + 3 + 20, 3)
    assert (sheet[:10, :20] == [255, 0, 0]).all()
    assert (sheet[13:, :20] == [255, 0, 0]).all()
    assert (sheet[3:7, 23 + 6 : 23 + 14] == [0, 0, 255]).all()
    blue = (sheet == [0, 0, 255]).all(axis=-1)
    assert blue.sum() == 32
    assert (sheet[13:, 23:] == 255).all()


def test_captions_are_cut_to_their_picture():
    black = np.zeros((10, 60, 3), np.uint8)
    sheet = pictures.contact_sheet([black, black], 2, ["a very long caption of many words", ""], gap=4)
    below = (sheet[10:] < 128).any(axis=(0, 2))
    assert below[:60].any()
    assert not below[60:].any()


def test_wrong_inputs_are_named(face, photo):
    with pytest.raises(ValueError, match=r"photo must be \[H, W, 3\].*Received: \[48, 56\]"):
        pictures.panels(photo[..., 0], face, TRIANGLES)
    with pytest.raises(ValueError, match="Received: 0 pictures"):
        pictures.contact_sheet([])
    with pytest.raises(ValueError, match=r"caption for each picture.*Received: 1 pictures, 4 columns, 2 captions"):
        pictures.contact_sheet([photo], captions=["a", "b"])
    with pytest.raises(ValueError, match="a picture must be"):
        pictures.contact_sheet([photo[..., :2]])
