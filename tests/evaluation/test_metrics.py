"""The metrics against displacements and similarities that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tf_deep3d.evaluation import metrics
from tf_deep3d.face import geometry

MOVE = metrics.Similarity3D(
    1.3, Rotation.from_euler("xyz", [4, -7, 3], degrees=True).as_matrix(), np.array([5, -3, 8.0])
)


def normals_of(vertices, triangles):
    return geometry.vertex_normals(vertices[None], triangles, geometry.corners_around(triangles, len(vertices)))[0]


def plane(side=100.0, count=41, height=0.0):
    """A square in x, y of `side` mm that faces +z."""
    x, y = np.meshgrid(np.linspace(-side / 2, side / 2, count), np.linspace(-side / 2, side / 2, count))
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return np.stack([x, y, np.full_like(x, height)], -1).reshape(-1, 3), triangles.astype(np.int32)


@pytest.fixture(scope="module")
def face(tiny_model):
    """(vertices in mm, triangles, normals) of the synthetic face."""
    vertices = tiny_model.mean_shape.astype(np.float64) * 100
    return vertices, tiny_model.triangles, normals_of(vertices, tiny_model.triangles)


def test_landmarks_give_back_a_similarity(face):
    source = face[0][::97]
    found = metrics.similarity_from_landmarks(source, MOVE.apply(source))
    assert found.scale == pytest.approx(1.3)
    np.testing.assert_allclose(found.rotation, MOVE.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, MOVE.translation, atol=1e-9)
    rigid = metrics.similarity_from_landmarks(source, MOVE.apply(source), scale=False)
    assert rigid.scale == 1
    np.testing.assert_allclose(rigid.rotation, MOVE.rotation, atol=1e-12)


def test_landmarks_never_mirror_and_may_be_missing():
    source = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    found = metrics.similarity_from_landmarks(source, source * [-1, 1, 1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    target = MOVE.apply(source)
    target[3] = np.nan
    np.testing.assert_allclose(metrics.similarity_from_landmarks(source, target).rotation, MOVE.rotation, atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.arange(3) * np.ones((4, 1)), np.eye(3)[:2], np.eye(3)[:, :2]])
def test_landmarks_that_say_nothing_are_refused(points):
    with pytest.raises(ValueError, match="Received"):
        metrics.similarity_from_landmarks(points, points)


def test_similarities_compose_and_invert(face):
    np.testing.assert_allclose(MOVE.inverse().apply(MOVE.apply(face[0])), face[0], atol=1e-9)
    other = metrics.Similarity3D(0.5, np.eye(3), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(metrics.compose(other, MOVE).apply(face[0]), other.apply(MOVE.apply(face[0])))


def test_icp_recovers_a_similarity(face):
    vertices, triangles, normals = face
    start = metrics.Similarity3D(1.32, Rotation.from_euler("y", 2.5, degrees=True).as_matrix() @ MOVE.rotation,
                                 MOVE.translation + np.array([2, 1, -2]))  # fmt: skip
    found = metrics.icp(vertices, normals, MOVE.apply(vertices), normals @ MOVE.rotation.T, start)
    assert found.scale == pytest.approx(1.3, abs=1e-6)
    np.testing.assert_allclose(found.apply(vertices), MOVE.apply(vertices), atol=1e-4)
    far = metrics.distances(found.apply(vertices), triangles, normals @ found.rotation.T, MOVE.apply(vertices))
    assert metrics.root_mean_square(far.plane) < 1e-4


def test_icp_without_scale_keeps_it(face):
    vertices, _, normals = face
    points = vertices * 1.02
    found = metrics.icp(
        vertices, normals, points, normals, metrics.Similarity3D(1.0, np.eye(3), np.zeros(3)), scale=False
    )
    assert found.scale == 1


def test_icp_refuses_surfaces_that_turn_away(face):
    vertices, _, normals = face
    start = metrics.Similarity3D(1.0, np.eye(3), np.zeros(3))
    with pytest.raises(ValueError, match="hardly face each other"):
        metrics.icp(vertices, normals, vertices, -normals, start)


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


def test_sides_need_side_views(face):
    vertices, triangles, _ = face
    assert metrics.visible(vertices, triangles).mean() > 0.99


def test_landmark_nme():
    truth = np.random.default_rng(0).uniform(0, 1, (2, 68, 2))
    truth[:, 0], truth[:, 1] = 0, 1
    truth[:, 36], truth[:, 45] = [0.25, 0.5], [0.75, 0.5]
    truth = truth * [200, 50]
    moved = truth + np.array([3, 4])
    np.testing.assert_allclose(metrics.landmark_nme(moved, truth), 5 / 100)
    np.testing.assert_allclose(metrics.landmark_nme(moved, truth, "eyes"), 5 / 100)
    with pytest.raises(ValueError, match="Received: 'nose'"):
        metrics.landmark_nme(moved, truth, "nose")


def test_pose_errors_go_the_short_way_round():
    errors = metrics.pose_errors([[10, -20, 179]], [[13, -15, -179]])
    np.testing.assert_allclose(errors, [[3, 5, 2]])


def test_summary_holds_the_mean_and_leaves_out_what_is_missing():
    values = np.random.default_rng(3).normal(10, 2, 400)
    found = metrics.summarize([*values, np.nan])
    assert found.count == 400
    assert found.mean == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std(ddof=1))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.1)
    assert found == metrics.summarize(values), "the seed is fixed"
    assert metrics.summarize([4.0]) == (1, 4.0, 0.0, 4.0, 4.0, 4.0)
    assert np.isnan(metrics.summarize([]).mean)


def test_summary_of_groups_knows_that_pictures_of_one_person_are_alike():
    values = np.repeat(np.random.default_rng(3).normal(10, 2, 10), 40)
    groups = np.repeat(np.arange(10), 40)
    wide, narrow = metrics.summarize(values, groups), metrics.summarize(values)
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)
    assert wide.mean == narrow.mean


def test_comparison_of_paired_pictures():
    rng = np.random.default_rng(5)
    base = rng.normal(2, 1, 60)
    better = metrics.compare(base, base + 0.1 + 0.01 * rng.normal(size=60))
    assert better.difference.mean == pytest.approx(-0.1, abs=0.01)
    assert better.difference.high < 0
    assert better.p_value < 0.002
    same = metrics.compare(base, base + 0.1 * rng.normal(size=60))
    assert same.p_value > 0.05
    with pytest.raises(ValueError, match="Received: 1"):
        metrics.compare([1.0, np.nan], [2.0, 3.0])


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
    rest = metrics.similarity_from_landmarks(unit(two), unit(one)).apply(unit(two)) - unit(one)
    size = (np.linalg.norm(one - one.mean(0)) + np.linalg.norm(two - two.mean(0))) / 2
    assert found[0, 2] == pytest.approx(size * np.linalg.norm(rest) / np.sqrt(len(one)))
    assert found[0, 1] < 1e-5
    mirrored = metrics.shape_distances(np.stack([two, two * [-1, 1, 1]]))[0, 1]
    assert mirrored > 0.1, "a mirrored face is another face"
