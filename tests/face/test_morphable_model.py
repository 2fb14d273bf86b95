import tracemalloc

import numpy as np
import pytest
from keras import ops

from tests.synthetic import synthetic_arrays
from tf_deep3d import face
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive


def test_a_coarse_level_is_a_subset_of_the_surface(model_file, tiny_model):
    coarse = morphable_model.load(model_file, level=0)
    keep = synthetic_arrays()["level0_vertices"]
    for name in ("mean_shape", "mean_albedo"):
        np.testing.assert_array_equal(getattr(coarse, name), getattr(tiny_model, name)[keep])
    np.testing.assert_array_equal(coarse.identity_basis, tiny_model.identity_basis[:, keep])
    np.testing.assert_array_equal(coarse.blendshapes, tiny_model.blendshapes[:, keep])
    assert coarse.level == 0
    assert tiny_model.level == 1
    both = morphable_model.load_levels(model_file)
    assert [model.level for model in both] == [0, 1]
    np.testing.assert_array_equal(both[0].mean_shape, coarse.mean_shape)


def test_levels_are_made_when_asked_for_and_kept(model_file, monkeypatch):
    levels = morphable_model.load_levels(model_file)
    made = []
    subdivide = morphable_model.model_file.subdivide
    monkeypatch.setattr(
        morphable_model.model_file, "subdivide", lambda *args: made.append(len(args[-1])) or subdivide(*args)
    )
    assert len(levels) == 2
    assert made == []
    coarse = levels[0]
    assert levels[-2] is coarse
    assert levels[:1] == (coarse,)
    assert made == [len(coarse.mean_shape)]
    with pytest.raises(IndexError):
        levels[2]


def test_subdivision_is_the_matrix_product(tiny_model):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    arrays = synthetic_arrays()
    parts = [arrays[f"subdivision_0_{name}"] for name in ("weights", "indices", "indptr")]
    matrix = scipy_sparse.csr_matrix(tuple(parts))
    np.testing.assert_allclose(tiny_model.mean_shape, matrix @ arrays["mean_shape"], atol=1e-6)
    np.testing.assert_allclose(
        tiny_model.identity_basis[2], matrix @ arrays["identity_basis"][2].astype("float32"), atol=1e-6
    )


def test_integer_albedo_modes_are_scaled(tiny_model):
    arrays = synthetic_arrays()
    np.testing.assert_allclose(tiny_model.albedo_basis, arrays["albedo_basis"] * np.float32(0.0002))


def test_sizes_come_from_the_file(tiny_model):
    assert tiny_model.layout().sizes == (6, 4, 5, 3, 27, 3)
    assert tiny_model.layout("white").sizes == (6, 4, 5, 3, 9, 3)


def test_the_nearest_level_is_picked(model_file):
    coarse, fine = levels = morphable_model.load_levels(model_file)
    picked = [morphable_model.pick_level(levels, level) for level in (0, 1, 2, 9, -1, -2, -9)]
    assert [model.level for model in picked] == [0, 1, 1, 1, 1, 0, 0]
    assert picked[0] is coarse
    assert picked[-3] is fine


