"""The open benchmark's shipped subjects, its views and its pictures."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.detection import detector
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import lights, metrics, model_people, open_benchmark, registration
from tf_deep3d.evaluation.measuring import TONES
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import (
    INNER_FACE,
    INNER_LIPS,
    NOSE_BRIDGE,
    NOSE_ROOT,
    NOSE_TIP,
    NOSTRILS,
    eye_distance,
)
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.face.morphable_model import load
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import benchmark_people as build


@pytest.fixture(scope="module")
def benchmark():
    return open_benchmark.load()


@pytest.fixture(scope="module")
def subjects(benchmark):
    return {view.subject.name: view.subject for view in benchmark.views}


def test_ten_people_and_a_scan(benchmark, subjects):
    assert benchmark.name == "open benchmark 3.2"
    assert len(subjects) == 11
    assert len(benchmark.views) == 10 * 5 + 20
    assert len({view.name for view in benchmark.views}) == 70
    assert sum(who.expressive for who in subjects.values()) == 4
    assert [who.name for who in subjects.values() if who.lit] == ["james"]
    assert {view.angles[1] for view in benchmark.views if view.subject.lit} == {-80, -40, 0, 40, 80}


def test_subjects_are_the_size_of_people_in_the_models_frame(subjects):
    mean = load(level=0)
    corners = mean.landmarks["ibug68"]
    points = np.einsum("lcd,lc->ld", mean.mean_shape[corners.vertices], corners.weights)
    usual = eye_distance(points)
    assert 0.8 < usual < 1.2  # dm
    modes = faces.at_landmarks(corners, mean.identity_basis)
    spread = np.linalg.norm([eye_distance(points + mode) - usual for mode in modes])
    for who in subjects.values():
        assert abs(eye_distance(who.landmarks) - usual) < 3 * spread
        found = registration.similarity_from_landmarks(who.landmarks[INNER_FACE], points[INNER_FACE])
        assert 0.85 < found.scale < 1.15
        assert np.degrees(np.arccos((np.trace(found.rotation) - 1) / 2)) < 8


def test_measured_region_is_the_front_of_the_face(subjects):
    for who in subjects.values():
        points = who.vertices[who.region]
        assert np.linalg.norm(points - who.landmarks[NOSE_TIP], axis=1).max() <= 0.95
        assert 3000 < len(points) < 25000
        assert (who.normals[who.region, 2] > -0.75).all(), "seen from 45 degrees at most"


def test_landmarks_lie_on_the_people(subjects):
    for who in subjects.values():
        distance = np.linalg.norm(
            who.vertices[None] - who.landmarks[NOSE_BRIDGE.start : NOSTRILS.stop, None], axis=-1
        ).min(1)
        # Half the edge of a triangle for people; the scan's were set by hand.
        assert distance.max() < (0.025 if who.exact else 0.05)


def test_people_are_not_of_the_model(subjects):
    """No identity coefficients, however large, give a person's 68 landmarks to within 0.1 mm; and all people differ."""
    model = load(level=-1)
    modes = model.identity_basis.reshape(len(model.identity_basis), -1, 3)
    directions = faces.at_landmarks(model.landmarks["ibug68"], modes).reshape(len(modes), -1)
    mean = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0]
    people = [who for who in subjects.values() if who.exact]
    for who in people:
        offset = (who.landmarks - mean).ravel()
        coefficients = np.linalg.lstsq(directions.T, offset, rcond=None)[0]
        left = (offset - coefficients @ directions).reshape(-1, 3)
        assert MILLIMETRES * np.sqrt((left**2).sum(1).mean()) > 0.1
    tips = np.stack([who.landmarks[NOSE_TIP] - who.landmarks[NOSE_ROOT] for who in people])
    assert np.linalg.norm(tips[:, None] - tips[None], axis=-1)[np.triu_indices(10, 1)].min() > 0.005


def test_eyes_are_not_measured_and_the_face_comes_first(subjects):
    """The first vertices are those of the face model, whose eyes are known; lids move with them."""
    model = load(level=1)
    for who in subjects.values():
        if who.exact:
            measured = np.isin(np.arange(len(model.mean_shape)), who.region)
            assert measured[model.regions["eyes"]].mean() < 0.02
            assert measured[model.regions["lids"]].mean() < 0.4
            own = faces.at_landmarks(model.landmarks["ibug68"], who.vertices[None, : len(model.mean_shape)])[0]
            np.testing.assert_allclose(own, who.landmarks, atol=5e-3)  # dm


