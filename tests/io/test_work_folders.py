import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import pytest

from tf_deep3d.io import files, work_folders
from tf_deep3d.io.work_folders import claimed, sweep

# Begins what the test names, says so, and waits to be killed.
AT_WORK = """
import sys
from pathlib import Path
from tf_deep3d.io import files, work_folders
with {block} as made:
    {then}
    print(made, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another(block, then="pass"):
    """A process inside `block`; yields it and what it was given."""
    source = AT_WORK.format(block=block, then=then)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", source], **pipes) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def kill(process):
    process.kill()
    process.wait()


BLOCKS = {
    "file": "files.writing(Path({path!r}))",
    "folder": "files.writing_folder(Path({path!r}))",
    "claim": "work_folders.claimed(Path({path!r}))",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_what_a_living_process_makes_stays_and_what_a_dead_one_left_goes(tmp_path, block):
    with another(block.format(path=str(tmp_path / "a"))) as (process, _):
        (hidden,) = os.listdir(tmp_path)
        assert hidden.startswith(".")
        assert hidden.endswith(".part")
        assert sweep(tmp_path) == 1
        assert os.listdir(tmp_path) == [hidden]
        kill(process)
        assert os.listdir(tmp_path) == [hidden]
        assert sweep(tmp_path) == 0
        assert os.listdir(tmp_path) == []


def test_the_next_one_who_writes_there_sweeps(tmp_path, monkeypatch):
    with another(BLOCKS["folder"].format(path=str(tmp_path / "a"))) as (process, _):
        kill(process)
    monkeypatch.setattr(work_folders, "_swept", set())
    with files.writing(tmp_path / "b") as file:
        file.write(b"1")
    assert os.listdir(tmp_path) == ["b"]


def test_temporary_files_of_a_dead_process_go_with_the_next_one(tmp_path, monkeypatch):
    """Keras and TensorFlow make theirs by `tempfile`, as the process here does."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    then = "import tempfile; Path(tempfile.mkdtemp(), 'x').write_text(''); tempfile.mkstemp()"
    with another("work_folders.temporary_files()", then) as (process, made):
        assert len(os.listdir(made)) == 3  # lock, folder, file
        kill(process)
    assert os.listdir(tmp_path) == [os.path.basename(made)]
    work_folders._swept.discard(tmp_path)
    with work_folders.temporary_files() as folder:
        assert tempfile.gettempdir() == str(folder)
        assert os.listdir(tmp_path) == [folder.name]
    assert tempfile.gettempdir() == str(tmp_path)
    assert not os.listdir(tmp_path)


def test_a_folder_that_had_stepped_aside_comes_back(tmp_path):
    old = tmp_path / "a"
    old.mkdir()
    (old / "face").write_text("old")
    aside = f"(made.parent / 'old').mkdir(); Path({str(old)!r}).rename(made.parent / 'old' / 'a')"
    with another(f"files.writing_folder(Path({str(old)!r}), overwrite=True)", aside) as (process, _):
        assert not old.exists()
        kill(process)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["a"]
    assert (old / "face").read_text() == "old"


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path):
    old = tmp_path / "a"
    old.mkdir()
    with pytest.raises(FileNotFoundError), files.writing_folder(old, overwrite=True) as new:
        new.rmdir()
    assert os.listdir(tmp_path) == ["a"]


def test_half_of_a_folder_that_vanished_does_not_take_its_place(tmp_path):
    def made_anew():
        with files.writing_folder(tmp_path / "a" / "b") as new:
            (new / "first").write_text("lost")
            shutil.rmtree(tmp_path / "a")
            with files.writing(new / "second"):  # makes the folders above it
                pass

    with pytest.raises(FileNotFoundError, match="vanished while it was written to"):
        made_anew()
    assert not (tmp_path / "a" / "b").exists()


def test_what_is_not_ours_stays(tmp_path):
    for name in (".part", ".0123.part", "0123456789abcdef.part", ".0123456789abcdeX.part", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / ".0123456789abcdef.part").write_text("a file")
    before = sorted(os.listdir(tmp_path))
    sweep(tmp_path, tmp_path / "nothing", tmp_path / ".0123456789abcdef.part")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_whose_process_ended_at_once_goes(tmp_path):
    (tmp_path / ".0123456789abcdef.part").mkdir()
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_removal_that_was_killed_is_taken_up(tmp_path):
    """Whether the lock was still there when it ended, or nothing but the rest."""
    for number, left in enumerate((("lock", "new/a"), ("new/.0123456789abcdef.part",), ("x",))):
        for name in left:
            path = tmp_path / f".{number:016x}.part" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    assert sweep(tmp_path) == 0
    assert os.listdir(tmp_path) == []


def test_the_lock_goes_last(tmp_path, monkeypatch):
    removed, remove = [], shutil.rmtree

    def rmtree(path, **options):
        removed.append((path.name, (made / "lock").exists()))
        remove(path, **options)

    with work_folders.work_folder(tmp_path) as made:
        (made / "new").mkdir()
        monkeypatch.setattr(shutil, "rmtree", rmtree)
    assert removed == [("new", True), ("old", True), (made.name, True)]
    assert os.listdir(tmp_path) == []


def test_of_many_threads_one_has_the_claim(tmp_path):
    start, told, over = threading.Barrier(8), [], threading.Event()

    def ask():
        start.wait()
        with claimed(tmp_path / "a") as mine:
            told.append(mine)
            over.wait(10 if mine else 0)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    with claimed(tmp_path / "b") as other:  # another's claim is no matter
        assert other
    for thread in threads:
        if len(told) == 8:
            break
        thread.join(0.5)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True]
    assert os.listdir(tmp_path) == []


def test_a_claim_is_for_one_process_and_ends_with_it(tmp_path):
    with another(BLOCKS["claim"].format(path=str(tmp_path / "a"))) as (process, said):
        assert said == "True"
        with claimed(tmp_path / "a") as mine:
            assert not mine
        kill(process)
        with claimed(tmp_path / "a") as mine:
            assert mine
            with another(BLOCKS["claim"].format(path=str(tmp_path / "a"))) as (_, said):
                assert said == "False"
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_locks_is_written_and_never_swept(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(work_folders, "_lock", no_locks)
    with files.writing(tmp_path / "a") as file:
        file.write(b"1")
        sweep(tmp_path)
    assert os.listdir(tmp_path) == ["a"]


def test_a_claim_needs_a_folder_that_can_be_written(tmp_path):
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "nothing" / "a"):
        pass
