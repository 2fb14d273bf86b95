"""An evaluation that other processes measure: the same results as one process has."""

import argparse
import json
import subprocess
from pathlib import Path

import pytest

from tests import engines
from tf_deep3d import evaluate
from tf_deep3d.evaluation import session
from tf_deep3d.evaluation.options import MESHES, parser

LIMIT = 600  # s


@pytest.mark.parametrize(("count", "workers", "number"), [(1, 4, 1), (7, 2, 2), (120, 2, 3), (0, 2, 1)])
def test_parts_are_neighbours_and_all_of_the_cases(count, workers, number):
    made = session.parts(count, workers)
    assert [index for part in made for index in range(count)[part]] == list(range(count))
    assert len(made) == number
    assert all(part.stop - part.start <= session.LARGEST for part in made)


def test_what_another_process_is_told_has_whole_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = parser("x", "", (MESHES,)).parse_args(["tones", "photos", "--out", "out", "--meshes", "a=meshes"])
    told = session._absolute(options)
    assert isinstance(told, argparse.Namespace)
    assert (told.data, told.out) == (tmp_path / "photos", tmp_path / "out")
    assert told.meshes == [("a", tmp_path / "meshes")]


def _results(out):
    """What was measured, but for the time that it took."""
    pictures = json.loads((out / "results.json").read_text(encoding="utf-8"))["pictures"]
    for row in (row for rows in pictures.values() for row in rows):
        row["numbers"].pop("seconds")
        row["photo"] = Path(row["photo"]).name
    return pictures


def test_dask_measures_the_same_and_what_is_measured_stays(tmp_path):
    words = ["expressions", "--methods", "mean,rnet:0", "--limit", "6", "--no-views", "--out"]
    assert evaluate.main([*words, str(tmp_path / "here")]) == 0
    stamps = []
    with engines.dask(tmp_path) as engine:
        for _ in range(2):
            command = engines.command("evaluate", *words, "there", *engine.options)
            pipes = {"capture_output": True, "text": True, "timeout": LIMIT}
            ended = subprocess.run(command, env=engines.environment(), cwd=tmp_path, **pipes)
            assert ended.returncode == 0, ended.stderr
            made = (tmp_path / "there" / "methods").rglob("*.json")
            stamps.append({path: path.stat().st_mtime_ns for path in made})
    assert stamps[0] == stamps[1]
    assert _results(tmp_path / "there") == _results(tmp_path / "here")
    assert not (tmp_path / "there" / session.WORK).exists()