def test_every_person_stands_in_every_light_and_has_a_tone(benchmark, subjects):
    for who in subjects.values():
        found = {view.light for view in benchmark.views if view.subject is who}
        assert found == ({""} if who.lit else set(lights.LIGHTS))
    tones = [TONES[model_people.skin_tone(who)] for who in subjects.values() if not who.lit]
    assert {tone: tones.count(tone) for tone in ("light", "medium", "dark")} == {"light": 4, "medium": 3, "dark": 3}


def test_a_smile_shows_teeth(benchmark):
    """Between the inner lips of the first who makes a face, seen from the front, something is far lighter than skin."""
    (view, *_) = [view for view in benchmark.views if view.subject.expressive and view.angles[1] == 0]
    image = open_benchmark.picture(view) / 255
    low, high = view.landmarks[INNER_LIPS].min(0), view.landmarks[INNER_LIPS].max(0)
    between = image[int(low[1]) : int(high[1]) + 1, int(low[0]) : int(high[0]) + 1] @ LUMINANCE
    assert between.max() > 1.5 * np.median(view.subject.colors[view.subject.region] @ LUMINANCE)


def test_a_limit_spreads_the_views(benchmark):
    names = [view.name for view in open_benchmark.load(limit=3).views]
    assert names == [benchmark.views[i].name for i in (0, 34, 69)]
    with pytest.raises(InputError, match="Received: 0"):
        open_benchmark.load(limit=0)


@pytest.mark.parametrize("index", [2, 57])
def test_a_detector_finds_the_landmarks_where_the_truth_says(benchmark, index):
    """A frontal person, and the scan looking half down."""
    view = benchmark.views[index]
    image = open_benchmark.picture(view)
    assert image.shape == (400, 400, 3)
    np.testing.assert_array_equal(image, open_benchmark.picture(view))
    (found, *_) = detector.detect(image)
    error = metrics.landmark_nme(found.landmarks68[None], view.landmarks[None])
    assert error < 0.06


def test_pictures_differ_in_light_and_background(benchmark):
    corners = {tuple(open_benchmark.picture(view)[0, 0]) for view in benchmark.views[:3]}
    assert len(corners) == 3


def test_another_file_is_refused(tmp_path, model_file):
    with pytest.raises(open_benchmark.BenchmarkError, match="no benchmark"):
        open_benchmark.load(path=model_file)
    with pytest.raises(FileNotFoundError):
        open_benchmark.load(path=tmp_path / "none.npz")
    arrays = archive.read_arrays(open_benchmark.FILE)
    archive.write_arrays(tmp_path / "part.npz", {k: v for k, v in arrays.items() if k != "james_uv"})
    with pytest.raises(open_benchmark.BenchmarkError, match="james_uv"):
        open_benchmark.load(path=tmp_path / "part.npz")


def test_stored_regions_are_what_the_build_finds():
    arrays = archive.read_arrays(open_benchmark.FILE)
    one = {
        name: values[:1] if name.startswith("people_") and values.ndim > 2 else values
        for name, values in arrays.items()
    }
    one |= {"james_vertices": one["people_vertices"][0], "james_triangles": one["people_triangles"]}
    one |= {"james_landmarks": one["people_landmarks"][0], "james_step": one["people_step"]}
    found = build.regions(one)
    np.testing.assert_array_equal(found["people_region"], arrays["people_region"][:1])
    np.testing.assert_array_equal(found["james_region"], found["people_region"][0])


def test_quantization_is_far_below_what_is_measured():
    positions = np.random.default_rng(0).uniform(-2.4, 2.4, (50, 3))
    stored, step = build.quantized(positions)
    assert stored.dtype == np.int16
    np.testing.assert_allclose(stored * step, positions, atol=4e-5)  # dm


def test_the_scans_file_is_read_by_corners():
    text = "# scan\nv 1 2 3\nv 4 5 6\nv 7 8 9\nvt 0.5 1\nvt 0 0.25\nusemtl a\nf 3/2 1/1 2/2\n"
    vertices, texture, triangles, corners = build.parse_triangles(text)
    np.testing.assert_array_equal(vertices[2], [7, 8, 9])
    np.testing.assert_array_equal(texture, [[0.5, 1], [0, 0.25]])
    np.testing.assert_array_equal(triangles, [[2, 0, 1]])
    np.testing.assert_array_equal(corners, [[1, 0, 1]])
    assert sorted(build.IBUG_ORDER) == list(range(68))


def test_another_scan_is_refused(tmp_path):
    path = tmp_path / "menpo3d.tar.gz"
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="SHA-256"):
        build.scan(path, np.zeros((68, 3)))
