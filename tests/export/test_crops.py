"""Which faces calibrate and check."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from export import crops
from tests.exported import smooth_pictures
from tf_deep3d.errors import InputError


def test_no_face_calibrates_and_checks():
    pictures = smooth_pictures(30)
    calibration, check = crops.split(pictures)
    assert len(check) == 10
    assert len(calibration) == 20
    together = np.concatenate([calibration, check])
    assert {picture.tobytes() for picture in together} == {picture.tobytes() for picture in pictures}
    with pytest.raises(InputError, match=r"at least 24 faces are needed .* Received: 23 of somewhere"):
        crops.split(pictures[:23], "somewhere")
    with pytest.raises(InputError, match="Received: 0"):
        crops.split([])


def test_photos_are_aligned_and_those_without_a_face_are_named(tmp_path, tiny_model, capfd):
    for number in range(3):
        Image.fromarray(data.astronaut()).save(tmp_path / f"{number}.png")
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / "4.png")
    (tmp_path / "5.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"Received: 3 of {tmp_path}"):
        crops.gather(tmp_path, tiny_model)
    said = capfd.readouterr().err
    assert f"{tmp_path / '4.png'}: no face found" in said
    assert f"{tmp_path / '5.png'}: not a picture" in said
    found = list(crops.of_photos([tmp_path / f"{number}.png" for number in (0, 1, 2)], tiny_model, count=2))
    assert [(picture.shape, picture.dtype) for picture in found] == [((224, 224, 3), np.uint8)] * 2
    assert found[0].std() > 20


def test_records_take_turns(exported, tiny_model):
    calibration, check = crops.gather(exported.records, tiny_model)
    assert len(calibration) + len(check) == 26
    assert calibration.dtype == np.uint8
    assert len({picture.tobytes() for picture in np.concatenate([calibration, check])}) == 26
    assert len(list(crops.of_records(exported.records, 5))) == 5


def test_few_shards_are_opened(exported, monkeypatch):
    """Of a large data set, whose thousands of shards are more than a process may open."""
    opened = []
    read = crops.tfrecord.open_shard
    monkeypatch.setattr(crops.tfrecord, "open_shard", lambda path: opened.append(path) or read(path))
    assert len(list(crops.of_records(exported.records, 1))) == 1
    assert len(opened) == 1


def test_people_are_rendered_where_there_are_no_photos():
    (one, other) = crops.rendered(2)
    assert one.shape == (224, 224, 3)
    assert one.dtype == np.uint8
    assert min(one.std(), other.std()) > 20
    assert not np.array_equal(one, other)
