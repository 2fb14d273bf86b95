import os
from pathlib import Path

import pytest

from tf_deep3d.io import files
from tf_deep3d.io.files import refuse_existing, writing


def test_writes_whole_file_with_the_usual_permissions(tmp_path):
    path = tmp_path / "new folder" / "a.bin"
    with writing(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert os.listdir(path.parent) == ["a.bin"]


def test_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"a\.bin"), writing(path):
        pass
    assert path.read_bytes() == b"old"
    with writing(path, overwrite=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def interrupted():
        with writing(path, overwrite=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_a_finished_and_killed_process_left_goes_when_its_output_is_refused(tmp_path):
    (tmp_path / "done").write_text("")
    left = tmp_path / ".0123456789abcdef.part"
    left.mkdir()
    (left / "lock").write_text("")
    refuse_existing(tmp_path / "free")
    assert left.exists()
    with pytest.raises(FileExistsError):
        refuse_existing(tmp_path / "done")
    assert not left.exists()


def test_refuse_existing_sees_broken_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    refuse_existing(tmp_path / "free")
    with pytest.raises(FileExistsError, match="link"):
        refuse_existing(tmp_path / "free", tmp_path / "link")


def test_refuse_foreign_knows_our_folders(tmp_path):
    for name in ("empty", "ours", "photos"):
        (tmp_path / name).mkdir()
    for path in ("ours/mark.json", "ours/more", "photos/me.jpg", "file"):
        (tmp_path / path).write_text("")
    for name in ("nothing", "empty", "ours"):
        files.refuse_foreign(tmp_path / name, "mark.json")
    for name in ("photos", "file"):
        with pytest.raises(FileExistsError, match=rf"with a mark\.json can be overwritten\. Received: .*{name}"):
            files.refuse_foreign(tmp_path / name, "mark.json")


def test_a_folder_is_whole_or_not_there(tmp_path):
    with files.writing_folder(tmp_path / "a" / "out") as folder:
        (folder / "x").write_text("new")
        assert not (tmp_path / "a" / "out").exists()
    assert os.listdir(tmp_path / "a") == ["out"]
    with pytest.raises(FileExistsError, match="out"), files.writing_folder(tmp_path / "a" / "out"):
        pass
    with files.writing_folder(tmp_path / "a" / "out", overwrite=True) as folder:
        (folder / "y").write_text("newer")
    assert os.listdir(tmp_path / "a" / "out") == ["y"]
    assert (tmp_path / "a" / "out").stat().st_mode & 0o777 == 0o755


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    (tmp_path / "out").mkdir()

    def interrupted():
        with files.writing_folder(tmp_path / "out", overwrite=True) as folder:
            (folder / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_that_vanishes_is_told_even_if_it_is_there_again(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with files.staying(out):
        (out / "a").write_text("a")

    def replaced():
        with files.staying(out):
            out.rename(tmp_path / "elsewhere")
            out.mkdir()

    with pytest.raises(FileNotFoundError, match=r"vanished while it was written to\. Received: .*out"):
        replaced()
    with pytest.raises(FileNotFoundError, match="vanished"), files.staying(out):
        out.rmdir()


def test_every_photo_gets_a_folder_of_its_own():
    paths = [Path(p) for p in ("a/me.jpg", "b/me.png", "c/ME.jpg", "you.jpg", "x/me.jpg")]
    names = files.folder_names(paths)
    assert names == ["me.jpg", "me.png", "ME.jpg-photo2", "you", "me.jpg-photo3"]
    assert [files.face_folder("you", number) for number in (1, 2, 10)] == ["you", "you-face2", "you-face10"]


def test_no_folder_name_means_two_things():
    hostile = ["me.jpg", "a/me.jpg", "me", "me.jpg.png", "me-2.jpg", "me-face2.jpg", "me-FACE2.png", "me-face2",
               "me.jpg-photo2", "me.jpg-photo2.jpg", "me.jpg-photo2-photo1", "me-face2-photo1.jpg", "b/me-face2.jpg",
               "me.jpg-face2", "me.jpg-face2.png", "photo2.jpg", "-face2", "me-photo1.jpg"]  # fmt: skip
    for count in range(1, len(hostile) + 1):
        for start in range(len(hostile) - count + 1):
            names = files.folder_names([Path(path) for path in hostile[start : start + count]])
            folders = [files.face_folder(name, number).casefold() for name in names for number in (1, 2, 3)]
            assert len(set(folders)) == len(folders)


def test_sha256_of_the_standards_example(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
