"""Tests of `tf_deep3d.detection.networks`: against MediaPipe's own answers, on renders whose lids and jaw are known, on
the astronaut of scikit-image (public domain)."""

import json
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from tf_deep3d import assets
from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.detection import detector, networks
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model, reconstruction
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.porting.open_face.landmarks import picture

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "mediapipe_face.json").read_text(encoding="utf-8"))
MIDDLES = {"Right": ((33, 133), 159, 145), "Left": ((362, 263), 386, 374)}  # corners, middle of upper and lower lid
LIPS, MOUTH = (13, 14), (61, 291)  # middles of the inner lips; corners


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()


@pytest.fixture(scope="module")
def found(photo):
    (face,) = detector.detect(photo)
    return face


@pytest.fixture(scope="module")
def rendered():
    """Function of units' weights by name: the mean person's full head that shows them, [512, 512, 3] uint8."""
    model = morphable_model.load(level=1)
    head = rendered_people.load_head(model)

    def render(**weights):
        expression = sum(
            (weight * head.units[name] for name, weight in weights.items()), np.zeros(len(model.expression_basis))
        )
        zeros = np.zeros((1, len(model.identity_basis)))
        (vertices,) = reconstruction.unposed_shape(head.whole, zeros, expression[None])
        image = picture(vertices, head.whole.mean_albedo, head.whole.triangles, (0.0, 0.0))
        return np.round(image * 255).astype(np.uint8)

    return render


def lid_gap(points, side):
    """Distance of the lids' middles over the eye's width; below 0 where they have passed each other."""
    (start, end), upper, lower = MIDDLES[side]
    points = points[:, :2]
    across = points[end] - points[start]
    down = np.array([-across[1], across[0]])
    return float((points[lower] - points[upper]) @ down / (across @ across))


def score(face, name):
    return float(face.blendshapes[networks.BLENDSHAPES.index(name)])


def detected(image):
    (face,) = detector.detect(image)
    return face


# MediaPipe's own answers


def test_blendshapes_are_mediapipes():
    """From its landmarks the same scores, in its order; its first one, `_neutral`, is unused."""
    expected = list(GOLDEN["blendshapes"].items())
    ours = networks.blendshapes(np.array(GOLDEN["landmarks478"]))
    assert [name for name, _ in expected] == ["_neutral", *networks.BLENDSHAPES]
    np.testing.assert_allclose(ours, [value for _, value in expected[1:]], atol=2e-5)


def test_landmarks_are_mediapipes(photo, found):
    """It cuts its crop by half a pixel of its input elsewhere, and only once; the rest agrees to 1 % of the eyes'
    distance."""
    theirs = np.array(GOLDEN["landmarks478"])
    eyes = np.linalg.norm(found.points5[0] - found.points5[1])
    offset = found.landmarks478[:, :2] - theirs[:, :2]
    assert np.linalg.norm(offset, axis=1).mean() < 0.015 * eyes
    assert np.linalg.norm(offset, axis=1).max() < 0.05 * eyes
    assert np.abs(found.landmarks478[:, 2] - theirs[:, 2]).max() < 0.06 * eyes


def test_the_names_are_those_of_the_face_model():
    assert {*networks.BLENDSHAPES, "tongueOut"} == set(morphable_model.load(level=0).blendshape_names)


# Lids, lips, irises


def test_lids_close_on_a_blink(rendered):
    closed, opened = detected(rendered(eyeBlinkLeft=1, eyeBlinkRight=1)), detected(rendered())
    for side in MIDDLES:
        assert lid_gap(closed.landmarks478, side) < 0.08
        assert lid_gap(opened.landmarks478, side) > 0.22
        assert score(closed, f"eyeBlink{side}") > 0.5
        assert score(opened, f"eyeBlink{side}") < 0.25


def test_a_wink_is_of_one_eye(rendered):
    wink = rendered(eyeBlinkLeft=1)
    for image, shut, seeing in ((wink, "Left", "Right"), (np.ascontiguousarray(wink[:, ::-1]), "Right", "Left")):
        face = detected(image)
        assert lid_gap(face.landmarks478, shut) < 0.15
        assert lid_gap(face.landmarks478, seeing) > 0.2
        assert score(face, f"eyeBlink{shut}") > score(face, f"eyeBlink{seeing}") + 0.3


