"""Kills every command at random moments, starts it again, and looks at what it left.

    python -m tests.endurance.kills                              500 kills over all commands, with SIGKILL
    python -m tests.endurance.kills train export --kills 20 --signal TERM
    python -m tests.endurance.kills prepare --kills 5 --seed 3 --keep /tmp/work

Each round kills a command a few times in one output folder and then lets it end. Every other kill comes at any moment,
the others soon after something has changed in the output folder. After each kill every visible file must be whole.
SIGTERM and SIGINT must end it within seconds, with the status 128 + number and without hidden leftovers. Whenever the
command has ended, at the end of a round or before it was killed, the files must be those of a run that nobody killed,
nothing hidden may be left, neither beside the output nor in the folder of temporary files, and no process of it may
live.

The inputs are tiny, and where a constant decides how much is worked it is small (`LESS`). A command runs in a child of
this process, which has imported everything before: a kill costs what the command does and not the imports, and meets
its work instead of them. Linux only.
"""

import argparse
import collections
import contextlib
import gzip
import importlib
import io
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
from PIL import Image

from tests.endurance import writer

MOST_CHANGES = 15  # of the output folder, that a kill waits for
LESS = {"tf_deep3d.data.rendered.light": {"DIRECTIONS": 4}}  # work: what a command does stays the same
PATIENCE = {"KILL": 5.0, "TERM": 30.0, "INT": 30.0}  # s until a killed command and its workers are gone
PAUSE = 0.005  # s between two looks at it
LONGEST = 600.0  # s of a command that nobody kills


@dataclass(frozen=True)
class Inputs:
    """Where the tiny inputs lie.

    Attributes:
      photos: folder of photos of one person.
      frames: folder of a clip.
      recipe: YAML file of a training.
      records: of rendered faces, for it.
      networks: folder of a training's networks.
      model: file of their face model.
    """

    photos: Path
    frames: Path
    recipe: Path
    records: Path
    networks: Path
    model: Path