def test_levels_count_from_the_finest_when_negative(model_file):
    assert morphable_model.load(model_file, level=-1).level == 1
    for level in (2, -3):
        with pytest.raises(morphable_model.ModelError, match="levels of detail 0 to 1"):
            morphable_model.load(model_file, level=level)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("schema", np.int64(99), "schema must be 1"),
        ("mean_shape", np.zeros((357, 2), "float32"), r"mean_shape must have shape .* Received: float32 \(357, 2\)"),
        ("mean_shape", np.zeros((357, 3), "int32"), "Received: int32"),
        ("identity_basis", np.zeros((6, 11, 3), "float32"), "identity_basis"),
        ("albedo_basis", np.zeros((5, 11, 3), "int8"), "albedo_basis"),
        ("subdivision_0_indices", np.full(4897, 10_000, "int32"), "subdivision_0_indices"),
        ("level1_triangles", np.full((4, 3), 5_000, "int32"), r"level1_triangles must lie in \[0, 1353\)"),
        ("level1_triangles", np.full((4, 3), -1, "int32"), "level1_triangles"),
        ("level1_landmarks_ibug68_vertices", np.zeros((5, 3), "int32"), "level1_landmarks_ibug68_vertices"),
        ("region_names", np.array(["a", "b", "c", "d", "e", "f"]), "regions must include"),
        ("uv", None, "'uv' is missing"),
        ("level1_landmarks_ibug68_weights", None, "is missing"),
        ("mean_albedo", np.full((1353, 3), np.nan, "float32"), "must be finite"),
        ("mean_shape", np.full((357, 3), 1e300), r"mean_shape must fit single precision. Received: 1e\+300"),
        ("levels", np.int64(2**62), r"levels must lie in 1 to 16. Received: 4611686018427387904"),
        ("levels", np.int64(0), "levels must lie in 1 to 16. Received: 0"),
        ("levels", np.uint64(2**64 - 1), "levels must lie in 1 to 16. Received: 18446744073709551615"),
        ("name", np.array(["a", "b"]), r"name must have shape \(\)"),
        ("level1_triangles", np.zeros((257, 3), "int32"), "256 triangles may meet at a vertex. Received: 771"),
        ("subdivision_0_indptr", np.array([0, 2989], "int32"), "indptr must rise by 1 to 256 from 0 to 2989"),
        ("subdivision_0_indptr", np.arange(2990, dtype="int32"), "indptr must rise by 1 to 256 from 0 to 2989"),
        ("expression_basis", np.zeros((1001, 357, 3), "float16"), "at most 1000000 vertices, 1000 modes and"),
    ],
)
def test_a_wrong_array_is_named(tmp_path, name, value, message):
    arrays = {**synthetic_arrays(), name: value}
    if value is None:
        del arrays[name]
    archive.write_arrays(tmp_path / "bad.npz", arrays)
    with pytest.raises(morphable_model.ModelError, match=message) as caught:
        morphable_model.load(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_modes_that_grow_beyond_all_faces_are_refused_before_they_do(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 300_000)
    archive.write_arrays(tmp_path / "big.npz", synthetic_arrays())
    grown = 4 * 3 * 1353 * (6 + 4 + len(synthetic_arrays()["blendshapes"]) + 5 + 2)
    with pytest.raises(
        morphable_model.ModelError, match=f"300000 bytes at the finest level. Received: 1353, .*, {grown}"
    ):
        morphable_model.load(tmp_path / "big.npz")


def test_more_than_a_face_model_is_refused_before_it_is_unpacked(model_file, tmp_path):
    content = bytearray(model_file.read_bytes())
    size = content.index(b"PK\x01\x02") + 24  # where the list of contents says how large its first entry is
    content[size : size + 4] = (3_800 << 20).to_bytes(4, "little")
    (tmp_path / "zeros.npz").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(morphable_model.ModelError, match="has or unpacks to more than 1073741824 bytes"):
        morphable_model.load(tmp_path / "zeros.npz")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def _fields(model):
    """All arrays of a model, by name."""
    found = {name: value for name, value in vars(model).items() if isinstance(value, np.ndarray)}
    found |= {f"region {name}": value for name, value in model.regions.items()}
    for name, points in model.landmarks.items():
        found |= {f"landmarks {name}": points.vertices, f"weights {name}": points.weights}
    return found


@pytest.mark.parametrize("change", ["bit", "byte"])
def test_a_changed_bit_or_byte_changes_nothing_or_is_refused_in_one_line(model_file, tmp_path, change):
    truth = _fields(morphable_model.load(model_file, level=0))
    content = model_file.read_bytes()
    rng = np.random.default_rng(17 if change == "bit" else 18)
    messages = []
    for _ in range(150):
        spoiled = bytearray(content)
        spoiled[rng.integers(len(content))] ^= 1 << rng.integers(8) if change == "bit" else rng.integers(1, 256)
        (tmp_path / "spoiled.npz").write_bytes(spoiled)
        try:
            found = _fields(morphable_model.load(tmp_path / "spoiled.npz", level=0))
        except morphable_model.ModelError as error:
            messages.append(str(error))
            continue
        assert found.keys() == truth.keys()
        for name, array in truth.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert len(messages) > 100
    assert all(len(message.splitlines()) == 1 for message in messages)


def test_some_other_npz_is_no_model(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(morphable_model.ModelError, match="'schema' is missing"):
        morphable_model.load(tmp_path / "other.npz")


@pytest.mark.parametrize("half", [True, False])
def test_a_saved_level_is_the_same_model(model_file, tmp_path, half):
    model = morphable_model.load(model_file, level=0)
    morphable_model.save_level(model, tmp_path / "level.npz", half=half)
    back = morphable_model.load(tmp_path / "level.npz")
    for name in ("name", "licence", "level", "blendshape_names"):
        assert getattr(back, name) == getattr(model, name)
    for name in ("mean_shape", "mean_albedo", "triangles", "vertex_corners"):
        np.testing.assert_array_equal(getattr(back, name), getattr(model, name))
    for name in ("identity_basis", "expression_basis", "albedo_basis", "blendshapes"):
        close = {"rtol": 2.0**-11, "atol": 2.0**-25} if half else {"rtol": 0}
        np.testing.assert_allclose(getattr(back, name), getattr(model, name), **close)
        assert getattr(back, name).dtype == np.float32
    np.testing.assert_array_equal(back.uv[back.uv_triangles], model.uv[model.uv_triangles])
    assert len(back.uv) < len(model.uv)  # only what this level uses
    for name, points in model.landmarks.items():
        np.testing.assert_array_equal(back.landmarks[name].vertices, points.vertices)
        np.testing.assert_array_equal(back.landmarks[name].weights, points.weights)
    for name, region in model.regions.items():
        np.testing.assert_array_equal(back.regions[name], region)
    with pytest.raises(FileExistsError):
        morphable_model.save_level(model, tmp_path / "level.npz")


def test_a_level_of_a_model_without_blendshapes_is_saved(tmp_path):
    arrays = {**synthetic_arrays(), "blendshape_names": np.array([], "U1"), "blendshapes": np.zeros((0, 357, 3), "f4")}
    archive.write_arrays(tmp_path / "plain.npz", arrays)
    morphable_model.save_level(morphable_model.load(tmp_path / "plain.npz"), tmp_path / "level.npz")
    assert morphable_model.load(tmp_path / "level.npz").blendshape_names == ()


def test_dense_landmarks_are_optional(tmp_path):
    arrays = {name: value for name, value in synthetic_arrays().items() if "mediapipe478" not in name}
    archive.write_arrays(tmp_path / "sparse.npz", arrays)
    assert set(morphable_model.load(tmp_path / "sparse.npz").landmarks) == {"ibug68", "alignment5"}


def test_moments_of_landmarks_are_optional_and_checked(tmp_path):
    arrays = synthetic_arrays()
    moments = np.tile(np.float32([2e-4, 1e-4, 3e-4]), (9, 3, 478, 1))
    archive.write_arrays(tmp_path / "known.npz", {**arrays, "landmarks_mediapipe478_moments": moments})
    model = morphable_model.load(tmp_path / "known.npz")
    np.testing.assert_array_equal(model.landmarks["mediapipe478"].moments, moments)
    assert model.landmarks["ibug68"].moments is None
    morphable_model.save_level(model, tmp_path / "level.npz")
    saved = morphable_model.load(tmp_path / "level.npz").landmarks["mediapipe478"]
    np.testing.assert_array_equal(saved.moments, moments)
    for name, wrong in (("flat", moments * [1, 3, 1]), ("few", moments[:, :, 1:]), ("none", moments * np.nan)):
        archive.write_arrays(tmp_path / f"{name}.npz", {**arrays, "landmarks_mediapipe478_moments": wrong})
        with pytest.raises(morphable_model.ModelError, match="moments"):
            morphable_model.load(tmp_path / f"{name}.npz")


def test_on_backend_keeps_the_values(tiny_model):
    coefficients = tiny_model.layout().split(np.full((1, tiny_model.layout().total), 0.1, "float32"))
    there = face.reconstruct(tiny_model.on_backend(ops.convert_to_tensor), coefficients, xp=ops)
    here = face.reconstruct(tiny_model, coefficients)
    np.testing.assert_allclose(here.vertices, ops.convert_to_numpy(there.vertices), atol=1e-6)
