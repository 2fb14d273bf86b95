"""Beam's workers on this machine: processes that end with the command they work for, however that ends.

A command holds a hidden folder as long as it is at work (`io.work_folders`), by which its workers know that it lives.
"""

import os
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tf_deep3d.io import work_folders

PAUSE = 0.5  # s between two looks at the command
PATIENCE = 10.0  # s that an interrupted command waits for its workers


def runner(workers: int, command: Path) -> Any:
    """Beam's runner of this machine, with worker processes, or this process alone for one worker.

    Args:
      workers: number of processes.
      command: hidden folder that the command holds.
    """
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    from apache_beam.transforms import environments

    if workers == 1:
        return FnApiRunner()
    words = [sys.executable, "-m", __name__, str(command)]
    shell = "" if sys.platform == "win32" else "exec "  # or the shell would stay between command and worker
    environment = cast(Any, environments).SubprocessSDKEnvironment.from_command_string(shell + shlex.join(words))
    return FnApiRunner(default_environment=environment)


def interruptible(work: Callable[[], object]) -> None:
    """Runs `work` in a thread of its own, so that Ctrl-C and SIGTERM end the waiting for it at once, whatever Beam
    waits for itself; raises what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(PAUSE)
    if raised:
        raise raised[0]


def wait_for_workers() -> None:
    """Waits until Beam's threads have seen that their workers are gone, `PATIENCE` at most."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and any(thread.name == "run_worker" for thread in threading.enumerate()):
        time.sleep(PAUSE / 10)


def _end_with(command: Path) -> None:
    while work_folders.is_held(command):
        time.sleep(PAUSE)
    os._exit(1)  # at once: what this worker leaves behind has a lock that is free now, and the next run removes it


if __name__ == "__main__":
    tempfile.tempdir = sys.argv.pop()
    threading.Thread(target=_end_with, args=(Path(tempfile.tempdir),), daemon=True).start()

    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
