"""Beards, hair and teeth: where they grow."""

import numpy as np

from tf_deep3d import face
from tf_deep3d.data.rendered.dress import dress
from tf_deep3d.face import landmarks


def test_beards_grow_on_some_and_only_where_beards_grow(head):
    """A quarter of the people; over the chin or the lip, on both sides alike, never on brows, eyes, nose or lips."""
    whole = head.whole
    worn = [dress(head, np.random.default_rng(n)).cover[:, 0] for n in range(60)]
    points = face.at_landmarks(whole.landmarks["ibug68"], whole.mean_shape[None])[0]
    nearest = [int(np.argmin(np.linalg.norm(whole.mean_shape - point, axis=1))) for point in points]
    bearded = [cover for cover in worn if cover[: head.face].max() > 0.05]
    assert 5 <= len(bearded) <= 25
    for cover in bearded:
        assert cover[whole.regions["lips"] | whole.regions["eyes"]].max() == 0
        assert cover[nearest[landmarks.NOSE_ROOT]] == cover[nearest[landmarks.NOSE_TIP]] == 0
        brow = whole.mean_shape[:, 1] > points[landmarks.EYES[0]][:, 1].max()
        assert cover[: head.face][brow[: head.face]].max() < 0.02
    assert np.mean([cover[nearest[8]] > 0.05 for cover in bearded]) > 0.5
    x = whole.mean_shape[: head.face, 0]
    right, left = (np.mean([cover[: head.face][side].mean() for cover in bearded]) for side in (x < 0, x > 0))
    assert 0.8 < right / left < 1.25


def test_teeth_have_a_shade_of_their_own(head):
    assert 100 < head.teeth.sum() < 5000
    assert not head.teeth[: head.face].any()
    shades = [dress(head, np.random.default_rng(n)) for n in range(8)]
    assert all((worn.cover[head.teeth] == 1).all() for worn in shades)
    bright = [worn.paint[head.teeth].mean() for worn in shades]
    assert np.std(bright) > 0.02


def test_the_same_person_wears_the_same(head):
    for ours, theirs in zip(*(dress(head, np.random.default_rng(4)) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
