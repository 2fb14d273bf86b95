"""Records that existing distributed engines make: byte for byte those of this machine, whoever is killed on the way."""

import subprocess
import time

import pytest
from apache_beam.runners.runner import PipelineRunner

from tests import engines
from tests.benchmarks.prepare import views
from tf_deep3d import prepare, synthetic
from tf_deep3d.data import preparation
from tf_deep3d.data.rendered import dataset

PHOTOS = 12
OPTIONS = ["--shard-size", "2", "--validation", "0.2"]
LIMIT = 240  # s


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return views(tmp_path_factory.mktemp("photos") / "views", PHOTOS)


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    """Name -> bytes of the records of this machine."""
    out = tmp_path_factory.mktemp("here") / "records"
    assert prepare.main([str(photos), str(out), "--workers", "1", *OPTIONS]) == 0
    return contents(out)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(photos, out, engine):
    return ask("prepare", photos, out, *OPTIONS, *engine.options)


def ask(*words):
    command = engines.command(*words)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env=engines.environment())


def wait_for(folder, pattern, process):
    deadline = time.monotonic() + LIMIT
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_service_makes_the_same_records_and_a_killed_command_goes_on(photos, expected, tmp_path):
    out = tmp_path / "records"
    with engines.job_service(tmp_path) as engine:
        process = start(photos, out, engine)
        try:
            wait_for(out / preparation.WORK, "*-of-*.json", process)
        finally:
            process.kill()
            process.communicate()
        assert not (out / "dataset.json").exists()
        said = start(photos, out, engine).communicate(timeout=LIMIT)
    assert contents(out) == expected, said


def test_dask_makes_the_same_records_when_a_worker_is_killed(photos, expected, tmp_path):
    out = tmp_path / "records"
    with engines.dask(tmp_path) as engine:
        process = start(photos, out, engine)
        try:
            wait_for(out / preparation.WORK, "*-of-*.json", process)
            killed = engine.workers()[0]
            killed.kill()
            said = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, said
        assert killed.pid not in [worker.pid for worker in engine.workers()]
    assert contents(out) == expected


def test_dask_renders_the_same_people_when_a_worker_is_killed(tmp_path):
    here, there, words = tmp_path / "here", tmp_path / "there", ["--count", "4", "--validation", "0.5"]
    assert synthetic.main([str(here), *words]) == 0
    with engines.dask(tmp_path) as engine:
        process = ask("synthetic", there, *words, *engine.options)
        try:
            wait_for(tmp_path, f".*.part/new/{dataset.WORK}/*.progress", process)
            engine.workers()[0].kill()
            said = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, said
    assert contents(there) == contents(here)


class Broken(PipelineRunner):
    """An engine whose scheduler lacks the package: what Dask says then."""

    def run_pipeline(self, pipeline, options):
        raise RuntimeError("Error during deserialization\nof the task graph") from ModuleNotFoundError(
            "No module named 'x'"
        )


def test_why_an_engine_failed_is_told_in_one_line(photos, tmp_path, capfd):
    assert prepare.main([str(photos), str(tmp_path / "out"), f"--runner={__name__}.Broken"]) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "error: a worker failed: No module named 'x'"
