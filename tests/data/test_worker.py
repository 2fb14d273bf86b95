import _thread
import subprocess
import sys
import threading
import time

import pytest

from tf_deep3d.data import worker
from tf_deep3d.io.work_folders import work_folder

WATCHING = (
    "import sys; from pathlib import Path; from tf_deep3d.data import worker; worker._end_with(Path(sys.argv[1]))"
)


def test_work_in_a_thread_raises_what_it_raises():
    made = []
    worker.interruptible(lambda: made.append(1))
    assert made == [1]
    with pytest.raises(ZeroDivisionError):
        worker.interruptible(lambda: 1 / 0)


def test_an_interruption_does_not_wait_for_the_work():
    over = threading.Event()
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            worker.interruptible(lambda: over.wait(60))
        assert not over.is_set()
    finally:
        over.set()


def test_a_worker_ends_with_its_command(tmp_path):
    with work_folder(tmp_path) as command:
        process = subprocess.Popen([sys.executable, "-c", WATCHING, str(command)])
        time.sleep(1)
        assert process.poll() is None
    assert process.wait(30) == 1
