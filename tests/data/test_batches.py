import numpy as np
import pytest
import tensorflow as tf

from tests.prepared import without_records, write_records
from tf_deep3d.data import batches, mixture, records
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
    opened = _open(DataSettings(records=folders, batch=batch, **options), seed, tiny_model.layout().total)
    return list(opened.training(start).take(count).as_numpy_iterator())


def _open(settings, seed=0, coefficients=1):
    return batches.open_batches(settings, coefficients, MIRROR, seed)


def test_shapes_and_ranges(folders, tiny_model):
    (batch,) = _batches(folders, tiny_model, 1)
    assert {name: value.shape for name, value in batch.items()} == {
        "inputs": (4, 224, 224, 3),
        "images": (4, 224, 224, 3),
        "skin": (4, 224, 224, 1),
        "landmarks": (4, 68, 2),
        "dense": (4, 478, 2),
        "dense_known": (4,),
        "coefficients": (4, tiny_model.layout().total),
        "known": (4, tiny_model.layout().total),
    }
    assert all(value.dtype == np.float32 for value in batch.values())
    assert 0 <= batch["images"].min() <= batch["images"].max() <= 1


def test_one_seed_one_order_and_any_start(folders, tiny_model):
    first = _batches(folders, tiny_model, 5)
    again = _batches(folders, tiny_model, 3, start=8)
    for early, late in zip(first[2:], again, strict=True):
        for name in early:
            np.testing.assert_array_equal(early[name], late[name])
    other = _batches(folders, tiny_model, 1, seed=2)
    assert not np.array_equal(first[0]["images"], other[0]["images"])


def test_the_batch_size_changes_nothing_else(folders, tiny_model):
    small = np.concatenate([batch["images"] for batch in _batches(folders, tiny_model, 4, batch=3)])
    large = np.concatenate([batch["images"] for batch in _batches(folders, tiny_model, 2, batch=6)])
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_the_callers_seed_changes_nothing(folders):
    opened = _open(DataSettings(records=folders), 3)
    try:
        orders = []
        for seed in (0, 5):
            tf.random.set_seed(seed)
            orders.append(opened.names(0, 20))
    finally:
        tf.random.set_seed(1)
    assert orders[0] == orders[1]


def test_every_record_once_in_each_pass(folders):
    opened = _open(DataSettings(records=folders[:1]), 3)
    assert opened.count == 10
    names = opened.names(0, 30)
    for start in (0, 10, 20):
        assert sorted(names[start : start + 10]) == sorted(f"face 0-{i}" for i in range(10))
    assert names[:10] != names[10:20]
    assert opened.names(12, 5) == names[12:17]


def test_shares_decide_the_mixture(folders):
    opened = _open(DataSettings(records=folders, shares=(1.0, 3.0)))
    names = opened.names(0, 1000)
    assert sum(name.startswith("face 50") for name in names) == 750
    assert opened.names(2345, 40) == opened.names(0, 2385)[2345:]


def test_no_folder_is_left_out_in_silence(folders):
    settings = DataSettings(records=folders, shares=(1.0, 10_000.0))
    with pytest.raises(records.RecordsError, match=r"a turn of 1000\. Received: 1, 10000"):
        _open(settings)


def test_truth_is_known_where_it_was_rendered_and_can_be_mirrored(folders, tiny_model):
    still = Augmentation(0, 0, 0, False)
    (batch,) = _batches(folders[1:], tiny_model, 1, augmentation=still)
    np.testing.assert_array_equal(batch["known"], 1)
    assert np.abs(batch["coefficients"]).min() > 0
    (batch,) = _batches(folders[:1], tiny_model, 1, augmentation=still)
    np.testing.assert_array_equal(batch["known"], 0)
    mirrored = np.concatenate([b["known"] for b in _batches(folders[1:], tiny_model, 10)])
    assert 0.3 < mirrored.mean() < 0.7
    assert set(mirrored.mean(1)) == {0, 1}


def test_coefficients_of_another_model_are_refused(folders):
    opened = _open(DataSettings(records=folders[1:]), coefficients=999)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have 999 coefficients"):
        next(iter(opened.training()))


def test_workers_share_the_records(folders, tiny_model):
    """Together they see what one would, each record once."""
    opened = _open(DataSettings(records=folders, batch=4), 1, tiny_model.layout().total)
    (whole,) = opened.training(8).take(1).as_numpy_iterator()
    parts = [next(opened.training(8, 2, (index, 2)).as_numpy_iterator()) for index in range(2)]
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(part["images"], whole["images"][index::2])


def test_validation_takes_turns_and_is_the_same_every_time(folders, tiny_model):
    settings = DataSettings(records=folders, batch=2, validation=4)
    dataset = _open(settings, 0, tiny_model.layout().total).validation()
    first, again = (list(dataset.as_numpy_iterator()) for _ in range(2))
    assert len(first) == dataset.cardinality() == 2
    np.testing.assert_array_equal(first[0]["known"].mean(1), [0, 1])
    for early, late in zip(first, again, strict=True):
        np.testing.assert_array_equal(early["images"], late["images"])


def test_settings_that_cannot_be(folders):
    with pytest.raises(records.RecordsError, match="name the folders of records"):
        mixture.open_sources(DataSettings())
    with pytest.raises(records.RecordsError, match="one number for each of 2 folders"):
        mixture.open_sources(DataSettings(records=folders, shares=(1.0,)))
    with pytest.raises(ValueError, match="shares must be above 0"):
        DataSettings(shares=(0.0,))
    with pytest.raises(ValueError, match="batch in 1 to"):
        DataSettings(batch=0)


def test_a_shard_without_its_records_ends_the_reading(tmp_path, tiny_model):
    settings = DataSettings(records=(str(without_records(tmp_path)),), batch=2)
    opened = _open(settings, coefficients=tiny_model.layout().total)
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"expected to contain 3 .*contained only 0"):
        next(opened.training().as_numpy_iterator())
