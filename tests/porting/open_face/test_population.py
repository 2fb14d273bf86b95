"""The distribution of identities in the sculpted modes, and the axes that follow from it."""

import numpy as np
import pytest

from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import people, population
from tf_deep3d.porting.open_face.population import Population, PopulationError, principal_axes, read_population

SYMMETRIC = np.array([True, True, False, True, False])


def some(seed=0):
    """A random population of five modes."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(5, 5))
    covariance = (factor @ factor.T + np.eye(5)) * (SYMMETRIC[:, None] == SYMMETRIC)
    return Population(rng.normal(size=5) * SYMMETRIC, covariance, np.array([5.0, 3, 2.5, 1, 0.5]), SYMMETRIC)


def write(path, given, **changes):
    arrays = {"schema": np.int64(population.SCHEMA), **given._asdict(), **changes}
    archive.write_arrays(path, arrays, overwrite=True)
    return path


def test_standard_normal_coefficients_on_the_axes_have_the_population_s_mean_and_covariance():
    given = some()
    axes = principal_axes(given)
    np.testing.assert_array_equal(axes.mean, given.mean)
    np.testing.assert_allclose(axes.modes.T @ axes.modes, given.covariance, atol=1e-12)


def test_axes_are_orthogonal_as_shapes_fall_in_variance_and_have_one_symmetry():
    given = some()
    shapes = principal_axes(given).modes * given.lengths
    gram = shapes @ shapes.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)
    assert (np.diff(np.diag(gram)) < 0).all()
    kinds = (np.abs(shapes) @ np.stack([SYMMETRIC, ~SYMMETRIC], 1)) > 0
    assert (kinds.sum(1) == 1).all()
    assert kinds[:, 0].sum() == 3


def test_sculpted_people_stay_as_they_are_where_people_are_as_sculpted():
    given = some()._replace(mean=np.zeros(5), covariance=np.eye(5))
    axes = principal_axes(given)
    np.testing.assert_allclose(axes.modes, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(axes.turn, np.eye(5), atol=1e-12)


def test_coefficients_are_those_of_the_same_shape():
    axes = principal_axes(some())
    sculpted = np.random.default_rng(1).normal(size=(7, 5))
    on_axes = axes.coefficients(sculpted)
    np.testing.assert_allclose(axes.mean + on_axes @ axes.modes, sculpted, atol=1e-12)


def test_counterparts_turn_the_sculpted_coefficients_and_move_people_the_least():
    """Mean plus the symmetric root of the covariance is the optimal transport between the two normal distributions."""
    given = some()
    axes = principal_axes(given)
    np.testing.assert_allclose(axes.turn @ axes.turn.T, np.eye(5), atol=1e-12)
    sculpted = np.random.default_rng(1).normal(size=(7, 5))
    counterparts = axes.counterparts(axes.coefficients(sculpted))
    np.testing.assert_allclose(counterparts, sculpted @ axes.turn.T, atol=1e-12)
    root = axes.modes.T @ axes.turn
    np.testing.assert_allclose(root, root.T, atol=1e-12)
    assert np.linalg.eigvalsh(root).min() > 0
    np.testing.assert_allclose(root @ root, given.covariance, atol=1e-12)


def test_read_population_gives_what_was_written(tmp_path):
    given = some()
    found = read_population(write(tmp_path / "p.npz", given))
    for mine, theirs in zip(found, given, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance": some().covariance - 9 * np.eye(5)}, r"positive definite\. Received: eigenvalue -"),
        ({"lengths": np.zeros(5)}, "positive definite"),
        ({"covariance": some().covariance + np.triu(np.ones((5, 5)))}, "must be symmetric"),
        ({"covariance": some().covariance + 0.01}, "mirror images"),
        ({"mean": np.ones(5)}, "mirror images"),
        ({"mean": np.zeros(4)}, r"no population of schema 1\. Received: schema 1, \[\(4,\)"),
        ({"schema": np.int64(2)}, "Received: schema 2"),
        ({"schema": np.arange(2)}, "must hold a population"),
        ({"symmetric": np.array(True)}, r"no population of schema 1\. Received: schema 1, .* \(\)\]"),
        ({"symmetric": np.ones(5)}, r"three arrays of floats and one of bools\. Received: ffff"),
        ({"mean": np.array(list("abcde"))}, r"one of bools\. Received: Uffb"),
    ],
)
def test_read_population_refuses_in_one_line(tmp_path, changes, message):
    path = write(tmp_path / "p.npz", some(), **changes)
    with pytest.raises(PopulationError, match=message) as error:
        read_population(path)
    assert "\n" not in str(error.value)


def test_read_population_names_what_is_missing(tmp_path):
    archive.write_arrays(tmp_path / "p.npz", {"schema": np.int64(1), "mean": np.zeros(5)})
    with pytest.raises(PopulationError, match=r"must hold a population.*covariance"):
        read_population(tmp_path / "p.npz")


def test_the_figures_of_other_modes_are_refused():
    modes = np.eye(5)[:, :, None] * np.ones(3)
    shapes = people.Shapes(None, None, np.zeros((5, 3)), modes, None, None, None, ())
    with pytest.raises(
        PopulationError, match=r"these 5 modes, the first 1\.7321 dm long\. Received: 5, the first 5\.0"
    ):
        population.calibrated(shapes, some())


def test_the_shipped_figures_are_those_of_people():
    given = read_population()
    assert given.covariance.shape == (people.IDENTITY, people.IDENTITY)
    assert 0.2 < np.sqrt((given.mean**2).mean()) < 0.6
    assert 0.7 < np.sqrt(np.trace(given.covariance) / len(given.mean)) < 1.1
