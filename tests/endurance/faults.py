"""Runs every command into trouble and prints a table of what it said: a full disk, a folder that cannot be written, a
folder that vanishes, a reader of its output who goes, little memory.

    python -m tests.endurance.faults                       as root, because a full disk is a small one that is mounted
    python -m tests.endurance.faults train --faults full,vanished

Each must end with a status that is not 0, say why in one line, without a traceback, and leave nothing half: no hidden
folder, and no visible file that is not whole. It may end well with little memory, and where a folder vanished before
anything was lost and was made again: if the files are those, byte for byte, of a run that nobody disturbed. Linux only.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.endurance import kills
from tf_deep3d.io import files

LONGEST = 1800.0  # s, on a machine that does other things, too
FULL = "1m"
MEMORY = 2 << 30  # bytes of data


def _ends(command: list[str], work: Path, before: str = "") -> tuple[int, str]:
    """(status, what it said on stderr) of a command in a process of its own; `before` is put before it in a shell."""
    shell = ["bash", "-c", f'{before} "$@"', "fault", *command] if before else command
    with open(work / "said", "wb") as said:
        ended = subprocess.run(shell, stdout=subprocess.DEVNULL, stderr=said, timeout=LONGEST)
    return ended.returncode, (work / "said").read_text(errors="replace")


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={FULL}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _command(name: str, inputs: kills.Inputs, out: Path) -> list[str]:
    command = kills.COMMANDS[name]
    module = command.module.removesuffix(".__main__")
    return [sys.executable, "-m", module, *map(str, command.words(inputs, out))]


def full(name: str, inputs: kills.Inputs, work: Path, place: Path) -> tuple[int, str, list[str]]:
    """The disk of the output takes `FULL`; for small outputs, less."""
    with _small_disk(place):
        if name not in LARGE:
            (place / "ballast").write_bytes(b"1" * ((1 << 20) - (12 << 10)))
        status, said = _ends(_command(name, inputs, place / "out"), work)
        return status, said, _remains(place)


def read_only(name: str, inputs: kills.Inputs, work: Path, place: Path) -> tuple[int, str, list[str]]:
    """The folder above the output is mounted read-only."""
    with _small_disk(place):
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        status, said = _ends(_command(name, inputs, place / "out"), work)
        return status, said, _remains(place)


def vanished(name: str, inputs: kills.Inputs, work: Path, place: Path) -> tuple[int, str, list[str]]:
    """All of the output, and the folder above it, is removed as soon as something is there, and again."""
    with open(work / "said", "wb") as said:
        process = subprocess.Popen(_command(name, inputs, place / OUT), stdout=subprocess.DEVNULL, stderr=said)
        deadline = time.monotonic() + LONGEST
        removed = False
        while process.poll() is None and time.monotonic() < deadline:
            if not removed and (place / "deep").exists() and len(list((place / "deep").rglob("*"))) > 2:
                shutil.rmtree(place / "deep", ignore_errors=True)
                removed = not (place / "deep").exists()
            time.sleep(0.05)
        process.kill()
    return process.wait(), (work / "said").read_text(errors="replace"), _remains(place)


def closed(name: str, inputs: kills.Inputs, work: Path, place: Path) -> tuple[int, str, list[str]]:
    """Who reads the standard output has gone before anything is said."""
    command = _command(name, inputs, place / "out")
    with open(work / "said", "wb") as said, subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        reader.wait()
        ended = subprocess.run(command, stdout=reader.stdin, stderr=said, timeout=LONGEST)
        with contextlib.suppress(BrokenPipeError):
            reader.stdin.close()
    return ended.returncode, (work / "said").read_text(errors="replace"), _remains(place)


def memory(name: str, inputs: kills.Inputs, work: Path, place: Path) -> tuple[int, str, list[str]]:
    """The process may have `MEMORY` bytes of data, the libraries' code not counted."""
    status, said = _ends(_command(name, inputs, place / "out"), work, f"ulimit -d {MEMORY >> 10}; exec")
    return status, said, _remains(place)


FAULTS = {each.__name__: each for each in (full, read_only, vanished, closed, memory)}
OUT = Path("deep", "out")  # that vanishes
LARGE = ("export", "reconstruct", "album", "animate", "train")  # whose output has more than a mebibyte


def _remains(place: Path) -> list[str]:
    """What a command should not leave: hidden folders, and files that are not whole."""
    flaws = ((name, kills.flaw(place / name)) for name in kills.listed(place, hidden=False))
    return kills.listed(place, hidden=True) + [f"{name}: {wrong}" for name, wrong in flaws if wrong]


def undisturbed(name: str, inputs: kills.Inputs, work: Path) -> dict[str, str]:
    """What a command makes: name of a file -> SHA-256."""
    out = work / "undisturbed" / name
    if not out.exists():
        status, said = _ends(_command(name, inputs, out), work)
        if status:
            raise SystemExit(f"{name} ended with {status}: {said}")
    return _digests(name, out)


def _digests(name: str, out: Path) -> dict[str, str]:
    return {each: files.sha256(out / each) for each in kills.visible(out, kills.COMMANDS[name])}


def verdict(fault: str, status: int, said: str, remains: list[str], whole: bool = False) -> str:
    """What is wrong with how a command ended, or nothing; `whole` if it made what an undisturbed one makes."""
    lines = [line for line in said.replace("\r", "\n").splitlines() if line.strip()]
    wrong = []
    if status < 0 or status > 128:
        wrong.append(f"killed by {status}")
    if status == 0 and fault != "memory" and not (fault == "vanished" and whole):
        wrong.append("status 0")
    if "Traceback" in said:
        wrong.append("traceback")
    if status and not any(line.startswith(("error: ", "Interrupted")) or "error" in line.lower() for line in lines):
        wrong.append("no line that says why")
    return "; ".join([*wrong, *remains[:2]])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(kills.COMMANDS)}")
    parser.add_argument("--faults", default=",".join(FAULTS), metavar="LIST", help="(%(default)s)")
    options = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        inputs = kills.make_inputs(work)
        print("| command | fault | status | verdict | said |\n| --- | --- | ---: | --- | --- |", flush=True)
        for command in options.commands or kills.COMMANDS:
            for fault in options.faults.split(","):
                place = work / "place"
                place.mkdir()
                try:
                    status, said, remains = FAULTS[fault](command, inputs, work, place)
                    anew = status == 0 and fault == "vanished"
                    whole = anew and _digests(command, place / OUT) == undisturbed(command, inputs, work)
                    wrong = verdict(fault, status, said, remains, whole)
                except subprocess.TimeoutExpired:
                    status, said, wrong = 124, "", f"goes on after {LONGEST:.0f} s"
                last = said.strip().splitlines()[-1:] or [""]
                failed += bool(wrong)
                shown = last[0].replace(str(work), "").replace("|", "/")[:160]
                print(f"| {command} | {fault} | {status} | {wrong or 'well'} | {shown} |", flush=True)
                shutil.rmtree(place, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
