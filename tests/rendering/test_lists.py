"""Lists of both kinds, as long as they need to be and as long as they could be, in the one backend at hand."""

import numpy as np
import pytest
from keras import ops

from tf_deep3d.rendering import lists


@pytest.fixture(params=[False, True], ids=["dynamic", "static"])
def static(request, monkeypatch):
    monkeypatch.setattr(lists, "STATIC_SHAPES", request.param)
    return request.param


def test_listed_elements_are_the_true_ones_in_order(static):
    condition = np.array([[False, True, True], [False, False, True]])
    values = np.array([[9, 5, 7], [8, 6, 3]], np.int32)
    index, found = map(ops.convert_to_numpy, lists.listed(ops.convert_to_tensor(condition), values))
    if static:
        np.testing.assert_array_equal(index, np.arange(6))
        np.testing.assert_array_equal(found, [0, 5, 7, 0, 0, 3])
    else:
        np.testing.assert_array_equal(index, [1, 2, 5])
        np.testing.assert_array_equal(found, [5, 7, 3])


@pytest.mark.parametrize("counts", [[2, 0, 3], [0, 0, 4, 0, 1], [5]])
def test_every_slot_knows_its_owner(static, counts):
    start, owner, slot = map(ops.convert_to_numpy, lists.expand(ops.convert_to_tensor(counts, "int32"), 8))
    total = sum(counts)
    expected = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_array_equal(start, np.cumsum(counts) - counts)
    np.testing.assert_array_equal(owner[:total], expected)
    np.testing.assert_array_equal(slot[:total], np.arange(total))
    assert len(owner) == len(slot) == (8 if static else total)
    assert set(slot[total:]) <= {total - 1}  # what fills the list repeats its end
    assert set(owner[total:]) <= {len(counts) - 1}


def test_totals_are_the_sums_at_equal_indices(static):
    generator = np.random.default_rng(0)
    indices = generator.integers(0, 9, 3 * 40).astype(np.int32)
    columns = list(generator.normal(size=(4, 3 * 40)).astype(np.float32))
    found = lists.totals([ops.convert_to_tensor(column) for column in columns], ops.convert_to_tensor(indices), 12)
    expected = np.zeros((4, 12))
    for row, column in zip(expected, columns, strict=True):
        np.add.at(row, indices, column)
    np.testing.assert_allclose(np.stack([ops.convert_to_numpy(sums) for sums in found]), expected, atol=1e-5)
    assert not expected[:, 9:].any()


def test_only_lists_that_are_filled_up_need_a_guard(static):
    values, valid = ops.convert_to_tensor([1.0, np.nan, 3.0]), ops.convert_to_tensor([True, False, True])
    found = ops.convert_to_numpy(lists.guard(values, valid, 7.0))
    np.testing.assert_array_equal(found, [1.0, 7.0, 3.0] if static else [1.0, np.nan, 3.0])
