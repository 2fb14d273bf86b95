import argparse
import importlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from tf_deep3d import command_line
from tf_deep3d.errors import ExtraError, InputError, extra

PLAIN = argparse.Namespace()


def _raise(options, error):
    raise error


@pytest.mark.parametrize(
    "error", [InputError("bad. Received: 1"), FileNotFoundError("No such file: x"), ExtraError("m")]
)
def test_mistakes_are_one_line_and_their_traceback_is_for_those_who_ask(capsys, error):
    assert command_line.run(_raise, PLAIN, error) == 1
    assert capsys.readouterr().err == f"error: {error}\n"
    assert command_line.run(_raise, command_line.parser("x", None).parse_args(["--debug"]), error) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Traceback")
    assert last == f"error: {error}"


def test_interruption_and_success(capsys):
    assert command_line.run(_raise, PLAIN, KeyboardInterrupt(), interrupted="Stopped.") == 130
    assert capsys.readouterr().err == "Stopped.\n"
    assert command_line.run(lambda options, status: status, PLAIN, 7) == 7


@pytest.mark.parametrize("error", [ValueError("a bug"), ZeroDivisionError(), ModuleNotFoundError("a bug")])
def test_bugs_keep_their_traceback(error):
    with pytest.raises(type(error)):
        command_line.run(_raise, PLAIN, error)


def test_a_missing_extra_is_named_and_a_missing_module_of_ours_is_a_bug():
    with (
        pytest.raises(ExtraError, match=r'\[video\]: pip install "tf_deep3d\[video\]"\. Received: .*no_such_package'),
        extra("video"),
    ):
        import no_such_package  # noqa: F401
    with pytest.raises(ModuleNotFoundError) as caught, extra("video"):
        import tf_deep3d.no_such_module  # noqa: F401
    assert not isinstance(caught.value, ExtraError)


def test_a_parser_keeps_lines_and_its_sub_commands_know_debug(capsys):
    parser = command_line.parser("program", "what\n  it does", "examples:\n  one")
    kinds = parser.add_subparsers(parser_class=command_line.parser)
    kinds.add_parser("kind", description="first\n  second")
    for arguments, text in ((["--help"], "what\n  it does"), (["kind", "--help"], "first\n  second")):
        with pytest.raises(SystemExit):
            parser.parse_args(arguments)
        assert text in capsys.readouterr().out
    assert parser.parse_args(["kind", "--debug"]).debug
    assert parser.parse_args(["--debug", "kind"]).debug


