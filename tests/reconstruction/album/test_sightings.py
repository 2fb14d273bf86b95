"""Who is in the photos of an album, told by descriptors that stand for people."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.album import synthetic_models
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.models.regression import Regressor
from tf_deep3d.reconstruction import photo as pipeline
from tf_deep3d.reconstruction import portraits
from tf_deep3d.reconstruction.album import sightings


def people(*names, noise=0.3, seed=0):
    """Descriptors [F, 64] of unit length, one direction for each name, with noise."""
    rng = np.random.default_rng(seed)
    base = {name: np.eye(64)[i] for i, name in enumerate("ABCDEFGH")}
    rows = np.stack([base[name] + noise * rng.normal(size=64) / 8 for name in names])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_person_is_who_appears_in_most_photos():
    # photo 0: A and B; photo 1: B alone; photos 2 and 3: A; photo 4: C.
    faces, photo = people(*"BABAAC"), np.array([0, 0, 1, 2, 3, 4])
    chosen, likeness = sightings.find_person(faces, photo)
    np.testing.assert_array_equal(chosen, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(likeness >= sightings.LIKENESS, [True, False, True, True, False])


def test_a_group_photo_does_not_outvote_the_album():
    """Five faces of strangers in one photo are one photo's vote."""
    faces, photo = people(*"BBBBBAAA"), np.array([0, 0, 0, 0, 0, 0, 1, 2])
    chosen, likeness = sightings.find_person(faces, photo)
    np.testing.assert_array_equal(chosen, [5, 6, 7])
    assert (likeness > 0.8).all()


def test_likeness_is_that_to_the_others():
    """A face does not vouch for itself: the likeness is the cosine to the mean of the other members."""
    faces = people(*"AAA")
    _, likeness = sightings.find_person(faces, np.arange(3))
    others = faces[1] + faces[2]
    assert likeness[0] == pytest.approx(faces[0] @ others / np.linalg.norm(others))


def test_the_order_of_photos_does_not_matter():
    faces, photo = people(*"ABACAAB"), np.arange(7)
    turn = np.random.default_rng(1).permutation(7)
    likeness = sightings.find_person(faces, photo)[1]
    np.testing.assert_allclose(sightings.find_person(faces[turn], photo)[1], likeness[turn], atol=1e-12)


def test_one_photo_is_itself():
    chosen, likeness = sightings.find_person(people("A"), np.array([0]))
    np.testing.assert_array_equal(chosen, [0])
    np.testing.assert_allclose(likeness, [1.0])


def test_a_long_album_is_searched_in_part(monkeypatch):
    monkeypatch.setattr(sightings, "CANDIDATES", 5)
    faces, photo = people(*"AB" * 30, *"A" * 40), np.arange(100)
    chosen, likeness = sightings.find_person(faces, photo)
    np.testing.assert_array_equal(chosen, photo)
    assert (likeness >= sightings.LIKENESS).sum() == 70


@pytest.fixture
def networks(model_file, tiny_model, monkeypatch):
    """`pipeline.Models` whose R-Net answers with mean faces and whose recognition network tells tints apart."""

    def tint(images):
        middle = images[:, 80:140, 80:140].mean((1, 2))
        return middle - middle.mean(-1, keepdims=True)

    monkeypatch.setattr(sightings, "describe", tint)
    layout = tiny_model.layout()
    regressor = Regressor(lambda images: (layout.zeros(len(images)), images.mean((1, 2))), 3)
    return synthetic_models(model_file, 32)._replace(regressor=regressor)


def test_of_two_people_in_a_photo_the_albums_is_taken(tmp_path, networks, monkeypatch):
    monkeypatch.setattr(portraits, "BATCH", 2)
    monkeypatch.setattr(sightings, "BATCH", 2)
    natural = data.astronaut()[:250, 100:340]
    strange = natural[..., ::-1]  # RGB as BGR: blue skin
    pictures = {
        "1 both": np.concatenate([strange, natural], 1),
        "2 alone": natural,
        "3 mirrored": natural[:, ::-1],
        "4 stranger": strange,
        "5 nobody": np.full((64, 64, 3), 128, np.uint8),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "6 damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    paths = sorted(tmp_path.iterdir())
    said = []
    seen, failures = sightings.look_through(paths, pipeline.Options(), networks, lambda *step: said.append(step))
    assert [each.name for each in seen] == ["1 both", "1 both", "2 alone", "3 mirrored", "4 stranger"]
    assert [failure.file for failure in failures] == ["5 nobody.png", "6 damaged.png"]
    assert said == [("looking", number, 6) for number in range(1, 7)]

    names = {name: place for place, name in enumerate(dict.fromkeys(each.name for each in seen))}
    photo = np.array([names[each.name] for each in seen])
    chosen, likeness = sightings.find_person(np.stack([each.descriptor for each in seen]), photo)
    assert seen[chosen[0]].detected.box[0] > 240  # the right half
    np.testing.assert_array_equal(likeness >= sightings.LIKENESS, [True, True, True, False])

    right = seen[chosen[0]]
    assert right.thumbnail.shape == (sightings.THUMBNAIL,) * 2 + (3,)
    assert right.confidence.shape == (3,)
    again = sightings.portrait_again(right, networks)
    np.testing.assert_allclose(right.landmarks[:68], again.landmarks(), atol=1e-4)
    shrunk = sightings._thumbnail(again.crop)
    np.testing.assert_array_equal(shrunk, right.thumbnail)


def test_a_face_that_cannot_be_regressed_is_reported(tmp_path, networks, monkeypatch):
    path = tmp_path / "face.png"
    Image.fromarray(data.astronaut()[:250, 100:340]).save(path)

    waiting, sight = [], sightings._sight
    monkeypatch.setattr(sightings, "_sight", lambda faces, *rest: waiting.extend(faces) or sight(faces, *rest))

    def spoiled(images):
        found = Coefficients(*(np.full((len(images), 2), np.nan) for _ in Coefficients._fields))
        return found, None

    networks = networks._replace(regressor=Regressor(spoiled))
    seen, (failure,) = sightings.look_through([path], pipeline.Options(), networks)
    assert not seen
    assert failure.file == path.name
    assert "diverged" in failure.reason
    assert waiting[0][1].window.size == 0, "of a large photo it would be most of the memory"
