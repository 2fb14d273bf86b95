import io
import pickle
import zipfile

import numpy as np
import pytest

from tf_deep3d.io import archive


def test_round_trip_and_equal_bytes(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "scalar": np.float32(3), "text": np.array("ä")}
    archive.write_arrays(tmp_path / "one.npz", arrays)
    archive.write_arrays(tmp_path / "two.npz", dict(reversed(arrays.items())))
    back = archive.read_arrays(tmp_path / "one.npz")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    assert back["scalar"].shape == ()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "x.npz"
    archive.write_arrays(path, {"a": np.zeros(1)})
    with pytest.raises(FileExistsError):
        archive.write_arrays(path, {"a": np.ones(1)})
    assert archive.read_arrays(path)["a"] == 0
    archive.write_arrays(path, {"a": np.ones(1)}, overwrite=True)
    assert archive.read_arrays(path)["a"] == 1


def test_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        archive.write_arrays(tmp_path / "x.npz", {"a": np.array([object()])})
    assert not list(tmp_path.iterdir())


class _Evil:
    def __reduce__(self):
        return (open, ("evil-was-here", "w"))


def test_pickles_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "evil.npz", a=np.array([_Evil()], dtype=object))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(_Evil()))
    for name in ("evil.npz", "bare.npz"):
        with pytest.raises(archive.ArchiveError, match=name):
            archive.read_arrays(tmp_path / name)
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip file"])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(archive.ArchiveError, match=r"x\.npz is not a readable"):
        archive.read_arrays(tmp_path / "x.npz")


def test_truncated_file_is_refused(tmp_path):
    archive.write_arrays(tmp_path / "x.npz", {"a": np.random.default_rng(0).normal(size=1000)})
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:-200])
    with pytest.raises(archive.ArchiveError):
        archive.read_arrays(tmp_path / "x.npz")


def test_nan_and_bombs_are_refused(tmp_path):
    archive.write_arrays(tmp_path / "nan.npz", {"a": np.array([0, np.nan])})
    with pytest.raises(archive.ArchiveError, match="'a' must be finite"):
        archive.read_arrays(tmp_path / "nan.npz")
    archive.write_arrays(tmp_path / "bomb.npz", {"a": np.zeros(1_000_000)})
    with zipfile.ZipFile(tmp_path / "bomb.npz") as zipped:
        assert zipped.infolist()[0].compress_size < 20_000
    with pytest.raises(archive.ArchiveError, match="unpacks to more than 1000000"):
        archive.read_arrays(tmp_path / "bomb.npz", max_bytes=1_000_000)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_promises_more_than_its_file_holds_is_refused_before_anything_is_allocated(tmp_path, version):
    header = io.BytesIO()
    write = getattr(np.lib.format, f"write_array_header_{version[0]}_0")
    write(header, {"descr": "<f4", "fortran_order": False, "shape": (12_500_000_000,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as zipped:
        zipped.writestr("a.npy", header.getvalue() + bytes(8))
    with pytest.raises(archive.ArchiveError, match="an array of 50000000000 bytes in 136"):
        archive.read_arrays(tmp_path / "x.npz")


def test_what_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as zipped:
        zipped.writestr("a.txt", "text")
    with pytest.raises(archive.ArchiveError, match=r"not a readable \.npz of plain arrays"):
        archive.read_arrays(tmp_path / "x.npz")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        archive.read_arrays(tmp_path / "none.npz")
