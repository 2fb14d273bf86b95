"""From frames to one moving person: following, key frames, the clip's camera, medians."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d import face as faces
from tf_deep3d.detection import detector, resampling
from tf_deep3d.errors import InputError
from tf_deep3d.face import expression, morphable_model
from tf_deep3d.face.camera import to_pixels
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.fitting import motion
from tf_deep3d.reconstruction.clip import clip as clips
from tf_deep3d.reconstruction.clip import curves
from tf_deep3d.reconstruction.clip.people import KEPT
from tf_deep3d.reconstruction.portraits import NoFaceError

FRAMES = 20
HIDDEN = (8, 9)  # frames without a face


@pytest.fixture(scope="module")
def places():
    """Where the photo lies in each frame."""
    return [Similarity(1.0, 0.0, (2.0 * i, 10.0 + 1.0 * i)) for i in range(FRAMES)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, places):
    """A folder of frames in which a photo glides."""
    folder = tmp_path_factory.mktemp("clip")
    photo = data.astronaut()[:260, 100:340]
    for i, place in enumerate(places):
        image = (resampling.crop(photo, place, 300) * 255).astype(np.uint8)
        Image.fromarray(np.full_like(image, 70) if i in HIDDEN else image).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def track(clip, model):
    return clips.follow_clip(clip, clips.ClipSettings(frame_rate=20.0), model)


def test_track_follows_the_photo(track, places):
    assert track.size == (300, 300)
    np.testing.assert_allclose(track.times, np.arange(FRAMES) / 20)
    assert sorted(np.flatnonzero(~track.present)) == list(HIDDEN)
    still = np.stack([p.inverse().apply(points) for p, points in zip(places, track.landmarks, strict=True)])
    wander = still[track.present] - np.nanmean(still, axis=0)
    assert np.linalg.norm(wander, axis=-1).mean() < 1.0
    assert not track.cut


def test_key_frames_are_few_and_spread(track):
    indices, portraits = track.key_frames
    assert 8 <= len(indices) <= KEPT
    assert indices[0] == 0
    assert indices[-1] >= FRAMES - 3
    portrait = portraits[-1]
    again = detector.detect(portrait.window)[0].landmarks68 + portrait.corner
    assert np.linalg.norm(again - portrait.detected.landmarks68, axis=-1).mean() < 2.0


def test_clip_ends_where_told(clip, model):
    settings = clips.ClipSettings(max_frames=3)
    track = clips.follow_clip(clip, settings, model)
    assert len(track.times) == 3
    assert track.cut


def test_clip_camera_measures_like_the_crops(track, model):
    camera, transform = clips.clip_camera(track)
    np.testing.assert_allclose(camera.center, transform.apply([150.0, 150.0]))
    tip, brow = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0][[8, 27]]
    pixels = to_pixels(camera, np.stack([tip, brow])[None])[0][0]
    height = np.linalg.norm(transform.inverse().apply(pixels[0]) - transform.inverse().apply(pixels[1]))
    seen = np.linalg.norm(track.landmarks[0, 8] - track.landmarks[0, 27])
    assert height == pytest.approx(seen, rel=0.25)


def test_motion_of_a_glide(track, model):
    """The head goes to the right and down evenly, and hidden frames lie on its way."""
    camera, transform = clips.clip_camera(track)
    known = motion.person(model, np.zeros(len(model.identity_basis)))
    found, stretches = clips.find_motion(track, known, camera, transform)
    assert (stretches == 0).all()
    moves = clips.smoothed(found, track.times, stretches, 0.1)
    x, y, _ = moves.translation.T
    expected = 2.0 * transform.scale * camera.distance / camera.focal
    assert np.polyfit(np.arange(FRAMES), x, 1)[0] == pytest.approx(expected, rel=0.3)
    assert np.polyfit(np.arange(FRAMES), y, 1)[0] < 0
    landmarks = transform.inverse().apply(motion.project(known, moves, camera)[:, :68])
    assert curves.jitter(landmarks, track.present) < curves.jitter(track.landmarks[:, :68], track.present)
    between = (landmarks[HIDDEN[0] - 1] + landmarks[HIDDEN[1] + 1]) / 2
    assert np.linalg.norm(landmarks[list(HIDDEN)].mean(0) - between, axis=-1).mean() < 1.0


def test_clip_without_a_face(tmp_path, model):
    for i in range(2):
        Image.new("RGB", (64, 48), "grey").save(tmp_path / f"{i}.png")
    with pytest.raises(NoFaceError, match="no face found in 2 frames of 64 x 48 px"):
        clips.follow_clip(tmp_path, clips.ClipSettings(), model)


def test_weighted_median():
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [100.0, 5.0]])
    np.testing.assert_allclose(clips.weighted_median(values[:3], np.ones(3)), [2.0, 5.0])
    assert clips.weighted_median(values, np.array([1, 1, 1, 0.01]))[0] < 2.1
    np.testing.assert_allclose(clips.weighted_median(values[:1], np.ones(1)), values[0])


@pytest.mark.parametrize("change", [{"max_frames": 0}, {"smooth": -0.1}, {"smooth": float("nan")}])
def test_senseless_settings(change):
    with pytest.raises(InputError, match="Received"):
        clips.ClipSettings(**change)


def test_units_follow_the_frames_of_a_clip(track, model):
    """A person who opens the jaw in one frame, before a detector that strays from this person's neutral face."""
    camera, transform = clips.clip_camera(track)
    names, measured = model.blendshape_names, expression.load()
    jaw = names.index("jawOpen")
    truth = np.zeros(FRAMES)
    truth[14] = 0.8
    toward = np.linalg.pinv(measured.rows[:, : -expression.POSES])
    own = measured.mean + np.random.default_rng(0).normal(0, 1, len(measured.spread)) * np.sqrt(measured.spread)
    shown = [toward @ (own + expression.expected(measured, [weight], ["jawOpen"])) for weight in truth]
    shapes = measured.points + np.pad(np.reshape(shown, (FRAMES, -1, 2)), ((0, 0), (0, 0), (0, 1)))
    moves = motion.Motion(np.zeros((FRAMES, 3)), np.tile([0.1, 0.0, 0.2], (FRAMES, 1)), np.zeros((FRAMES, 1)))
    pixels = transform.inverse().apply(to_pixels(camera, faces.pose(shapes, moves.angles, moves.translation))[0])
    landmarks = np.concatenate([track.landmarks[:, :68], pixels], 1)
    everywhere = track._replace(landmarks=landmarks, present=np.ones(FRAMES, bool))
    found = clips.find_units(everywhere, names, moves, camera, transform)
    np.testing.assert_allclose(found[:, jaw], truth, atol=0.1)
    assert np.delete(found, jaw, 1).max() < 0.1
    gaps = clips.find_units(everywhere._replace(present=track.present), names, moves, camera, transform)
    between = np.linspace(gaps[HIDDEN[0] - 1], gaps[HIDDEN[1] + 1], len(HIDDEN) + 2)[1:-1]
    np.testing.assert_allclose(gaps[list(HIDDEN)], between, atol=1e-9)


def test_smoothing_keeps_a_blink_of_three_frames():
    times, stretches = np.arange(50) / 25, np.zeros(50, np.int32)
    blink = np.zeros(50)
    blink[20:23] = 0.6, 1.0, 0.6
    noise = np.random.default_rng(0).normal(0.3, 0.05, 50)
    weights = np.stack([blink, noise], -1)
    found = clips.smoothed_units(["eyeBlinkLeft", "mouthSmileLeft"], weights, times, stretches, clips.SMOOTH)
    assert found[21, 0] > 0.9
    assert found[[17, 25], 0].max() < 0.05
    assert np.diff(found[:, 1]).std() < 0.6 * np.diff(noise).std()
    assert found.min() >= 0
    assert found.max() <= 1
