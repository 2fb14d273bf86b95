import subprocess
import sys

import pytest

from tf_deep3d import command_line
from tf_deep3d.errors import InputError


def _raise(error):
    raise error


@pytest.mark.parametrize(
    "error", [InputError("bad. Received: 1"), FileNotFoundError("No such file: x"), ModuleNotFoundError("m")]
)
def test_mistakes_are_one_line(capsys, error):
    assert command_line.run(_raise, error) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_interruption_and_success(capsys):
    assert command_line.run(_raise, KeyboardInterrupt(), interrupted="Stopped.") == 130
    assert capsys.readouterr().err == "Stopped.\n"
    assert command_line.run(lambda status: status, 7) == 7


@pytest.mark.parametrize("error", [ValueError("a bug"), ZeroDivisionError()])
def test_other_errors_keep_their_traceback(error):
    with pytest.raises(type(error)):
        command_line.run(_raise, error)


QUIET = """
import os, sys
from tf_deep3d import command_line
with command_line.quiet({streams}):
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
    with pytest.raises(KeyError), command_line.quiet():
        raise KeyError


def test_each_stage_has_its_bar(capsys, monkeypatch):
    made = []

    class Bar:
        def __init__(self, desc, total, disable):
            self.desc, self.total, self.n, self.closed = desc.strip(), total, 0, 0
            made.append(self)

        def update(self, steps):
            self.n += steps

        def close(self):
            self.closed += 1

    monkeypatch.setattr("tqdm.tqdm", Bar)
    with command_line.stages() as show:
        show("looking", 1, 4)
        show("looking", 4, 4)
        assert made[0].closed == 1
        show("writing", 2, None)
        assert not made[1].closed
    assert [(bar.desc, bar.n, bar.total) for bar in made] == [("looking", 4, 4), ("writing", 2, None)]
    assert all(bar.closed for bar in made)


def test_an_error_closes_the_bars(capsys):
    try:
        with command_line.stages() as show:
            show("looking", 1, 2)
            raise KeyError("lost")
    except KeyError:
        pass
    show("looking", 2, 2)  # a closed bar takes no harm
    assert "Traceback" not in capsys.readouterr().err