def make_inputs(folder: Path, needed: bool = True) -> Inputs:
    """Makes `Inputs` in `folder` if they are `needed`, in a child, lest TensorFlow starts here."""
    inputs = Inputs(*(folder / name for name in ("photos", "frames", "recipe.yaml", "records", "run", "tiny.npz")))

    def make(_: list[str]) -> int:
        import numpy as np
        from skimage import data

        from tests.exported import build_networks
        from tests.prepared import TRAINING, write_records
        from tests.synthetic import synthetic_arrays
        from tf_deep3d.face import morphable_model
        from tf_deep3d.io import archive
        from tf_deep3d.models import cnet, rnet

        astronaut = data.astronaut()
        for name, count in ((inputs.photos, 2), (inputs.frames, 3)):
            name.mkdir()
            for number in range(count):
                Image.fromarray(np.ascontiguousarray(astronaut[number : 240 + number, 100:340])).save(
                    name / f"{number}.png"
                )
        archive.write_arrays(inputs.model, synthetic_arrays())
        write_records(inputs.records, morphable_model.load(inputs.model), 24, 2, shard=12, known=True)
        inputs.recipe.write_text(f"{TRAINING}network: {{face_model: '{inputs.model}'}}\n")
        made = build_networks(morphable_model.load(inputs.model, level=0), inputs.model)
        rnet.save_rnet(made.rnet, inputs.networks / rnet.WEIGHTS)
        cnet.save_cnet(made.cnet, inputs.networks / cnet.WEIGHTS)
        return 0

    if needed and wait(start(make, [], folder / "inputs.log", folder), LONGEST) != 0:
        raise SystemExit((folder / "inputs.log").read_text())
    return inputs


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes:
      module: whose `main` it is.
      words: function of `Inputs` and the output folder that gives its arguments.
      needs: modules that it imports when it works.
      varying: beginnings of the names of files that no two runs share.
      given: whether it takes any of the `Inputs`.
    """

    module: str
    words: Callable[[Inputs, Path], list[object]]
    needs: tuple[str, ...]
    varying: tuple[str, ...] = ()
    given: bool = True


QUICK = ("--level", "0", "--refine", "0")
PREPARE = ("--shard-size", "1", "--show", "2", "--workers")
_FACES = ("tensorflow", "keras", "tf_deep3d.reconstruction.reconstructor")
_RECORDS = ("tensorflow", "keras", "tf_deep3d.data.pipeline")
COMMANDS = {
    "writer": Command("tests.endurance.writer", lambda at, out: [out], (), given=False),
    "prepare": Command(
        "tf_deep3d.prepare", lambda at, out: [at.photos, out, *PREPARE, "1"], (*_RECORDS, "apache_beam")
    ),
    "prepare-2": Command(
        "tf_deep3d.prepare", lambda at, out: [at.photos, out, *PREPARE, "2"], (*_RECORDS, "apache_beam")
    ),
    "synthetic": Command(
        "tf_deep3d.synthetic",
        lambda at, out: [out, "--count", "2", "--validation", "0.5"],
        ("tensorflow", "tf_deep3d.data.rendered.pictures"),
        given=False,
    ),
    "rerender": Command(
        "tf_deep3d.synthetic",
        lambda at, out: [out, "--from-photos", at.photos, "--count", "4", "--held-out", "0", "--validation", "0"],
        (*_RECORDS, "tf_deep3d.data.rerendered.dataset", "tf_deep3d.reconstruction.regressed"),
    ),
    "train": Command(
        "tf_deep3d.train",
        lambda at, out: [at.recipe, "--set", f"data.records=['{at.records}']", "--run", out],
        ("tensorflow", "keras", "tensorboard", "tf_deep3d.training.run", "tf_deep3d.data.batches"),
        varying=("tensorboard/",),
    ),
    "export": Command(
        "export.__main__",
        lambda at, out: [
            *(at.networks, out, "--model", at.model, "--level", "0", "--calibration", at.records),
            *("--quantize", "float32", "--force"),
        ],
        ("tensorflow", "keras", "export.bundle"),
    ),
    "reconstruct": Command("tf_deep3d.reconstruct", lambda at, out: [at.photos, "--out", out, *QUICK], _FACES),
    "album": Command(
        "tf_deep3d.reconstruct",
        lambda at, out: ["--set", at.photos, "--out", out, *QUICK],
        (*_FACES, "tf_deep3d.reconstruction.album.album"),
    ),
    "descent": Command(
        "tf_deep3d.reconstruct",
        lambda at, out: ["--set", at.photos, "--out", out, "--level", "0", "--refine", "2"],
        (*_FACES, "tf_deep3d.reconstruction.album.album", "tf_deep3d.fitting.descent"),
    ),
    "animate": Command(
        "tf_deep3d.animate",
        lambda at, out: [at.frames, "--out", out, *QUICK],
        (*_FACES, "tf_deep3d.reconstruction.clip.results"),
    ),
}


@dataclass
class Tally:
    """What came of the kills of a command."""

    kills: int = 0
    after_the_end: int = 0  # the command had ended before it was killed
    half_written: int = 0  # kills that left hidden folders, for the rerun to remove
    runs: int = 0  # that ended, and were looked at
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def start(main: Callable[[list[str]], int | None], words: list[str], log: Path, temporary: Path) -> int:
    """Runs `main` in a child that leads a session of its own; returns its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.setsid()
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        status = main(words) or 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        threading._shutdown()  # not what this process registered for its own end: it would remove its folders
        sys.stdout.flush()
    os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """The exit status of a child, minus the number of the signal that ended it; None if it lives on."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(PAUSE)


def wait_for_changes(child: int, folder: Path, count: int) -> int | None:
    """Waits until entries have come to or gone from `folder` and the folders in it `count` times, then for a moment;
    returns as `wait` does."""
    deadline, before = time.monotonic() + LONGEST, None
    while time.monotonic() < deadline and count:
        if (status := wait(child, PAUSE)) is not None:
            return status
        now = {os.path.join(root, name) for root, *names in os.walk(folder) for name in (*names[0], *names[1])}
        count -= before is not None and now != before
        before = now
    return wait(child, random.uniform(0, 0.02))


def living(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            rest = Path("/proc", process, "stat").read_text().rpartition(")")[2].split()
            if int(rest[3]) == session and rest[0] != "Z":
                found.append(int(process))
    return found


def end(session: int, seconds: float) -> list[int]:
    """Waits until no process of a session lives; returns and kills those that do after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := living(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return left


def listed(folder: Path, hidden: bool) -> list[str]:
    """Paths in `folder`, relative, that are hidden, or that are visible files."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") and part.endswith(".part") for part in Path(name).parts):
            found += [name] * hidden
        elif not hidden and path.is_file():
            found.append(name)
    return found


def flaw(path: Path) -> str | None:
    """What is wrong with a file, None if it is whole as far as its format tells."""
    try:
        content = path.read_bytes()
        if path.suffix == ".json":
            json.loads(content)
        elif path.suffix in (".png", ".jpg"):
            Image.open(io.BytesIO(content)).load()
        elif path.suffix in (".keras", ".npz"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
        elif path.suffix == ".h5":
            with h5py.File(path) as stored:
                stored.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        elif path.suffix == ".gz":
            gzip.decompress(content)
        elif path.suffix == ".glb":
            assert struct.unpack_from("<4s2I", content)[2] == len(content)
        elif path.suffix == ".bin":
            assert content == writer.PIECE * writer.PIECES
        elif path.suffix not in (".csv", ".v2", ".progress"):  # logs grow
            assert content
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


@dataclass
class Round:
    """A command that is killed a few times in a fresh folder, and then let end."""

    command: Command
    inputs: Inputs
    work: Path
    name: str  # of the signal
    whole: "Whole"
    tally: Tally

    def __post_init__(self) -> None:
        """Makes the folders."""
        self.place, self.temporary, self.log = self.work / "place", self.work / "tmp", self.work / "log"
        for folder in (self.place, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.words = list(map(str, self.command.words(self.inputs, self.place / "out")))
        self.main = importlib.import_module(self.command.module).main

    def start(self) -> int:
        return start(self.main, self.words, self.log, self.temporary)

    def hidden(self) -> list[str]:
        return listed(self.place, hidden=True) + listed(self.temporary, hidden=True)

    def fault(self, text: str) -> None:
        self.tally.faults.append(text)

    def look_at_files(self, told: str) -> None:
        for name in listed(self.place, hidden=False):
            if wrong := flaw(self.place / name):
                self.fault(f"{told}{name}: {wrong}")

    def kill(self, at_a_change: bool) -> None:
        """Starts the command, kills it, and looks at what it left."""
        number, begin, child = getattr(signal, f"SIG{self.name}"), time.monotonic(), self.start()
        if at_a_change:
            status = wait_for_changes(child, self.place, random.randint(1, MOST_CHANGES))
        else:
            status = wait(child, random.uniform(0, self.whole.seconds))
        moment = time.monotonic() - begin
        told = f"killed after {moment:.2f} s: "
        self.tally.kills += 1
        if status is not None:  # nothing is left to be done: begin anew
            self.whole.seconds = min(self.whole.seconds, moment)
            self.tally.after_the_end += 1
            self.check_end(child, status)
            shutil.rmtree(self.place)
            self.place.mkdir()
            return
        os.kill(child, number)
        status = wait(child, PATIENCE[self.name])
        if status is None:
            self.fault(f"{told}lives {PATIENCE[self.name]:.0f} s after the signal")
        if end(child, PATIENCE[self.name]) and status is not None:
            self.fault(f"{told}its workers live on")
        if status is None:
            os.waitpid(child, 0)
        hidden = self.hidden()
        self.tally.half_written += bool(hidden)
        if self.name != "KILL":
            if hidden:
                self.fault(f"{told}left {hidden[:3]}")
            if status not in (0, 128 + number, -number, None) and not self.was_there(status):
                self.fault(f"{told}status {status}: {tail(self.log)}")
        self.look_at_files(told)

    def finish(self) -> None:
        """Lets the command end, and looks at what it made."""
        child = self.start()
        self.check_end(child, wait(child, LONGEST))

    def was_there(self, status: int | None) -> bool:
        """Whether the command refused, since one before was killed after all was done."""
        return status == 1 and "--overwrite" in self.log.read_text(errors="replace")

    def check_end(self, child: int, status: int | None) -> None:
        """Compares what a command that has ended made with a run that nobody killed."""
        if status != 0 and not self.was_there(status):
            self.fault(f"ended with {status}: {tail(self.log)}")
        if end(child, PATIENCE["KILL"]):
            self.fault("left workers")
        if hidden := self.hidden():
            self.fault(f"left {hidden[:3]}")
        if foreign := os.listdir(self.temporary):
            self.fault(f"left in the folder of temporary files: {foreign[:3]}")
        made = visible(self.place / "out", self.command)
        if made != self.whole.files:
            other = sorted(made ^ self.whole.files)[:5]
            self.fault(f"ended with {status} and other files: {other}: {tail(self.log)}")
        self.look_at_files("after the end: ")
        self.tally.runs += 1


def visible(out: Path, command: Command) -> set[str]:
    return {name for name in listed(out, hidden=False) if not name.startswith(command.varying or ("\0",))}


def tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").split("\n")[-5:])[-500:]


@dataclass
class Whole:
    """What a run that nobody kills makes, and the seconds that it takes."""

    files: set[str]
    seconds: float


def whole_run(command: Command, inputs: Inputs, work: Path) -> Whole:
    """Lets a command end."""
    temporary = work / "tmp"
    temporary.mkdir(parents=True)
    begin = time.monotonic()
    main = importlib.import_module(command.module).main
    words = list(map(str, command.words(inputs, work / "out")))
    status = wait(start(main, words, work / "log", temporary), LONGEST)
    if status != 0:
        raise SystemExit(f"{command.module} ended with {status}: {tail(work / 'log')}")
    return Whole(visible(work / "out", command), time.monotonic() - begin)


def preload(names: list[str]) -> None:
    """Imports what the commands will, without letting TensorFlow do anything."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in names:
        for module in (COMMANDS[name].module, *COMMANDS[name].needs):
            importlib.import_module(module)
    for module, constants in LESS.items():
        if module in sys.modules:
            vars(sys.modules[module]).update(constants)


def table(tallies: dict[str, Tally], name: str) -> str:
    """The outcome as Markdown."""
    lines = [
        f"| command | SIG{name} | of them after its end | left something hidden | runs that ended | faults | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    whole = Tally()
    for command, each in tallies.items():
        lines.append(_row(command, each))
        whole.kills += each.kills
        whole.after_the_end += each.after_the_end
        whole.half_written += each.half_written
        whole.runs += each.runs
        whole.seconds += each.seconds
        whole.faults += each.faults
    return "\n".join([*lines, _row("all", whole)])


def _row(command: str, each: Tally) -> str:
    return (
        f"| {command} | {each.kills} | {each.after_the_end} | {each.half_written} | {each.runs} "
        f"| {len(each.faults)} | {each.seconds:.0f} |"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)} (default: all)")
    parser.add_argument("--kills", type=int, default=500, metavar="N", help="in all (500)")
    parser.add_argument("--each", type=int, default=8, metavar="N", help="kills of a command before it may end (8)")
    parser.add_argument("--signal", choices=list(PATIENCE), default="KILL", help="(KILL)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there and keep it")
    options = parser.parse_args(arguments)
    names = options.commands or list(COMMANDS)
    if unknown := set(names) - set(COMMANDS):
        parser.error(f"unknown: {', '.join(unknown)}")
    random.seed(options.seed)
    preload(names)
    rounds = -(-options.kills // (len(names) * options.each))
    tallies = collections.defaultdict(Tally)
    with contextlib.ExitStack() as stack:
        work = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(work, any(COMMANDS[name].given for name in names))
        wholes = {name: whole_run(COMMANDS[name], inputs, work / "whole" / name) for name in names}
        for number in range(rounds):
            for name in names:
                tally, begin = tallies[name], time.monotonic()
                told = len(tally.faults)
                each = Round(COMMANDS[name], inputs, work / "kills" / name, options.signal, wholes[name], tally)
                for turn in range(options.each):
                    each.kill(at_a_change=turn % 2 == 1)
                each.finish()
                tally.seconds += time.monotonic() - begin
                for fault in tally.faults[told:]:
                    print(f"{name}, round {number}: {fault}", flush=True)
                print(f"\nround {number + 1} of {rounds}, {name}\n{table(tallies, options.signal)}", flush=True)
    return 1 if any(tally.faults for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
