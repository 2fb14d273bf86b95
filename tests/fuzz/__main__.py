"""Feeds changed files to the readers of foreign bytes, for as long as you like.

    python -m tests.fuzz                               every reader, 5 minutes each
    python -m tests.fuzz photo matlab --minutes 60
    python -m tests.fuzz video --engine random --keep /tmp/found

With atheris (pip install atheris) the fuzzer is guided by the branches that a file makes a reader take; without, it
changes good files at random. A reader may read a file or refuse it in a line. Anything else is a crash: another error,
the end of the process, more than 10 s of work, or 1.5 GB more memory. Each kind of crash is told once, and with --keep
its file is kept. Linux only.
"""

import argparse
import contextlib
import faulthandler
import importlib.util
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz import mutation, readers

SLOW = 10.0  # s of work on one file
HANGING = 600.0  # s until a process that works on one file is ended, on a machine that does other things, too
GROWTH = 1500  # MB that a file may cost
WATCHED = ["tf_deep3d", "export", "PIL", "yaml"]  # packages whose branches guide atheris
ROOT = str(Path(__file__).parents[2])


@dataclass
class Tally:
    """What came of a reader."""

    executions: int = 0
    read: int = 0
    outcomes: list[str] = field(default_factory=list)  # kinds of refusals
    crashes: dict[str, str] = field(default_factory=dict)  # kind -> the first file of it, hexadecimal


