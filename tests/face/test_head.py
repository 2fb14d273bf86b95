"""The whole head: shares the face's border, is closed, and its teeth, eyes and lids do what anatomy says."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from tests import synthetic as fixture
from tf_deep3d import face as faces
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face import head as heads
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import landmarks

# Points of the upper lids' rims among the 478, from corner to corner; the middle three are far from the lower lid when
# the eye is open.
UPPER_LIDS = {
    "eyeBlinkLeft": (466, 388, 387, 386, 385, 384, 398),
    "eyeBlinkRight": (246, 161, 160, 159, 158, 157, 173),
}
MIDDLE = slice(2, 5)
SHUT, OPEN = 0.5, 3.0  # mm from the skin of the lower lid, of a closed eye at most and of an open one at least
OVER = 0.2  # mm, by which lids may pass each other


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=heads.LEVEL)


@pytest.fixture(scope="module")
def head(model):
    return heads.load(model)


def people(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 80)).astype(np.float32)


def units(head, **weights):
    result = np.zeros((1, len(head.whole.blendshape_names)), np.float32)
    for name, weight in weights.items():
        result[0, head.whole.blendshape_names.index(name)] = weight
    return result


def bone(head, name):
    return next(each for each in head.bones if each.name == name)


def part(head, name):
    """Vertices of a part that are the head's own."""
    return np.setdiff1d(head.whole.triangles[head.parts[name]], np.arange(head.face))


def spread(points):
    """Distances [N - 1] of points [N, 3] from the first."""
    return np.linalg.norm(points[1:] - points[0], axis=-1)


def edges(triangles):
    return np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)]).astype(np.int64)


