import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.face import morphable_model
from tf_deep3d.fitting import descent
from tf_deep3d.fitting.descent import FitSettings, Stage
from tf_deep3d.reconstruction import photo as pipeline


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture
def astronaut(tmp_path):
    path = tmp_path / "über den Wolken.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_portrait_of_a_photo(astronaut, model):
    (portrait,) = pipeline.portraits_of(astronaut, model)
    photo = data.astronaut()
    x, y = portrait.corner
    height, width = portrait.window.shape[:2]
    np.testing.assert_array_equal(portrait.window, photo[y : y + height, x : x + width])
    landmarks = portrait.landmarks()
    assert (landmarks > 0).all()
    assert (landmarks < 224).all()
    np.testing.assert_allclose(landmarks[27:31, 0].mean(), 112, atol=15)  # the nose is in the middle
    window_points = portrait.detected.landmarks68 - portrait.corner
    assert (window_points > 0).all()
    assert (window_points < (width, height)).all()


def test_observation_has_skin_on_the_face_and_not_on_the_suit(astronaut, model):
    observation = pipeline.observe(pipeline.portraits_of(astronaut, model))
    x, y = observation.landmarks[0, 30].astype(int)
    attention = observation.attention[0, ..., 0]
    assert attention[y - 20 : y + 10, x - 20 : x + 20].mean() > 0.8
    assert observation.images.shape == (1, 224, 224, 3)
    assert observation.dense.shape == (1, 478, 2)
    np.testing.assert_allclose(observation.dense[0, 4], observation.landmarks[0, 30], atol=1e-3)  # the nose tip


def test_batches_progress_and_failures(tmp_path, monkeypatch, astronaut):
    """Four photos, one of them bad, in batches of two: results, reasons, and the progress adds up."""
    monkeypatch.setattr(pipeline, "BATCH", 2)
    for name in ("b.png", "c.png"):
        Image.fromarray(data.astronaut()[:, ::-1]).save(tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    settings = FitSettings(stages=(Stage(0, 2, 0.1, True),))
    options = pipeline.Options(level=0, settings=settings)
    models = pipeline.load_models(options)
    paths = [astronaut, tmp_path / "bad.jpg", tmp_path / "b.png", tmp_path / "c.png"]
    shares = []
    outcomes = list(pipeline.reconstruct_photos(paths, tmp_path / "out", options, models, shares.append))
    assert sum(shares) == pytest.approx(4)
    failures = [o for o in outcomes if isinstance(o, pipeline.Failure)]
    assert [f.photo.name for f in failures] == ["bad.jpg"]
    assert sorted(o.folder.name for o in outcomes if o not in failures) == ["b", "c", "über den Wolken"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b", "c", "über den Wolken"]


def test_a_diverged_face_is_a_failure_and_its_neighbour_is_written(tmp_path, monkeypatch, astronaut):
    Image.fromarray(data.astronaut()).save(tmp_path / "b.png")
    options = pipeline.Options(level=0, settings=FitSettings(stages=(Stage(0, 1, 0.1, True),)))
    fit = descent.fit

    def spoiled(*arguments, **named):
        result = fit(*arguments, **named)
        result.coefficients.identity[0, 3] = np.nan
        return result

    monkeypatch.setattr(descent, "fit", spoiled)
    models = pipeline.load_models(options)
    first, second = pipeline.reconstruct_photos([astronaut, tmp_path / "b.png"], tmp_path / "out", options, models)
    assert "diverged" in first.reason
    assert second.folder.name == "b"


def test_level_must_exist():
    with pytest.raises(ValueError, match="Received: 7"):
        pipeline.load_models(pipeline.Options(level=7))
