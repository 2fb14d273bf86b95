import os

import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.io import tables


def _written(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_are_stripped_text_by_column(tmp_path):
    path = _written(tmp_path, '\ufefffile, who\n a.jpg ,"Ann, B"\nb.jpg\n\nc.jpg,C,more\n')
    columns, rows = tables.read_csv(path, ["file"])
    assert columns == ["file", " who"]
    assert rows == [
        {"file": "a.jpg", " who": "Ann, B"},
        {"file": "b.jpg", " who": ""},
        {"file": "c.jpg", " who": "C"},
    ]
    assert tables.read_csv(_written(tmp_path, "")) == ([], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,who\n" + "x" * 200_000 + ",b\n", "is no readable CSV file. Received: Error: field larger than"),
        ("x" * 200_000, "is no readable CSV file. Received: Error: field larger than"),
        ('file,who\n"' + "\n" * 200_000, "is no readable CSV file. Received: Error: field larger than"),
        (b"file,who\n\xff,b\n", "is no readable CSV file. Received: UnicodeDecodeError"),
        ("name," * 1000, r"must have the columns file and who. Received: \['name"),
        ("file\n", "must have the columns file and who. Received"),
        ("file,who\na\0,b\n", "is no readable CSV file. Received: Error: line contains NUL"),
        ("file,who\0\na,b\n", "is no readable CSV file. Received: Error: line contains NUL"),
        ("", r"must have the columns file and who. Received: \[\]"),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        tables.read_csv(_written(tmp_path, content), ["file", "who"])
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_devices_and_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", "/dev/zero", tmp_path, tmp_path / "none.csv"):
        with pytest.raises(FileNotFoundError, match="No such file"):
            tables.read_csv(path)


def test_large_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(InputError, match=r"may have 10 bytes at most. Received: 11"):
        tables.read_csv(_written(tmp_path, "file,person"))
