"""Tests of `tf_deep3d.detection.detector`, on the astronaut of scikit-image (public domain)."""

import concurrent.futures
import importlib.util
import math

import numpy as np
import pytest
from skimage import data

from tf_deep3d.detection import detector as detection
from tf_deep3d.detection import networks
from tf_deep3d.detection.resampling import crop
from tf_deep3d.evaluation import open_benchmark
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.face.landmarks import EYES, INNER_EYE_CORNERS, INNER_FACE, OUTER_EYE_CORNERS

# Points of the astronaut's face, read off the picture by eye: eye centres, nose tip, mouth corners, to about 3 px.
ASTRONAUT5 = np.array([[204, 102], [247, 104], [222, 126], [201, 140], [247, 142]])


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()


@pytest.fixture(scope="module")
def found(photo):
    """The astronaut's only detection."""
    faces = detection.detect(photo)
    assert len(faces) == 1
    return faces[0]


def eye_distance(face):
    return np.linalg.norm(face.points5[0] - face.points5[1])


def moved(photo, scale, rotation=0.0, size=512, centre=(223.0, 120.0)):
    """The photo around the face's middle, scaled and turned into a square of `size`; and the similarity."""
    turn = Similarity(scale, rotation)
    x, y = size / 2 - turn.apply(np.array(centre))
    transform = Similarity(scale, rotation, (float(x), float(y)))
    return np.round(crop(photo, transform, size) * 255).astype(np.uint8), transform


def deviation(face, transform, reference):
    """Mean distance of the mesh mapped back from its reference, in eye distances."""
    back = transform.inverse().apply(face.landmarks478[:, :2])
    return np.linalg.norm(back - reference.landmarks478[:, :2], axis=1).mean() / eye_distance(reference)


def test_finds_the_face(found):
    assert found.score > 0.8
    assert found.landmarks478.shape == (478, 3)
    assert found.landmarks68.shape == (68, 2)
    assert found.blendshapes.shape == (51,)
    assert all(array.dtype == np.float32 for array in (*found[1:5], found.blendshapes))
    assert np.linalg.norm(found.points5 - ASTRONAUT5, axis=1).max() < 5


def test_parts_of_a_detection_agree(found):
    mesh = found.landmarks478[:468, :2]
    np.testing.assert_array_equal(found.box, [*mesh.min(0), *mesh.max(0)])
    np.testing.assert_array_equal(found.landmarks68, found.landmarks478[detection.IBUG68, :2])
    corners = found.landmarks68[[OUTER_EYE_CORNERS, INNER_EYE_CORNERS]]
    np.testing.assert_allclose(found.points5[:2], corners.mean(0), atol=1e-4)
    np.testing.assert_array_equal(found.points5[2], found.landmarks68[30])  # nose tip
    np.testing.assert_array_equal(found.points5[3:], found.landmarks68[[48, 54]])  # mouth corners


def test_ibug_order(found):
    points = found.landmarks68
    assert (np.diff(points[:17, 0]) > 0).all()  # the jaw from image-left to image-right
    assert points[8, 1] == points[:, 1].max()  # the chin
    assert (np.diff(points[27:31, 1]) > 0).all()  # down the nose
    assert points[17:27, 1].max() < points[36:48, 1].min()  # brows above the eyes
    assert points[36:48, 1].max() < points[48:, 1].min()  # eyes above the mouth


def test_irises_lie_in_the_lids(found):
    for iris, eye in zip((468, 473), EYES, strict=True):
        lid_points = found.landmarks68[eye]
        centre, right, top, left, bottom = found.landmarks478[iris : iris + 5, :2]
        assert (centre > lid_points.min(0)).all()
        assert (centre < lid_points.max(0)).all()
        assert left[0] < centre[0] < right[0]
        assert top[1] < centre[1] < bottom[1]


@pytest.mark.parametrize("scale", [0.4, 0.71, 1.0, 2.3])
@pytest.mark.parametrize("shift", [0.0, 30.4])
def test_landmarks_follow_shift_and_scale(photo, found, scale, shift):
    picture, transform = moved(photo, scale, centre=(223.0 + shift / scale, 150.0 - shift / scale))
    faces = detection.detect(picture)
    assert len(faces) == 1
    assert deviation(faces[0], transform, found) < 0.035


def test_mirrored_photo_has_mirrored_points(photo, found):
    faces = detection.detect(np.ascontiguousarray(photo[:, ::-1]))
    assert len(faces) == 1
    mirrored = faces[0].points5[[1, 0, 2, 4, 3]] * [-1, 1] + [512, 0]
    offset = (mirrored - found.points5) / eye_distance(found)
    assert np.linalg.norm(offset, axis=1).max() < 0.06
    middle = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 164, 0, 17, 18, 200, 199, 175, 152]  # on the mesh's mirror line
    sums = found.landmarks478[middle, 0] + faces[0].landmarks478[middle, 0] - 512
    assert abs(sums.mean() / 2) < 0.02 * eye_distance(found)


