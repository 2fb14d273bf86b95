import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from tf_deep3d.face import geometry

QUARTER = np.pi / 2


def _sphere(rounds=4):
    """Vertices and outward triangles of a unit sphere without poles' seams: an octahedron subdivided."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    triangles = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    vertices = list(vertices)
    for _ in range(rounds):
        middle, finer = {}, []
        for a, b, c in triangles:
            corners = []
            for edge in (tuple(sorted(pair)) for pair in ((a, b), (b, c), (c, a))):
                if edge not in middle:
                    point = vertices[edge[0]] + vertices[edge[1]]
                    middle[edge] = len(vertices)
                    vertices.append(point / np.linalg.norm(point))
                corners.append(middle[edge])
            ab, bc, ca = corners
            finer += [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
        triangles = finer
    return np.array(vertices), np.array(triangles, np.int32)


def test_quaternions_turn_as_the_matrices_and_as_scipys():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (500, 3))
    found = geometry.quaternions(angles)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1)
    np.testing.assert_allclose(Rotation.from_quat(found).as_matrix(), geometry.rotation_matrix(angles), atol=1e-12)
    heads = angles / 4  # less than 45 degrees about each axis: w is the largest, of which scipy returns the positive
    expected = Rotation.from_matrix(geometry.rotation_matrix(heads)).as_quat()
    np.testing.assert_allclose(geometry.quaternions(heads), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("angles", "start", "end"),
    [
        ((QUARTER, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, QUARTER, 0), (0, 0, 1), (1, 0, 0)),
        ((0, 0, QUARTER), (1, 0, 0), (0, 1, 0)),
        ((QUARTER, QUARTER, QUARTER), (1, 0, 0), (0, 0, -1)),
    ],
)
def test_rotation_turns_the_axes_as_documented(angles, start, end):
    rotation = geometry.rotation_matrix(np.array([angles], float))[0]
    np.testing.assert_allclose(rotation @ np.array(start, float), end, atol=1e-12)


def test_rotation_is_roll_after_yaw_after_pitch_and_angles_of_undoes_it():
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 3))
    rotation = geometry.rotation_matrix(angles)
    single = [geometry.rotation_matrix(angles * np.eye(3)[i]) for i in range(3)]
    np.testing.assert_allclose(rotation, single[2] @ single[1] @ single[0], atol=1e-12)
    np.testing.assert_allclose(geometry.angles_of(rotation), angles, atol=1e-9)


def test_normals_of_a_sphere_are_its_positions():
    vertices, triangles = _sphere()
    table = geometry.corners_around(triangles, len(vertices))
    normals = geometry.vertex_normals(vertices[None], triangles, table)[0]
    assert np.einsum("vc,vc->v", normals, vertices).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-9)


def test_corners_around_lists_every_corner_once():
    _, triangles = _sphere()
    table = geometry.corners_around(triangles, triangles.max() + 1)
    for vertex, row in enumerate(table):
        listed = row[row < triangles.size]
        np.testing.assert_array_equal(listed, np.flatnonzero(triangles.reshape(-1) == vertex))
        assert (row[len(listed) :] == triangles.size).all()


def test_gradient_of_vertex_normals_is_that_of_central_differences():
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(4)
    vertices, triangles = _sphere(1)
    vertices = np.stack([vertices, vertices + rng.normal(size=vertices.shape) * 0.1])
    table, weights = geometry.corners_around(triangles, len(vertices[0])), rng.normal(size=vertices.shape)
    variable = tf.Variable(vertices)
    with tf.GradientTape() as tape:
        total = ops.sum(geometry.vertex_normals(variable, triangles, table, xp=ops) * weights)
    gradient = tape.gradient(total, variable).numpy()
    for _ in range(5):
        direction, step = rng.normal(size=vertices.shape), 1e-6
        ahead, behind = (
            np.sum(geometry.vertex_normals(vertices + sign * step * direction, triangles, table) * weights)
            for sign in (1, -1)
        )
        np.testing.assert_allclose(np.sum(gradient * direction), (ahead - behind) / (2 * step), rtol=1e-5)


def test_vertices_without_an_area_have_zero_normals_and_finite_gradients():
    """One vertex of no triangle, and three of a triangle that is a point."""
    tf = pytest.importorskip("tensorflow")
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [2, 2, 2], [2, 2, 2], [2, 2, 2]]], float)
    triangles = np.array([[0, 1, 2], [4, 5, 6]], np.int32)
    table = geometry.corners_around(triangles, 7)
    normals = geometry.vertex_normals(vertices, triangles, table)
    np.testing.assert_allclose(normals[0], [[0, 0, 1]] * 3 + [[0, 0, 0]] * 4, atol=1e-9)
    variable = tf.Variable(vertices)
    with tf.GradientTape() as tape:
        total = ops.sum(geometry.vertex_normals(variable, triangles, table, xp=ops))
    gradient = tape.gradient(total, variable).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0, :3]).max() > 0.1
    assert not gradient[0, 3].any()


def test_triangle_normals_are_those_of_the_right_hand():
    vertices = np.array([[[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]]], float)
    triangles = np.array([[0, 1, 2], [0, 2, 1], [0, 2, 3], [1, 2, 3]])
    found = geometry.triangle_normals(vertices, triangles)[0]
    slanted = np.array([1 / 2, 1 / 3, 1 / 4]) / np.linalg.norm([1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(found, [[0, 0, 1], [0, 0, -1], [1, 0, 0], slanted], atol=1e-9)


def test_numpy_and_keras_agree():
    rng = np.random.default_rng(1)
    vertices, triangles = rng.normal(size=(2, 30, 3)).astype("float32"), rng.integers(0, 30, (40, 3)).astype("int32")
    table = geometry.corners_around(triangles, 30)
    ours = geometry.vertex_normals(vertices, triangles, table)
    theirs = geometry.vertex_normals(ops.convert_to_tensor(vertices), triangles, table, xp=ops)
    np.testing.assert_allclose(ours, ops.convert_to_numpy(theirs), atol=2e-6)


def test_cross_is_numpys():
    a, b = np.random.default_rng(2).normal(size=(2, 7, 3))
    np.testing.assert_allclose(geometry.cross(a, b), np.cross(a, b))


def test_similarity_turns_x_towards_y_scales_and_moves():
    similarity = geometry.Similarity(2.0, QUARTER, (10.0, 20.0))
    np.testing.assert_allclose(similarity.apply([[1.0, 0.0], [0.0, 1.0]]), [[10, 22], [8, 20]], atol=1e-12)


def test_inverse_similarity_undoes():
    similarity = geometry.Similarity(0.37, 1.1, (-4.0, 9.0))
    points = np.random.default_rng(3).normal(size=(5, 2))
    np.testing.assert_allclose(similarity.inverse().apply(similarity.apply(points)), points, atol=1e-12)
