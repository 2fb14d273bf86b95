"""People of the face model as subjects, on the shipped model at its level 1."""

import numpy as np
import pytest

from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.evaluation import model_people, open_benchmark
from tf_deep3d.face import morphable_model
from tf_deep3d.face.landmarks import NOSE_TIP
from tf_deep3d.io import archive


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


@pytest.fixture(scope="module")
def head(model):
    return rendered_people.load_head(model)


def test_members_are_the_same_for_every_count(model, head):
    (first,) = model_people.subjects(model, head, 1)
    again, other = model_people.subjects(model, head, 2)
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert np.abs(first.vertices - other.vertices).max() > 0.01
    offset = (first.vertices[: head.face] - model.mean_shape).ravel()
    basis = model.identity_basis.reshape(len(model.identity_basis), -1)
    coefficients = np.linalg.lstsq(basis.T, offset, rcond=None)[0]
    assert np.abs(coefficients @ basis - offset).max() < 1e-4, "it lies in the model's space"
    assert (np.linalg.norm(first.vertices[first.region] - first.landmarks[NOSE_TIP], axis=1) <= 0.951).all()
    assert 3000 < len(first.region) < 10000


def test_the_crowd_has_as_many_women_as_men(model, head):
    people = list(model_people.crowd(model, head, 4))
    assert [person.sex for person in people] == ["female", "male"] * 2
    arrays = archive.read_arrays(model_people.CROWD)
    for person in people:
        number = int(person.who.name.removeprefix("known"))
        assert (arrays["people_male"][number] > 0.5) == (person.sex == "male")
    with pytest.raises(open_benchmark.BenchmarkError, match="Received: 121"):
        next(model_people.crowd(model, head, 121))


def test_a_crowd_of_another_schema_is_refused(model, head, tmp_path):
    arrays = archive.read_arrays(model_people.CROWD)
    for wrong in ({"schema": np.int64(9)}, {"people_identity": arrays["people_identity"][:, :3]}):
        archive.write_arrays(tmp_path / "crowd.npz", arrays | wrong, overwrite=True)
        with pytest.raises(open_benchmark.BenchmarkError, match="Received"):
            next(model_people.crowd(model, head, 2, tmp_path / "crowd.npz"))
    archive.write_arrays(tmp_path / "crowd.npz", {"schema": np.int64(1)}, overwrite=True)
    with pytest.raises(open_benchmark.BenchmarkError, match="no crowd"):
        next(model_people.crowd(model, head, 2, tmp_path / "crowd.npz"))


@pytest.mark.parametrize(
    ("tone", "srgb"),
    [("very light", (247, 222, 200)), ("tan", (168, 122, 90)), ("dark", (66, 44, 36)), ("dark", (20, 20, 40))],
)
def test_skin_tones_follow_the_typology_angle(tone, srgb):
    colors = np.tile(np.array(srgb) / 255, (5, 1))
    who = open_benchmark.Subject("x", None, None, None, colors, None, np.arange(5), exact=True)
    assert model_people.skin_tone(who) == tone


def test_the_angle_of_a_known_colour():
    from skimage.color import rgb2lab

    color = np.array([0.8, 0.6, 0.5])
    light, _, b = rgb2lab(color)
    assert model_people.typology_angle(color) == pytest.approx(np.degrees(np.arctan2(light - 50, b)), abs=0.05)
