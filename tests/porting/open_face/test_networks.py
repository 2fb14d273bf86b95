"""Networks of the sculpted identities say the same of people."""

from dataclasses import replace

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import presets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.weights import WeightsError
from tf_deep3d.porting.open_face import networks
from tf_deep3d.porting.open_face.population import principal_axes, read_population

PHOTOS = np.random.default_rng(0).random((2, 224, 224, 3), np.float32)


@pytest.fixture(scope="module")
def axes():
    return principal_axes(read_population())


@pytest.fixture(scope="module")
def pair():
    """An R-Net of the sculpted model and its C-Net, with random last layers."""
    rng = np.random.default_rng(1)
    shipped = rnets.RNet.from_preset()
    rnet = rnets.RNet.from_config({**shipped.get_config(), "face_model": presets.SCULPTED})
    rnet.set_weights(shipped.get_weights())
    head = rnet.network.get_layer("identity")
    head.set_weights([0.03 * rng.normal(size=values.shape) for values in head.get_weights()])
    cnet = cnets.build_cnet(rnet)
    judge = cnet.network.get_layer("confidence")
    judge.set_weights([0.03 * rng.normal(size=values.shape) for values in judge.get_weights()])
    return rnet, cnet


def test_a_moved_network_turns_identities_and_nothing_else(axes, pair):
    rnet = pair[0]
    moved = networks.move_rnet(rnet, axes, "face")
    assert moved.face_model == "face"
    before, after = rnet(PHOTOS), moved(PHOTOS)
    np.testing.assert_allclose(after.identity, np.asarray(before.identity) @ axes.turn.T, atol=1e-4)
    for group in before._fields:
        if group != "identity":
            np.testing.assert_array_equal(getattr(after, group), getattr(before, group))


def test_confidences_are_mixed_by_variance(axes, pair):
    rnet, cnet = pair
    moved = networks.move_cnet(cnet, axes.turn, networks.move_rnet(rnet, axes, "face"))
    features = rnet.regress(PHOTOS)[1]
    confidences = np.asarray(cnet(features)), np.asarray(moved(features))
    before, after = (np.arctanh(np.log(c / (1 - c)) / cnets.BOUND) for c in confidences)
    np.testing.assert_allclose((axes.turn**2).sum(1), 1)
    np.testing.assert_allclose(after, before @ (axes.turn**2).T, rtol=1e-3, atol=1e-3)


def test_the_command_moves_both_files(tmp_path, pair):
    rnet, cnet = pair
    old, old_judge, new, new_judge = (tmp_path / f"{name}.keras" for name in ("r", "c", "r2", "c2"))
    rnets.save_rnet(rnet, old)
    cnets.save_cnet(cnet, old_judge)
    assert networks.main([str(old), str(new), "--cnet", str(old_judge), str(new_judge)]) == 0
    moved = rnets.load_rnet(new, rnets.fingerprint())
    assert cnets.load_cnet(new_judge, moved).confidences == moved.layout.identity


def test_the_old_network_is_refused_with_the_way_on(tmp_path, pair):
    rnets.save_rnet(pair[0], tmp_path / "r.keras")
    with pytest.raises(WeightsError, match=r"another face model.*porting\.open_face\.networks moves it") as error:
        rnets.load_rnet(tmp_path / "r.keras", rnets.fingerprint())
    assert "\n" not in str(error.value)


def test_other_networks_are_refused(tmp_path, capsys, axes):
    assert networks.main([str(rnets.SHIPPED), str(tmp_path / "out.keras")]) == 1
    assert "another face model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    small = rnets.RNet("mobilenet_small", {"identity": 3, "expression": 2, "albedo": 2}, presets.SCULPTED)
    with pytest.raises(WeightsError, match=r"80 identity coefficients\. Received: 3"):
        networks.move_rnet(small, axes, "face")


def test_a_network_moves_to_other_modes_of_the_same_colours():
    rng = np.random.default_rng(3)
    old = morphable_model.load(level=0)
    new = replace(
        old,
        mean_albedo=old.mean_albedo + 0.4 * old.albedo_basis[3],
        albedo_basis=np.tensordot(np.linalg.qr(rng.normal(size=(80, 80)))[0], old.albedo_basis, 1),
    )
    rnet = rnets.RNet.from_preset()
    moved = networks.move_albedo(rnet, old, new, "face")
    assert moved.face_model == "face"
    before, after = rnet(PHOTOS), moved(PHOTOS)
    np.testing.assert_allclose(faces.albedo(new, after.albedo), faces.albedo(old, before.albedo), atol=1e-4)
    for group in set(before._fields) - {"albedo"}:
        np.testing.assert_array_equal(getattr(after, group), getattr(before, group))


def test_models_of_other_surfaces_are_refused():
    rnet, old = rnets.RNet.from_preset(), morphable_model.load(level=0)
    with pytest.raises(WeightsError, match="the same vertices"):
        networks.move_albedo(rnet, old, morphable_model.load(level=1), "face")
    with pytest.raises(WeightsError, match="albedo=79"):
        networks.move_albedo(rnet, old, replace(old, albedo_basis=old.albedo_basis[1:]), "face")


def test_the_command_moves_the_colours_of_the_face_that_it_is_told(tmp_path):
    old = tmp_path / "old.npz"
    archive.write_arrays(old, archive.read_arrays(morphable_model.OPEN_FACE) | {"name": np.array("older")})
    shipped = rnets.RNet.from_preset()
    rnet = rnets.RNet.from_config({**shipped.get_config(), "face_model": rnets.fingerprint(old)})
    rnet.set_weights(shipped.get_weights())
    rnets.save_rnet(rnet, tmp_path / "r.keras")
    assert networks.main([str(tmp_path / "r.keras"), str(tmp_path / "out.keras"), "--face", str(old)]) == 0
    moved = rnets.load_rnet(tmp_path / "out.keras", rnets.fingerprint())
    np.testing.assert_allclose(moved(PHOTOS).albedo, rnet(PHOTOS).albedo, atol=2e-3)
