import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.errors import InputError
from tf_deep3d.fitting import descent
from tf_deep3d.io.photos import PhotoError
from tf_deep3d.models import cnet, rnet
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction import photo, portraits

ASTRONAUT = data.astronaut()
QUICK = photo.Options(level=0, refine=2)


@pytest.fixture(scope="module")
def models():
    return photo.load_models(QUICK)


def test_batches_progress_and_failures(tmp_path, monkeypatch, models):
    """Four photos, one of them bad, in batches of two: faces in order, the reason, and the progress adds up."""
    monkeypatch.setattr(photo, "BATCH", 2)
    monkeypatch.setattr(portraits, "BATCH", 2)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    Image.fromarray(ASTRONAUT[:, ::-1]).save(tmp_path / "c.png")
    shares = []
    given = [ASTRONAUT, tmp_path / "bad.jpg", ASTRONAUT[:, ::-1], tmp_path / "c.png"]
    found = list(photo.reconstruct_photos(given, QUICK, models, on_progress=shares.append))
    assert sum(shares) == pytest.approx(4)
    faces = [each for each in found if isinstance(each.face, Reconstruction)]
    assert [(each.photo, each.number) for each in faces] == [(0, 1), (2, 1), (3, 1)]
    assert [each.face.photo for each in faces] == ["", "", "c.png"]
    (bad,) = (each for each in found if each not in faces)
    assert bad.photo == 1
    assert isinstance(bad.face, PhotoError)
    np.testing.assert_allclose(faces[1].face.landmarks, faces[2].face.landmarks, atol=0.5)  # the same picture
    assert np.abs(faces[0].face.landmarks - faces[1].face.landmarks).max() > 10


def test_all_faces_of_a_photo_are_numbered(models):
    both = np.concatenate([ASTRONAUT, ASTRONAUT[::2, ::2].repeat(2, 0)], axis=1)[:, :768]
    found = list(photo.reconstruct_photos([both], QUICK, models, all_faces=True))
    assert [(each.photo, each.number) for each in found] == [(0, 1), (0, 2)]
    left, right = (each.face.landmarks[:, 0].mean() for each in found)
    assert left < 512 < right


def test_a_diverged_face_is_an_error_and_its_neighbour_is_there(monkeypatch, models):
    fit = descent.fit

    def spoiled(*arguments, **named):
        result = fit(*arguments, **named)
        result.coefficients.identity[0, 3] = np.nan
        return result

    monkeypatch.setattr(descent, "fit", spoiled)
    first, second = photo.reconstruct_photos([ASTRONAUT, ASTRONAUT[:, ::-1]], QUICK, models)
    assert isinstance(first.face, InputError)
    assert "diverged" in str(first.face)
    assert isinstance(second.face, Reconstruction)


def test_the_networks_say_the_same_of_a_photo_as_alone(models):
    """R-Net's answer without a fit is what it says of the aligned photo, and so is C-Net's."""
    (found,) = photo.reconstruct_photos([ASTRONAUT], photo.Options(level=0, refine=0), models)
    coefficients, features = models.rnet.regress(found.face.crop.image[None])
    np.testing.assert_allclose(found.face.coefficients.identity, coefficients.identity, atol=1e-5)
    np.testing.assert_allclose(found.face.confidence, np.asarray(models.cnet(features))[0], atol=1e-5)


def test_level_must_exist():
    for level in (7, -4):
        with pytest.raises(InputError, match=f"levels of detail 0 to 2. Received: {level}"):
            photo.load_models(photo.Options(level=level))


def test_a_training_has_a_cnet_or_none(tmp_path):
    """The C-Net beside an R-Net is taken; without one there is none, and the fit needs neither."""
    assert photo.load_models(photo.Options(level=0, method="fit"))[4:6] == (None, None)
    network = rnet.RNet.from_preset()
    rnet.save_rnet(network, tmp_path / "rnet.keras")
    assert photo.load_models(photo.Options(tmp_path, level=0)).cnet is None
    assert photo.load_models(photo.Options(tmp_path / "rnet.keras", level=0)).cnet is None
    cnet.save_cnet(cnet.build_cnet(network, scalar=True), tmp_path / "cnet.keras")
    assert photo.load_models(photo.Options(tmp_path, level=0)).cnet.confidences == 1
