"""The landmarks' places on the mean face, from what a detector sees on renders of people."""

import numpy as np
import pytest

from tf_deep3d.face import head, morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.porting.open_face import embedding, landmarks
from tf_deep3d.porting.open_face.surface import EYE, FACE


@pytest.fixture(scope="module")
def levels():
    return morphable_model.load_levels()


@pytest.fixture(scope="module")
def own(levels):
    """The 478 points of the shipped model on its mean face with the mouth open, dm."""
    points = levels[1].landmarks["mediapipe478"]
    return (embedding.opened(levels[1])[points.vertices] * points.weights[..., None]).sum(1)


def test_the_jaw_is_open_where_the_points_are_found(levels):
    model = levels[1]
    lips = model.landmarks["ibug68"].vertices[[62, 66], 0]  # middle of the inner lips, upper and lower
    closed, open_ = (
        surface[lips, 1] @ [1, -1] * MILLIMETRES for surface in (model.mean_shape, embedding.opened(model))
    )
    assert open_ > closed + 5


def test_parts_follow_the_regions(levels):
    model = levels[1]
    parts = embedding.parts_of(model)
    assert model.regions["eyes"][model.triangles[parts == EYE]].all()
    assert not model.regions["eyes"][model.triangles[parts == FACE]].all(1).any()
    assert not model.regions["inner_mouth"][model.triangles[parts == FACE]].all(1).any()


def test_observations_of_the_own_points_give_the_own_points(levels, own):
    rng = np.random.default_rng(0)
    places = own + 0.01 * rng.normal(size=(400, 1, 1)) * np.ones(3)
    places[3, 5] = np.nan
    frontal = np.repeat(own[None] * [1, -1, 1] * 900, 3, 0)
    found, spread = embedding.embed(embedding.Observed(places, frontal))
    symmetric = (own + own[landmarks.mirrored_points(frontal[0], 2 * landmarks.REACH)] * [-1, 1, 1]) / 2
    np.testing.assert_allclose(found, symmetric, atol=5e-3)
    assert 0.005 < np.median(spread) < 0.02
    assert embedding.bias(levels[1], embedding.Observed(places, frontal)).max() < 0.5  # mm


def test_arrays_put_the_points_on_every_level(levels, own):
    arrays = embedding.landmark_arrays(levels, own)
    for level, model in enumerate(levels):
        vertices, weights = (arrays[f"level{level}_landmarks_mediapipe478_{part}"] for part in ("vertices", "weights"))
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        places = (embedding.opened(model)[vertices] * weights[..., None]).sum(1)
        distance = MILLIMETRES * np.linalg.norm(places - own, axis=1)
        assert np.median(distance) < (0.5, 0.1, 0.2)[level]
        assert model.regions["eyes"][vertices[landmarks.on_eyeball("mediapipe478")]].all()


def test_the_detector_sees_the_shipped_points_on_people(levels):
    """Frontal and turned people who were not looked at when the points were placed: no large mean error."""
    anatomy = head.load(levels[1], shoulders=True)
    seen = embedding.observe(levels[1], anatomy, range(900, 903), lambda: None)
    assert np.isfinite(seen.places).any((1, 2)).all()
    assert embedding.bias(levels[1], seen).mean() < 2.2  # mm, of three people; 0.5 would need many


def test_a_file_is_not_replaced_unasked(tmp_path, capsys):
    (tmp_path / "model.npz").write_bytes(b"mine")
    assert embedding.main([str(tmp_path / "model.npz")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "model.npz").read_bytes() == b"mine"
