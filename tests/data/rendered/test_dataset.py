"""Folders of rendered people: whole or not there, and the same whoever renders them."""

import pytest

from tf_deep3d.data import tfrecord
from tf_deep3d.data.rendered import dataset
from tf_deep3d.data.rendered.pictures import Settings
from tf_deep3d.data.spread import Spread


def test_half_a_dataset_is_never_left(tmp_path, monkeypatch, model, head):
    def broken(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr(tfrecord, "write_shard", broken)
    with pytest.raises(OSError, match="No space"):
        dataset.write_dataset(tmp_path / "made", Settings(2, validation=0), model, head)
    assert list(tmp_path.iterdir()) == []


def test_all_pictures_of_a_person_lie_in_one_shard(monkeypatch):
    monkeypatch.setattr(dataset, "SHARD", 8)
    made = dataset.shards("train", range(14), Settings(14, photos_each=3 - 1))
    assert made == {"train-00000.tfrecord.gz": range(8), "train-00001.tfrecord.gz": range(8, 14)}
    made = dataset.shards("validation", range(9, 21), Settings(21, photos_each=3))
    assert made == {"validation-00000.tfrecord.gz": range(9, 15), "validation-00001.tfrecord.gz": range(15, 21)}
    assert dataset.shards("validation", range(14, 14), Settings(14)) == {}


def test_a_crew_makes_the_same_bytes(tmp_path, monkeypatch, model, head):
    monkeypatch.setattr(dataset, "SHARD", 2)
    monkeypatch.setattr(dataset, "people", lambda *named: (model, head))
    settings = Settings(4, 3, validation=0.25)
    crew = dataset.Crew(Spread(1))
    counts = dataset.write_dataset(tmp_path / "alone", settings, model, head)
    assert dataset.write_dataset(tmp_path / "dealt", settings, model, head, crew=crew) == counts
    alone, dealt = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("alone", "dealt")
    )
    assert sorted(alone) == [
        "dataset.json", "train-00000.tfrecord.gz", "train-00001.tfrecord.gz", "validation-00000.tfrecord.gz"
    ]  # fmt: skip
    assert dealt == alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "dealt"]


def test_a_worker_that_fails_leaves_nothing(tmp_path, monkeypatch, model, head):
    def broken(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr(dataset, "people", lambda *named: (model, head))
    monkeypatch.setattr(tfrecord, "write_shard", broken)
    with pytest.raises(OSError, match="a worker failed: No space left on device"):
        dataset.write_dataset(tmp_path / "made", Settings(2, validation=0), model, head, crew=dataset.Crew(Spread(1)))
    assert list(tmp_path.iterdir()) == []
