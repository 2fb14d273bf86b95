"""Follows one face through the frames of a clip, and makes time series whole and smooth.

A frame's face is sought where the last one was: the mesh network runs on the region of the last landmarks, which is
many times quicker than a detection. Where it sees no face there, or one that is not where the last one was, the whole
frame is searched: within `MEMORY` seconds only for a face near the last one, after that for the largest.

Letters: N frames, D numbers of a frame.
"""

import math
from itertools import pairwise

import numpy as np

from tf_deep3d.detection import detector, networks
from tf_deep3d.errors import InputError

MEMORY = 0.5  # s for which a lost face is expected near its last place
OVERLAP = 0.3  # intersection over union from which a face is the last frame's
NEAR = 1.5  # sides of the last box that a face may have moved while it was lost
DEGREE = 2  # of the local polynomials: a blink keeps its depth
REACH = 3.0  # standard deviations at which the kernel ends


def find_face(image, last=None, strict=True):
    """The face of a frame.

    Args:
      image: [H, W, 3] uint8.
      last: `detector.Detection` of an earlier frame, or None.
      strict: with `last`, accept only a face near it.

    Returns:
      `detector.Detection`, or None.
    """
    if last is not None:
        followed = follow(image, last)
        if followed is not None:
            return followed
    found = detector.detect(image)
    if last is not None:
        reach = NEAR * _side(last.box)
        near = [face for face in found if math.dist(_centre(face.box), _centre(last.box)) < reach]
        near.sort(key=lambda face: math.dist(_centre(face.box), _centre(last.box)))
        if near or strict:
            return near[0] if near else None
    return found[0] if found else None


def follow(image, last):
    """The face `last` (`Detection`) in the next frame, or None where it is lost."""
    points = last.landmarks478
    for _ in range(2):
        points, presence = networks.mesh(image, networks.region_of_landmarks(points))
        if presence < detector.PRESENCE:
            return None
    landmarks = np.concatenate([points, networks.irises(image, points)])
    found = detector.describe(networks.sigmoid(presence), landmarks)
    if detector.intersection_over_union(last.box, found.box[None])[0] < OVERLAP:
        return None
    return found


def track(frames):
    """Follows a face through frames.

    Args:
      frames: iterable of `video.Frame`.

    Yields:
      (`video.Frame`, `detector.Detection` or None) for each.
    """
    last, seen = None, 0.0
    for frame in frames:
        found = find_face(frame.image, last, strict=frame.time - seen <= MEMORY)
        if found is not None:
            last, seen = found, frame.time
        elif frame.time - seen > MEMORY:
            last = None
        yield frame, found


def fill_gaps(times, present, longest):
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


def interpolate(times, present, values):
    """`values` [N, D] of the frames `present` [N] bool, linearly in time for the others: [N, D]."""
    known = np.flatnonzero(present)
    return np.stack([np.interp(times, times[known], column) for column in values[known].T], axis=-1)


def smooth(times, stretches, values, seconds):
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
      ValueError: if `seconds` is negative or not finite.
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


def jitter(landmarks, present):
    """Root mean square of the second differences in time of landmarks [N, L, 2] over three frames in a row that are
    `present` [N] bool; 0 where there are none."""
    whole = present[:-2] & present[1:-1] & present[2:]
    second = (landmarks[:-2] - 2 * landmarks[1:-1] + landmarks[2:])[whole]
    return float(np.sqrt(np.square(second).sum(-1).mean())) if len(second) else 0.0


def _side(box):
    return float(np.sqrt(np.prod(box[2:] - box[:2])))


def _centre(box):
    return (box[:2] + box[2:]) / 2
