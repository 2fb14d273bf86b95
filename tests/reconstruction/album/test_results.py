"""The files that an album becomes, read back."""

import json

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from tests.album import synthetic_models, synthetic_sightings, synthetic_truth
from tf_deep3d import face as faces
from tf_deep3d.mesh import gltf
from tf_deep3d.models.regression import Regressor
from tf_deep3d.reconstruction import photo as pipeline
from tf_deep3d.reconstruction.album import album as albums
from tf_deep3d.reconstruction.album import results
from tf_deep3d.reconstruction.album.sightings import Failure

OPTIONS = pipeline.Options(method="fit")


@pytest.fixture(scope="module")
def models(model_file):
    return synthetic_models(model_file)


@pytest.fixture(scope="module")
def album(models, tmp_path_factory):
    """Five photos with confidences, one of a stranger, one without a face."""
    truth = synthetic_truth(models.levels[-1])
    photos = tmp_path_factory.mktemp("photos")
    seen = synthetic_sightings(photos, models, truth)
    confidence = np.linspace(0.2, 0.8, len(seen))[:, None] * np.ones(truth.identity.shape)
    seen = [each._replace(confidence=c) for each, c in zip(seen, confidence, strict=True)]
    seen[4] = seen[4]._replace(descriptor=np.eye(4)[1])
    failure = Failure("empty.png", "empty", "no face found in 9 x 9 px")
    settings = albums.AlbumSettings("elementwise")
    regressor = Regressor(lambda images: (None, None), truth.identity.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(albums, "look_through", lambda *arguments: (seen, [failure]))
        return albums.assemble([each.photo for each in seen], settings, OPTIONS, models._replace(regressor=regressor))


@pytest.fixture(scope="module")
def written(album, models, tmp_path_factory):
    said = []
    folder = tmp_path_factory.mktemp("out") / "Jane Doe"
    return results.FusedFace(album, OPTIONS, models).write(folder, on_progress=lambda *step: said.append(step)), said


def test_everything_is_there(written, album):
    outcome, said = written
    assert sorted(path.name for path in outcome.folder.iterdir()) == sorted(results.FILES)
    overlays = sorted(path.name for path in (outcome.folder / "overlays").iterdir())
    assert overlays == [f"photo{i}.png" for i in range(4)]
    assert [path.name for path in outcome.folder.parent.iterdir()] == ["Jane Doe"]
    assert said[-1] == ("writing", 4, 4)
    assert [name for name, _ in outcome.left_out()] == ["photo4.png", "empty.png"]
    assert "4 photos" in outcome.summary()
    assert "elementwise" in outcome.summary()


def test_the_meshes_are_the_fused_neutral_face(written, album, models):
    outcome, _ = written
    shape = faces.neutral_shape(models.written, album.coefficients.identity[:1])[0]
    ply = trimesh.load(outcome.folder / "face.ply", process=False)
    np.testing.assert_allclose(np.asarray(ply.vertices), 100 * shape, atol=0.01)  # mm
    mesh = results.FusedFace(album, OPTIONS, models).mesh
    np.testing.assert_allclose(mesh.vertices, shape, atol=1e-6)
    np.testing.assert_allclose(mesh.colors, np.asarray(ply.visual.vertex_colors)[:, :3] / 255, atol=1 / 255)
    gltf = pygltflib.GLTF2().load(str(outcome.folder / "face.glb"))
    assert gltf.meshes[0].extras["targetNames"] == list(models.written.blendshape_names)  # and no expression of a photo
    with Image.open(outcome.folder / "texture.png") as texture:
        assert texture.size == (128, 128)
    with Image.open(outcome.folder / "confidence.png") as picture:
        assert picture.height > 5 * 64


def test_the_numbers(written, album):
    outcome, _ = written
    record = json.loads((outcome.folder / "coefficients.json").read_text(encoding="utf-8"))
    assert record["strategy"] == "elementwise"
    assert sorted(record["coefficients"]) == ["albedo", "identity"]
    np.testing.assert_allclose(record["coefficients"]["identity"], album.coefficients.identity[0], atol=1e-6)
    assert [photo["photo"] for photo in record["photos"]] == [f"photo{i}.png" for i in range(4)]
    for i, photo in enumerate(record["photos"]):
        assert sorted(photo["coefficients"]) == ["angles", "expression", "illumination", "translation"]
        np.testing.assert_allclose(photo["weights"], album.weights[i], atol=1e-6)
        np.testing.assert_allclose(photo["confidence"], album.sightings[i].confidence, atol=1e-6)
        assert photo["mean_confidence"] == pytest.approx(np.mean(photo["confidence"]))
        assert (outcome.folder / photo["overlay"]).is_file()
        assert photo["landmark_error"] < 0.1
        assert "model" not in photo
    np.testing.assert_allclose(np.sum([photo["weights"] for photo in record["photos"]], 0), 1.0, atol=1e-5)
    assert record["model"]["name"] == "synthetic"
    assert [left["photo"] for left in record["left_out"]] == ["photo4.png", "empty.png"]
    assert record["left_out"][0]["likeness"] == pytest.approx(0.0)


def test_the_texture_is_the_persons(written, album, models):
    """The photos' light is gone and their albedo is left, up to one brightness."""
    outcome, _ = written
    with Image.open(outcome.folder / "texture.png") as picture:
        image = np.asarray(picture, np.float32).reshape(-1, 3) / 255
    atlas = models.atlas(1024)
    albedo = faces.albedo(models.written, album.coefficients.albedo[:1])[0]
    truth = np.einsum("nk,nkc->nc", atlas.weights, albedo[atlas.corners])
    ratio = image[atlas.texels] / truth
    assert 0.4 < np.median(ratio) < 1.6
    assert np.std(ratio / np.median(ratio, 0)) < 0.2


def test_importance_grows_with_resolution_and_falls_with_expression(album):
    album = album._replace(weights=np.full_like(album.weights, 0.25))
    value = results.importance(album)
    assert value.max() == 1
    finer = [album.sightings[0]._replace(scale=album.sightings[0].scale / 3), *album.sightings[1:]]
    assert results.importance(album._replace(sightings=finer)).argmax() == 0
    laughing = album.coefficients.expression.copy()
    laughing[value.argmax()] = 9.0
    other = album._replace(coefficients=album.coefficients._replace(expression=laughing))
    assert results.importance(other).argmax() != value.argmax()


def test_existing_results_are_kept_unless_told(written, album, models, monkeypatch):
    outcome, _ = written
    before = (outcome.folder / "face.ply").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="Jane Doe"):
        results.FusedFace(album, OPTIONS, models).write(outcome.folder)
    assert (outcome.folder / "face.ply").stat().st_mtime_ns == before


