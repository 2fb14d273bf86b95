"""Curves over the time of a clip: made whole, made smooth, and how much they tremble.

Letters: N frames, D numbers of a frame, L landmarks.
"""

import math
from itertools import pairwise

import numpy as np

from tf_deep3d.errors import InputError

DEGREE = 2  # of the local polynomials: a blink keeps its depth
REACH = 3.0  # standard deviations at which the kernel ends


def fill_gaps(times: np.ndarray, present: np.ndarray, longest: float) -> np.ndarray:
    """Which frames get a value: those that have one, and those of inner gaps that are short.

    Args:
      times: [N] s, rising.
      present: [N] bool, whether a frame has a value.
      longest: s from the last value before a gap to the first after it, up to which it is filled.

    Returns:
      [N] int32: the number of the unbroken stretch that a frame belongs to, from 0; -1 for frames without a value.
    """
    stretch = np.full(len(times), -1, np.int32)
    known = np.flatnonzero(present)
    number = 0
    for before, after in pairwise(known):
        stretch[before] = number
        if after - before == 1 or times[after] - times[before] <= longest:
            stretch[before:after] = number
        else:
            number += 1
    if len(known):
        stretch[known[-1]] = number
    return stretch


def interpolate(times: np.ndarray, present: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` [N, D] of the frames `present` [N] bool, linearly in time for the others: [N, D]."""
    known = np.flatnonzero(present)
    return np.stack([np.interp(times, times[known], column) for column in values[known].T], axis=-1)


def hold(present: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` [N, D] of the frames `present` [N] bool, for the others those of the last before, or of the first."""
    before = np.maximum.accumulate(np.where(present, np.arange(len(present)), -1))
    return values[np.where(before < 0, np.argmax(present), before)]


def keys(stretches: np.ndarray, held: bool) -> np.ndarray:
    """The frames [N] bool that an animation, which goes straight from one to the next, needs: those of `stretches` [N]
    of `fill_gaps` and, where the last value is `held` through a gap, the gap's last frame."""
    shown = stretches >= 0
    ends = ~shown & np.append(shown[1:], False) & (np.arange(len(shown)) > np.argmax(shown))
    return shown | ends if held else shown


def smooth(times: np.ndarray, stretches: np.ndarray, values: np.ndarray, seconds: float) -> np.ndarray:
    """Smooths without delay: local quadratic regression under a Gaussian kernel (Savitzky and Golay 1964 for uneven
    times; Cleveland 1979). A parabola passes unchanged, also at the ends.

    Args:
      times: [N] s, rising.
      stretches: [N] int of `fill_gaps`; nothing flows from one stretch to another.
      values: [N, D].
      seconds: standard deviation of the kernel; 0 returns the values.

    Returns:
      [N, D].

    Raises:
      InputError: if `seconds` is negative or not finite.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"the time of smoothing must be a number of seconds, 0 or more. Received: {seconds}")
    result = np.array(values, np.float64)
    if not seconds:
        return result
    for number in range(stretches.max(initial=-1) + 1):
        rows = np.flatnonzero(stretches == number)
        when, what = times[rows], result[rows]
        for row, time in zip(rows, when, strict=True):
            first, last = np.searchsorted(when, [time - REACH * seconds, time + REACH * seconds])
            if last - first > DEGREE + 1:
                offset = (when[first:last] - time) / seconds
                powers = offset[:, None] ** np.arange(DEGREE + 1)
                weighted = powers * np.exp(-0.5 * offset**2)[:, None]
                # The constant of the polynomial, as weights of the values:
                kernel = np.linalg.lstsq(weighted.T @ powers, weighted.T, rcond=None)[0][0]
                result[row] = kernel @ what[first:last]
    return result


def jitter(landmarks: np.ndarray, present: np.ndarray) -> float:
    """Root mean square of the second differences in time of landmarks [N, L, 2] over three frames in a row that are
    `present` [N] bool; 0 where there are none."""
    whole = present[:-2] & present[1:-1] & present[2:]
    second = (landmarks[:-2] - 2 * landmarks[1:-1] + landmarks[2:])[whole]
    return float(np.sqrt(np.square(second).sum(-1).mean())) if len(second) else 0.0
