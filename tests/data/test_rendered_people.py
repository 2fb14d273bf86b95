"""Random people: the head around the face, and where the alignment would put it."""

import numpy as np
import pytest

from tests import synthetic as fixture
from tf_deep3d import face
from tf_deep3d.data import rendered, rendered_people
from tf_deep3d.detection import alignment
from tf_deep3d.face import camera, lighting, morphable_model
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io import archive


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


@pytest.fixture(scope="module")
def head(model):
    return rendered_people.load_head(model)


# --- the head --------------------------------------------------------------------------------------------------------


def test_head_begins_with_the_face(model, head):
    """Face vertices, colours and landmarks of the head are the model's for any coefficients."""
    people = rendered_people.sample(model, head, 1, 3)
    ours, theirs = face.reconstruct(head.whole, people), face.reconstruct(model, people)
    assert head.face == len(model.mean_shape)
    np.testing.assert_allclose(ours.vertices[:, : head.face], theirs.vertices, atol=1e-5)
    np.testing.assert_allclose(ours.albedo[:, : head.face], theirs.albedo, atol=1e-5)
    np.testing.assert_allclose(ours.landmarks, theirs.landmarks, atol=1e-3)
    inside = np.setdiff1d(np.arange(head.face), head.whole.triangles[len(model.triangles) :])
    np.testing.assert_allclose(ours.colors[:, inside], theirs.colors[:, inside], atol=1e-4)


def test_head_joins_the_face_without_a_gap(model, head):
    """The face's outer border becomes inner edges, and no edge is used twice in one direction."""
    count = len(head.whole.mean_shape)

    def borders(triangles):
        edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)]).astype(np.int64)
        numbers = edges[:, 0] * count + edges[:, 1]
        assert len(np.unique(numbers)) == len(numbers)
        return edges[~np.isin(edges[:, 1] * count + edges[:, 0], numbers)]

    before, after = borders(model.triangles), borders(head.whole.triangles)
    kept = after[(after < head.face).all(1)]
    assert len(before) - len(kept) == 112, "the outer border of the face is closed; sockets and eyeballs stay"
    new = after[(after >= head.face).any(1)]
    assert (head.whole.mean_shape[new.ravel(), 1] < -1.5).all(), "the only other border is under the shoulders"


def test_rest_meets_the_border_in_every_mode(head):
    """Neighbours of the border move like the border: for one standard deviation of a mode, the join does not tear."""
    triangles = head.whole.triangles
    edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    across = edges[(edges < head.face).sum(1) == 1]
    length = np.linalg.norm(np.diff(head.whole.mean_shape[across], axis=1)[:, 0], axis=1)
    for basis in (head.whole.identity_basis, head.whole.expression_basis):
        stretch = np.linalg.norm(np.diff(basis[:, across], axis=2)[:, :, 0], axis=2)
        assert (stretch < 0.5 * length + 0.01).all()


def test_colour_has_no_step_at_the_border(head):
    triangles = head.whole.triangles
    edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    across = edges[(edges < head.face).sum(1) == 1]
    colors = face.albedo(head.whole, head.complexions[:50])
    step = np.abs(np.diff(colors[:, across], axis=2)).mean((1, 2, 3))
    assert step.mean() < 0.03
    assert step.max() < 0.05


def test_hair_and_clothes_spare_the_face(model, head):
    for mask in (head.scalp, head.volume, head.clothes):
        assert not mask[: head.face].any()
        assert mask.max() > 0.9
    rng, person = np.random.default_rng(0), rendered_people.sample_one(model, head, np.random.default_rng(1))
    dressed = rendered.pose_head(head, person, rng)
    bare = face.reconstruct(head.whole, Coefficients(*(group[None] for group in person)), rendered.camera())
    np.testing.assert_array_equal(dressed.vertices[:, : head.face], bare.vertices[:, : head.face])
    np.testing.assert_array_equal(dressed.albedo[:, : head.face], bare.albedo[:, : head.face])


def test_load_head_refuses_other_models_and_files(tmp_path, tiny_model, model):
    with pytest.raises(morphable_model.ModelError, match="another face model or level"):
        rendered_people.load_head(tiny_model)
    with pytest.raises(morphable_model.ModelError, match="another face model or level"):
        rendered_people.load_head(morphable_model.load(level=0))
    with pytest.raises(FileNotFoundError):
        rendered_people.load_head(model, tmp_path / "none.npz")
    path = tmp_path / "other.npz"
    archive.write_arrays(path, fixture.synthetic_arrays())
    with pytest.raises(morphable_model.ModelError, match="is no head"):
        rendered_people.load_head(model, path)


# --- people ----------------------------------------------------------------------------------------------------------


def test_alignment_of_the_exact_points_is_the_identity(model, head):
    people = rendered_people.sample(model, head, 5, 40, point_noise=0.0)
    points = face.reconstruct(model, people, landmarks="alignment5").landmarks
    frontal = face.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    for five in points:
        transform, side = alignment.alignment_transform(five, frontal)
        assert side == camera.IMAGE_SIZE
        assert transform.rotation == 0
        assert abs(transform.scale - 1) < 1e-4
        np.testing.assert_allclose(transform.translation, 0, atol=0.01)


def test_noise_of_the_points_moves_the_face(model, head):
    exact = rendered_people.sample(model, head, 5, 60, point_noise=0.0)
    noisy = rendered_people.sample(model, head, 5, 60)
    np.testing.assert_array_equal(exact.identity, noisy.identity)
    shift = (noisy.translation - exact.translation)[:, :2] * 101.5
    assert 0.2 < shift.std() < 3


def test_people_are_varied_and_plausible(model, head):
    people = rendered_people.sample(model, head, 7, 300)
    yaw = np.degrees(people.angles[:, 1])
    assert 0.7 < (np.abs(yaw) < 40).mean() < 0.95
    assert 60 < np.abs(yaw).max() <= 90
    assert np.degrees(np.abs(people.angles[:, 0]).max()) <= 30
    assert np.abs(people.translation[:, 2]).max() < 4
    assert 0.9 < people.identity.std() < 1.1
    opening = people.expression @ head.units["jawOpen"] / np.sum(head.units["jawOpen"] ** 2)
    assert 0.2 < (opening > 0.1).mean() < 0.7


def test_light_leaves_most_colours_in_range(model, head):
    shares = []
    for n in range(30):
        person = rendered_people.sample_one(model, head, rendered_people.generator(9, n))
        posed = face.reconstruct(model, Coefficients(*(group[None] for group in person)))
        skin = posed.colors[0, model.regions["skin"]]
        shares.append(((skin < 0) | (skin > 1)).any(1).mean())
        light = lighting.irradiance(posed.normals, person.illumination[None])
        assert light.min() > -0.35
    assert np.mean(shares) < 0.02
    assert max(shares) < 0.3


def test_a_person_does_not_depend_on_the_others(model, head):
    all_at_once = rendered_people.sample(model, head, 4, 5)
    last = rendered_people.sample(model, head, 4, 1, start=4)
    for group, own in zip(all_at_once, last, strict=True):
        np.testing.assert_array_equal(group[4:], own)
