import os

import pytest

from tf_deep3d.files import refuse_existing, writing


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


def test_refuse_existing_sees_broken_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    refuse_existing(tmp_path / "free")
    with pytest.raises(FileExistsError, match="link"):
        refuse_existing(tmp_path / "free", tmp_path / "link")
