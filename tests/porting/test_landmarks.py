import json

import numpy as np
import pytest

from tests.foreign_face import foreign_face
from tf_deep3d.porting import PortingError, landmarks

FACE = foreign_face()


def test_at_vertices():
    found = landmarks.at_vertices(FACE.landmarks, FACE.triangles)
    np.testing.assert_allclose(landmarks.positions(found, FACE.vertices), FACE.vertices[FACE.landmarks])
    triangles = {tuple(triangle) for triangle in FACE.triangles.tolist()}
    assert all(tuple(corners) in triangles for corners in found.vertices.tolist())
    with pytest.raises(PortingError, match=r"Received: landmarks \[1\]"):
        landmarks.at_vertices(np.array([0, 3]), np.array([[0, 1, 2]]))


def test_nearest_point_of_a_triangle():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]])
    triangles = np.array([[0, 1, 2], [3, 3, 3]])  # one has no area
    cases = {
        (0.2, 0.3, 0.7): (0.5, 0.2, 0.3),  # within
        (-1, -1, 0): (1, 0, 0),  # corners
        (3, -1, 0): (0, 1, 0),
        (-1, 3, 2): (0, 0, 1),
        (0.25, -2, 1): (0.75, 0.25, 0),  # edges
        (-2, 0.25, 0): (0.75, 0, 0.25),
        (1, 1, 0): (0, 0.5, 0.5),
    }
    found, distance = landmarks.at_points(np.array(list(cases), float), vertices, triangles)
    np.testing.assert_allclose(found.weights, list(cases.values()), atol=1e-6)
    gaps = np.linalg.norm(landmarks.positions(found, vertices) - list(cases), axis=1)
    np.testing.assert_allclose(distance, gaps, atol=1e-6)


def test_nearest_point_against_dense_samples():
    rng, coarse = np.random.default_rng(0), foreign_face(11, 13)
    points = coarse.vertices[rng.integers(0, len(coarse.vertices), 5)] + rng.normal(size=(5, 3)) * 0.2
    _, distance = landmarks.at_points(points, coarse.vertices, coarse.triangles)
    weights = rng.dirichlet(np.ones(3), 1000)
    surface = np.einsum("sw,twd->std", weights, coarse.vertices[coarse.triangles]).reshape(-1, 3)
    sampled = np.linalg.norm(points[:, None] - surface, axis=-1).min(1)
    assert (distance <= sampled + 1e-9).all()
    np.testing.assert_allclose(distance, sampled, atol=2e-3)


def write(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".json":
        path.write_text(json.dumps(np.asarray(values).tolist()))
    else:
        rows = np.asarray(values).reshape(len(values), -1)
        path.write_text("# iBUG\n\n" + "\n".join(" ".join(map(repr, row.tolist())) + " # a" for row in rows))


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".json"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, FACE.landmarks)
    found = landmarks.read_landmarks(path, FACE.vertices, FACE.triangles)
    np.testing.assert_allclose(landmarks.positions(found, FACE.vertices), FACE.vertices[FACE.landmarks])
    inside = (FACE.vertices[FACE.triangles[FACE.places[0]]] * FACE.places[1][..., None]).sum(1)
    write(path, inside + np.array([0, 0, 1e-3]))  # a little off the surface
    found = landmarks.read_landmarks(path, FACE.vertices, FACE.triangles)
    np.testing.assert_allclose(landmarks.positions(found, FACE.vertices), inside, atol=1.1e-3)


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".json"])
def test_files_of_three_vertices_with_weights(tmp_path, suffix):
    corners, weights = FACE.triangles[FACE.places[0]], FACE.places[1]
    path = tmp_path / f"a{suffix}"
    write(path, np.stack([corners, weights], -1).reshape(68, 6))
    found = landmarks.read_landmarks(path, FACE.vertices, FACE.triangles)
    wanted = (FACE.vertices[corners] * weights[..., None]).sum(1)
    np.testing.assert_allclose(landmarks.positions(found, FACE.vertices), wanted, atol=1e-6)


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".json"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FACE.landmarks[:67], r"must hold 68 lines .* Received: an array of shape \(67,\)"),
        (np.zeros((68, 2)), r"Received: an array of shape \(68, 2\)"),
        (FACE.landmarks + len(FACE.vertices), "landmarks must be whole numbers"),
        (FACE.landmarks - 4000, "landmarks must be whole numbers"),
        (FACE.landmarks + 0.5, "landmarks must be whole numbers"),
        (np.full((68, 3), np.nan), "landmarks must be finite"),
        (np.tile([0, 1, 1, 0.5, 2, 0], (68, 1)), "the landmarks' weights must sum to 1"),
        (np.tile([0, 1.5, 1, -0.5, 2, 0], (68, 1)), "the landmarks' weights must sum to 1"),
        (np.tile([0, 1, 1, 0, 1e6, 0], (68, 1)), "the landmarks' vertices must be whole numbers"),
    ],
)
def test_bad_files(tmp_path, suffix, values, message):
    path = tmp_path / f"a{suffix}"
    write(path, values)
    with pytest.raises(PortingError, match=message):
        landmarks.read_landmarks(path, FACE.vertices, FACE.triangles)


@pytest.mark.parametrize("name", ["a.txt", "a.npy", "a.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"1 2\n3", b'{"a": 1}', b"[[1], [2, 3]]"])
def test_other_content(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PortingError, match=name):
        landmarks.read_landmarks(tmp_path / name, FACE.vertices, FACE.triangles)


def test_npy_with_objects_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}] * 68, dtype=object), allow_pickle=True)
    with pytest.raises(PortingError, match="allow_pickle"):
        landmarks.read_landmarks(tmp_path / "a.npy", FACE.vertices, FACE.triangles)
