"""Statistics of what was measured: means with bootstrap intervals, and paired comparisons.

Letters: N pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.errors import InputError

BOOTSTRAPS, SEED = 2000, 7


@dataclass(frozen=True)
class Summary:
    """Statistics of N numbers.

    Attributes:
      count: N.
      mean, std, median: of the numbers; the deviation is the sample's (N - 1).
      low, high: 95 % bootstrap interval of the mean.
    """

    count: int
    mean: float
    std: float
    median: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Paired differences a - b.

    Attributes:
      difference: `Summary` of them.
      p_value: two-sided, of a sign-flip permutation test; small where chance hardly explains the difference.
    """

    difference: Summary
    p_value: float


def summarize(values: Sequence[float] | np.ndarray, groups: Sequence[Any] | np.ndarray | None = None) -> Summary:
    """Statistics with a bootstrap whose seed is fixed.

    Args:
      values: [N]; those that are not finite are left out.
      groups: [N] labels, e.g. persons: whole groups are drawn, because pictures of one person resemble each other.

    Returns:
      `Summary`.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    values = values[known]
    if not len(values):
        return Summary(0, *[float("nan")] * 5)
    label = np.arange(len(values)) if groups is None else np.unique(np.asarray(groups)[known], return_inverse=True)[1]
    sums, counts = np.bincount(label, values), np.bincount(label)
    picks = np.random.default_rng(SEED).integers(0, len(sums), (BOOTSTRAPS, len(sums)))
    low, high = np.quantile(sums[picks].sum(1) / counts[picks].sum(1), [0.025, 0.975])
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return Summary(len(values), *(float(x) for x in (values.mean(), spread, np.median(values), low, high)))


def compare(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> Comparison:
    """Compares two methods on the same pictures.

    Args:
      first, second: [N].
      groups: [N] labels; the differences of a group change sign together, see `summarize`.

    Returns:
      `Comparison` of `first` - `second`.

    Raises:
      InputError: if fewer than two pairs are finite.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    known = np.isfinite(difference)
    difference = difference[known]
    if len(difference) < 2:
        raise InputError(f"a comparison needs two pictures that both methods solved. Received: {len(difference)}")
    groups = np.arange(len(known)) if groups is None else np.asarray(groups)
    label = np.unique(groups[known], return_inverse=True)[1]
    sums = np.bincount(label, difference)
    signs = np.random.default_rng(SEED).choice([-1, 1], (BOOTSTRAPS, len(sums)))
    extreme = (np.abs((signs * sums).sum(1)) >= abs(sums.sum()) - 1e-12).sum()
    return Comparison(summarize(difference, groups[known]), float((extreme + 1) / (BOOTSTRAPS + 1)))
