import numpy as np
import pytest

from tf_deep3d.face import model_file


def _dense(step, columns):
    """A `Step` as a matrix [rows, columns] of float64."""
    matrix = np.zeros((len(step.indptr) - 1, columns))
    for row, (start, stop) in enumerate(zip(step.indptr, step.indptr[1:], strict=False)):
        np.add.at(matrix[row], step.indices[start:stop], step.weights[start:stop])
    return matrix


def _step(rng, rows, columns):
    """A random `Step` of 1 to 9 terms a row, weights that sum to 1."""
    terms = rng.integers(1, 10, rows)
    indptr = np.concatenate([[0], np.cumsum(terms)]).astype(np.int32)
    weights = rng.random(indptr[-1]).astype(np.float32)
    weights /= np.repeat(np.add.reduceat(weights, indptr[:-1]), terms)
    return model_file.Step(indptr, rng.integers(0, columns, indptr[-1]).astype(np.int32), weights)


@pytest.fixture(scope="module")
def surface():
    """Fields [5, 40, 3], two steps to 90 and 1400 vertices, and the fields there by dense matrices."""
    rng = np.random.default_rng(3)
    fields = rng.normal(size=(5, 40, 3)).astype(np.float32)
    steps = [_step(rng, 90, 40), _step(rng, 1400, 90)]
    return fields, steps, _dense(steps[1], 90) @ _dense(steps[0], 40) @ fields


def test_subdivision_is_the_product_of_its_matrices(surface):
    fields, steps, truth = surface
    fine = model_file.subdivide(steps, fields, np.arange(1400))
    assert fine.dtype == np.float32
    np.testing.assert_allclose(fine, truth, atol=3e-7 * np.abs(fields).max())  # a few units in the last place


@pytest.mark.parametrize("rows", [[7], [1399, 0, 7, 7], range(0, 1400, 3)])
def test_a_vertex_has_the_same_bits_whichever_others_are_asked_for(surface, rows):
    fields, steps, _ = surface
    fine = model_file.subdivide(steps, fields, np.arange(1400))
    np.testing.assert_array_equal(model_file.subdivide(steps, fields, np.array(rows)), fine[:, list(rows)])


def test_without_steps_the_control_mesh_is_the_surface(surface):
    fields, _, _ = surface
    np.testing.assert_array_equal(model_file.subdivide([], fields, np.array([3, 1])), fields[:, [3, 1]])


def test_steps_must_lead_from_the_control_mesh_to_the_finest_level(surface):
    _, steps, _ = surface
    arrays = {
        f"subdivision_{i}_{name}": value for i, step in enumerate(steps) for name, value in step._asdict().items()
    }
    read = model_file.read_steps(arrays, 40, 1400)
    for step, known in zip(read, steps, strict=True):
        for array, truth in zip(step, known, strict=True):
            np.testing.assert_array_equal(array, truth)
    with pytest.raises(model_file.ModelError, match=r"must end at 1500 vertices, as mean_albedo has. Received: 1400"):
        model_file.read_steps(arrays, 40, 1500)
    with pytest.raises(model_file.ModelError, match=r"subdivision_0_indices must lie in \[0, 30\)"):
        model_file.read_steps(arrays, 30, 1400)


def test_indices_beyond_64_bits_signed_are_refused():
    with pytest.raises(model_file.ModelError, match="Received: 0 to 18446744073709551615"):
        model_file.checked_indices({"v": np.array([0, 2**64 - 1], np.uint64)}, "v", (None,), 5)
