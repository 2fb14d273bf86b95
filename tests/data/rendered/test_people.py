"""Random people: the head around the face, and where the alignment would put it."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data.rendered import light as lights
from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.data.rendered import pictures
from tf_deep3d.data.rendered.dress import dress
from tf_deep3d.detection import alignment
from tf_deep3d.errors import InputError
from tf_deep3d.face import camera, lighting
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io import archive
from tf_deep3d.rendering import renderer


def even_light(head):
    """A surface that nothing shades, and light that is white everywhere."""
    directions = lights.sphere(lights.DIRECTIONS).astype(np.float32)
    surface = lights.Surface(directions, np.ones((len(head.whole.mean_shape), len(directions)), np.float32))
    none = np.zeros((1, 3))
    return surface, lights.Light(np.array([0, 1.0, 0]), np.ones(3), 0.0, none, none, np.ones(1), 1.0)


# --- the head --------------------------------------------------------------------------------------------------------


def test_picture_shows_the_face_of_its_coefficients(model, head):
    """Vertices, colours and landmarks of the face are the model's; eyeballs turn rigidly, which moves a pupil less."""
    people = rendered_people.sample(model, head, 1, 3)
    for n in range(3):
        person = Coefficients(*(group[n] for group in people))
        ours = pictures.pose_head(head, person, dress(head, np.random.default_rng(n)), *even_light(head))
        theirs = face.reconstruct(model, Coefficients(*(group[None] for group in person)), pictures.camera())
        assert head.face == len(model.mean_shape)
        eyes = model.regions["eyes"]
        np.testing.assert_allclose(ours.vertices[:, : head.face][:, ~eyes], theirs.vertices[:, ~eyes], atol=1e-5)
        assert np.abs(ours.vertices[:, : head.face] - theirs.vertices)[:, eyes].max() < 0.015
        np.testing.assert_allclose(ours.albedo[:, : head.face], theirs.albedo, atol=1e-5)
        np.testing.assert_allclose(ours.landmarks, theirs.landmarks, atol=1e-3)
        inside = np.setdiff1d(
            np.flatnonzero(~eyes), model.triangles[model.regions["inner_mouth"][model.triangles].any(1)]
        )
        bare = np.isin(np.arange(head.face), inside) & (ours.colors[0, : head.face, 3] == 1)
        lit = np.clip(theirs.albedo[0], 0.0, 1.0)
        assert bare.mean() > 0.5
        np.testing.assert_allclose(ours.colors[0, : head.face, :3][bare], lit[bare], atol=0.04)


def test_open_mouth_shows_teeth_and_tongue(model, head):
    """Upper teeth of a laugh, lower teeth and tongue of a shout, next to nothing of closed lips."""
    parts = {name: head.anatomy.parts[name] for name in ("upper teeth", "lower teeth", "tongue")}
    smile = head.units["mouthSmileLeft"] + head.units["mouthSmileRight"]
    expressions = {"laugh": smile + 0.5 * head.units["jawOpen"], "shout": head.units["jawOpen"], "closed": 0 * smile}
    seen = {}
    for name, expression in expressions.items():
        person = model.layout().zeros(1)
        person.expression[0] = expression
        person.illumination[:, :, 0] = 0.5
        worn = dress(head, np.random.default_rng(0))
        posed = pictures.pose_head(head, Coefficients(*(g[0] for g in person)), worn, *even_light(head))
        rendering = renderer.render(posed, head.whole.triangles, pictures.camera())
        triangle = np.asarray(rendering.fragments.triangle).ravel()
        seen[name] = {part: int(chosen[triangle[triangle >= 0]].sum()) for part, chosen in parts.items()}
    assert seen["laugh"]["upper teeth"] > 50, seen
    assert min(seen["shout"]["lower teeth"], seen["shout"]["tongue"]) > 50, seen
    assert sum(seen["closed"].values()) < sum(seen["laugh"].values()) / 10, seen


def test_hair_and_clothes_spare_the_face(model, head):
    for mask in (head.anatomy.scalp, head.volume, head.anatomy.clothes):
        assert not mask[: head.face].any()
        assert mask.max() > 0.9


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


# --- scanned people --------------------------------------------------------------------------------------------------


def test_scanned_people_appear_as_often_and_as_wide_as_said():
    """Their mode moves one coefficient, which tells them from the others."""
    mean, modes = np.array([5.0, 0, 0]), np.array([[0, 0.5, 0.0]])
    scanned = rendered_people.Scanned(mean, modes)
    drawn = np.stack(
        [rendered_people.sample_identity(3, scanned, np.random.default_rng(number)) for number in range(2000)]
    )
    theirs = drawn[:, 0] == 5
    assert abs(theirs.mean() - rendered_people.SCANNED) < 0.04
    assert np.ptp(drawn[theirs, 2]) == 0
    assert abs(drawn[theirs, 1].std() / (0.5 * rendered_people.WIDER) - 1) < 0.08
    np.testing.assert_allclose(drawn[~theirs].std(0), 1, atol=0.1)


def test_a_head_with_scanned_people_plays_them(model, head):
    size = len(model.identity_basis)
    scanned = rendered_people.Scanned(np.zeros(size), np.zeros((1, size)))
    people = rendered_people.sample(model, head._replace(scanned=scanned), 3, 12)
    still = (people.identity == 0).all(1)
    assert 0 < still.sum() < 12


@pytest.mark.parametrize(
    "arrays",
    [
        {"mean": np.zeros(3), "modes": np.zeros((2, 3))},
        {"schema": 1, "mean": np.zeros(3), "modes": np.zeros((2, 4))},
        {"schema": 1, "mean": np.zeros(4), "modes": np.zeros((2, 4))},
        {"schema": 1, "mean": np.zeros(3, int), "modes": np.zeros((2, 3))},
        {"schema": 1, "mean": np.zeros(3)},
    ],
)
def test_other_files_are_no_scanned_people(tmp_path, arrays):
    archive.write_arrays(tmp_path / "people.npz", arrays)
    with pytest.raises(InputError, match="must hold the mean and the modes of 3 identities"):
        rendered_people.read_scanned(tmp_path / "people.npz", 3)
