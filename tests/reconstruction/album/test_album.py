"""Many photos of a synthetic person, of whom everything is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.album import synthetic_models, synthetic_sightings, synthetic_truth
from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.face import aggregation, lighting
from tf_deep3d.fitting import descent
from tf_deep3d.fitting.settings import Fit
from tf_deep3d.reconstruction import photo, portraits
from tf_deep3d.reconstruction.album import album as albums
from tf_deep3d.reconstruction.album.album import AlbumSettings
from tf_deep3d.reconstruction.album.sightings import Failure

OPTIONS = photo.Options(method="fit")


@pytest.fixture(scope="module")
def models(model_file):
    return synthetic_models(model_file, 32)


@pytest.fixture(scope="module")
def truth(models):
    return synthetic_truth(models.levels[-1])


@pytest.fixture(scope="module")
def seen(models, truth, tmp_path_factory):
    return synthetic_sightings(tmp_path_factory.mktemp("photos"), models, truth)


def assembled(monkeypatch, seen, models, settings=None, **named):
    """`albums.assemble` of sightings."""
    monkeypatch.setattr(albums, "look_through", lambda *arguments: (list(seen), []))
    return albums.assemble([each.photo for each in seen], settings or AlbumSettings(), OPTIONS, models, **named)


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["/photos/me"], "me"),
        (["/photos/me/"], "me"),
        (["/photos/me/a.jpg", "/photos/me/b.jpg"], "me"),
        (["/photos/me/*.jpg"], "me"),
        (["/photos/me/a.jpg", "/photos/you/b.jpg"], "album"),
        (["/photos/*/a.jpg"], "album"),
    ],
)
def test_the_album_is_named_after_its_folder(tmp_path, sources, name):
    sources = [str(tmp_path) + source for source in sources]
    (tmp_path / "photos" / "me").mkdir(parents=True)
    assert albums.album_name(sources) == name


NONE, SCALAR, ELEMENTWISE = 0, 1, 80  # confidences of a photo


@pytest.mark.parametrize(
    ("default", "asked", "confidences", "expected"),
    [
        ("average", None, NONE, "average"),
        ("average", None, ELEMENTWISE, "average"),
        ("elementwise", None, ELEMENTWISE, "elementwise"),
        ("elementwise", None, SCALAR, "average"),
        ("elementwise", None, NONE, "average"),
        ("average", "summed", ELEMENTWISE, "summed"),
        ("average", "best", ELEMENTWISE, "best"),
        ("elementwise", "average", ELEMENTWISE, "average"),
        ("average", "scalar", SCALAR, "scalar"),
    ],
)
def test_strategy(monkeypatch, default, asked, confidences, expected):
    monkeypatch.setattr(aggregation, "DEFAULT", default)
    assert albums.choose_strategy(AlbumSettings(asked), confidences) == expected


@pytest.mark.parametrize(
    ("asked", "confidences"), [("elementwise", NONE), ("scalar", ELEMENTWISE), ("elementwise", SCALAR)]
)
def test_a_strategy_without_its_network_is_an_error(asked, confidences):
    with pytest.raises(InputError, match=rf"C-Net.*average.*Received: '{asked}'"):
        albums.choose_strategy(AlbumSettings(asked), confidences)


def test_settings_out_of_range_are_errors():
    with pytest.raises(InputError, match=r"one of average, .*Received: 'median'"):
        AlbumSettings("median")
    with pytest.raises(InputError, match=r"refine must not be negative\. Received: -1"):
        AlbumSettings(refine=-1)


def test_the_default_strategy_is_one():
    assert aggregation.DEFAULT in aggregation.STRATEGIES


@pytest.fixture
def judged(seen, truth):
    """Sightings with different identities and confidences."""
    rng = np.random.default_rng(3)
    shape = truth.identity.shape
    identity, confidence = rng.normal(size=shape), rng.uniform(0.1, 1.0, shape)
    return [
        each._replace(coefficients=each.coefficients._replace(identity=identity[i : i + 1]), confidence=confidence[i])
        for i, each in enumerate(seen)
    ]


@pytest.mark.parametrize("strategy", ["average", "elementwise", "summed", "best"])
def test_fused_as_in_training(judged, strategy):
    identity = np.concatenate([each.coefficients.identity for each in judged])
    confidence = np.stack([each.confidence for each in judged])
    weights, fused = albums.fuse(judged, strategy)
    expected = aggregation.aggregate(identity[None], confidence[None], None, strategy)
    np.testing.assert_allclose(fused.identity, expected.repeat(len(judged), 0), rtol=1e-5)
    np.testing.assert_allclose(weights.sum(0), 1.0)
    np.testing.assert_allclose((weights * identity).sum(0), expected[0], rtol=1e-6)
    np.testing.assert_array_equal(fused.albedo, fused.albedo[:1].repeat(len(judged), 0))
    np.testing.assert_array_equal(fused.angles[2], judged[2].coefficients.angles[0])


def test_one_photo_keeps_its_identity(judged):
    weights, fused = albums.fuse(judged[:1], "elementwise")
    np.testing.assert_array_equal(weights, np.ones_like(weights))
    np.testing.assert_allclose(fused.identity, judged[0].coefficients.identity, rtol=1e-6)


def test_each_photo_gets_its_pose_expression_and_light(monkeypatch, models, truth, tmp_path):
    """Where R-Net read the identity well but not the pose, the landmarks and colours of a photo say the rest."""
    wrong = {
        "angles": np.zeros_like(truth.angles),
        "expression": np.zeros_like(truth.expression),
        "illumination": np.zeros_like(truth.illumination),
    }
    seen = synthetic_sightings(tmp_path, models, truth, **wrong)
    album = assembled(monkeypatch, seen, models)
    found = album.coefficients
    np.testing.assert_allclose(found.angles[:, 1], truth.angles[:, 1], atol=np.radians(4))
    model = models.levels[-1]
    built, real = faces.reconstruct(model, found), faces.reconstruct(model, truth)
    distance = np.linalg.norm(built.landmarks - np.stack([each.landmarks[:68] for each in seen]), axis=-1)
    assert distance.mean() < 1.0
    seen_from_front = real.normals[..., 2] > 0.5
    shades = (lighting.irradiance(face.normals, c.illumination) for face, c in ((built, found), (real, truth)))
    before = lighting.irradiance(real.normals, wrong["illumination"])
    after, right = shades
    assert abs(after - right)[seen_from_front].mean() < 0.4 * abs(before - right)[seen_from_front].mean()
    assert album.strategy == "average"
    np.testing.assert_allclose(album.weights, 1 / len(seen))


def test_strangers_are_left_out_unless_kept(monkeypatch, models, seen):
    strange = seen[1]._replace(descriptor=np.eye(4)[1])
    mixed = [seen[0], strange, *seen[2:]]
    album = assembled(monkeypatch, mixed, models)
    assert [each.name for each in album.sightings] == ["photo0", "photo2", "photo3", "photo4"]
    (stranger,) = album.strangers
    assert stranger.sighting.name == "photo1"
    assert "another person" in str(stranger)
    assert "0.00" in str(stranger)
    kept = assembled(monkeypatch, mixed, models, AlbumSettings(keep_outliers=True))
    assert len(kept.sightings) == 5
    assert kept.likeness[1] == pytest.approx(0.0)
    assert not kept.strangers


def test_an_album_without_faces_is_an_error(monkeypatch, models):
    failure = Failure("a.jpg", "a", "no face found in 9 x 9 px")
    monkeypatch.setattr(albums, "look_through", lambda *arguments: ([], [failure]))
    with pytest.raises(portraits.NoFaceError, match=r"no face found in 3 photos; the first: a\.jpg: no face"):
        albums.assemble([Path("a"), Path("b"), Path("c")], AlbumSettings(), OPTIONS, models)


def test_spread_takes_the_best_from_all_around(seen, truth):
    album = SimpleNamespace(coefficients=truth)  # yaw rises with the index
    np.testing.assert_array_equal(albums.spread(album, np.array([0.2, 0.9, 0.5, 0.1, 0.3]), 2), [1, 4])
    np.testing.assert_array_equal(albums.spread(album, np.ones(5), 9), range(5))


def test_joint_fit_improves_one_shared_identity(monkeypatch, models, tmp_path):
    """From a wrong identity: nearer to the photos and to the truth, and the same in all photos and batches."""
    monkeypatch.setattr(albums, "BATCH", 2)  # the third photo follows
    truth = synthetic_truth(models.levels[-1], (-0.4, 0.0, 0.4))
    rng = np.random.default_rng(5)
    wrong = truth.identity + rng.normal(size=truth.identity[:1].shape).astype(np.float32)
    seen = synthetic_sightings(tmp_path, models, truth, identity=wrong)
    coarse = models._replace(levels=models.levels[:-1])
    steps = []

    def make(refine):
        settings = AlbumSettings(refine=refine)
        return assembled(monkeypatch, seen, coarse, settings, on_progress=lambda *step: steps.append(step))

    start, end = (make(refine).coefficients for refine in (0, 12))
    assert steps[-1] == ("refining", 24, 24)
    np.testing.assert_array_equal(end.identity, end.identity[:1].repeat(3, 0))
    np.testing.assert_array_equal(end.albedo, end.albedo[:1].repeat(3, 0))
    model = models.levels[-1]
    shapes = [faces.neutral_shape(model, c.identity[:1])[0] for c in (start, end, truth)]
    errors = [np.linalg.norm(shape - shapes[2], axis=-1).mean() for shape in shapes[:2]]
    assert errors[1] < 0.9 * errors[0]
    targets = np.stack([each.landmarks[:68] for each in seen])
    before, after = (np.linalg.norm(faces.reconstruct(model, c).landmarks - targets, axis=-1) for c in (start, end))
    assert after.mean() < before.mean()


def test_a_joint_fit_that_diverges_is_an_error(monkeypatch, models, seen):
    def spoiled(levels, observation, settings, recognition, start, on_step):
        assert settings.shared == albums.SHARED
        return Fit(start._replace(identity=np.full_like(start.identity, np.nan)), {})

    monkeypatch.setattr(descent, "fit", spoiled)
    with pytest.raises(InputError, match=r"diverged.*Received: 2 photos"):
        assembled(monkeypatch, seen[:2], models, AlbumSettings(refine=1))
