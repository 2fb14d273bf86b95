"""The command that renders people, as a user meets it."""

import io

import pytest
from PIL import Image

from tf_deep3d import synthetic
from tf_deep3d.data import records, tfrecord


def test_command_writes_records_that_open(tmp_path, capsys):
    out = tmp_path / "made"
    arguments = [str(out), "--count", "5", "--seed", "3", "--validation", "0.4", "--show", "2"]
    assert synthetic.main(arguments) == 0
    assert records.open_records(out).count == 3
    held = records.open_records(out, "validation")
    assert held.count == 2
    assert held.info["kind"] == "rendered"
    (example,) = tfrecord.open_shard(held.shards[0].path).take(1).as_numpy_iterator()
    assert records.parse(example)["person"].numpy() == b"rendered-3-3"
    with Image.open(io.BytesIO((out / "contact_sheet.png").read_bytes())) as sheet:
        assert sheet.width > 300
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert synthetic.main(arguments) == 1
    assert "overwrite" in capsys.readouterr().err
    assert synthetic.main([*arguments, "--overwrite"]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--count", "0"], "count"),
        (["--validation", "1"], "validation"),
        (["--backgrounds", "."], "backgrounds"),
        (["--count", "6", "--photos-each", "6", "--validation", "0.6"], "somebody to train with"),
        (["--count", "3", "--validation", "0.9"], "somebody to train with"),
    ],
)
def test_command_refuses_what_it_cannot_do(tmp_path, monkeypatch, capsys, extra, message):
    monkeypatch.chdir(tmp_path)
    assert synthetic.main(["made", *extra]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["photos", "photos/me.jpg"])
def test_overwrite_never_removes_what_is_no_dataset(tmp_path, capsys, place):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/me.jpg").write_text("precious")
    assert synthetic.main([str(tmp_path / place), "--overwrite"]) == 1
    assert "only a folder with a dataset.json can be overwritten" in capsys.readouterr().err
    assert (tmp_path / "photos/me.jpg").read_text() == "precious"
