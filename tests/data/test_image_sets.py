"""Sets of photos: whole people, spread yaw, padding, and the same set at the same place of a training."""

import numpy as np
import pytest
import tensorflow as tf

from tests.prepared import synthetic_records, without_records, write_records
from tf_deep3d.data import image_sets, records
from tf_deep3d.data.augmentation import Augmentation, Mirror
from tf_deep3d.data.mixture import DataSettings

MIRROR = Mirror(np.arange(478), np.full(1, np.nan, np.float32))  # of a model without symmetric modes


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model):
    made = write_records(tmp_path_factory.mktemp("sets"), tiny_model, 12, 6, shard=6, known=True, photos_each=3)
    return str(made)


def _batch(folder, model, photos=3, number=0, size=2, seed=0, **augmentation):
    settings = DataSettings(records=(folder,), batch=size, augmentation=Augmentation(**augmentation))
    opened = image_sets.open_batches(settings, model.layout().total, MIRROR, seed, photos, 2)
    return next(iter(opened.training(number).as_numpy_iterator())), opened


def test_a_set_is_one_person(folder, tiny_model):
    batch, opened = _batch(folder, tiny_model, size=4, flip=False)
    assert opened.count == 4
    assert batch["inputs"].shape == (4, 3, 224, 224, 3)
    np.testing.assert_array_equal(batch["present"], np.ones((4, 3)))
    np.testing.assert_array_equal(batch["known"].min(-1), np.ones((4, 3)))
    identity = tiny_model.layout().split(batch["coefficients"].reshape(12, -1)).identity.reshape(4, 3, -1)
    np.testing.assert_array_equal(identity, identity[:, :1].repeat(3, axis=1))
    assert len(np.unique(identity[:, 0, 0])) == 4, "one pass shows each person once"
    assert sorted(opened.names(0, 4)) == [f"person 0-{i}" for i in range(4)]


def test_fewer_photos_are_padded(folder, tiny_model):
    batch, _ = _batch(folder, tiny_model, photos=5, flip=False, shift=0, scale=0, rotation=0)
    np.testing.assert_array_equal(batch["present"], [[1, 1, 1, 0, 0]] * 2)
    np.testing.assert_array_equal(batch["inputs"][:, 3], batch["inputs"][:, 4])
    assert np.isfinite(batch["inputs"]).all()


def test_a_set_is_mirrored_as_a_whole(folder, tiny_model):
    """Else its photos would be of two people; what a mirrored face's shape is, nobody knows."""
    found = [_batch(folder, tiny_model, number=n, size=1)[0]["known"][0].mean(-1) for n in range(8)]
    assert {tuple(known) for known in found} == {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)}


def test_the_same_set_at_the_same_place(folder, tiny_model):
    whole, _ = _batch(folder, tiny_model, size=4)
    later, _ = _batch(folder, tiny_model, number=3, size=1)
    for name, values in later.items():
        np.testing.assert_array_equal(values[0], whole[name][3], err_msg=name)
    other, _ = _batch(folder, tiny_model, size=4, seed=1)
    assert np.abs(other["landmarks"] - whole["landmarks"]).max() > 1


def test_photos_spread_over_yaw(tiny_model):
    group = tf.constant(synthetic_records(tiny_model, 12, photos_each=12))

    def turn(serialized):
        points = records.parse(serialized)["landmarks"].numpy()[:, 0]
        return (points[30] - (points[36] + points[45]) / 2) / max(points[45] - points[36], 1)

    order = sorted(turn(each) for each in group)
    for throw in (0.0, 0.5, 0.999):
        picked, present = image_sets.choose(group, 4, tf.fill([4], throw))
        places = [order.index(turn(each)) for each in picked]
        assert [place // 3 for place in places] == [0, 1, 2, 3]
        np.testing.assert_array_equal(present, np.ones(4))


def test_validation_is_unchanged_and_counted(folder, tiny_model):
    settings = DataSettings(records=(folder,), batch=2, validation=1)
    batches = list(image_sets.open_batches(settings, tiny_model.layout().total, MIRROR, 0, 2, 2).validation())
    assert [batch["inputs"].shape[:2] for batch in batches] == [(1, 2)]
    np.testing.assert_array_equal(batches[0]["inputs"], batches[0]["images"])


def test_nobody_with_enough_photos_is_an_error(tmp_path, tiny_model):
    folder = str(write_records(tmp_path / "single", tiny_model, 2))
    with pytest.raises(records.RecordsError, match=r"nobody with 2 photos side by side.*single"):
        image_sets.open_batches(DataSettings(records=(folder,)), 1, MIRROR, 0, 5, 2)


def test_a_shard_without_its_records_is_refused(tmp_path, tiny_model):
    settings = DataSettings(records=(str(without_records(tmp_path)),), batch=2)
    with pytest.raises(records.RecordsError, match=r"holds no usable records. Received: FailedPreconditionError"):
        image_sets.open_batches(settings, tiny_model.layout().total, MIRROR, 0, 3, 2)
