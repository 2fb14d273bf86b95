"""The registration against similarities that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics, registration

MOVE = registration.Similarity3D(
    1.3, Rotation.from_euler("xyz", [4, -7, 3], degrees=True).as_matrix(), np.array([5, -3, 8.0])
)


def test_landmarks_give_back_a_similarity(face):
    source = face[0][::97]
    found = registration.similarity_from_landmarks(source, MOVE.apply(source))
    assert found.scale == pytest.approx(1.3)
    np.testing.assert_allclose(found.rotation, MOVE.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, MOVE.translation, atol=1e-9)
    rigid = registration.similarity_from_landmarks(source, MOVE.apply(source), scale=False)
    assert rigid.scale == 1
    np.testing.assert_allclose(rigid.rotation, MOVE.rotation, atol=1e-12)


def test_landmarks_never_mirror_and_may_be_missing():
    source = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    found = registration.similarity_from_landmarks(source, source * [-1, 1, 1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    target = MOVE.apply(source)
    target[3] = np.nan
    np.testing.assert_allclose(
        registration.similarity_from_landmarks(source, target).rotation, MOVE.rotation, atol=1e-9
    )


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.arange(3) * np.ones((4, 1)), np.eye(3)[:2]])
def test_landmarks_that_say_nothing_are_refused(points):
    with pytest.raises(InputError, match="three points that are not on one line"):
        registration.similarity_from_landmarks(points, points)


def test_points_of_another_shape_are_a_bug():
    with pytest.raises(ValueError, match="must both be") as raised:
        registration.similarity_from_landmarks(np.eye(3)[:, :2], np.eye(3)[:, :2])
    assert not isinstance(raised.value, InputError)


def test_similarities_compose_and_invert(face):
    np.testing.assert_allclose(MOVE.inverse().apply(MOVE.apply(face[0])), face[0], atol=1e-9)
    other = registration.Similarity3D(0.5, np.eye(3), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(registration.compose(other, MOVE).apply(face[0]), other.apply(MOVE.apply(face[0])))


def test_icp_recovers_a_similarity(face):
    vertices, triangles, normals = face
    start = registration.Similarity3D(1.32, Rotation.from_euler("y", 2.5, degrees=True).as_matrix() @ MOVE.rotation,
                                 MOVE.translation + np.array([2, 1, -2]))  # fmt: skip
    found = registration.icp(vertices, normals, MOVE.apply(vertices), normals @ MOVE.rotation.T, start)
    assert found.scale == pytest.approx(1.3, abs=1e-6)
    np.testing.assert_allclose(found.apply(vertices), MOVE.apply(vertices), atol=1e-4)
    far = metrics.distances(found.apply(vertices), triangles, normals @ found.rotation.T, MOVE.apply(vertices))
    assert metrics.root_mean_square(far.plane) < 1e-4


def test_icp_without_scale_finds_the_motion_and_keeps_the_size(face):
    vertices, _, normals = face
    points = vertices @ MOVE.rotation.T + MOVE.translation
    turned = Rotation.from_euler("y", 2.5, degrees=True).as_matrix() @ MOVE.rotation
    start = registration.Similarity3D(1.0, turned, MOVE.translation + np.array([2, 1, -2]))
    found = registration.icp(vertices, normals, points, normals @ MOVE.rotation.T, start, scale=False)
    np.testing.assert_allclose(found.apply(vertices), points, atol=1e-4)
    still = registration.Similarity3D(1.0, np.eye(3), np.zeros(3))
    assert registration.icp(vertices, normals, 1.02 * vertices, normals, still, scale=False).scale == 1
    assert registration.icp(vertices, normals, 1.02 * vertices, normals, still).scale == pytest.approx(1.02, abs=1e-4)


def test_icp_refuses_surfaces_that_turn_away(face):
    vertices, _, normals = face
    start = registration.Similarity3D(1.0, np.eye(3), np.zeros(3))
    with pytest.raises(InputError, match="hardly face each other"):
        registration.icp(vertices, normals, vertices, -normals, start)
