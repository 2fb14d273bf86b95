import subprocess
import sys

import pytest

from tf_deep3d import console


def _raise(error):
    raise error


@pytest.mark.parametrize(
    "error", [ValueError("bad. Received: 1"), FileNotFoundError("No such file: x"), ModuleNotFoundError("m")]
)
def test_mistakes_are_one_line(capsys, error):
    assert console.run(_raise, error) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_interruption_and_success(capsys):
    assert console.run(_raise, KeyboardInterrupt(), interrupted="Stopped.") == 130
    assert capsys.readouterr().err == "Stopped.\n"
    assert console.run(lambda status: status, 7) == 7


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        console.run(lambda: 1 / 0)


QUIET = """
import os, sys
from tf_deep3d import console
with console.quiet({streams}):
    os.write(2, b"native "); os.write(1, b"worker "); print("python")
os.write(2, b"after"); print("out")
"""


@pytest.mark.parametrize(("streams", "shown"), [("", "worker python\nout\n"), ("(1, 2)", "out\n")])
def test_quiet_drops_what_native_code_writes(streams, shown):
    result = subprocess.run(
        [sys.executable, "-c", QUIET.format(streams=streams)], capture_output=True, text=True, check=True
    )
    assert result.stderr == "after"
    assert result.stdout == shown


def test_quiet_lets_errors_pass():
    with pytest.raises(KeyError), console.quiet():
        raise KeyError