def _kind(error: BaseException) -> str:
    """An error by its class, its last place in this project, and what it says but for numbers."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(ROOT)]
    ours = [frame for frame in frames if f"{os.sep}fuzz{os.sep}" not in frame.filename] or frames
    place = f"{os.path.relpath(ours[-1].filename, ROOT)}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {place}: {re.sub(r'(0x)?[0-9a-f]*[0-9]+[0-9a-f]*', '#', str(error)[:120])!r}"


class Child:
    """Works in a process of its own, which a file may end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tally, self.told = folder, Tally(), 0.0
        self.path = folder / "work"
        self.path.mkdir(exist_ok=True)

    def prepare(self, reader: readers.Reader) -> None:
        self.reader, self.file = reader, self.path / reader.file
        for seed in reader.seeds:  # what is good is read, and costs its memory before it is measured
            self.file.write_bytes(reader.wrap(seed))
            with contextlib.suppress(Exception):
                readers.outcome(reader, self.file)

    def execute(self, content: bytes) -> None:
        self.file.write_bytes(self.reader.wrap(content))
        before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        faulthandler.dump_traceback_later(HANGING, exit=True, file=sys.__stderr__)
        try:
            found = readers.outcome(self.reader, self.file)
            if found is None:
                self.tally.read += 1
            elif found not in self.tally.outcomes:
                self.tally.outcomes.append(found)
        except Exception as error:
            self.crash(_kind(error), content)
        faulthandler.cancel_dump_traceback_later()
        self.tally.executions += 1
        if (seconds := time.process_time() - begin) > SLOW:
            self.crash("slow", content, f": {seconds:.0f} s")
        if (grown := (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10) > GROWTH:
            self.crash("memory", content, f": {grown} MB")
        if time.monotonic() - self.told > 0.5:
            self.tell()

    def crash(self, kind: str, content: bytes, more: str = "") -> None:
        if kind not in self.tally.crashes:
            self.tally.crashes[kind] = self.reader.wrap(content).hex()
            print(f"{kind}{more}", file=sys.stderr, flush=True)
            self.tell()

    def tell(self) -> None:
        self.told = time.monotonic()
        (self.folder / "new").write_text(json.dumps(asdict(self.tally)))
        os.replace(self.folder / "new", self.folder / "tally.json")


def child(name: str, folder: Path, seconds: float, engine: str, seed: int) -> int:
    """Fuzzes one reader; atheris does not return."""
    warnings.simplefilter("ignore")
    worker, deadline = Child(folder), time.monotonic() + seconds
    if engine == "random":
        worker.prepare(readers.READERS[name]())
        rng, contents = random.Random(seed), list(worker.reader.seeds)
        while time.monotonic() < deadline:
            kinds = len(worker.tally.outcomes)
            content = mutation.changed(rng.choice(contents), rng)
            worker.execute(content)
            if len(worker.tally.outcomes) > kinds and len(contents) < 200:  # it got somewhere new: go on from there
                contents.append(content)
        worker.tell()
        return 0
    import atheris

    with atheris.instrument_imports(include=WATCHED):
        worker.prepare(readers.READERS[name]())
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(worker.reader.seeds):
        (corpus / f"seed{number}").write_bytes(content)
    longest = max(4096, 2 * max(map(len, worker.reader.seeds)))
    limits = {"max_total_time": max(1, round(seconds)), "max_len": longest, "rss_limit_mb": 0, "seed": seed}
    limits["timeout"] = round(2 * HANGING)  # `Child` has its own; 0 would mean a second here, not none
    atheris.Setup([name, str(corpus), *(f"-{limit}={value}" for limit, value in limits.items())], worker.execute)
    atheris.Fuzz()
    return 0


def fuzz(name: str, folder: Path, minutes: float, engine: str, seed: int) -> tuple[Tally, int]:
    """Fuzzes a reader in processes, one after the other as files end them; the sum, and the branches seen."""
    whole, branches, deadline = Tally(), 0, time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    while (seconds := deadline - time.monotonic()) > 1:
        (folder / "tally.json").unlink(missing_ok=True)
        words = [sys.executable, "-m", "tests.fuzz", name, "--child", str(seconds), "--engine", engine]
        with open(log, "wb") as said:
            ended = subprocess.run([*words, "--keep", str(folder), "--seed", str(seed)], stdout=said, stderr=said)
        text, seed = log.read_text(errors="replace"), seed + 1
        told = json.loads((folder / "tally.json").read_text()) if (folder / "tally.json").exists() else asdict(Tally())
        if ended.returncode:
            files = [path for path in (folder / "work").glob("*") if path.is_file()]
            last = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
            frames = re.findall(r'File "[^"]*?/((?:tf_deep3d|export)/[^"]+)", line (\d+)', text)
            place = ":".join(frames[0]) if frames else text.strip()[-160:]
            kind = f"the process ended with {ended.returncode} at {place}"
            told["crashes"][kind] = last.read_bytes().hex() if last else ""
            if not told["executions"]:
                whole.crashes.update(told["crashes"])
                break  # it never got to work
        whole.executions += told["executions"]
        whole.read += told["read"]
        whole.outcomes = sorted({*whole.outcomes, *told["outcomes"]})
        for kind, content in told["crashes"].items():
            whole.crashes.setdefault(kind, content)
        branches = max([branches, *map(int, re.findall(r"cov: (\d+)", text))])
    for number, (kind, content) in enumerate(sorted(whole.crashes.items())):
        (folder / f"crash-{number}").write_bytes(bytes.fromhex(content))
        (folder / f"crash-{number}.txt").write_text(kind + "\n")
    return whole, branches


def _cpu_minutes() -> float:
    """That the children have worked: on a machine that does other things, fewer than have passed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(readers.READERS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="N", help="for each (5)")
    parser.add_argument("--engine", choices=["atheris", "random"], help="(atheris where it is installed)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for what is found")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.readers or list(readers.READERS)
    if unknown := set(names) - set(readers.READERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "random")
    if options.child is not None:
        return child(names[0], options.keep, options.child, engine, options.seed)
    crashes = 0
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(
            f"| reader ({engine}) | executions | of them read | refusals' kinds | branches | minutes | CPU | crashes |"
        )
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
        for name in names:
            begin, before = time.monotonic(), _cpu_minutes()
            tally, branches = fuzz(name, folder / name, options.minutes, engine, options.seed)
            spent = (time.monotonic() - begin) / 60
            print(
                f"| {name} | {tally.executions} | {tally.read} | {len(tally.outcomes)} | {branches or ''} "
                f"| {spent:.1f} | {_cpu_minutes() - before:.1f} | {len(tally.crashes)} |", flush=True,
            )  # fmt: skip
            for kind in tally.crashes:
                print(f"{name}: {kind}", file=sys.stderr, flush=True)
            crashes += len(tally.crashes)
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
