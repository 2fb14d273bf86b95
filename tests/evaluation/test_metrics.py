"""The metrics against displacements and shapes that are known."""

import numpy as np
import pytest

from tests.evaluation.conftest import normals_of
from tests.evaluation.test_registration import MOVE
from tf_deep3d.evaluation import metrics, registration
from tf_deep3d.face.landmarks import OUTER_EYE_CORNERS


def plane(side=100.0, count=41, height=0.0):
    """A square in x, y of `side` mm that faces +z."""
    x, y = np.meshgrid(np.linspace(-side / 2, side / 2, count), np.linspace(-side / 2, side / 2, count))
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return np.stack([x, y, np.full_like(x, height)], -1).reshape(-1, 3), triangles.astype(np.int32)


def test_a_mesh_against_itself_is_zero(face):
    vertices, triangles, normals = face
    far = metrics.distances(vertices, triangles, normals, vertices)
    assert far.plane.max() == 0
    assert far.point.max() == 0
    assert far.coverage == 1


def test_known_displacement_gives_the_known_error():
    vertices, triangles = plane()
    normals = normals_of(vertices, triangles)
    inside = vertices[np.abs(vertices[:, :2]).max(1) < 40]
    far = metrics.distances(vertices, triangles, normals, inside + np.array([0.4, 0.3, 2.0]))
    np.testing.assert_allclose(far.plane, 2.0)
    np.testing.assert_allclose(far.point, np.sqrt(4 + 0.25))
    np.testing.assert_allclose(far.signed, -2.0)  # the mesh lies behind the truth
    np.testing.assert_allclose(metrics.distances(vertices, triangles, normals, inside - [0, 0, 3]).signed, 3.0)
    assert metrics.root_mean_square(far.plane) == pytest.approx(2.0)
    assert metrics.root_mean_square([3.0, np.nan, -4.0]) == pytest.approx(np.sqrt(12.5))


def test_points_beyond_the_border_are_not_covered():
    vertices, triangles = plane()
    points, _ = plane(side=200.0, count=21)
    far = metrics.distances(vertices, triangles, normals_of(vertices, triangles), points)
    inside = np.abs(points[:, :2]).max(1) <= 50
    np.testing.assert_array_equal(np.isfinite(far.plane), inside)
    assert far.coverage == pytest.approx(121 / 441)
    assert len(metrics.border(triangles)) == 160


def test_crop_is_a_ball():
    points = np.array([[0, 0, 95.0], [0, 95.1, 0], [60, 60, 40]])
    np.testing.assert_array_equal(metrics.within(points, np.zeros(3)), [True, False, True])


def test_what_lies_behind_is_not_visible():
    front, triangles = plane(side=60.0, height=30.0)
    back, _ = plane(side=150.0, height=-30.0)
    vertices = np.concatenate([front, back])
    both = np.concatenate([triangles, triangles + len(front)])
    seen = metrics.visible(vertices, both, views=((0.0, 0.0),))
    assert seen[: len(front)].all()
    radius = np.abs(back[:, :2]).max(1)
    assert not seen[len(front) :][radius < 20].any()
    assert seen[len(front) :][radius > 40].all()
    assert not metrics.visible(vertices, both[:, ::-1], views=((0.0, 0.0),)).any(), "they show their backs"


def test_sides_need_side_views():
    """Of an upright cylinder that is open at the back, the front view shows the half that faces it."""
    flat, triangles = plane()
    turn = np.radians(220 * flat[:, 0] / 100)
    vertices = np.stack([50 * np.sin(turn), flat[:, 1], 50 * np.cos(turn)], 1)
    front = metrics.visible(vertices, triangles, views=((0.0, 0.0),))
    assert front[np.abs(turn) < np.radians(75)].all()
    assert not front[np.abs(turn) > np.radians(90)].any()
    assert metrics.visible(vertices, triangles).all()


def test_landmark_nme():
    truth = np.random.default_rng(0).uniform(0, 1, (2, 68, 2))
    truth[:, 0], truth[:, 1] = 0, 1
    truth[:, OUTER_EYE_CORNERS] = [[0.25, 0.5], [0.75, 0.5]]
    truth = truth * [200, 50]
    moved = truth + np.array([3, 4])
    np.testing.assert_allclose(metrics.landmark_nme(moved, truth), 5 / 100)
    np.testing.assert_allclose(metrics.landmark_nme(moved, truth, "eyes"), 5 / 100)
    with pytest.raises(ValueError, match="Received: 'nose'"):
        metrics.landmark_nme(moved, truth, "nose")


def test_pose_errors_go_the_short_way_round():
    errors = metrics.pose_errors([[10, -20, 179]], [[13, -15, -179]])
    np.testing.assert_allclose(errors, [[3, 5, 2]])


def test_cosine_is_that_of_the_angle():
    assert metrics.cosine([1, 0], [3, 0]) == pytest.approx(1)
    assert metrics.cosine([1, 0], [0, 2]) == 0
    assert metrics.cosine([1, 0], [-1, np.sqrt(3)]) == pytest.approx(-0.5)
    assert metrics.cosine([0, 0], [1, 0]) == 0


def test_equal_shapes_are_consistent_wherever_they_lie(face):
    shapes = np.stack([face[0], MOVE.apply(face[0]), MOVE.inverse().apply(face[0])])
    np.testing.assert_allclose(metrics.set_consistency(shapes), 0, atol=1e-9)


def test_inconsistency_is_the_standard_deviation(face):
    """Independent noise of 0.3 mm in each coordinate, for sets of different size."""
    rng = np.random.default_rng(3)
    for count in (2, 6):
        shapes = face[0] + rng.normal(0, 0.3, (count, *face[0].shape))
        assert metrics.set_consistency(shapes).mean() == pytest.approx(0.3 * np.sqrt(3), rel=0.02)


def test_distances_of_shapes_are_those_after_the_best_similarity(face):
    one = face[0][::20]
    two = one + 2.0 * np.sin(one[:, [1, 2, 0]] / 9)
    found = metrics.shape_distances(np.stack([one, MOVE.apply(one), two]))
    np.testing.assert_array_equal(found, found.T)
    assert np.abs(np.diag(found)).max() == 0
    unit = lambda shape: (shape - shape.mean(0)) / np.linalg.norm(shape - shape.mean(0))  # noqa: E731
    rest = registration.similarity_from_landmarks(unit(two), unit(one)).apply(unit(two)) - unit(one)
    size = (np.linalg.norm(one - one.mean(0)) + np.linalg.norm(two - two.mean(0))) / 2
    assert found[0, 2] == pytest.approx(size * np.linalg.norm(rest) / np.sqrt(len(one)))
    assert found[0, 1] < 1e-5
    mirrored = metrics.shape_distances(np.stack([two, two * [-1, 1, 1]]))[0, 1]
    assert mirrored > 0.1, "a mirrored face is another face"
