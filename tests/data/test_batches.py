import numpy as np
import pytest
import tensorflow as tf

from tests.prepared import write_records
from tf_deep3d.data import batches, mixture, records
from tf_deep3d.data.augmentation import Augmentation
from tf_deep3d.training.objective import DataSettings

MIRROR = np.arange(478)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_model):
    root = tmp_path_factory.mktemp("records")
    return (
        str(write_records(root / "photos", tiny_model, 10, 3, shard=3, seed=0)),
        str(write_records(root / "rendered", tiny_model, 6, 2, shard=3, seed=50, known=True)),
    )


def _batches(folders, tiny_model, count, start=0, seed=1, batch=4, **options):
    settings = DataSettings(records=folders, batch=batch, **options)
    sources = mixture.open_sources(settings)
    total = tiny_model.layout().total
    dataset = batches.training_batches(settings, sources, total, MIRROR, seed, start).take(count)
    return list(dataset.as_numpy_iterator())


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
        "known": (4,),
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
    settings = DataSettings(records=folders)
    sources = mixture.open_sources(settings)
    try:
        orders = []
        for seed in (0, 5):
            tf.random.set_seed(seed)
            orders.append(batches.names_of(settings, sources, 3, 0, 20))
    finally:
        tf.random.set_seed(1)
    assert orders[0] == orders[1]


def test_every_record_once_in_each_pass(folders):
    settings = DataSettings(records=folders[:1])
    sources = mixture.open_sources(settings)
    names = batches.names_of(settings, sources, 3, 0, 30)
    for start in (0, 10, 20):
        assert sorted(names[start : start + 10]) == sorted(f"face 0-{i}" for i in range(10))
    assert names[:10] != names[10:20]
    assert batches.names_of(settings, sources, 3, 12, 5) == names[12:17]


def test_shares_decide_the_mixture(folders):
    settings = DataSettings(records=folders, shares=(1.0, 3.0))
    sources = mixture.open_sources(settings)
    names = batches.names_of(settings, sources, 0, 0, 1000)
    assert sum(name.startswith("face 50") for name in names) == 750
    assert batches.names_of(settings, sources, 0, 2345, 40) == batches.names_of(settings, sources, 0, 0, 2385)[2345:]


def test_no_folder_is_left_out_in_silence(folders):
    settings = DataSettings(records=folders, shares=(1.0, 10_000.0))
    with pytest.raises(records.RecordsError, match=r"a turn of 1000\. Received: 1, 10000"):
        batches.training_batches(settings, mixture.open_sources(settings), 1, None, 0)


def test_truth_is_known_where_it_was_rendered_and_not_mirrored(folders, tiny_model):
    still = Augmentation(0, 0, 0, False)
    (batch,) = _batches(folders[1:], tiny_model, 1, augmentation=still)
    np.testing.assert_array_equal(batch["known"], 1)
    assert np.abs(batch["coefficients"]).min() > 0
    (batch,) = _batches(folders[:1], tiny_model, 1, augmentation=still)
    np.testing.assert_array_equal(batch["known"], 0)
    mirrored = np.concatenate([b["known"] for b in _batches(folders[1:], tiny_model, 10)])
    assert 0.3 < mirrored.mean() < 0.7


def test_coefficients_of_another_model_are_refused(folders):
    settings = DataSettings(records=folders[1:])
    dataset = batches.training_batches(settings, mixture.open_sources(settings), 999, MIRROR, 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have 999 coefficients"):
        next(iter(dataset))


def test_validation_takes_turns_and_is_the_same_every_time(folders, tiny_model):
    settings = DataSettings(records=folders, batch=2, validation=4)
    sources = mixture.open_sources(settings, "validation")
    dataset = batches.validation_batches(settings, sources, tiny_model.layout().total)
    first, again = (list(dataset.as_numpy_iterator()) for _ in range(2))
    assert len(first) == dataset.cardinality() == 2
    np.testing.assert_array_equal(first[0]["known"], [0, 1])
    for early, late in zip(first, again, strict=True):
        np.testing.assert_array_equal(early["images"], late["images"])


def test_settings_that_cannot_be(folders):
    with pytest.raises(records.RecordsError, match="name the folders of records"):
        mixture.open_sources(DataSettings())
    with pytest.raises(records.RecordsError, match="one number for each of 2 folders"):
        mixture.open_sources(DataSettings(records=folders, shares=(1.0,)))
    with pytest.raises(ValueError, match="shares must be above 0"):
        DataSettings(shares=(0.0,))
    with pytest.raises(ValueError, match="batch and validation"):
        DataSettings(batch=0)