@pytest.mark.parametrize("degrees", range(15, 360, 30))
def test_landmarks_follow_rotation(photo, found, degrees):
    picture, transform = moved(photo, 0.8, math.radians(degrees))
    faces = detection.detect(picture)
    assert faces
    assert deviation(faces[0], transform, found) < 0.07


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_of_the_photo(photo, found, quarters):
    faces = detection.detect(np.ascontiguousarray(np.rot90(photo, -quarters)))
    turn = Similarity(1.0, quarters * math.pi / 2)
    x, y = 256 - turn.apply(np.array([256.0, 256.0]))
    assert len(faces) == 1
    assert deviation(faces[0], Similarity(1.0, turn.rotation, (x, y)), found) < 0.06


def test_small_faces_in_a_large_photo(photo, found):
    canvas = np.full((1200, 1600, 3), 127, np.uint8)
    small, transform = moved(photo, 0.55, size=180)
    places = [(100, 100), (1300, 80), (700, 600), (60, 950), (1400, 1000)]
    for x, y in places:
        canvas[y : y + 180, x : x + 180] = small
    faces = detection.detect(canvas)
    assert len(faces) == len(places)
    for x, y in places:
        shifted = Similarity(transform.scale, 0.0, tuple(np.add(transform.translation, [x, y])))
        assert min(deviation(face, shifted, found) for face in faces) < 0.05


def test_faces_come_largest_first(photo):
    canvas = np.full((600, 900, 3), 90, np.uint8)
    for scale, x in ((0.6, 0), (1.3, 300), (0.9, 600)):
        canvas[150:450, x : x + 300] = moved(photo, scale, size=300)[0]
    faces = detection.detect(canvas)
    areas = [np.prod(face.box[2:] - face.box[:2]) for face in faces]
    assert len(faces) == 3
    assert areas == sorted(areas, reverse=True)
    assert [int(face.points5[2, 0] // 300) for face in faces] == [1, 2, 0]


def test_thorough_finds_what_the_quick_search_misses(photo):
    canvas = np.full((900, 1600, 3), 127, np.uint8)
    canvas[100:800, 100:800] = moved(photo, 2.5, size=700)[0]  # a large face: the quick search is content
    canvas[840:896, 1500:1556] = moved(photo, 0.25, size=56)[0]
    assert len(detection.detect(canvas)) == 1
    faces = detection.detect(canvas, thorough=True)
    assert len(faces) == 2
    assert eye_distance(faces[1]) == pytest.approx(0.25 / 2.5 * eye_distance(faces[0]), rel=0.1)


def test_face_that_fills_the_photo(photo, found):
    picture, transform = moved(photo, 2.6, size=256)
    faces = detection.detect(picture)
    assert len(faces) == 1
    assert deviation(faces[0], transform, found) < 0.07


def test_face_cut_by_the_border(photo, found):
    faces = detection.detect(np.ascontiguousarray(photo[:, 215:]))  # the right half of the face
    assert len(faces) == 1
    assert np.linalg.norm(faces[0].points5[1] + [215, 0] - found.points5[1]) < 0.15 * eye_distance(found)


@pytest.mark.parametrize("name", ["coffee", "page", "coins", "moon", "brick", "rocket"])
def test_pictures_without_faces(name):
    try:
        picture = getattr(data, name)()
    except (OSError, ImportError) as error:  # not in the wheel: scikit-image would download it
        pytest.skip(f"scikit-image does not carry {name}: {error}")
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    assert detection.detect(np.ascontiguousarray(picture[..., :3])) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (2000, 3)])
def test_tiny_and_thin_photos_hold_no_face(shape):
    rng = np.random.default_rng(0)
    assert detection.detect(rng.integers(0, 256, (*shape, 3), dtype=np.uint8), thorough=True) == []


def test_float_photo_gives_the_same_faces(photo, found):
    np.testing.assert_array_equal(detection.detect(photo / 255)[0].landmarks478, found.landmarks478)


def test_the_photo_is_not_changed(photo):
    before = photo.copy()
    detection.detect(photo)
    np.testing.assert_array_equal(photo, before)


def test_threads_give_the_same_faces(photo, found):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for faces in pool.map(detection.detect, [photo] * 12):
            np.testing.assert_array_equal(faces[0].landmarks478, found.landmarks478)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), int)]
)
def test_refuses_what_is_no_picture(image):
    with pytest.raises(ValueError, match="Received: "):
        detection.detect(image)


def test_refuses_unknown_arguments(photo):
    with pytest.raises(ValueError, match=r"'litert' or 'mediapipe'.*'dlib'"):
        detection.detect(photo, backend="dlib")
    with pytest.raises(ValueError, match="smallest"):
        detection.detect(photo, smallest=0)