def test_an_albums_name_may_have_a_line_break(album, models, tmp_path):
    outcome = results.FusedFace(album, OPTIONS, models).write(tmp_path / "Jane\nDoe")
    assert sorted(path.name for path in outcome.folder.iterdir()) == sorted(results.FILES)
    assert len(outcome.summary().splitlines()) == 1
    assert "o Jane\\nDoe" in (outcome.folder / "face.obj").read_text()


def test_a_failure_leaves_nothing(album, models, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr(gltf, "write_glb", full)
    with pytest.raises(OSError, match="No space"):
        results.FusedFace(album, OPTIONS, models).write(tmp_path / "me")
    assert not list(tmp_path.iterdir())


def test_a_long_album_takes_its_texture_from_some(album, models, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "TEXTURED", 2)
    merged = []
    merge = results.merging.merge

    def counted(shots, *arguments):
        merged.extend(shots)
        return merge(merged, *arguments)

    monkeypatch.setattr(results.merging, "merge", counted)
    outcome = results.FusedFace(album, OPTIONS, models).write(tmp_path / "me")
    assert len(merged) == 2
    assert len(list((outcome.folder / "overlays").iterdir())) == 4


def test_summaries_say_what_is_missing(album):
    alone = album._replace(sightings=album.sightings[:1])
    text = results.AlbumOutcome(None, alone, np.array([0.02]), 0.5, 1024).summary()
    assert text.startswith("1 photo ->")
    assert "One photo is one photo" in text
    plain = [each._replace(confidence=None) for each in album.sightings]
    averaged = album._replace(sightings=plain, strategy="average")
    text = results.AlbumOutcome(None, averaged, np.array([0.02]), 0.5, 1024).summary()
    assert "no C-Net" in text