def test_half_closed_lids_lie_between(rendered):
    gaps = [
        lid_gap(detected(rendered(eyeBlinkLeft=weight, eyeBlinkRight=weight)).landmarks478, "Right")
        for weight in (0, 0.5, 1)
    ]
    assert gaps[0] - 0.05 > gaps[1] > gaps[2] + 0.05


def test_the_mouth_opens_with_the_jaw(rendered):
    def opening(face):
        upper, lower = face.landmarks478[list(LIPS), :2]
        return np.linalg.norm(lower - upper) / np.linalg.norm(np.diff(face.landmarks478[list(MOUTH), :2], axis=0))

    faces = [detected(rendered(jawOpen=weight)) for weight in (0, 0.5, 1)]
    assert opening(faces[0]) < 0.08
    assert opening(faces[1]) > 0.2
    assert opening(faces[2]) > opening(faces[1]) + 0.15
    assert score(faces[0], "jawOpen") < 0.1 < score(faces[1], "jawOpen") < score(faces[2], "jawOpen")


def test_blendshapes_do_not_depend_on_size_and_place(found):
    expected = networks.blendshapes(found.landmarks478)
    moved = found.landmarks478[:, :2] * 3.7 + [900.0, -40.0]
    np.testing.assert_allclose(networks.blendshapes(moved), expected, atol=1e-3)


def test_presence_tells_faces_from_noise(photo, found):
    region = networks.region_of_landmarks(found.landmarks478, networks.ATTENTION_SIZE)
    noise = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    assert networks.attention_mesh(photo, region)[1] > 10
    assert networks.attention_mesh(noise, region)[1] < -4


# Files


def test_networks_are_read_from_a_folder(photo, found, tmp_path, monkeypatch):
    for name in networks.NETWORKS:
        (tmp_path / name).write_bytes(networks.model_file(name).read_bytes())
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "none")
    (face,) = detector.detect(photo, folder=tmp_path)
    np.testing.assert_array_equal(face.landmarks478, found.landmarks478)
    with pytest.raises(FileNotFoundError, match="Received: no face_detection_full_range"):
        detector.detect(photo, folder=tmp_path / "none")


def test_every_network_says_what_it_takes_and_gives():
    for name, (takes, gives) in networks.NETWORKS.items():
        assert tuple(len(output) for output in networks.run(name, np.zeros(takes))) == gives


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a network for LiteRT. Received: "),
        (b"no network at all", "must be a network for LiteRT. Received: "),
        (networks.ATTENTION_FILE, "must take and give "),
    ],
)
def test_damaged_files_are_refused_in_one_line(photo, tmp_path, content, said):
    name = networks.FULL_RANGE.file
    if isinstance(content, str):
        content = networks.model_file(content).read_bytes()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        detector.detect(photo, folder=tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused(photo, tmp_path):
    name = networks.FULL_RANGE.file
    whole = networks.model_file(name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="must be a network for LiteRT"):
        detector.detect(photo, folder=tmp_path)


# Regions


def test_view_shows_the_photo_where_the_region_says():
    rows, columns = np.mgrid[:200, :200]
    photo = np.stack([columns, rows, columns], -1).astype(np.uint8)
    region = networks.square_region(np.array([100.0, 90.0]), 90.0, 0.5, 64)
    seen = networks.view(photo, region, 64)
    expected = region.inverse().apply(np.array([20.5, 41.5])) - 0.5
    np.testing.assert_allclose(seen[41, 20, :2] * 255, expected, atol=1)  # Pillow cuts to whole levels
    np.testing.assert_allclose(region.apply(np.array([100.0, 90.0])), [32, 32])


def test_view_beyond_the_border():
    photo = np.full((20, 20, 3), 200, np.uint8)
    region = Similarity(1.0, 0.0, (10.0, 0.0))
    assert (networks.view(photo, region, 20)[:, :9] == 0).all()
    np.testing.assert_allclose(networks.view(photo, region, 20, border="edge"), 200 / 255)


@pytest.mark.parametrize(
    ("detector", "count", "first", "last"),
    [(networks.FULL_RANGE, 2304, [2, 2], [190, 190]), (networks.SHORT_RANGE, 896, [4, 4], [120, 120])],
)
def test_anchors(detector, count, first, last):
    anchors = networks._anchors(detector)
    assert anchors.shape == (count, 2)
    np.testing.assert_allclose(anchors[[0, -1]], [first, last])
