import numpy as np
import pytest
from keras import ops

from tf_deep3d.face import landmarks, morphable_model


def test_names_cover_the_68_points_once():
    parts = [landmarks.JAW, *landmarks.BROWS, landmarks.NOSE_BRIDGE, landmarks.NOSTRILS, *landmarks.EYES]
    parts += [landmarks.OUTER_LIPS, landmarks.INNER_LIPS]
    points = np.concatenate([np.arange(landmarks.COUNT)[part] for part in parts])
    np.testing.assert_array_equal(points, np.arange(68))


def test_mirror_changes_sides_and_undoes_itself():
    np.testing.assert_array_equal(landmarks.MIRROR[landmarks.MIRROR], np.arange(landmarks.COUNT))
    assert landmarks.MIRROR[list(landmarks.OUTER_EYE_CORNERS)].tolist() == [45, 36]
    assert landmarks.MIRROR[list(landmarks.INNER_EYE_CORNERS)].tolist() == [42, 39]
    assert landmarks.MIRROR[list(landmarks.MOUTH_CORNERS)].tolist() == [54, 48]
    middle = [8, *range(27, 31), 33, 51, 57, 62, 66]
    assert np.flatnonzero(np.arange(landmarks.COUNT) == landmarks.MIRROR).tolist() == middle


def test_names_and_mirror_fit_the_open_face():
    """On the mean face, seen from the front: what a name says is where it says, and mirrored points are."""
    model = morphable_model.load(level=0)
    points = model.landmarks["ibug68"]
    places = np.einsum("lk,lkc->lc", points.weights, model.mean_shape[points.vertices])
    x, y, z = places.T
    assert places[landmarks.MIRROR] * [-1, 1, 1] == pytest.approx(places, abs=0.02)
    assert z.argmax() == landmarks.NOSE_TIP
    assert x[landmarks.OUTER_EYE_CORNERS[0]] < x[landmarks.INNER_EYE_CORNERS[0]] < 0
    assert x[landmarks.EYES[0]].max() < 0 < x[landmarks.EYES[1]].min()
    assert y[landmarks.BROWS[0]].min() > y[landmarks.EYES[0]].max() > y[landmarks.NOSE_TIP] > y[landmarks.NOSE_BASE]
    assert x[landmarks.OUTER_LIPS].argmin() + 48 == landmarks.MOUTH_CORNERS[0]
    assert x[landmarks.OUTER_LIPS].argmax() + 48 == landmarks.MOUTH_CORNERS[1]


@pytest.mark.parametrize("xp", [np, ops])
def test_error_is_the_mean_distance_of_the_inner_face_over_that_of_the_eyes(xp):
    truth = np.random.default_rng(0).normal(size=(2, 68, 2))
    truth[:, 36], truth[:, 45] = [[-3, 0], [0, 0]], [[3, 8], [0, 5]]  # 10 and 5 apart
    predicted = truth + np.array([0.3, 0.4])
    predicted[:, landmarks.JAW] += 100.0  # does not count
    predicted[1, 30] += [6.0, 8.0]
    found = ops.convert_to_numpy(landmarks.nme(xp.asarray(predicted) if xp is np else ops.array(predicted), truth, xp))
    np.testing.assert_allclose(found, [0.5 / 10, (0.5 + 10 / 51) / 5], rtol=1e-5)
