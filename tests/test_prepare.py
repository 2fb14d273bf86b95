"""The command line of the preparation, as a user meets it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d import prepare
from tf_deep3d.data import pipeline, preparation, records, tfrecord
from tf_deep3d.detection import resampling
from tf_deep3d.face.geometry import Similarity

PEOPLE = 6  # with two photos each


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The astronaut as six people, in twelve different photos; one of them twice, and three that are none."""
    folder = tmp_path_factory.mktemp("photos") / "fäces"
    astronaut = data.astronaut()
    for number in range(2 * PEOPLE):
        scale = 0.65 + 0.05 * number
        view = Similarity(scale, 0.0, (100 - 223 * scale, 100 - 120 * scale))
        path = folder / f"person {number // 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(resampling.crop(astronaut, view, 200) * 255).astype(np.uint8)).save(path)
    (folder / "person 0" / "again.png").write_bytes((folder / "person 0" / "0.png").read_bytes())
    (folder / "bad.jpg").write_text("hello")
    Image.new("RGB", (80, 80)).save(folder / "blank.png")
    return folder


def run(photos, out, *options):
    """The command in this process and with one worker; folders of people."""
    identities = photos if photos.name == "fäces" else photos.parent
    return prepare.main([str(photos), str(out), "--identities", str(identities), "--workers", "1", *options])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != pipeline.SHEET}


@pytest.fixture(scope="module")
def done(photos, tmp_path_factory):
    """Records of an uninterrupted run with two shards of training."""
    out = tmp_path_factory.mktemp("done") / "records"
    assert run(photos, out, "--shard-size", "3", "--validation", "0.4") == 0
    return out


def test_run_writes_records_and_says_what_it_left_out(done):
    info = json.loads((done / "dataset.json").read_text(encoding="utf-8"))
    assert info["duplicates"] == [{"photo": "fäces/person 0/again.png", "same_as": "fäces/person 0/0.png"}]
    assert [bad["photo"] for bad in info["rejected"]] == ["fäces/bad.jpg", "fäces/blank.png"]
    assert info["reasons"] == {"unreadable": 1, "no face found": 1}
    assert info["parameters"]["validation"] == 0.4
    assert info["parameters"]["face_model"]["file"] == "open_face.npz"
    people, count = {}, 0
    for split in records.SPLITS:
        opened = records.open_records(done, split, strict=True)
        count += opened.count
        rows = [row for shard in opened.shards for row in tfrecord.open_shard(shard.path).map(records.parse)]
        people[split] = {row["person"].numpy().decode() for row in rows}
    assert count == 2 * PEOPLE
    assert people["train"] | people["validation"] == {f"person {n}" for n in range(PEOPLE)}
    assert not people["train"] & people["validation"]
    names = {shard["file"] for listed in info["shards"].values() for shard in listed}
    assert set(contents(done)) == names | {"dataset.json"}


def test_second_run_does_nothing_and_shows(photos, done, capfd):
    before = contents(done)
    assert run(photos, done, "--shard-size", "3", "--validation", "0.4", "--show", "5") == 0
    assert "complete already" in capfd.readouterr().out
    assert contents(done) == before
    with Image.open(done / pipeline.SHEET) as sheet:
        assert sheet.width > 4 * 2 * records.RECORD_SIZE
        assert sheet.height > 2 * records.RECORD_SIZE


def test_a_run_with_nothing_to_do_sweeps_what_a_killed_one_left(photos, done, tmp_path, monkeypatch):
    left = tmp_path / ".0123456789abcdef.part" / "beam-pipeline-temp"
    left.mkdir(parents=True)
    (left.parent / "lock").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run(photos, done, "--shard-size", "3", "--validation", "0.4") == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("part", "options", "named"),
    [(".", ["--smallest", "20"], "smallest"), (".", ["--faces", "all"], "faces"), ("person 1", [], "photos")],
)
def test_other_parameters_are_refused(photos, done, capfd, part, options, named):
    before = contents(done)
    assert run(photos / part, done, "--shard-size", "3", "--validation", "0.4", *options) == 1
    errors = capfd.readouterr().err
    assert f"holds records of other {named}: choose another OUT, or pass --overwrite" in errors
    assert len(errors.strip().splitlines()) == 1
    assert contents(done) == before


def test_overwrite_replaces_records_only(photos, tmp_path, capfd):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(photos / "person 1", tmp_path, "--shard-size", "1", "--validation", "0") == 0
    assert {path.name for path in tmp_path.glob("train-*")} == {f"train-0000{n}-of-00002" for n in (0, 1)}
    assert run(photos / "person 1", tmp_path, "--validation", "0", "--overwrite") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "dataset.json", "train-00000-of-00001"}
    assert "2 records in" in capfd.readouterr().out


def command(photos, out, *options):
    return [sys.executable, "-m", "tf_deep3d.prepare", str(photos), str(out), "--identities", str(photos),
            "--shard-size", "3", "--validation", "0.4", "--workers", "2", *options]  # fmt: skip


