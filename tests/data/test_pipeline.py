"""What an earlier command left in a folder is read as untrusted."""

import json

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.data import pipeline, preparation, records
from tf_deep3d.data.spread import Spread

NAME = "train-00000-of-00001"
PLAN = {"shards": {NAME: [["a.png", "a.png", "a"]]}, "rejected": [], "duplicates": []}
REPORT = {"shard": {"count": 1, "sha256": "0" * 64, "bytes": 5}, "rejected": [{"photo": "b", "reason": "small: 3"}]}
BROKEN = ["", "null", "[]", "3", '"text"', "{}", "{", "[" * 100_000, "\xff"]


@pytest.fixture
def job(tmp_path):
    """(folder, list of photos, settings, spread) of a preparation."""
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    listed = preparation.list_photos([str(tmp_path / "a.png")])
    (tmp_path / "out").mkdir()
    return tmp_path / "out", listed, preparation.Settings(), Spread(1)


def _interrupted(job, **files):
    """Leaves what an interrupted command leaves; a keyword stands for the file of that name."""
    out, listed, settings, _ = job
    contents = {"parameters": preparation.parameters(listed, settings), "plan": PLAN, NAME: REPORT}
    contents = {name: json.dumps(content) for name, content in contents.items()} | files
    (out / pipeline.WORK).mkdir()
    (out / NAME).write_bytes(b"shard")
    for name, content in contents.items():
        (out / pipeline.WORK / f"{name}.json").write_text(content, "latin1")


def _refused(job, name):
    with pytest.raises(records.RecordsError, match=rf"{name}\.json is not one of ours") as caught:
        pipeline.prepare(*job)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_whole_is_taken_up(job):
    _interrupted(job)
    info = pipeline.prepare(*job)
    assert info["counts"] == {"train": 1, "validation": 0}
    assert info["reasons"] == {"small": 1}
    assert pipeline.prepare(*job) == info
    assert pipeline.summary(job[0], info).startswith("1 record in")


@pytest.mark.parametrize("name", ["parameters", "plan", NAME])
@pytest.mark.parametrize("content", BROKEN, ids=lambda content: content[:9])
def test_a_broken_file_of_an_interrupted_command_is_named(job, name, content):
    _interrupted(job, **{name: content})
    if (name, content) == ("parameters", "{}"):
        with pytest.raises(ValueError, match="holds records of other"):
            pipeline.prepare(*job)
    else:
        _refused(job, name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("plan", {"shards": {"../escaped": []}}),
        ("plan", {"shards": {NAME: [["a.png", "a.png"]]}}),
        ("plan", {"shards": {NAME: [["a.png", 3, None]]}}),
        ("plan", {"shards": {NAME: 3}}),
        ("plan", {"shards": []}),
        ("plan", {"rejected": [3]}),
        ("plan", {"rejected": [{"photo": "a"}]}),
        ("plan", {"duplicates": None}),
        (NAME, {"shard": {"count": 1}}),
        (NAME, {"shard": {**REPORT["shard"], "more": 1}}),
        (NAME, {"shard": {**REPORT["shard"], "count": "many"}}),
        (NAME, {"rejected": [{"photo": 3, "reason": "x"}]}),
    ],
)
def test_wrong_fields_of_an_interrupted_command_are_named(job, name, change):
    _interrupted(job, **{name: json.dumps({**(PLAN if name == "plan" else REPORT), **change})})
    _refused(job, name)
    assert not (job[0] / records.DATASET_FILE).exists()


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: content[:9])
def test_a_broken_dataset_json_is_named_on_resume_and_in_training(job, content):
    (job[0] / records.DATASET_FILE).write_text(content, "latin1")
    _refused(job, "dataset")
    with pytest.raises(records.RecordsError, match=r"dataset\.json"):
        records.open_records(job[0])


@pytest.mark.parametrize(
    "change", [{"counts": None}, {"counts": {"train": "x"}}, {"reasons": []}, {"rejected": {}}, {"duplicates": 3}]
)
def test_wrong_fields_of_dataset_json_are_named_on_resume(job, change):
    _interrupted(job)
    info = pipeline.prepare(*job)
    (job[0] / records.DATASET_FILE).write_text(json.dumps({**info, **change}))
    _refused(job, "dataset")