def test_head_is_closed(head):
    """Every edge is used once in each direction, so that head, eyeballs, tongue, teeth and gums are closed surfaces."""
    directed = edges(head.whole.triangles)
    numbers = directed @ [len(head.whole.mean_shape), 1]
    assert len(np.unique(numbers)) == len(numbers)
    assert np.isin(directed @ [1, len(head.whole.mean_shape)], numbers).all()
    corners = head.whole.mean_shape[head.whole.triangles]
    volume = np.einsum("ti,ti->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert 2 < volume < 7, "litres; triangles face outwards"


def test_with_shoulders_only_their_lower_end_is_open(model):
    whole = heads.load(model, shoulders=True).whole
    directed = edges(whole.triangles)
    numbers = directed @ [len(whole.mean_shape), 1]
    border = directed[~np.isin(directed @ [1, len(whole.mean_shape)], numbers)]
    assert len(border)
    assert whole.mean_shape[border, 1].max() < -1.5


def test_head_and_face_are_one_surface_for_all_coefficients(model, head):
    """The face's vertices in the head are the face's own, but for the eyeballs, which turn instead of bending."""
    rng, identity = np.random.default_rng(1), people(5)
    expression = rng.normal(size=(5, 64)).astype(np.float32)
    ours = heads.unposed_shape(head, identity, expression)[:, : head.face]
    theirs = faces.unposed_shape(model, identity, expression)
    eyes = np.isin(np.arange(head.face), np.concatenate([each.vertices for each in head.bones]))
    np.testing.assert_allclose(ours[:, ~eyes], theirs[:, ~eyes], atol=1e-5)
    assert MILLIMETRES * np.linalg.norm(ours[:, eyes] - theirs[:, eyes], axis=-1).mean() < 1
    shared = np.intersect1d(head.whole.triangles[len(head.whole.uv_triangles) :], np.arange(head.face))
    assert len(shared) > 200, "outer border, mouth, eye sockets and eyeballs"
    neutral = heads.unposed_shape(head, identity, 0 * expression)[:, : head.face]
    np.testing.assert_allclose(neutral, faces.neutral_shape(model, identity), atol=1e-5)


def joins(head):
    """Edges of the skin with one end in the face and one beyond."""
    across = edges(head.whole.triangles[head.parts["skin"]])
    return across[(across < head.face).sum(1) == 1]


def test_skin_meets_the_face_in_every_mode(head):
    """Neighbours of the border move like the border: for one standard deviation of a mode, the join does not tear."""
    across = joins(head)
    length = np.linalg.norm(np.diff(head.whole.mean_shape[across], axis=1)[:, 0], axis=1)
    for basis in (head.whole.identity_basis, head.whole.expression_basis):
        stretch = np.linalg.norm(np.diff(basis[:, across], axis=2)[:, :, 0], axis=2)
        assert (stretch < 0.5 * length + 0.01).all()


def test_colour_has_no_step_at_the_border(head):
    colors = faces.albedo(head.whole, head.complexions[:50])
    step = np.abs(np.diff(colors[:, joins(head)], axis=2)).mean((1, 2, 3))
    assert step.mean() < 0.03
    assert step.max() < 0.05


def test_all_but_bones_is_linear(head):
    rng = np.random.default_rng(2)
    first, second = (rng.normal(size=(1, 64)).astype(np.float32) for _ in range(2))
    who = people(1)
    free = np.setdiff1d(np.arange(len(head.whole.mean_shape)), np.concatenate([b.vertices for b in head.bones]))
    at = [heads.unposed_shape(head, who, each)[0, free] for each in (0 * first, first, second, first + 2 * second)]
    np.testing.assert_allclose(at[3] - at[0], at[1] - at[0] + 2 * (at[2] - at[0]), atol=2e-4)
    people_at = [heads.unposed_shape(head, each, 0 * first)[0] for each in (0 * who, who, -2 * who)]
    np.testing.assert_allclose(people_at[2] - people_at[0], -2 * (people_at[1] - people_at[0]), atol=2e-4)


def test_upper_teeth_are_fixed_to_the_skull(head):
    """No expression and no unit moves them; people differ in them."""
    teeth, who = part(head, "upper teeth"), people(2)
    still = faces.neutral_shape(head.whole, who)[:, teeth]
    expression = np.random.default_rng(3).normal(size=(2, 64)).astype(np.float32)
    np.testing.assert_allclose(heads.unposed_shape(head, who, expression)[:, teeth], still, atol=1e-5)
    moved = heads.blendshapes(head, who[0])[:, teeth]
    np.testing.assert_allclose(moved, 0, atol=1e-5)
    assert np.abs(still[0] - still[1]).max() > 0.01


@pytest.mark.parametrize("weight", [0.3, 0.7, 1.0])
def test_lower_teeth_move_rigidly_with_the_jaw(head, weight):
    """Opening the jaw moves the row by more than a centimetre at full strength and keeps all distances."""
    teeth, who = part(head, "lower teeth"), people(1)
    still = faces.neutral_shape(head.whole, who)[0, teeth]
    moved = heads.with_units(head, who, units(head, jawOpen=weight, jawLeft=0.2))[0, teeth]
    np.testing.assert_allclose(spread(moved), spread(still), atol=1e-4)
    assert MILLIMETRES * np.linalg.norm((moved - still).mean(0)) > 15 * weight


def test_lower_teeth_follow_every_expression_rigidly(head):
    teeth, who = part(head, "lower teeth"), people(1)
    still = faces.neutral_shape(head.whole, who)[0, teeth]
    for expression in np.random.default_rng(4).normal(size=(10, 1, 64)).astype(np.float32):
        moved = heads.unposed_shape(head, who, expression)[0, teeth]
        np.testing.assert_allclose(spread(moved), spread(still), atol=1e-4)


def test_teeth_stay_behind_the_chin_s_skin(head, model):
    """The lower row goes down with the chin: both sink alike, to a third, when the jaw opens."""
    jaw = model.landmarks["ibug68"].vertices[8]
    moved = heads.blendshapes(head, people(1)[0])[head.whole.blendshape_names.index("jawOpen")]
    chin, teeth = moved[jaw].mean(0), moved[part(head, "lower teeth")].mean(0)
    assert teeth[1] < -0.1
    assert 0.66 < teeth[1] / chin[1] < 1.5


@pytest.mark.parametrize("name", ["eyeLeft", "eyeRight"])
def test_gaze_turns_the_eyeball_about_its_center(head, name):
    """Center and distances from it stay; the pupil goes where the unit says."""
    own, who, side = bone(head, name), people(1), name.removeprefix("eye")
    still = faces.neutral_shape(head.whole, who)[0]
    center = still[own.pivot].mean(0)
    pupil = own.vertices[still[own.vertices, 2].argmax()]
    outwards = 1 if side == "Left" else -1
    ways = {"Up": [0, 1], "Down": [0, -1], "Out": [outwards, 0], "In": [-outwards, 0]}
    for way, direction in ways.items():
        moved = heads.with_units(head, who, units(head, **{f"eyeLook{way}{side}": 1.0}))[0]
        np.testing.assert_allclose(moved[own.pivot].mean(0), center, atol=1e-5)
        rays, arms = moved[own.vertices] - center, still[own.vertices] - center
        np.testing.assert_allclose(np.linalg.norm(rays, axis=1), np.linalg.norm(arms, axis=1), atol=1e-5)
        np.testing.assert_allclose(spread(moved[own.vertices]), spread(still[own.vertices]), atol=1e-5)
        shift = (moved - still)[pupil, :2] @ direction
        assert MILLIMETRES * shift > 1.5


def heights(points, shape, triangles):
    """Distances [L] in mm of points [L, 3] near a surface from it, negative below it."""
    vertices, weights = landmarks.snap(points, shape, triangles)
    normals = geometry.vertex_normals(shape[None], triangles, geometry.corners_around(triangles, len(shape)))[0]
    place, outwards = ((each[vertices] * weights[..., None]).sum(1) for each in (shape, normals))
    apart = points - place
    return MILLIMETRES * np.linalg.norm(apart, axis=1) * np.sign((apart * outwards).sum(1))


def test_lids_meet_when_closed_on_every_face(head, model):
    """The mean, twenty random people and both ends of the first modes shut one eye and then the other: the rim of the
    upper lid comes to lie on the lower lid's skin, from corner to corner, neither apart nor through it."""
    ends = 2.5 * np.concatenate([np.eye(80)[:8], -np.eye(80)[:8]])
    skin = head.whole.triangles[head.parts["skin"]]
    for who in np.concatenate([np.zeros((1, 80)), people(20, seed=5), ends]).astype(np.float32):
        weights = np.eye(len(head.whole.blendshape_names), dtype=np.float32)[[each.unit for each in head.closings]]
        still, *shut = heads.with_units(head, who[None].repeat(3, 0), np.concatenate([0 * weights[:1], weights]))
        for closing, shape in zip(head.closings, shut, strict=True):
            index = list(UPPER_LIDS[head.whole.blendshape_names[closing.unit]])
            lower = skin[(closing.slots[skin] == 0).all(1)]
            at, before = (
                heights(faces.at_landmarks(model.landmarks["mediapipe478"], each[None])[0, index], each, lower)
                for each in (shape, still)
            )
            assert at.min() > -OVER
            assert at.max() < SHUT
            assert np.abs(before[MIDDLE]).min() > OPEN


def test_tongue_out_moves_the_tongue_alone(head):
    moved = heads.blendshapes(head, people(1)[0])[head.whole.blendshape_names.index("tongueOut")]
    tongue = part(head, "tongue")
    tip = tongue[head.whole.mean_shape[tongue, 2].argmax()]
    assert MILLIMETRES * moved[tip, 2] > 15
    others = np.setdiff1d(np.arange(len(moved)), tongue)
    np.testing.assert_allclose(moved[others], 0, atol=1e-6)


def test_rotation_of_is_rodrigues():
    vectors = np.random.default_rng(6).normal(size=(5, 3)) * [[0], [1e-4], [0.1], [1], [3]]
    np.testing.assert_allclose(heads.rotation_of(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-6)


def test_both_namespaces_agree(head):
    who, weights = people(2), np.random.default_rng(7).uniform(size=(2, 52)).astype(np.float32)
    expression = np.random.default_rng(8).normal(size=(2, 64)).astype(np.float32)
    for function, values in ((heads.with_units, weights), (heads.unposed_shape, expression)):
        there = ops.convert_to_numpy(function(head, ops.convert_to_tensor(who), ops.convert_to_tensor(values), xp=ops))
        np.testing.assert_allclose(there, function(head, who, values), atol=1e-4)


def test_load_refuses_other_models_and_files(tmp_path, tiny_model, model):
    for other in (tiny_model, morphable_model.load(level=0)):
        with pytest.raises(morphable_model.ModelError, match="another face model or level"):
            heads.load(other)
    with pytest.raises(FileNotFoundError):
        heads.load(model, tmp_path / "none.npz")
    path = tmp_path / "other.npz"
    archive.write_arrays(path, fixture.synthetic_arrays())
    with pytest.raises(morphable_model.ModelError, match="no head of schema 2"):
        heads.load(model, path)
    arrays = archive.read_arrays(heads.OPEN_HEAD)
    archive.write_arrays(path, arrays | {"schema": np.int64(1)}, overwrite=True)
    with pytest.raises(morphable_model.ModelError, match="Received: schema 1"):
        heads.load(model, path)
    del arrays["blendshape_turns"]
    archive.write_arrays(path, arrays, overwrite=True)
    with pytest.raises(morphable_model.ModelError, match="blendshape_turns"):
        heads.load(model, path)
    path.write_bytes(heads.OPEN_HEAD.read_bytes()[:1000])
    with pytest.raises(morphable_model.ModelError, match=r"other\.npz"):
        heads.load(model, path)
