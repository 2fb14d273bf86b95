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
    with pytest.raises(archive.ArchiveError, match="has or unpacks to more than 1000000 bytes"):
        archive.read_arrays(tmp_path / "bomb.npz", max_bytes=1_000_000)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_promises_more_than_its_file_holds_is_refused_before_anything_is_allocated(tmp_path, version):
    header = io.BytesIO()
    write = getattr(np.lib.format, f"write_array_header_{version[0]}_0")
    write(header, {"descr": "<f4", "fortran_order": False, "shape": (12_500_000_000,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as zipped:
        zipped.writestr("a.npy", header.getvalue() + bytes(8))
    with pytest.raises(archive.ArchiveError, match="an array of 50000000000 bytes in 8"):
        archive.read_arrays(tmp_path / "x.npz")


def _npy(array):
    entry = io.BytesIO()
    np.lib.format.write_array(entry, array)
    return entry.getvalue()


def _zipped(path, content, name="a.npy", method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr(name, content, method)
    return bytearray(path.read_bytes())


def _header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")


HEADERS = {
    "a huge integer": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }\n",
    "more than memory": "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 3), }\n",
    "a negative length": "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }\n",
    "an open bracket": "{'descr': '<f4', 'fortran_order': False, 'shape': (2,\n",
    "a null character": "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\0\n",
    "another type": "{'descr': ['<f4', 3], 'fortran_order': 1, 'shape': 'ab'}\n",
    "nested brackets": "(" * 9000 + "\n",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_of_nonsense_is_refused_in_one_line(tmp_path, header):
    _zipped(tmp_path / "x.npz", _header(header) + bytes(8))
    with pytest.raises(archive.ArchiveError, match=r"x\.npz is not a readable") as caught:
        archive.read_arrays(tmp_path / "x.npz")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_an_array_shorter_than_its_entry_is_refused(tmp_path):
    _zipped(tmp_path / "x.npz", _npy(np.zeros(5, np.float32)).replace(b"(5,)", b"(2,)"))
    with pytest.raises(archive.ArchiveError, match="an array of 8 bytes in 20"):
        archive.read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_unpacks_without_a_bound_is_refused(tmp_path, method):
    _zipped(tmp_path / "x.npz", _npy(np.zeros(5, np.float32)), method=method)
    with pytest.raises(archive.ArchiveError, match=f"compressed by method {method}"):
        archive.read_arrays(tmp_path / "x.npz")


FIELDS = {"version": 4, "flags": 6, "method": 8}  # of an entry's own header, bytes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("flags", 1, "encrypted"), ("method", 99, "method 99"), ("method", 14, "method 14"), ("version", 255, "readable")],
)
def test_encrypted_and_unknown_entries_are_refused(tmp_path, field, value, message):
    content = _zipped(tmp_path / "x.npz", _npy(np.zeros(5, np.float32)))
    central = content.index(b"PK\x01\x02")
    for start in (0, central + 2):  # the entry's own header, and the one at the end of the file
        content[start + FIELDS[field]] = value
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(archive.ArchiveError, match=rf"x\.npz .*{message}"):
        archive.read_arrays(tmp_path / "x.npz")


def test_a_gap_in_compressed_data_is_refused(tmp_path):
    content = _zipped(tmp_path / "x.npz", _npy(np.arange(500.0)), method=zipfile.ZIP_DEFLATED)
    content[200:260] = bytes(60)
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(archive.ArchiveError, match=r"x\.npz is not a readable"):
        archive.read_arrays(tmp_path / "x.npz")


def test_a_file_longer_than_all_arrays_may_be_is_refused(tmp_path):
    content = _zipped(tmp_path / "x.npz", _npy(np.zeros(5, np.float32)))
    (tmp_path / "x.npz").write_bytes(bytes(1000) + content)
    with pytest.raises(archive.ArchiveError, match=f"more than 1000 bytes. Received: {1000 + len(content)}"):
        archive.read_arrays(tmp_path / "x.npz", max_bytes=1000)


def test_what_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as zipped:
        zipped.writestr("a.txt", "text")
    with pytest.raises(archive.ArchiveError, match=r"the entry 'a\.txt', which is no \.npy"):
        archive.read_arrays(tmp_path / "x.npz")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        archive.read_arrays(tmp_path / "none.npz")
