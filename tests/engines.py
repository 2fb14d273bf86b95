"""Engines that run Beam's pipelines on processes of their own, started here on this machine."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

START = 120  # s, within which an engine is there
_BEAM = "apache_beam.runners"
_WORKER = {"dask": "spawn_main", "pool": "SdkHarness", "subprocess": "sdk_worker_main"}  # in a worker's command line


class Engine(NamedTuple):
    """What `prepare` is told of it, and the process whose children its workers are."""

    options: list[str]
    process: subprocess.Popen | None
    worker: str

    def workers(self):
        """Its worker processes, `psutil.Process` each."""
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process else []
        return [child for child in children if self.worker in " ".join(child.cmdline()) and not child.children()]


@contextmanager
def dask(folder, workers=2):
    """A Dask cluster: a scheduler, and `workers` processes, which it starts anew when they die."""
    told = Path(folder, "scheduler.json")
    scheduler = ["dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    nannies = ["dask", "worker", "--nworkers", str(workers), "--nthreads", "1", "--no-dashboard"]
    with _started(*scheduler, "--scheduler-file", told, log=Path(folder, "scheduler.log")):
        _wait(told.exists)
        local = ["--scheduler-file", told, "--local-directory", folder]
        with _started(*nannies, *local, log=Path(folder, "workers.log")) as process:
            engine = Engine(["--runner=DaskRunner", f"--dask_scheduler_file={told}"], process, _WORKER["dask"])
            _wait(lambda: len(engine.workers()) == workers)
            yield engine


@contextmanager
def job_service(folder, workers="LOOPBACK"):
    """Beam's own job service, which speaks the protocol of Flink's and Spark's.

    Args:
      folder: for its files.
      workers: "LOOPBACK", the process that asks works itself; "pool", a pool of workers, which Beam's environment
        EXTERNAL asks for one; "subprocess", the service starts one.
    """
    port = Path(folder, "port")
    with ExitStack() as stack:
        command = [f"{_BEAM}.portability.local_job_service_main", "--port_file", port]
        process = stack.enter_context(_started(*command, log=Path(folder, "service.log")))
        _wait(port.exists)
        asked = ["--environment_type=LOOPBACK"]
        if workers == "pool":
            with socket.create_server(("127.0.0.1", 0)) as door:
                free = door.getsockname()[1]
            command = [f"{_BEAM}.worker.worker_pool_main", f"--service_port={free}"]
            process = stack.enter_context(_started(*command, log=Path(folder, "pool.log")))
            asked = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{free}"]
        elif workers == "subprocess":
            asked = ["--environment_type=beam:env:harness_subprocess_python:v1",
                     f"--environment_config={sys.executable} -m {_BEAM}.worker.sdk_worker_main"]  # fmt: skip
        options = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port.read_text()}", *asked]
        yield Engine(options, process, _WORKER.get(workers, ""))


def command(verb, *words):
    """The command line of a verb that takes an engine's options."""
    return [sys.executable, "-m", f"tf_deep3d.{verb}", *map(str, words)]


def environment():
    """Of the engine and of the command: `tf_deep3d` is found, and so is this Python, which a pool of workers starts."""
    root, programs = str(Path(__file__).parent.parent), str(Path(sys.executable).parent)
    return {**os.environ, "PYTHONPATH": root, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def _started(module, *arguments, log):
    """`python -m module` in the background; at the end it and its children are ended."""
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)], stdout=file, stderr=file, env=environment()
        )
        try:
            yield process
        finally:
            ended = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
            process.kill()
            process.wait()
            for child in ended:
                if child.is_running():
                    child.kill()
            psutil.wait_procs(ended, START)


def _wait(there):
    deadline = time.monotonic() + START
    while not there():
        assert time.monotonic() < deadline, "the engine did not start"
        time.sleep(0.05)