ROOT = Path(command_line.__file__).parents[1]
COMMANDS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for room in ("tf_deep3d", "export")
    for path in (ROOT / room).rglob("*.py")
    if "command_line.run(" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_knows_debug_and_calls_itself_by_its_module(module, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--debug" in said
    called = module.removesuffix(".__main__").removesuffix(".command")
    assert said.replace(" ", ".").startswith(f"usage:.python.-m.{called}")  # `export web` is a verb of `export`


def test_numbers_agree_with_what_they_count():
    assert [command_line.counted(number, "face") for number in (0, 1, 2)] == ["0 faces", "1 face", "2 faces"]


COMMAND = """
import argparse, pathlib, sys, time
from tf_deep3d import command_line
from tf_deep3d.io import files

def work(options):
    with files.writing_folder(pathlib.Path(sys.argv[1])):
        print("begun", flush=True)
        time.sleep({seconds})
    return 0

sys.exit(command_line.run(work, argparse.Namespace(), interrupted="Stopped; nothing was written."))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_work_and_leaves_nothing(tmp_path, number):
    command = [sys.executable, "-c", COMMAND.format(seconds=60), str(tmp_path / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heeding = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}  # which who runs the tests may ignore
    with subprocess.Popen(command, **pipes, **heeding) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == "Stopped; nothing was written.\n"
    assert os.listdir(tmp_path) == []


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert command_line.run(lambda options: os.kill(os.getpid(), signal.SIGHUP) or 0, PLAIN) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("text", ["sys.argv[1]", "'x' * 100_000"])
def test_a_reader_who_goes_is_told_in_a_line(text):
    source = "import sys\nfrom tf_deep3d import command_line\n" + (
        f"sys.exit(command_line.run(lambda options: print({text}) or 0, None))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        ended = subprocess.run([sys.executable, "-c", source, "x"], stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "error: who reads the output has gone. Received: [Errno 32] Broken pipe\n"


def test_output_that_cannot_be_written_is_told_in_a_line():
    source = (
        "import sys\nfrom tf_deep3d import command_line\nsys.exit(command_line.run(lambda o: print('x') or 0, None))"
    )
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([sys.executable, "-c", source], stdout=full, stderr=subprocess.PIPE, text=True)
        assert ended.returncode == 1
        assert ended.stderr == "error: [Errno 28] No space left on device\n"
        failing = source.replace("print('x') or 0", "open('nothing')")
        assert subprocess.run([sys.executable, "-c", failing], stdout=full, stderr=full).returncode == 1


def test_a_process_without_streams_keeps_its_files_clean(tmp_path):
    """The first file that it opens would else be its standard output, and get what is printed."""
    source = (
        "import os, sys\nfrom tf_deep3d import command_line\n"
        "def work(options):\n"
        "    file = open(sys.argv[1], 'w')\n    print('to nobody')\n    os.write(1, b'native')\n"
        "    with command_line.quiet((1, 2)):\n        os.write(2, b'native')\n    file.write('mine')\n    return 0\n"
        "sys.exit(command_line.run(work, None))"
    )
    (tmp_path / "source.py").write_text(source)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    closed = f"exec {sys.executable!r} {str(tmp_path / 'source.py')!r} {str(tmp_path / 'file')!r} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", closed], env=environment).returncode == 0
    assert (tmp_path / "file").read_text() == "mine"


def test_a_lack_of_memory_is_told_in_a_line(capsys):
    assert command_line.run(lambda options: len(bytearray(1 << 62)), PLAIN) == 1
    assert capsys.readouterr().err == "error: not enough memory. Received: no more of it\n"


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


def test_silence_ends_with_the_last_of_the_threads_that_asked_for_it(capfd):
    """The block that began first ends first: whoever restored what it found would silence the process for good."""
    inside, first_is_out = threading.Event(), threading.Event()

    def second():
        with command_line.muted():
            inside.set()
            first_is_out.wait(10)
            os.write(2, b"native")

    thread = threading.Thread(target=second)
    with command_line.muted():
        thread.start()
        assert inside.wait(10)
    first_is_out.set()
    thread.join()
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


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


@pytest.mark.parametrize(
    "worked_by", [["reconstruct", "{photos}", "--level", "0", "--refine", "0"], ["prepare", "{photos}"]]
)
def test_runs_and_their_workers_say_what_is_ours_only(tmp_path, worked_by):
    """TensorFlow, oneDNN, XNNPACK, absl and Beam have nothing to say; where nobody looks there are no bars either."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "ab":
        Image.fromarray(data.astronaut()).rotate(ord(name) - ord("a")).save(photos / f"{name}.png")
    name, *arguments = (word.format(photos=photos) for word in worked_by)
    out = (
        ["--out", tmp_path / "out"]
        if name == "reconstruct"
        else [tmp_path / "out", "--workers", "2", "--shard-size", "1"]
    )
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(
        [sys.executable, "-m", f"tf_deep3d.{name}", *arguments, *out],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert ended.stderr == ""
    assert "2 faces written" in ended.stdout if name == "reconstruct" else "2 records" in ended.stdout


def test_what_a_terminal_cannot_show_does_not_end_the_work(monkeypatch):
    streams = {name: io.TextIOWrapper(io.BytesIO(), "ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def work(options):
        print("😀 ", os.fsdecode(b"caf\xe9"))
        raise InputError("no face. Received: 😀\nphoto.jpg")

    assert command_line.run(work, PLAIN) == 1
    for stream in streams.values():
        stream.flush()
    assert streams["stdout"].buffer.getvalue() == b"\\U0001f600  caf\\udce9\n"
    assert streams["stderr"].buffer.getvalue() == b"error: no face. Received: \\U0001f600\\nphoto.jpg\n"


def test_pictures_that_were_not_taken_are_named_and_counted(capsys):
    command_line.tell_passed_over([])
    assert capsys.readouterr().err == ""
    command_line.tell_passed_over([Path("a.cr2")])
    assert capsys.readouterr().err == "1 file looks like a picture and was not taken: a.cr2\n"
    command_line.tell_passed_over([Path(f"{number}.dng") for number in range(3)], longest=2)
    assert capsys.readouterr().err == "3 files look like pictures and were not taken: 0.dng, 1.dng, ...\n"
