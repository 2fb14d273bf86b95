import numpy as np
import pytest

from tf_deep3d.reconstruction.album import pictures
from tf_deep3d.reconstruction.album.pictures import CELL, PICTURE, ROW, Row

LEFT = 12 + PICTURE + 12 + 190  # px where the heat map begins


def sheet(rows, lines=("one line",)):
    """`confidence_picture` of rows under a black portrait, and the y of the first row."""
    portrait = np.zeros((50, 300, 3), np.uint8)
    picture = pictures.confidence_picture("name", list(lines), [portrait], rows)
    return picture, 44 + 22 * len(lines) + 50 + 18 + 22


def test_a_row_shows_photo_shares_and_confidence():
    shares = np.array([0.25, 1.0, 4.0, 0.01])
    face = np.full((112, 112, 3), (10, 200, 30), np.uint8)
    picture, top = sheet([Row(face, "photo.jpg", shares, 0.5, "yaw"), Row(face, "other.jpg", shares[::-1], None)])
    assert (picture[top + 5 : top + PICTURE - 5, 12 + 5 : 12 + PICTURE - 5] == (10, 200, 30)).all()
    cells = picture[top + 20, LEFT + CELL // 2 : LEFT + 4 * CELL : CELL]
    np.testing.assert_array_equal(cells, [pictures.LESS, pictures.EQUAL, pictures.MORE, pictures.LESS])
    np.testing.assert_array_equal(picture[top + ROW + 20, LEFT + CELL // 2], pictures.LESS)
    bar = picture[top + 32, LEFT + 4 * CELL + 14 :]
    green = (bar == (60, 130, 90)).all(-1).sum()
    assert green == pytest.approx(80, abs=2)  # half of 160 px
    assert not (picture[top + ROW + 32] == (60, 130, 90)).all(-1).any()


def test_a_stranger_is_framed_and_has_no_shares():
    face = np.zeros((112, 112, 3), np.uint8)
    picture, top = sheet(
        [Row(face, "me.jpg", np.ones(80), 0.5), Row(face, "stranger.jpg", None, None, "another person")]
    )
    red = (picture == pictures.STRANGE).all(-1)
    assert red[top + ROW - 1, 12 : 12 + PICTURE].all()
    assert not red[: top + ROW - 10].any()
    assert (picture[top + ROW + 5 : top + ROW + PICTURE, LEFT : LEFT + 80 * CELL] == 255).all()


def test_a_long_album_is_shown_in_part(monkeypatch):
    face = np.zeros((112, 112, 3), np.uint8)
    rows = [Row(face, f"{i}.jpg", np.ones(8), i / 200) for i in range(200)]
    rows += [Row(face, "x", None, None)] * 50
    shown = pictures._chosen(rows)
    assert len(shown) == pictures.ROWS
    trusts = [row.trust for row in shown if row.shares is not None]
    assert trusts[0] == 199 / 200
    assert trusts[-1] == 0
    assert trusts == sorted(trusts, reverse=True)
    picture, top = sheet(rows)
    assert picture.shape[0] < top + ROW * (pictures.ROWS + 2)


def test_a_few_photos_among_many_strangers_are_shown_once():
    face = np.zeros((112, 112, 3), np.uint8)
    rows = [Row(face, f"{i}.jpg", np.ones(8), i / 10) for i in range(10)] + [Row(face, "x", None, None)] * 70
    names = [row.name for row in pictures._chosen(rows)]
    assert len(names) == pictures.ROWS
    assert names[:10] == [f"{9 - i}.jpg" for i in range(10)]
    assert set(names[10:]) == {"x"}


def test_the_face_is_turned_and_lit(tiny_model):
    half = np.zeros((64, 64, 3))
    half[:, :32], half[:, 32:] = [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]  # the person's right is red
    left, front, right, grey = pictures.turned_views(tiny_model, np.zeros(6), half, size=64)
    assert front.shape == (64, 64, 3)
    for picture, red_wins in ((left, None), (front, None), (right, None)):
        assert (picture[0, 0] == 255).all(), red_wins
    red = [((p[..., 0] > 1.5 * p[..., 2]).sum(), (p[..., 2] > 1.5 * p[..., 0]).sum()) for p in (left, front, right)]
    assert red[1][0] == pytest.approx(red[1][1], rel=0.1)
    assert red[0][0] > 1.5 * red[0][1] or red[0][1] > 1.5 * red[0][0]
    assert (red[0][0] > red[0][1]) != (red[2][0] > red[2][1])
    seen = (grey < 250).any(-1)
    assert seen.mean() > 0.2
    assert (grey[seen].max(-1) - grey[seen].min(-1)).max() == 0
    assert grey[seen].std() > 5
