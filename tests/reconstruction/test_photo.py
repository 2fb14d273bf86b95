import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.errors import InputError
from tf_deep3d.fitting import gauss_newton
from tf_deep3d.io.photos import PhotoError
from tf_deep3d.models import cnet, rnet
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction import photo

ASTRONAUT = data.astronaut()
QUICK = photo.Options(level=0, refine=2)


@pytest.fixture(scope="module")
def models():
    return photo.load_models(QUICK)


def test_order_progress_and_failures(tmp_path, models):
    """Four photos, one of them bad: faces in order, the reason, and the progress adds up."""
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
    refine = gauss_newton.refine

    def spoiled(surface, observation, start, *arguments):
        result = refine(surface, observation, start, *arguments)
        if observation.landmarks[0, 30, 0] < observation.landmarks[0, 27, 0]:  # true of the first of the two
            result.identity[0, 3] = np.nan
        return result

    monkeypatch.setattr(gauss_newton, "refine", spoiled)
    first, second = photo.reconstruct_photos([ASTRONAUT, ASTRONAUT[:, ::-1]], QUICK, models)
    assert isinstance(first.face, InputError)
    assert "diverged" in str(first.face)
    assert isinstance(second.face, Reconstruction)


def test_the_networks_say_the_same_of_a_photo_as_alone(models):
    """Without a fit the answers are what Keras' R-Net and C-Net say of the aligned photo."""
    (found,) = photo.reconstruct_photos([ASTRONAUT], photo.Options(level=0, refine=0), models)
    network = rnet.RNet.from_preset()
    coefficients, features = network.regress(found.face.crop.image[None])
    np.testing.assert_allclose(found.face.coefficients.identity, coefficients.identity, atol=1e-4)
    judge = cnet.CNet.from_preset(rnet=network)
    np.testing.assert_allclose(found.face.confidence, np.asarray(judge(features))[0], atol=1e-4)


def test_a_face_is_the_same_whoever_stands_beside_it(models):
    """Alone, among others, twice, and with several at the same time: the same bits."""
    (alone,) = photo.reconstruct_photos([ASTRONAUT], QUICK, models)
    among = list(
        photo.reconstruct_photos([ASTRONAUT[:, ::-1], ASTRONAUT, ASTRONAUT[:, ::-1], ASTRONAUT], QUICK, models)
    )
    for other in (among[1], among[3]):
        for mine, theirs in zip(alone.face.coefficients, other.face.coefficients, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_what_finishes_a_face_may_fail_and_the_others_go_on(models):
    def finish(found):
        if found.photo == 0:
            raise OSError("disk full")
        done.append(found.photo)

    done = []
    first, second = photo.reconstruct_photos([ASTRONAUT, ASTRONAUT[:, ::-1]], QUICK, models, finish=finish)
    assert str(first.face) == "disk full"
    assert isinstance(second.face, Reconstruction)
    assert done == [1]


def test_level_must_exist():
    for level in (7, -4):
        with pytest.raises(InputError, match=f"levels of detail 0 to 2. Received: {level}"):
            photo.load_models(photo.Options(level=level))


def test_a_training_has_a_cnet_or_none(tmp_path):
    """The C-Net beside an R-Net is taken; without one there is none, and the fit needs neither."""
    assert photo.load_models(photo.Options(level=0, method="fit")).regressor is None
    network = rnet.RNet.from_preset()
    rnet.save_rnet(network, tmp_path / "rnet.keras")
    assert photo.load_models(photo.Options(tmp_path, level=0)).regressor.confidences == 0
    assert photo.load_models(photo.Options(tmp_path / "rnet.keras", level=0)).regressor.confidences == 0
    cnet.save_cnet(cnet.build_cnet(network, scalar=True), tmp_path / "cnet.keras")
    assert photo.load_models(photo.Options(tmp_path, level=0)).regressor.confidences == 1