def test_the_nearest_face_is_the_largest_one(photo):
    (expected,) = detection.detect(photo)
    found = detection.nearest(photo)
    shared = detection.nearest(photo, threads=2)
    np.testing.assert_allclose(shared.landmarks478, found.landmarks478, atol=1e-3)
    assert found.landmarks478.shape == (478, 3)
    eyes = np.linalg.norm(expected.points5[0] - expected.points5[1])
    assert np.linalg.norm(found.points5 - expected.points5, axis=-1).max() < 0.05 * eyes


@pytest.mark.parametrize("degrees", [0, 20, 45, 90, 180, 270])
def test_the_nearest_face_may_be_turned(photo, found, degrees):
    picture, transform = moved(photo, 0.8, math.radians(degrees))
    assert deviation(detection.nearest(picture), transform, found) < 0.05


def test_the_nearest_face_may_be_small_or_missing(photo):
    canvas = np.zeros((2000, 2000, 3), np.uint8)
    canvas[100:612, 300:812] = photo
    found = detection.nearest(canvas)
    assert np.linalg.norm(found.points5 - detection.detect(canvas)[0].points5, axis=-1).max() < 1.0
    assert detection.nearest(np.zeros((300, 300, 3), np.uint8)) is None


# Pieces


def test_tiles_cover_the_photo_with_overlap():
    tiles = detection.tile_regions(1000, 700, 2, 192)
    corners = [tile.inverse().apply(np.array([[0, 0], [192, 192]])) for tile in tiles]
    seen = np.zeros((700, 1000), int)
    for (x0, y0), (x1, y1) in np.round(corners).astype(int):
        assert x1 - x0 == y1 - y0 == 250
        assert x0 >= 0
        assert y0 >= 0
        assert x1 <= 1000
        assert y1 <= 700
        seen[y0:y1, x0:x1] += 1
    assert seen.min() == 1
    # A face of a fifth of a tile lies whole in some tile, wherever it is.
    for x in range(0, 950, 7):
        assert any(x0 <= x and x + 50 <= x1 for (x0, _), (x1, _) in corners)


def test_whole_region_is_centred():
    region = detection.whole_region(400, 200, 192)
    np.testing.assert_allclose(region.apply(np.array([[0, 0], [400, 200]])), [[0, 48], [192, 144]])


def test_merge_takes_the_weighted_mean_of_a_cluster():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60.0]])
    scores = np.array([0.6, 0.9, 0.7])
    keypoints = boxes[:, None, :2].repeat(6, axis=1)
    merged = detection.merge(detection.Candidates(scores, boxes, keypoints))
    np.testing.assert_allclose(merged.scores, [0.9, 0.7])
    np.testing.assert_allclose(merged.boxes, [[0.6, 0, 10.6, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(merged.keypoints[0, 0], [0.6, 0])
    empty = detection.merge(detection.Candidates(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 6, 2))))
    assert [len(column) for column in empty] == [0, 0, 0]


def test_intersection_over_union():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [1, 1, 1, 1.0]])
    np.testing.assert_allclose(detection.intersection_over_union(boxes[0], boxes), [1, 1 / 7, 0, 0])


# The package mediapipe

without_mediapipe = importlib.util.find_spec("mediapipe") is None


@pytest.mark.skipif(not without_mediapipe, reason="mediapipe is installed: nothing is missing")
def test_missing_mediapipe_is_named(photo):
    with pytest.raises(ModuleNotFoundError, match="mediapipe"):
        detection.detect(photo, backend="mediapipe")


@pytest.mark.skipif(without_mediapipe, reason="the optional package mediapipe is not installed")
@pytest.mark.filterwarnings("default")
def test_mediapipe_decodes_alike(photo, found):
    from tf_deep3d.detection import mediapipe_proposals

    for detector in (networks.FULL_RANGE, networks.SHORT_RANGE):
        region = detection.whole_region(512, 512, detector.size)
        ours = detection.merge(networks.propose(photo, detector, region))
        theirs = mediapipe_proposals.propose(photo, detector, region)
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-5)
        np.testing.assert_allclose(theirs.keypoints, ours.keypoints, atol=1e-2)
        np.testing.assert_allclose(theirs.boxes, ours.boxes, atol=1.5 * 512 / detector.size)  # theirs in whole pixels
    faces = detection.detect(photo, backend="mediapipe")
    assert len(faces) == 1
    assert deviation(faces[0], Similarity(), found) < 0.02


@pytest.mark.parametrize("name", ["james_pitch+00_yaw-80", "james_pitch+30_yaw+80", "james_pitch-15_yaw+80"])
def test_a_profile_is_found(name):
    """Of a scanned head: neither a first pass that sees no face nor the attention mesh's doubt loses it."""
    (view,) = (view for view in open_benchmark.load().views if view.name == name)
    (found,) = detection.detect(open_benchmark.picture(view))
    x0, y0, x1, y1 = found.box
    inner = view.landmarks[INNER_FACE]
    assert (inner > [x0 - 25, y0 - 25]).all()
    assert (inner < [x1 + 25, y1 + 25]).all()
