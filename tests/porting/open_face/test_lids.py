"""Lids that follow: how values spread over free points."""

import numpy as np

from tf_deep3d.porting.open_face import lids


def test_harmonic_is_linear_between_two_fixed_rows():
    """On a strip of quads with both ends known, what lies between rises evenly."""
    columns, rows = 4, 6
    start = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([start, start + 1, start + columns + 1, start + columns], 1)
    known = np.zeros((columns * rows, 1))
    known[-columns:] = 1
    free = np.arange(columns, columns * (rows - 1))
    found = lids._harmonic(known, free, quads).reshape(rows, columns)
    np.testing.assert_allclose(found, np.linspace(0, 1, rows)[:, None].repeat(columns, 1), atol=1e-9)


def test_pairs_lie_opposite_each_other():
    """On a round eye, a point of the upper lid meets the lower lid straight below."""
    angle = 2 * np.pi * np.arange(16) / 16
    loop = np.stack([0.5 + np.cos(angle), np.sin(angle), 0 * angle], 1)
    for side in (1, -1):
        upper, lower, weights = lids._pairs(loop * [side, 1, 1], side)
        assert (loop[upper, 1] > 0).all()
        np.testing.assert_allclose((weights @ loop[lower])[:, 0], loop[upper, 0], atol=1e-9)
        np.testing.assert_allclose(weights.sum(1), 1)
