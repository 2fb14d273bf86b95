"""Summaries and comparisons of numbers whose statistics are known."""

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import statistics


def test_summary_holds_the_mean_and_leaves_out_what_is_missing():
    values = np.random.default_rng(3).normal(10, 2, 400)
    found = statistics.summarize([*values, np.nan])
    assert found.count == 400
    assert found.mean == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std(ddof=1))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.1)
    assert found == statistics.summarize(values), "the seed is fixed"
    assert statistics.summarize([4.0]) == statistics.Summary(1, 4.0, 0.0, 4.0, 4.0, 4.0)
    assert np.isnan(statistics.summarize([]).mean)


def test_summary_of_groups_knows_that_pictures_of_one_person_are_alike():
    values = np.repeat(np.random.default_rng(3).normal(10, 2, 10), 40)
    groups = np.repeat(np.arange(10), 40)
    wide, narrow = statistics.summarize(values, groups), statistics.summarize(values)
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)
    assert wide.mean == narrow.mean


def test_comparison_of_paired_pictures():
    rng = np.random.default_rng(5)
    base = rng.normal(2, 1, 60)
    better = statistics.compare(base, base + 0.1 + 0.01 * rng.normal(size=60))
    assert better.difference.mean == pytest.approx(-0.1, abs=0.01)
    assert better.difference.high < 0
    assert better.p_value < 0.002
    same = statistics.compare(base, base + 0.1 * rng.normal(size=60))
    assert same.p_value > 0.05
    with pytest.raises(InputError, match="Received: 1"):
        statistics.compare([1.0, np.nan], [2.0, 3.0])
