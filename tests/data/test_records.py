"""Records: what is written is what is read, and what is damaged is known."""

import gzip
import hashlib
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_deep3d.data import records, tfrecord


def record(number=0, **changes):
    """A record whose arrays differ by `number`."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 200, records.RECORD_SIZE)
    image = np.stack(
        [ramp[None] + 0 * ramp[:, None], 0 * ramp[None] + ramp[:, None], 0 * ramp[None] + 0 * ramp[:, None]]
    )
    made = {
        "image": (image.transpose(1, 2, 0) + number % 50).astype(np.uint8),
        "skin": np.full((records.RECORD_SIZE, records.RECORD_SIZE), 30 + number, np.uint8),
        "landmarks": rng.uniform(0, 320, (68, 2)).astype(np.float32),
        "dense": np.full((478, 2), np.nan, np.float32),
        "person": "Ångström",
        "source": f"photos/{number}.jpg#1",
        "transform": np.array([1.2, 0.1, -30.5, 12.25], np.float32),
        "coefficients": np.zeros(0, np.float32),
    }
    return {**made, **changes}


@pytest.fixture
def folder(tmp_path):
    """A data set of two training shards (7 and 5 records) and one of validation (2)."""
    shards = {"train": {}, "validation": {}}
    for split, name, numbers in (
        ("train", "train-00000-of-00002", range(7)),
        ("train", "train-00001-of-00002", range(7, 12)),
        ("validation", "validation-00000-of-00001", range(12, 14)),
    ):
        shards[split][name] = tfrecord.write_shard(tmp_path / name, [records.encode(record(n)) for n in numbers])
    records.write_dataset_json(tmp_path, shards, {"rejected": []})
    return tmp_path


def sources(opened):
    """The sources of all records that `open_records` lets through."""
    names = []
    for shard in opened.shards:
        dataset = tfrecord.open_shard(shard.path).take(shard.count).map(records.parse)
        names += [row["source"].numpy().decode() for row in dataset]
    return names


def test_round_trip_in_a_pipeline(tmp_path):
    dense = np.random.default_rng(9).uniform(0, 320, (478, 2)).astype(np.float32)
    numbers = np.arange(5, dtype=np.float32)
    written = [record(0), record(1, dense=dense, coefficients=numbers, skin=np.full((320, 320, 1), 7, np.uint8))]
    tfrecord.write_shard(tmp_path / "shard", map(records.encode, written))
    dataset = tfrecord.open_shard(tmp_path / "shard").map(records.parse)
    assert {name: spec.dtype for name, spec in dataset.element_spec.items()} == {
        "image": tf.uint8, "skin": tf.uint8, "landmarks": tf.float32, "dense": tf.float32, "person": tf.string,
        "source": tf.string, "transform": tf.float32, "coefficients": tf.float32,
    }  # fmt: skip
    assert {name: tuple(spec.shape) for name, spec in dataset.element_spec.items()} == {
        name: field.shape for name, field in records.SCHEMA.items()
    }
    for row, given in zip(dataset.as_numpy_iterator(), written, strict=True):
        for name in ("landmarks", "dense", "transform", "coefficients"):
            np.testing.assert_array_equal(row[name], given[name])
        assert row["person"].decode() == given["person"]
        assert row["source"].decode() == given["source"]
        assert np.abs(row["image"].astype(int) - given["image"]).max() <= 6  # JPEG
        np.testing.assert_array_equal(row["skin"].squeeze(-1), given["skin"].reshape(320, 320))  # flat: exact


def test_a_picture_of_another_size_is_refused_before_it_is_decoded():
    stream = io.BytesIO()
    Image.new("RGB", (9000, 9000)).save(stream, "JPEG")
    example = tf.train.Example.FromString(records.encode(record()))
    example.features.feature["image"].bytes_list.value[0] = stream.getvalue()
    with pytest.raises(tf.errors.InvalidArgumentError, match="9000"):
        records.parse(tf.constant(example.SerializeToString()))


def test_schema_has_room_for_the_margin():
    assert records.RECORD_SIZE == 224 + 2 * records.MARGIN == 320
    assert all(field.doc for field in records.SCHEMA.values())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image": np.zeros((224, 224, 3), np.uint8)}, "image"),
        ({"image": np.zeros((320, 320, 3), np.float32)}, "image"),
        ({"landmarks": np.zeros((68, 3), np.float32)}, "landmarks"),
        ({"coefficients": np.zeros((1, 4), np.float32)}, "coefficients"),
        ({"transform": np.array(["a"] * 4)}, "transform"),
        ({"person": None}, "person"),
        ({"another": 1}, "another"),
    ],
)
def test_encode_refuses_another_record(changes, named):
    with pytest.raises(ValueError, match=rf"{named}.*Received|Received.*{named}"):
        records.encode(record(**changes))


def test_coefficients_are_written_into_a_record_that_stays_as_it_is():
    """Its pictures are not compressed a second time."""
    made = records.encode(record())
    row = np.float32([1.5, np.nan, -2])
    changed = tfrecord.fields(records.with_coefficients(made, row))
    np.testing.assert_array_equal(changed.pop("coefficients"), row)
    before = tfrecord.fields(made)
    before.pop("coefficients", None)
    assert {name: np.asarray(value).tobytes() for name, value in changed.items()} == {
        name: np.asarray(value).tobytes() for name, value in before.items()
    }
    assert records.with_coefficients(records.with_coefficients(made, row), np.zeros(0, np.float32)) == made


def test_same_records_give_the_same_bytes(tmp_path):
    examples = [records.encode(record(n)) for n in range(3)]
    first = tfrecord.write_shard(tmp_path / "a", examples)
    second = tfrecord.write_shard(tmp_path / "b", iter(examples))
    data = (tmp_path / "a").read_bytes()
    assert first == second == tfrecord.ShardInfo(3, hashlib.sha256(data).hexdigest(), len(data))
    assert data == (tmp_path / "b").read_bytes()
    assert data[:2] == b"\x1f\x8b"  # gzip
    assert data[4:8] == bytes(4)  # no time in its header


def test_no_shard_without_all_its_examples(tmp_path):
    def examples():
        yield records.encode(record())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tfrecord.write_shard(tmp_path / "shard", examples())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "shard").write_text("mine")
    with pytest.raises(FileExistsError):
        tfrecord.write_shard(tmp_path / "shard", [])
    assert (tmp_path / "shard").read_text() == "mine"


def test_open_reads_what_was_written(folder):
    opened = records.open_records(folder)
    assert [shard.count for shard in opened.shards] == [7, 5]
    assert opened.count == 12
    assert opened.damage == ()
    assert opened.info["rejected"] == []
    assert opened.info["counts"] == {"train": 12, "validation": 2}
    assert set(opened.info["schema"]) == set(records.SCHEMA)
    assert sources(opened) == [f"photos/{n}.jpg#1" for n in range(12)]
    assert records.open_records(folder, "validation").count == 2


def frames(path):
    """Offsets of the records of a shard, and of its end, in its uncompressed bytes."""
    offset, offsets = 0, [0]
    for example in tfrecord.open_shard(path).as_numpy_iterator():
        offset += len(example) + 16
        offsets.append(offset)
    return offsets


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.55, 0.9])
def test_truncated_shard_loses_only_its_end(folder, kept):
    path = folder / "train-00000-of-00002"
    data, offsets = path.read_bytes(), frames(path)
    path.write_bytes(data[: round(len(data) * kept)])
    opened = records.open_records(folder)
    [bad] = opened.damage
    assert bad.file == path
    assert bad.lost == 7 - bad.record > 0
    assert bad.offset == offsets[bad.record]
    assert bad.record <= 7 * kept + 1
    assert sources(opened) == [f"photos/{n}.jpg#1" for n in [*range(bad.record), *range(7, 12)]]
    with pytest.raises(records.RecordsError, match=rf"train-00000-of-00002 .*byte {bad.offset}"):
        records.open_records(folder, strict=True)
    assert records.open_records(folder, "validation", strict=True).count == 2


def test_flipped_bit_of_a_record(folder):
    path = folder / "train-00000-of-00002"
    offsets = frames(path)
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[offsets[4] + 500] ^= 1
    path.write_bytes(gzip.compress(bytes(data)))
    opened = records.open_records(folder)
    assert opened.damage == (records.Damage(path, 4, offsets[4], 3),)
    assert opened.count == 9
    assert len(sources(opened)) == 9
    assert f"record 4, byte {offsets[4]}" in str(opened.damage[0])


def test_harmless_change_is_told_and_costs_nothing(folder):
    path = folder / "train-00000-of-00002"
    data = bytearray(path.read_bytes())
    data[4] ^= 1  # the time in the gzip header
    path.write_bytes(data)
    opened = records.open_records(folder)
    assert opened.count == 12
    assert [bad.lost for bad in opened.damage] == [0]
    assert "no record is lost" in str(opened.damage[0])


def test_foreign_bytes_in_place_of_a_shard(folder):
    (folder / "train-00000-of-00002").write_bytes(b"hello")
    (folder / "train-00001-of-00002").write_bytes(b"")
    with pytest.raises(records.RecordsError, match="12 records damaged"):
        records.open_records(folder)


def edit(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_refuses_folders_without_records(folder, tmp_path_factory):
    def refused(match, where=folder, split="train"):
        with pytest.raises(records.RecordsError, match=match):
            records.open_records(where, split)

    refused("no dataset.json", tmp_path_factory.mktemp("empty"))
    refused("no dataset.json", folder / "missing")
    refused("split must be one of", split="test")
    (folder / "validation-00000-of-00001").unlink()
    refused("missing.*validation-00000-of-00001", split="validation")
    edit(folder, shards={"train": [], "validation": []})
    refused("no records")
    for listing in (
        {"train": []},
        {"train": [{"file": "../x", "count": 1, "sha256": "", "bytes": 1}], "validation": []},
    ):
        edit(folder, shards=listing)
        refused("lists no shards")
    edit(folder, schema_version=2)
    refused("schema version 1 are needed. Received: .*, 2")
    for text in ("hello", "[" * 100_000):
        (folder / "dataset.json").write_text(text)
        refused("not one of ours")
