"""Layers of skin from portraits: what light explains is no skin, what is known is found."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.face import lighting, morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.fitting.descent import Observation
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import geometry, lifted_skins, portraits
from tf_deep3d.rendering import renderer

GREY = 0.25  # density of a patch


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=1)


def test_light_is_taken_out_and_a_patch_stays():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = lighting.sh_basis(normals) @ (0.2 * rng.normal(size=(9, 3)))
    patch = np.zeros((2000, 3))
    patch[::100] = 0.3
    weight = np.ones(2000)
    assert np.abs(portraits.without_light(light, weight, normals)).max() < 0.03 * np.abs(light).max()
    left = portraits.without_light(light + patch, weight, normals)
    assert left[::100].mean() == pytest.approx(0.3, abs=0.02)
    assert np.abs(np.delete(left, np.s_[::100], 0)).max() < 0.05


def test_a_darker_cheek_is_lifted(model):
    coefficients = model.layout("rgb").zeros(1)
    face = faces.reconstruct(model, coefficients)
    cheek = np.linalg.norm(model.mean_shape - [0.35, -0.2, 0.2], axis=1) < 0.15
    darker = face._replace(colors=face.colors * np.exp(-GREY * cheek[None, :, None]).astype(np.float32))
    image = np.asarray(renderer.render(darker, model.triangles, Camera()).image)
    observation = Observation(image, np.zeros((1, 68, 2), np.float32), np.ones((1, 224, 224, 1), np.float32))
    lifted = portraits.lift(observation, model, coefficients)
    sure = lifted.weight[0] > 0.9
    near = np.linalg.norm(model.mean_shape - [0.35, -0.2, 0.2], axis=1)
    inner, outer = sure & (near < 0.1), sure & (near > 0.3)
    assert inner.sum() > 20
    assert outer.sum() > 500
    assert lifted.density[0, inner].mean() - lifted.density[0, outer].mean() == pytest.approx(GREY, abs=0.08)
    assert not lifted.weight[0, ~model.regions["inner_face"] | model.regions["eyes"]].any()


def test_components_are_those_of_faces_and_mirror_images():
    rng = np.random.default_rng(1)
    even, odd = np.zeros((2, 4, 3))
    even[:, 0], odd[:2, 1], odd[2:, 1] = 0.3, 0.1, -0.1
    mirror = np.array([2, 3, 0, 1])
    strength = rng.normal(size=(400, 2))
    density = 0.05 + strength[:, :1, None] * even + strength[:, 1:, None] * odd
    lifted = portraits.Lifted(density.astype(np.float32), np.ones((400, 4), np.float32))
    found = portraits.components(lifted, mirror, 2)
    np.testing.assert_allclose(np.abs(found[0]), even, atol=0.03)
    np.testing.assert_allclose(np.abs(found[1]), np.abs(odd), atol=0.02)
    mean = lifted.density.mean(0)
    assert portraits.unexplained(lifted, mean, found[:0], 1e-3) == pytest.approx(
        (0.3**2 / 3 + 0.1**2 / 3) ** 0.5, rel=0.1
    )
    assert portraits.unexplained(lifted, mean, found, 1e-6) < 1e-3
    with pytest.raises(InputError, match=r"900 components need more than 450 portraits\. Received: 400"):
        portraits.components(lifted, mirror, 900)


def test_a_folder_without_faces_is_refused_and_nothing_written(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    assert portraits.main([str(tmp_path / "photos"), str(tmp_path / "out.npz")]) == 1
    assert "must hold portraits. Received: 0 pictures" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_shipped_components_fade_at_the_border_and_are_symmetric_or_not(model):
    modes = lifted_skins.read_components()
    assert modes.shape == (portraits.COMPONENTS, len(model.mean_shape), 3)
    np.testing.assert_array_equal(modes[:, portraits.inside(model) == 0], 0)
    mirror = geometry.match_mirrored(model.mean_shape + 10 * np.eye(3)[1] * model.regions["eyes"][:, None], 1e-3)
    flat = modes.reshape(len(modes), -1)
    alike = (flat * modes[:, mirror].reshape(len(modes), -1)).sum(1) / (flat**2).sum(1)
    np.testing.assert_allclose(np.abs(alike), 1, atol=0.02)
    assert 0.01 < modes.std() < 0.1


def test_files_that_hold_no_components_are_refused(tmp_path):
    archive.write_arrays(tmp_path / "a.npz", {"schema": np.int64(1)})
    with pytest.raises(InputError, match="Received: no 'components"):
        lifted_skins.read_components(tmp_path / "a.npz")
    arrays = {"components": np.zeros((2, 4, 3), np.int8), "scale": np.zeros(2, np.float32)}
    archive.write_arrays(tmp_path / "b.npz", {"schema": np.int64(9), **arrays})
    with pytest.raises(InputError, match=r"schema 1\. Received: 9"):
        lifted_skins.read_components(tmp_path / "b.npz")
