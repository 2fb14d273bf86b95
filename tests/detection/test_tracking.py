"""Following a face through a real photo that moves."""

import numpy as np
import pytest
from skimage import data

from tf_deep3d.detection import detector, resampling, tracking
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.reconstruction.clip.video import Frame


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:300, 60:400]


def _moved(photo, shift, scale=1.0):
    turn = Similarity(scale, 0.0, tuple(shift))
    picture = resampling.crop(photo, turn, 340)
    return turn, (picture[:300] * 255).astype(np.uint8)


def test_followed_face_is_where_it_would_be_detected(photo):
    (start,) = detector.detect(photo)
    turn, image = _moved(photo, (12, 7), 1.03)
    found = tracking.follow(image, start)
    expected = turn.apply(start.landmarks68)
    assert np.linalg.norm(found.landmarks68 - expected, axis=-1).mean() < 1.0
    assert found.score > 0.5


def test_lost_faces_come_back_and_far_ones_wait(photo, monkeypatch):
    empty = np.full_like(photo, 90)
    near, far = _moved(photo, (20, 0))[1], _moved(photo, (-130, 120))[1]
    frames = [photo, empty, near, empty, far, far, far]
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.8, 0.9]
    tracked = list(tracking.track(Frame(time, image) for time, image in zip(times, frames, strict=True)))
    assert [found is not None for _, found in tracked] == [True, False, True, False, False, True, True]
    calls = []
    monkeypatch.setattr(detector, "detect", lambda image: calls.append(1) or [])
    assert tracking.find_face(near, tracked[2][1]) is not None
    assert not calls  # followed without a search


def test_of_several_faces_the_nearest_goes_on(photo, monkeypatch):
    (face,) = detector.detect(photo)
    other = face._replace(box=face.box + 60)
    monkeypatch.setattr(detector, "detect", lambda image: [other, face])
    monkeypatch.setattr(tracking, "follow", lambda image, last: None)
    assert tracking.find_face(photo) is other  # the first is the largest
    assert tracking.find_face(photo, face) is face
    assert tracking.find_face(photo, face._replace(box=face.box + 900)) is None
