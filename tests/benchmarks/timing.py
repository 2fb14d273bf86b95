"""Times of repeated calls, and the machine that they are of."""

import os
import platform
import time
from pathlib import Path

import numpy as np


def machine():
    """Name of the processor, its cores, and how busy the machine is: whatever else runs only ever adds to a time."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{name}, {os.cpu_count()} cores{load}"


def milliseconds(function, *arguments, repeat, warm=1, clock=time.perf_counter):
    """[`repeat`] times of calls, after `warm` that do not count."""
    times = []
    for _ in range(warm + repeat):
        start = clock()
        function(*arguments)
        times.append(1e3 * (clock() - start))
    return np.array(times[warm:])


def both(times, per=1, digits=2):
    """ "median (least)" of times, over `per`."""
    return f"{np.median(times) / per:.{digits}f} ({np.min(times) / per:.{digits}f})"
