"""Records by existing engines of Apache Beam, with workers and commands killed on the way: are they the same bytes?

    python -m tests.benchmarks.engines [--count 48] [--workers 2]

Each engine runs on processes of this machine (`tests.engines`). "whole" is a run that nothing disturbs, "worker killed"
one whose first worker gets SIGKILL after its first shard, "command killed" one whose command does, and then the same
command again. Seconds are of the clock, with the command's start; where two lines have the same records, they are
compared with those of one process of this machine, byte for byte, dataset.json too.
"""

import argparse
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from tests import engines
from tests.benchmarks.prepare import views
from tf_deep3d.data import preparation

PATIENCE = 240  # s, after which an engine that lost a worker is given up
SHARDS = 12


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2, help="of Dask")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        photos = views(scratch / "photos", options.count)
        shards = ["--shard-size", str(max(1, options.count // SHARDS)), "--validation", "0.2"]

        def ask(out, engine_options):
            command = engines.command("prepare", photos, out, *engine_options, *shards)
            return subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=engines.environment()
            )

        print(f"{'engine':34}{'what happened':32}{'s':>6}  records")
        expected = scratch / "expected"
        spent, _ = _timed(ask(expected, ["--workers=1"]))
        print(f"{'one process':34}{'whole':32}{spent:6.1f}  {len(list(expected.iterdir())) - 1} shards")
        started = {
            f"Dask, {options.workers} processes": lambda folder: engines.dask(folder, options.workers),
            "job service, LOOPBACK": lambda folder: engines.job_service(folder),
            "job service, EXTERNAL (a pool)": lambda folder: engines.job_service(folder, "pool"),
            "job service, a process of its own": lambda folder: engines.job_service(folder, "subprocess"),
        }
        for number, (name, start) in enumerate(started.items()):
            for what in (_whole, _worker_killed, _command_killed):
                folder = scratch / f"{number}{what.__name__}"
                folder.mkdir()
                with start(folder) as engine:
                    if what is _worker_killed and not engine.worker:
                        continue  # the command is the worker
                    happened, spent = what(lambda out, engine=engine: ask(out, engine.options), folder / "out", engine)
                same = "the same" if _contents(folder / "out") == _contents(expected) else "OTHERS"
                print(f"{name:34}{happened:32}{spent:6.1f}  {same}", flush=True)


def _whole(ask, out, _):
    spent, _ = _timed(ask(out))
    return "whole", spent


def _worker_killed(ask, out, engine):
    """Kills a worker; where the engine does not go on by itself, the command is interrupted and started again."""
    process, start = ask(out), time.perf_counter()
    _wait_for_a_shard(out, process)
    engine.workers()[0].kill()
    try:
        process.communicate(timeout=PATIENCE)
        happened = "worker killed"
    except subprocess.TimeoutExpired:
        _kill(process)
        happened = "worker killed, hung, again"
    if process.returncode:
        happened += "" if "again" in happened else ", failed, again"
        _timed(ask(out))
    return happened, time.perf_counter() - start


def _command_killed(ask, out, _):
    process, start = ask(out), time.perf_counter()
    _wait_for_a_shard(out, process)
    _kill(process)
    _timed(ask(out))
    return "command killed, again", time.perf_counter() - start


def _kill(process):
    """SIGKILL to a command and what it started."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.send_signal(signal.SIGKILL)
    process.communicate()


def _timed(process):
    """(seconds until the command's end, what it said), or ends with what it said."""
    start = time.perf_counter()
    errors = process.communicate(timeout=600)[1].decode()
    if process.returncode:
        raise SystemExit(errors)
    return time.perf_counter() - start, errors


def _wait_for_a_shard(out, process):
    while process.poll() is None and not list((out / preparation.WORK).glob("*-of-*.json")):
        time.sleep(0.01)


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    main()
