import itertools

import numpy as np
import pytest
from keras import ops

from tests.prepared import without_records, write_records
from tf_deep3d.data import batches as data
from tf_deep3d.data import mixture, plain_batches, records
from tf_deep3d.data.augmentation import Augmentation, Mirror
from tf_deep3d.data.mixture import DataSettings

MIRROR = Mirror(np.arange(478), np.full(1, np.nan, np.float32))  # of a model without symmetric modes


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_model):
    root = tmp_path_factory.mktemp("records")
    return (
        str(write_records(root / "photos", tiny_model, 10, 3, shard=3, seed=0)),
        str(write_records(root / "rendered", tiny_model, 6, 2, shard=3, seed=50, known=True)),
    )


def _batches(folders, tiny_model, count, start=0, seed=1, batch=4, **options):
    settings = DataSettings(records=folders, batch=batch, **options)
    endless = plain_batches.open_batches(settings, tiny_model.layout().total, MIRROR, seed).training(start)
    try:
        return [_numpy(batch) for (batch,) in itertools.islice(endless, count)]
    finally:
        endless.close()


def _numpy(batch):
    return {name: ops.convert_to_numpy(values) for name, values in batch.items()}


def _names(folders, start, count, seed=3, **options):
    return plain_batches.open_batches(DataSettings(records=folders, **options), 1, MIRROR, seed).names(start, count)


def test_batches_have_the_shapes_of_the_other_source(folders, tiny_model):
    settings = DataSettings(records=folders, batch=4)
    (plain,) = _batches(folders, tiny_model, 1)
    other = data.open_batches(settings, tiny_model.layout().total, MIRROR, 1)
    expected = next(other.training().as_numpy_iterator())
    assert {name: (value.shape, value.dtype) for name, value in plain.items()} == {
        name: (value.shape, value.dtype) for name, value in expected.items()
    }


def test_held_out_batches_are_those_of_the_other_source(folders, tiny_model):
    settings = DataSettings(records=folders, batch=2, validation=5)
    arguments = (settings, tiny_model.layout().total, MIRROR, 0)
    held_out = plain_batches.open_batches(*arguments).validation()
    plain = [_numpy(batch) for (batch,) in held_out]
    expected = list(data.open_batches(*arguments).validation().as_numpy_iterator())
    assert len(plain) == len(expected) == len(held_out) == 3
    assert [len(batch["known"]) for batch in plain] == [2, 2, 1]
    for one, other in zip(plain, expected, strict=True):
        for name in other:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_one_seed_one_order_and_any_start(folders, tiny_model):
    first = _batches(folders, tiny_model, 5)
    again = _batches(folders, tiny_model, 3, start=8)
    for early, late in zip(first[2:], again, strict=True):
        for name in early:
            np.testing.assert_array_equal(early[name], late[name])
    (other,) = _batches(folders, tiny_model, 1, seed=2)
    assert not np.array_equal(first[0]["images"], other["images"])


def test_the_batch_size_changes_nothing_else(folders, tiny_model):
    small = np.concatenate([batch["images"] for batch in _batches(folders, tiny_model, 4, batch=3)])
    large = np.concatenate([batch["images"] for batch in _batches(folders, tiny_model, 2, batch=6)])
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_every_record_once_in_each_pass(folders, monkeypatch):
    monkeypatch.setattr(plain_batches, "SHUFFLE", 4)
    names = _names(folders[:1], 0, 30)
    for start in (0, 10, 20):
        assert sorted(names[start : start + 10]) == sorted(f"face 0-{i}" for i in range(10))
    assert names[:10] != names[10:20] != names[20:]
    assert _names(folders[:1], 12, 5) == names[12:17]


def test_shares_decide_the_mixture(folders, monkeypatch):
    monkeypatch.setattr(mixture, "TURNS", 40)
    names = _names(folders, 0, 80, shares=(1.0, 3.0))
    assert sum(name.startswith("face 50") for name in names) == 60
    assert _names(folders, 45, 20, shares=(1.0, 3.0)) == names[45:65]


def test_truth_is_known_where_it_was_rendered_and_can_be_mirrored(folders, tiny_model):
    still = Augmentation(0, 0, 0, False)
    (batch,) = _batches(folders[1:], tiny_model, 1, augmentation=still)
    np.testing.assert_array_equal(batch["known"], 1)
    assert np.abs(batch["coefficients"]).min() > 0
    (batch,) = _batches(folders[:1], tiny_model, 1, augmentation=still)
    np.testing.assert_array_equal(batch["known"], 0)
    np.testing.assert_array_equal(batch["coefficients"], 0)
    mirrored = np.concatenate([b["known"] for b in _batches(folders[1:], tiny_model, 10)])
    assert 0.3 < mirrored.mean() < 0.7
    assert set(mirrored.mean(1)) == {0, 1}


def test_coefficients_of_another_model_are_refused(folders):
    settings = DataSettings(records=folders[1:])
    batches = plain_batches.open_batches(settings, 999, MIRROR, 0).training()
    with pytest.raises(records.RecordsError, match=r"must have 999 coefficients.* Received: \d+$"):
        next(batches)


def test_a_shard_without_its_records_ends_the_reading(tmp_path, tiny_model):
    settings = DataSettings(records=(str(without_records(tmp_path)),), batch=2)
    endless = plain_batches.open_batches(settings, tiny_model.layout().total, MIRROR, 0).training()
    with pytest.raises(records.RecordsError, match=r"train-empty must have 3 records. Received: 0"):
        next(endless)
