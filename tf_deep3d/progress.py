"""Progress bars of a command, one for each stage of its work."""

from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def stages():
    """Progress bars on stderr.

    Yields:
      Function of (name of the stage, steps done, steps in all or None).
    """
    bars = {}

    def show(stage, done, total):
        if stage not in bars:
            bars[stage] = tqdm(desc=f"{stage:8}", total=total, disable=None)
        bars[stage].update(done - bars[stage].n)
        if done == total:
            bars[stage].close()

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
