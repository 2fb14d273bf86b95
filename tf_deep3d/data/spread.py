"""Work dealt to processes, of this machine or of an engine that runs Apache Beam's pipelines."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.data import worker
from tf_deep3d.errors import InputError
from tf_deep3d.io.work_folders import sweep, temporary_files

DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"  # Beam knows it by this name only


class StoppedError(RuntimeError):
    """The command that this worker works for has ended."""


class Spread(NamedTuple):
    """How the work is spread.

    Attributes:
      workers: processes of this machine.
      runner: name of Beam's runner, None for this machine.
      options: of Beam, --name=value each.
    """

    workers: int
    runner: str | None = None
    options: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """Whether this machine does it all."""
        return self.runner in (None, "DirectRunner", "FnApiRunner")


def run(jobs: list[dict[str, Any]], work: Callable[[dict[str, Any]], object], spread: Spread) -> None:
    """Has every job done once; an interruption ends it within seconds, together with the workers of this machine.

    Args:
      jobs: of `work`, which Beam can pickle. Each gets a "command": the hidden folder that is there as long as the
        command on this machine is at work, or None elsewhere.
      work: function of a module, which processes import; a job may be done again when a worker has died in it.
      spread: `Spread`.

    Raises:
      InputError: if Beam does not take the options.
      OSError: if a worker fails.
    """
    try:
        with temporary_files() as command:
            told = [{**job, "command": str(command) if spread.local else None} for job in jobs]
            worker.interruptible(lambda: _run_beam(told, work, spread, command))
    finally:
        worker.wait_for_workers()


def check_command(job: dict[str, Any]) -> None:
    """Raises `StoppedError` if the command of a job of `run` has ended."""
    if job["command"] is not None and not os.path.isdir(job["command"]):
        raise StoppedError(f"the command has ended. Received: {job['name']}")


def _run_beam(
    jobs: list[dict[str, Any]], work: Callable[[dict[str, Any]], object], spread: Spread, command: Path
) -> None:
    """Runs the pipeline: keys deal the jobs evenly to the workers. Those of this machine live as long as this process
    holds the hidden folder `command`."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    arguments, runner = list(spread.options), None
    if spread.local:
        workers = min(spread.workers, len(jobs))
        runner = worker.runner(workers, command)
        arguments.append(f"--direct_num_workers={workers}")
    else:
        dask = spread.runner in ("DaskRunner", DASK)
        if dask and not any(option.startswith(("--dask_npartitions", "--dask_partition_size")) for option in arguments):
            arguments.append("--dask_partition_size=1")  # of Dask's own accord 128 shards would be one piece of work
        arguments.append(f"--runner={DASK if dask else spread.runner}")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        made = beam.Pipeline(runner, PipelineOptions(arguments))
    except ValueError as error:  # what the user said of runner and options
        raise InputError(f"Beam does not take these options. Received: {' '.join(str(error).split())}") from error
    try:
        with made as pipeline:
            keyed = pipeline | "Shards" >> beam.Create(list(enumerate(jobs))) | "Deal" >> beam.GroupByKey()
            _ = keyed | "Jobs" >> beam.FlatMap(lambda item: item[1]) | "Work" >> beam.Map(work)
    except Exception as error:  # of a worker: Beam has it in the text of what it raises, Dask as the cause
        causes = re.findall(r"^(?:\w+\.)*\w*Error: (.*?)(?: \[while running.*)?$", str(error), re.MULTILINE)
        raise OSError(f"a worker failed: {causes[-1] if causes else error.__cause__ or error}") from error


@contextmanager
def swept(*folders: Path) -> Iterator[None]:
    """Removes what killed workers left in `folders`; afterwards, too, for those of an interrupted or killed command end
    a moment after it."""
    try:
        sweep(*folders)
        yield
    finally:
        deadline = time.monotonic() + worker.PATIENCE
        while sweep(*folders) and time.monotonic() < deadline:
            time.sleep(worker.PAUSE)


@contextmanager
def progress(work: Path, total: int, done: int, **bar: Any) -> Iterator[None]:
    """Shows a progress bar, which moves by the bytes that workers add to the files `work`/*.progress, while Beam is
    silenced.

    Args:
      work: folder.
      total: bytes at the end.
      done: of them before.
      **bar: of `tqdm`.
    """
    for stale in work.glob("*.progress"):
        stale.unlink(missing_ok=True)
    ended = threading.Event()
    with (
        open(os.dup(2), "w") as terminal,  # stays when Beam is silenced
        tqdm(file=terminal, total=total, initial=done, disable=None, smoothing=0.05, **bar) as shown,
        command_line.quiet((1, 2)),
    ):

        def look() -> None:
            shown.update(done + sum(path.stat().st_size for path in work.glob("*.progress")) - shown.n)

        def watch() -> None:
            while not ended.wait(0.5):
                look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            look()
