"""The landmarks' places on the mean face, from what a detector sees on renders of people."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.data.rendered.people import load_head
from tf_deep3d.evaluation.registration import Similarity3D
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face.camera import MILLIMETRES, Camera, to_pixels
from tf_deep3d.face.landmarks import IRISES
from tf_deep3d.porting.open_face import embedding, landmarks
from tf_deep3d.porting.open_face.scanned_people import Registration
from tf_deep3d.porting.open_face.surface import EYE, FACE


@pytest.fixture(scope="module")
def levels():
    return morphable_model.load_levels()


@pytest.fixture(scope="module")
def own(levels):
    """The 478 points of the shipped model on its mean face with the mouth open, dm."""
    return faces.at_landmarks(levels[1].landmarks["mediapipe478"], embedding.opened(levels[1])[None])[0]


@pytest.fixture(scope="module")
def views(levels):
    """Twelve views of the mean face with its mouth open, in which the detector finds nothing yet."""
    model, camera, rng = levels[1], Camera.for_size(embedding.SIZE), np.random.default_rng(0)
    angles = rng.uniform([-0.4, -0.8, 0], [0.4, 0.8, 0], (12, 3))
    posed = faces.pose(np.repeat(embedding.opened(model)[None], 12, 0), angles, np.zeros((12, 3)))
    normals = geometry.vertex_normals(posed, model.triangles, model.vertex_corners)
    facing = (normals * geometry.normalize([0, 0, camera.distance] - posed)).sum(-1)
    surface = to_pixels(camera, posed)[0]
    scale = np.full(12, camera.focal / camera.distance)
    return embedding.Observed(np.full((12, 478, 2), np.nan), surface, facing, angles, scale)


def seen_at(views, points):
    """`views` in which the detector sees the surface points `points`."""
    return views._replace(points=(views.surface[:, points.vertices] * points.weights[..., None]).sum(2))


def test_the_jaw_is_open_where_the_points_are_found(levels):
    model = levels[1]
    lips = model.landmarks["ibug68"].vertices[[62, 66], 0]  # middle of the inner lips, upper and lower
    closed, open_ = (
        surface[lips, 1] @ [1, -1] * MILLIMETRES for surface in (model.mean_shape, embedding.opened(model))
    )
    assert open_ > closed + 5


def test_parts_follow_the_regions(levels):
    model = levels[1]
    parts = embedding.parts_of(model)
    assert model.regions["eyes"][model.triangles[parts == EYE]].all()
    assert not model.regions["eyes"][model.triangles[parts == FACE]].all(1).any()
    assert not model.regions["inner_mouth"][model.triangles[parts == FACE]].all(1).any()


def test_points_are_found_where_the_detector_sees_them(levels, own, views):
    """It sees them up to 4 mm from where the model has them."""
    model = levels[1]
    pairs = landmarks.mirrored_points(own, tolerance=0.05)
    shift = np.random.default_rng(1).uniform(-0.025, 0.025, (478, 3))
    moved = own + (shift + shift[pairs] * [-1, 1, 1]) / 2
    mesh = (embedding.opened(model), model.triangles, embedding.parts_of(model))
    truth = landmarks.landmark_sets(moved, *mesh)["mediapipe478"]
    places = faces.at_landmarks(truth, embedding.opened(model)[None])[0]
    off = MILLIMETRES * np.linalg.norm(embedding.embed(model, seen_at(views, truth)) - places, axis=1)
    before = MILLIMETRES * np.linalg.norm(own - places, axis=1)
    assert np.median(before) > 1
    assert np.median(off) < 0.3
    assert np.quantile(off, 0.9) < 0.8  # beside folds: lids, lips, nostrils


def test_places_settle_where_one_search_does_not_reach(levels, own, views):
    """The detector sees one landmark of each pair 10 mm below where the model has it; one search goes 6 mm."""
    model = levels[1]
    index = 50  # on a cheek
    pairs = landmarks.mirrored_points(own, tolerance=0.05)
    moved = own.copy()
    moved[[index, pairs[index]]] -= [0, 0.1, 0]
    mesh = (embedding.opened(model), model.triangles, embedding.parts_of(model))
    truth = landmarks.landmark_sets(moved, *mesh)["mediapipe478"]
    goal = faces.at_landmarks(truth, embedding.opened(model)[None])[0][index]
    seen = seen_at(views, truth)
    places, arrays = embedding.settle(levels, seen)
    assert MILLIMETRES * np.linalg.norm(embedding.embed(model, seen)[index] - goal) > 2
    assert MILLIMETRES * np.linalg.norm(places[index] - goal) < 0.5
    found = faces.at_landmarks(embedding.points478(arrays), embedding.opened(model)[None])[0]
    assert MILLIMETRES * np.linalg.norm(found[index] - goal) < 0.5


def test_bias_is_the_mean_offset_of_what_faces_the_camera(levels, views):
    points = levels[1].landmarks["mediapipe478"]
    exact = seen_at(views, points)
    assert np.nanmax(embedding.bias(points, exact)) < 1e-3
    shifted = exact._replace(points=exact.points + np.array([0, 0.02]) * exact.scale[0])
    lengths = embedding.bias(points, shifted)
    np.testing.assert_allclose(lengths[np.isfinite(lengths)], 2.0, rtol=1e-3)
    assert np.isfinite(lengths).mean() > 0.97
    facing = (exact.facing[:, points.vertices] * points.weights).sum(-1)
    turned = exact._replace(points=np.where(facing[..., None] > 0, exact.points, 1e4))
    assert np.nanmax(embedding.bias(points, turned)) < 1e-3  # what faces away does not count


def test_arrays_put_the_points_on_every_level(levels, own):
    arrays = embedding.landmark_arrays(levels, own)
    for level, model in enumerate(levels):
        vertices, weights = (arrays[f"level{level}_landmarks_mediapipe478_{part}"] for part in ("vertices", "weights"))
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        places = (embedding.opened(model)[vertices] * weights[..., None]).sum(1)
        distance = MILLIMETRES * np.linalg.norm(places - own, axis=1)
        assert np.median(distance) < (0.5, 0.1, 0.2)[level]
        assert model.regions["eyes"][vertices[IRISES]].all()


def test_the_detector_sees_the_shipped_points_on_people(levels):
    """People who were not looked at when the points were placed: no large mean error."""
    head = load_head(levels[1])
    seen = embedding.observe(levels[1], head, range(900, 906), lambda: None)
    assert np.isfinite(seen.points).all((1, 2)).sum() >= 5
    assert np.nanmedian(embedding.bias(levels[1].landmarks["mediapipe478"], seen)) < 2.0  # mm, of a handful of people


def test_scanned_people_stand_in_the_same_pictures(levels):
    """All but the shapes stays: the angles and, of scanned people who are all the model's mean, the picture's scale."""
    model, head = levels[1], load_head(levels[1])
    modes = np.zeros((3, len(model.identity_basis)))
    scanned = Registration(np.zeros(len(model.identity_basis)), modes, 0.0, Similarity3D(1.0, np.eye(3), np.zeros(3)))
    steps = []
    both = embedding.look(model, head, range(2), scanned, lambda: steps.append(1))
    assert len(steps) == 4
    np.testing.assert_array_equal(both.angles[:2], both.angles[2:])
    assert np.abs(both.surface[:2] - both.surface[2:]).max() > 1  # px: other people
    ones = scanned._replace(modes=np.eye(3, len(model.identity_basis)))
    varied = embedding.observe(model, head, [0], lambda: None, ones)
    assert np.abs(varied.surface[0] - both.surface[2]).max() > 1
    alone = embedding.look(model, head, range(1), None, lambda: None)
    np.testing.assert_array_equal(alone.surface, both.surface[:1])


def test_a_file_is_not_replaced_unasked(tmp_path, capsys):
    (tmp_path / "model.npz").write_bytes(b"mine")
    assert embedding.main([str(tmp_path / "model.npz")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "model.npz").read_bytes() == b"mine"
