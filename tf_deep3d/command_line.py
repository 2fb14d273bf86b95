"""What the commands share: their parser, their mistakes in one line, silence of native libraries, progress bars."""

import argparse
import io
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tf_deep3d.errors import ExtraError, InputError, one_line, readable

# TensorFlow, XLA and oneDNN talk by absl's log; its start-up remarks are not ours to show, in workers neither.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_lock = threading.Lock()
_muted: dict[int, list[int]] = {}  # file descriptor -> [number of blocks that mute it, a duplicate of what it was]


def parser(prog: str, description: str | None, epilog: str | None = None, **options: Any) -> argparse.ArgumentParser:
    """The parser of a command, which knows `--debug` and keeps the line breaks of its texts.

    Commands with sub-commands give it to them too: `parser(..).add_subparsers(parser_class=command_line.parser)`.

    Args:
      prog: how the command is called.
      description: what it does.
      epilog: examples and exit statuses.
      **options: others of `argparse.ArgumentParser`.
    """
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter, **options}
    made = argparse.ArgumentParser(prog=prog, description=description, epilog=epilog, **options)
    # No default: a sub-command's would hide what stands before it.
    made.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    return made


def parsed(asked: argparse.ArgumentParser, arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options of a command whose work an engine may do, and what is for Beam: with --runner, words --name=value
    that `asked` does not know. Any other word ends the process with 2 and a line that names it."""
    options, words = asked.parse_known_args(arguments)
    if words and not options.runner:
        asked.error(f"unrecognized arguments: {' '.join(words)}")
    if stray := [word for word in words if not re.fullmatch(r"--\w[\w-]*(=.*)?", word, re.DOTALL)]:
        asked.error(f"Beam's own options are written as --name=value. Received: {' '.join(stray)}")
    return options, words


def run(
    work: Callable[..., int], options: argparse.Namespace, *arguments: Any, interrupted: str = "Interrupted."
) -> int:
    """Runs a command's work; returns its exit status.

    Args:
      work: function of `options` and `arguments` that returns the status.
      options: of a `parser`.
      *arguments: more of them.
      interrupted: what to say at Ctrl-C, SIGTERM and SIGHUP.

    Returns:
      The status; 1 after one line on stderr for the user's mistakes, InputError, OSError and ExtraError, whose messages
      say what was received, and for the lack of memory; with `--debug` their traceback comes first. 130 after Ctrl-C,
      143 after SIGTERM, 129 after SIGHUP. Anything else, a bare ValueError or a missing module too, is a bug and keeps
      its traceback.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks must not end the work
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _heeding_signals():
            status = work(options, *arguments)
            sys.stdout.flush()  # here, where a reader who has gone is still told in a line
        return status
    except KeyboardInterrupt as stop:
        _tell(interrupted)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)
    except (InputError, OSError, ExtraError, MemoryError) as error:
        if getattr(options, "debug", False):
            traceback.print_exc()
        _tell(f"error: {one_line(_said(error))}")
        return 1


class Stopped(KeyboardInterrupt):
    """The system or another program asks the command to end, as Ctrl-C does; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _heeding_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Stopped`, so that what is half done is cleared away as after Ctrl-C."""

    def stop(number: int, _: Any) -> None:
        raise Stopped(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        wanted = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]  # Windows has no SIGHUP
        ours = [number for number in wanted if number is not None and signal.getsignal(number) == signal.SIG_DFL]
        before = {number: signal.signal(number, stop) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_streams() -> None:
    """Gives a process that was started without input or output a place for it: else a file would take its number."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115


def _tell(text: str) -> None:
    """Says the last words on stderr; output that can no longer be written is dropped instead of failing at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is sys.stderr:
                print(text, file=stream)
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                sink = os.open(os.devnull, os.O_WRONLY)
                os.dup2(sink, stream.fileno())
                os.close(sink)


def _said(error: Exception) -> str:
    if isinstance(error, BrokenPipeError):
        return f"who reads the output has gone. Received: {error}"
    if isinstance(error, MemoryError):
        return f"not enough memory. Received: {str(error) or 'no more of it'}"
    return str(error)


def counted(number: int, noun: str) -> str:
    """A number and what it counts, "1 face" or "2 faces"; the plural of `noun` must end in s."""
    return f"{number} {noun}" + "s" * (number != 1)


def tell_passed_over(paths: Sequence[Path], longest: int = 20) -> None:
    """Says on stderr which files look like pictures and were not taken: the first `longest` by name, all by number."""
    if not paths:
        return
    names = [readable(str(path)) for path in paths[:longest]] + ["..."] * (len(paths) > longest)
    verb = "looks like a picture and was" if len(paths) == 1 else "look like pictures and were"
    print(f"{counted(len(paths), 'file')} {verb} not taken: {', '.join(names)}", file=sys.stderr)


@contextmanager
def muted(streams: Iterable[int] = (2,)) -> Iterator[None]:
    """Drops what native libraries and workers write to the process' output; blocks may nest and overlap in threads.

    Args:
      streams: file descriptors, 1 standard output, 2 standard error.
    """
    streams = tuple(streams)
    _flush()
    with _lock:
        for stream in streams:
            if stream not in _muted:
                _muted[stream] = [0, os.dup(stream)]
                sink = os.open(os.devnull, os.O_WRONLY)
                os.dup2(sink, stream)
                os.close(sink)
            _muted[stream][0] += 1
    try:
        yield
    finally:
        _flush()
        with _lock:
            for stream in streams:
                _muted[stream][0] -= 1
                if not _muted[stream][0]:
                    original = _muted.pop(stream)[1]
                    os.dup2(original, stream)
                    os.close(original)


@contextmanager
def quiet(streams: Iterable[int] = (2,)) -> Iterator[None]:
    """`muted`, and without Python's warnings; one thread at a time, since those belong to the whole process."""
    with muted(streams), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def stages() -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress bars on stderr.

    Yields:
      Function of (name of the stage, steps done, steps in all or None).
    """
    from tqdm import tqdm  # not on the device

    bars = {}

    def show(stage: str, done: int, total: int | None) -> None:
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


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
