"""What the commands share: mistakes become one line, native libraries keep their remarks to themselves, and long work
shows a progress bar for each of its stages."""

import os
import sys
import warnings
from contextlib import contextmanager

from tf_deep3d.errors import InputError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up remarks are not ours to show


def run(work, *arguments, interrupted="Interrupted."):
    """Runs a command's work; returns its exit status.

    Args:
      work: function of `arguments` that returns the status.
      *arguments: see above.
      interrupted: what to say at Ctrl-C; the status is 130 then.

    Returns:
      The status; 1 after one line on stderr for the user's mistakes: InputError, OSError and a missing module, whose
      messages say what was received. Anything else, a bare ValueError too, is a bug and keeps its traceback.
    """
    try:
        return work(*arguments)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    except (InputError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


@contextmanager
def quiet(streams=(2,)):
    """Drops what native libraries and workers write to the process' output; exceptions pass.

    Args:
      streams: file descriptors, 1 standard output, 2 standard error.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in streams]
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in streams:
            os.dup2(sink, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        for stream, original in zip(streams, kept, strict=True):
            os.dup2(original, stream)
            os.close(original)
        os.close(sink)


@contextmanager
def stages():
    """Progress bars on stderr.

    Yields:
      Function of (name of the stage, steps done, steps in all or None).
    """
    from tqdm import tqdm  # not on the device

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
