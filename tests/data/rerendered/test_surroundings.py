"""What is around a face: where a photo ends, and how its surroundings follow."""

import numpy as np
import pytest

from tf_deep3d.data.rerendered import surroundings as around

SIZE = 96


def _picture(angle=0.0, level=150):
    """A grey square turned by `angle` on black: (picture [S, S, 3], its pixels)."""
    rows, columns = np.indices((SIZE, SIZE)) + 0.5 - SIZE / 2
    x = np.cos(angle) * columns + np.sin(angle) * rows
    y = np.cos(angle) * rows - np.sin(angle) * columns
    inside = (np.abs(x) < 30) & (np.abs(y) < 34)
    return np.where(inside[..., None], np.uint8(level), np.uint8(0)).repeat(3, -1), inside


@pytest.mark.parametrize("angle", [0, 0.2])
def test_a_photo_ends_at_its_edge_even_where_its_inside_is_black(angle):
    picture, inside = _picture(angle)
    picture[40:60, 40:60] = 0
    assert (around.beyond(picture) != ~inside).mean() < 0.015  # corners lose a pixel or two


def test_a_dark_background_is_no_end():
    rows, columns = np.indices((SIZE, SIZE))
    picture = (200 * np.exp(-((rows - 48) ** 2 + (columns - 48) ** 2) / 300)).astype(np.uint8)
    assert not around.beyond(picture[..., None].repeat(3, -1)).any()
    assert not around.beyond(np.zeros((SIZE, SIZE, 3), np.uint8)).any()
    assert not around.beyond(np.full((SIZE, SIZE, 3), 99, np.uint8)).any()


def test_a_photo_goes_on_beyond_its_edge():
    picture, inside = _picture()
    assert (around.continued(picture, ~inside) == 150).all()
    assert around.continued(picture, np.zeros_like(inside)) is picture


def _disc(center, radius=18.0):
    rows, columns = np.indices((SIZE, SIZE)) + 0.5
    return (columns - center[0]) ** 2 + (rows - center[1]) ** 2 < radius**2


def _places(move):
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    return (np.stack([columns, rows], -1) + move).astype(np.float32)


def test_surroundings_go_with_the_border_of_the_face_and_stay_far_from_it():
    mask, move = _disc((48, 48)), np.array([5.0, -3.0])
    nothing = np.zeros((SIZE, SIZE), np.float32)
    moved = around.follow(_places(move), mask, nothing, mask) - _places(0)
    ring = _disc((48, 48), 21) & ~_disc((48, 48), 18)
    np.testing.assert_allclose(moved[ring], np.broadcast_to(move, moved[ring].shape), atol=1)
    assert np.abs(moved[0, 0]).max() < np.abs(move).max() / 2
    still = around.follow(_places(0), mask, nothing, mask) - _places(0)
    np.testing.assert_allclose(still, 0, atol=1e-4)


def test_a_contour_meets_what_the_photo_shows_beside_the_head():
    """The face hides its right half: its right contour shows the middle of the photo's head, whose end is at 66."""
    mask = _disc((48, 48))
    places = _places([-8.0, 0.0])
    middle = np.where(np.arange(SIZE) > 48, 1, 0).astype(np.float32)[None].repeat(SIZE, 0)
    moved = around.follow(places, mask, middle, _disc((48, 48)))
    assert moved[48, 66, 0] == pytest.approx(66.5, abs=1.5)  # and not 58
    assert moved[48, 29, 0] == pytest.approx(29.5 - 8, abs=1.5)