def test_killed_run_goes_on_and_gives_the_same_bytes(photos, done, tmp_path):
    """SIGKILL while shards are made by two processes; a stale temporary file of a shard must not matter either."""
    out = tmp_path / "records"
    process = subprocess.Popen(command(photos, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        reports = out / preparation.WORK
        deadline = time.monotonic() + 180
        while not list(reports.glob("*-of-*.json")):
            assert process.poll() is None, "the run ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = {
        path.name: path.stat().st_mtime_ns for path in out.glob("*-of-*") if (reports / f"{path.name}.json").exists()
    }
    assert 1 <= len(kept) < len(contents(done)) - 1
    with pytest.raises(records.RecordsError, match=r"no dataset\.json"):
        records.open_records(out)
    (out / ".0123456789abcdef.part").mkdir()
    (out / ".0123456789abcdef.part" / "lock").touch()
    (out / ".0123456789abcdef.part" / "new").write_bytes(b"half a shard")
    subprocess.run(command(photos, out), check=True, capture_output=True, timeout=180)
    assert contents(out) == contents(done)
    assert all((out / name).stat().st_mtime_ns == changed for name, changed in kept.items())


def workers(temporary):
    """Workers of the commands whose temporary files lie in a folder."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", process, "cmdline").read_bytes().split(b"\0")
            if b"tf_deep3d.data.worker" in words and any(str(temporary).encode() in word for word in words):
                found.append(process)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_command(photos, tmp_path, number):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        command(photos, tmp_path / "out"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        while len(workers(temporary)) < 2:
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.02)
    finally:
        process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert errors == "Interrupted; the same command goes on from here.\n"
        assert not workers(temporary)
        assert not list(tmp_path.rglob(".*.part"))
    deadline = time.monotonic() + 60
    while workers(temporary):
        assert time.monotonic() < deadline, "workers live on without their command"
        time.sleep(0.1)


def test_disk_that_takes_no_more(photos, tmp_path):
    """A limit on the size of files stands for a full disk."""
    limited = f"ulimit -f 100; exec {' '.join(repr(word) for word in command(photos, tmp_path / 'out'))}"
    ended = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=180)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: a worker failed: .*(too large|train-|validation-).*\n", ended.stderr)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_two_commands_do_not_meet(photos, tmp_path, capfd):
    with pipeline.locked(tmp_path):
        assert run(photos, tmp_path) == 1
    assert "another command is preparing there" in capfd.readouterr().err


def test_no_face_at_all(photos, tmp_path, capfd):
    assert run(photos / "blank.png", tmp_path / "out") == 1  # it is in no person's folder
    assert "identities fit none" in capfd.readouterr().err
    assert prepare.main([str(photos / "blank.png"), str(tmp_path / "out"), "--workers", "1"]) == 1
    assert "0 records" in capfd.readouterr().out
    with pytest.raises(records.RecordsError, match="no records"):
        records.open_records(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing", "{out}"], 1, "missing"),
        (["{photos}", "{out}", "--validation", "1"], 1, "validation must be a share"),
        (["{photos}", "{out}", "--workers", "0"], 1, "--workers must be positive"),
        (["{photos}", "{out}", "--model", "missing.npz"], 1, "missing.npz"),
        (["{photos}", "{photos}/bad.jpg"], 1, "bad.jpg"),
    ],
)
def test_users_mistakes(photos, tmp_path, capfd, arguments, status, message):
    filled = [word.format(photos=photos, out=tmp_path / "out") for word in arguments]
    assert prepare.main(filled) == status
    errors = capfd.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*-of-*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shardsize=3"], "unrecognized arguments: --shardsize=3"),
        (["--runner=FlinkRunner", "--flink_master", "host"], "--name=value. Received: host"),
    ],
)
def test_words_that_are_for_nobody(photos, tmp_path, capfd, words, message):
    with pytest.raises(SystemExit) as ended:
        prepare.main([str(photos), str(tmp_path / "out"), *words])
    assert ended.value.code == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_beam_is_named(photos, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert run(photos, tmp_path / "out") == 1
    assert 'pip install "tf_deep3d[prepare]"' in capfd.readouterr().err


def test_unknown_runner_is_told_by_beam(photos, tmp_path, capfd):
    assert run(photos / "person 1", tmp_path / "out", "--runner", "Nowhere") == 1
    errors = capfd.readouterr().err
    assert "Nowhere" in errors
    assert len(errors.strip().splitlines()) == 1


def test_help_shows_examples():
    shown = subprocess.run([sys.executable, "-m", "tf_deep3d.prepare", "--help"], capture_output=True, text=True,
                           check=True, env={**os.environ, "COLUMNS": "120"}).stdout  # fmt: skip
    assert "examples:" in shown
    assert "--identities" in shown
