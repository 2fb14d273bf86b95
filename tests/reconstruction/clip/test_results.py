"""The files that a clip becomes, read back."""

import json

import numpy as np
import pygltflib
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.detection import resampling
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.fitting.settings import FitSettings, Stage
from tf_deep3d.reconstruction import photo as pipeline
from tf_deep3d.reconstruction.clip import clip as clips
from tf_deep3d.reconstruction.clip import results, scene, video

FRAMES, HIDDEN = 7, 3


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video in which a photo glides and is hidden once."""
    path = tmp_path_factory.mktemp("clip") / "glide.mp4"
    photo = data.astronaut()[:260, 100:340]
    with video.writing_video(path, 240, 240, 20) as write:
        for i in range(FRAMES):
            image = resampling.crop(photo, Similarity(1.0, 0.0, (2.0 * i, 1.0 * i)), 240)
            write(
                video.Frame(
                    i / 20, (image * 255).astype(np.uint8) if i != HIDDEN else np.full((240, 240, 3), 70, np.uint8)
                )
            )
    return path


@pytest.fixture(scope="module")
def options():
    """A fit of few steps, so that the tests are about the clip."""
    return pipeline.Options(method="fit", level=0, settings=FitSettings(stages=(Stage(0, 2, 0.1, False),)))


@pytest.fixture(scope="module")
def models(options):
    return pipeline.load_models(options)


@pytest.fixture(scope="module")
def written(clip, options, models, tmp_path_factory):
    """Outcome, folder and reported progress of one run."""
    out = tmp_path_factory.mktemp("out") / "new"
    said = []
    outcome = results.reconstruct_clip(
        clip, out, clips.ClipSettings(), options, models, on_progress=lambda *step: said.append(step)
    )
    return outcome, out, said


def test_outcome_and_progress(written):
    outcome, out, said = written
    assert sorted(path.name for path in out.iterdir()) == sorted(results.FILES)
    assert (outcome.frames, outcome.seen, outcome.filled, outcome.cut) == (FRAMES, FRAMES - 1, 1, False)
    assert outcome.landmark_error < 0.1
    assert 0 < outcome.blendshape_residual < 0.1
    stages = list(dict.fromkeys(stage for stage, _, _ in said))
    assert stages == ["tracking", "person", "motion", "units", "overlay"]
    for stage in stages:
        last = [(done, total) for name, done, total in said if name == stage][-1]
        assert last[0] == last[1]


def test_numbers(written):
    outcome, out, _ = written
    record = json.loads((out / "coefficients.json").read_text(encoding="utf-8"))
    assert [frame["time_s"] for frame in record["frames"]] == pytest.approx(np.arange(FRAMES) / 20, abs=1e-3)
    assert [frame["source"] == "interpolated" for frame in record["frames"]] == [i == HIDDEN for i in range(FRAMES)]
    assert record["frames"][HIDDEN]["detected_landmarks68_frame_px"] is None
    assert len(record["identity"]) == 80
    assert len(record["blendshape_names"]) == len(record["frames"][0]["blendshape_weights"]) == 52
    for frame in record["frames"]:
        named = dict(zip(record["blendshape_names"], frame["blendshape_weights"], strict=True))
        assert frame["arkit"] == {name: weight for name, weight in named.items() if weight}
    first = record["frames"][0]
    distance = np.subtract(first["landmarks68_frame_px"], first["detected_landmarks68_frame_px"])
    assert np.linalg.norm(distance[17:], axis=-1).mean() < 6
    assert record["landmark_error"] == outcome.landmark_error


def test_mesh_moves_as_the_numbers_say(written):
    _, out, _ = written
    record = json.loads((out / "coefficients.json").read_text(encoding="utf-8"))
    gltf = pygltflib.GLTF2().load(str(out / "face.glb"))
    assert gltf.meshes[0].extras["targetNames"] == record["blendshape_names"]
    assert len(gltf.images) == 1
    (animation,) = gltf.animations
    paths = {channel.target.path: animation.samplers[channel.sampler].output for channel in animation.channels}
    accessor = gltf.accessors[paths["weights"]]
    offset = gltf.bufferViews[accessor.bufferView].byteOffset
    weights = np.frombuffer(gltf.binary_blob(), "<f4", accessor.count, offset).reshape(FRAMES, 52)
    np.testing.assert_allclose(weights, [frame["blendshape_weights"] for frame in record["frames"]], atol=2e-5)
    assert weights.min() >= 0
    assert weights.max() > 0.01


def test_overlay_shows_the_face_where_it_is(written, clip):
    _, out, _ = written
    record = json.loads((out / "coefficients.json").read_text(encoding="utf-8"))
    before, after = list(video.read_frames(clip)), list(video.read_frames(out / "overlay.mp4"))
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=2e-3)
    for index in (0, FRAMES - 1):
        change = np.abs(after[index].image.astype(int) - before[index].image).sum(-1)
        x, y = np.mean(record["frames"][index]["landmarks68_frame_px"], axis=0).astype(int)
        assert change[y - 10 : y + 10, x - 10 : x + 10].mean() > 3 * change[-20:, -20:].mean()
    with Image.open(out / "texture.png") as picture:
        assert picture.size == (1024, 1024)


def test_existing_results_are_kept_unless_told(clip, options, models, tmp_path):
    (tmp_path / "face.glb").write_text("mine")
    with pytest.raises(FileExistsError, match=r"face\.glb"):
        results.reconstruct_clip(clip, tmp_path, clips.ClipSettings(), options, models)
    assert (tmp_path / "face.glb").read_text() == "mine"


def test_nothing_is_left_after_an_error(clip, options, models, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(video, "writing_video", fail)
    with pytest.raises(OSError, match="no space"):
        results.reconstruct_clip(clip, tmp_path / "out", clips.ClipSettings(max_frames=2), options, models)
    assert not list((tmp_path / "out").iterdir())


def test_models_without_blendshapes_move_by_their_modes(tiny_model, models):
    from dataclasses import replace

    from tf_deep3d.fitting.motion import Motion

    bare = models._replace(
        units=None, written=replace(tiny_model, blendshape_names=(), blendshapes=tiny_model.blendshapes[:0])
    )
    expression = np.arange(8.0).reshape(2, 4)
    targets, residual = scene.shown_targets(bare, Motion(None, None, expression))
    assert residual is None
    np.testing.assert_array_equal(np.stack([weights for _, weights in targets.values()], axis=-1), expression)
