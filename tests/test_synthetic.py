"""The command that renders people, as a user meets it."""

import io

import numpy as np
import pytest
from PIL import Image

from tf_deep3d import synthetic
from tf_deep3d.data import records, tfrecord
from tf_deep3d.data.rendered import people, pictures
from tf_deep3d.face import morphable_model


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
        (["--workers", "0"], "--workers must be positive. Received: 0"),
    ],
)
def test_command_refuses_what_it_cannot_do(tmp_path, monkeypatch, capsys, extra, message):
    monkeypatch.chdir(tmp_path)
    assert synthetic.main(["made", *extra]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--cuont=3"], "unrecognized arguments: --cuont=3"),
        (["--runner=DaskRunner", "--dask_scheduler_file", "a.json"], "as --name=value"),
    ],
)
def test_unknown_options_are_told(tmp_path, capsys, extra, message):
    with pytest.raises(SystemExit) as ended:
        synthetic.main([str(tmp_path / "made"), *extra])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("place", ["photos", "photos/me.jpg"])
def test_overwrite_never_removes_what_is_no_dataset(tmp_path, capsys, place):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/me.jpg").write_text("precious")
    assert synthetic.main([str(tmp_path / place), "--overwrite"]) == 1
    assert "only a folder with a dataset.json can be overwritten" in capsys.readouterr().err
    assert (tmp_path / "photos/me.jpg").read_text() == "precious"


def test_photos_are_rendered_anew(tmp_path, capsys):
    """From records without coefficients: fitted once, rendered in other looks, and again from the fits alone."""
    model = morphable_model.load(level=1)
    made = pictures.render_people(pictures.Settings(3, 2), model, people.load_head(model), 3)
    examples = [records.encode({**record, "coefficients": np.zeros(0, np.float32)}) for record in made]
    shard = tfrecord.write_shard(tmp_path / "photos/train", examples)
    records.write_dataset_json(tmp_path / "photos", {"train": {"train": shard}}, {})
    out = tmp_path / "made"
    arguments = ["--from-photos", str(tmp_path / "photos"), "--count", "3", "--validation", "0", "--held-out", "0"]
    assert synthetic.main([str(out), *arguments, "--show", "2"]) == 0
    assert "3 training records and 0 validation records" in capsys.readouterr().out
    opened = records.open_records(out)
    assert opened.info["kind"] == "rerendered"
    assert (out / "contact_sheet.jpg").stat().st_size > 10_000
    assert records.open_records(out / "fits").info["kind"] == "fitted"
    assert synthetic.main([str(out), *arguments]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert synthetic.main([str(out), *arguments, "--backgrounds", str(tmp_path)]) == 1
    assert "own background" in capsys.readouterr().err
