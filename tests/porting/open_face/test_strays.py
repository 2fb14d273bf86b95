"""Second moments of a detector's offsets, by pose."""

import numpy as np

from tf_deep3d.face import uncertainty
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.porting.open_face import strays

MIRROR = np.array([1, 0, 2])  # a pair, and a point on the middle line


def observed(count=4000):
    """Offsets of three landmarks: 1 mm across and 2 mm down, and 3 mm to the right where a face looks to the right."""
    rng = np.random.default_rng(0)
    angles = rng.uniform([-0.4, -1.4, 0], [0.4, 1.4, 0], (count, 3))
    offsets = rng.normal(size=(count, 3, 2)) * [1.0, 2.0]
    offsets[:, :, 0] += np.where(angles[:, 1] > 0, 3.0, -3.0)[:, None]
    return offsets, angles


def test_moments_hold_scatter_and_bias_by_pose():
    offsets, angles = observed()
    found = strays.moments(offsets, angles, MIRROR) * MILLIMETRES**2
    assert found.shape == (strays.YAWS, strays.PITCHES, 3, uncertainty.MOMENTS)
    np.testing.assert_allclose(found[[0, -1], :, :, 0], 1 + 9 + strays.LEAST**2, rtol=0.15)
    np.testing.assert_allclose(found[[0, -1], :, :, 2], 4 + strays.LEAST**2, rtol=0.2)


def test_a_face_is_as_likely_as_its_mirror_image():
    offsets, angles = observed()
    offsets[:, 0] *= 2  # one of the pair is worse
    found = strays.moments(offsets, angles, MIRROR)
    mirrored = found[::-1, :, MIRROR] * [1, -1, 1]
    np.testing.assert_allclose(found, mirrored, rtol=1e-4, atol=1e-8)


def test_missing_faces_do_not_count_and_far_points_count_as_far():
    offsets, angles = observed(400)
    plain = strays.moments(offsets, angles, MIRROR)
    missing = strays.moments(
        np.concatenate([offsets, np.full((50, 3, 2), np.nan)]), np.concatenate([angles, angles[:50]]), MIRROR
    )
    np.testing.assert_allclose(missing, plain)
    thrown = offsets.copy()
    thrown[:, 2] = [1e5, 0]
    np.testing.assert_allclose(
        strays.moments(thrown, angles, MIRROR)[4, 1, 2, 0] * MILLIMETRES**2, strays.FAR**2, rtol=0.2
    )


def test_every_moment_is_positive_definite_even_without_pictures_there():
    offsets, angles = observed(30)
    xx, xy, yy = np.moveaxis(strays.moments(offsets, 0 * angles, MIRROR), -1, 0)
    assert (xx > 0).all()
    assert (xx * yy > xy * xy).all()
