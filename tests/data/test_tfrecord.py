import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf

from tests.prepared import synthetic_records
from tf_deep3d.data import records, tfrecord


@pytest.fixture(scope="module")
def examples(tiny_model):
    return synthetic_records(tiny_model, 3, known=True) + synthetic_records(tiny_model, 1, seed=9)


@pytest.fixture
def shard(tmp_path, examples):
    tfrecord.write_shard(tmp_path / "shard", examples)
    return tmp_path / "shard"


def test_reads_what_tensorflow_writes(shard, examples):
    assert list(tfrecord.read(shard)) == examples
    with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
        writer.write(b"")
        writer.write(b"x")
    assert list(tfrecord.read(shard)) == [b"", b"x"]


@pytest.mark.parametrize(
    ("data", "crc"),  # RFC 3720, appendix B.4, and the usual check value
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_are_those_published_and_masked(data, crc):
    rotated = crc >> 15 | (crc & 0x7FFF) << 17
    assert tfrecord.masked_checksum(data) == (rotated + 0xA282EAD8) % 2**32


def test_parses_like_tensorflow(examples):
    for example in examples:
        expected = records.parse(example)
        found = tfrecord.parse(example, records.SCHEMA)
        assert set(found) == set(expected)
        for name, field in records.SCHEMA.items():
            value = expected[name].numpy()
            if field.kind == "string":
                assert found[name] == value
            else:
                assert found[name].dtype == value.dtype
                np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_every_cut_and_every_flip_is_damage(shard, examples):
    raw = gzip.decompress(shard.read_bytes())
    second = len(examples[0]) + tfrecord.FRAME
    body = second + 12 + len(examples[1])
    places = [second, second + 7, second + 8, second + 11, second + 12, second + 5000, body, body + 3]

    def good(data):
        shard.write_bytes(data)
        found = []
        with pytest.raises(tfrecord.DamageError):
            found.extend(tfrecord.read(shard))  # keeps what comes before the damage
        assert found == examples[: len(found)]
        return len(found)

    for place in places:
        flipped = bytearray(raw)
        flipped[place] ^= 4
        assert good(gzip.compress(flipped, 1)) == 1, place
        if place > second:
            assert good(gzip.compress(raw[:place], 1)) == 1, place
    assert good(gzip.compress(raw)[:-4]) == 4  # the compression's own checksum is what is missing


def test_a_huge_length_is_refused_before_it_is_read(tmp_path):
    head = struct.pack("<Q", 1 << 40)
    data = head + struct.pack("<I", tfrecord.masked_checksum(head))
    (tmp_path / "shard").write_bytes(gzip.compress(data))
    with pytest.raises(tfrecord.DamageError, match=f"above {tfrecord.MAX_RECORD} bytes"):
        next(tfrecord.read(tmp_path / "shard"))


def test_numbers_may_lie_packed_or_one_by_one():
    packed = tf.train.Example(
        features=tf.train.Features(
            feature={
                "a": tf.train.Feature(float_list=tf.train.FloatList(value=[1, -2.5])),
                "b": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x", b""])),
                "c": tf.train.Feature(),
            }
        )
    ).SerializeToString()
    found = tfrecord.fields(packed)
    np.testing.assert_array_equal(found["a"], [1, -2.5])
    assert found["b"] == [b"x", b""]
    assert len(found["c"]) == 0

    def part(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    numbers = b"".join(b"\x0d" + struct.pack("<f", value) for value in (1, -2.5))
    entry = part(1, b"a") + part(2, part(2, numbers))
    np.testing.assert_array_equal(tfrecord.fields(part(1, part(1, entry)))["a"], [1, -2.5])


def test_damaged_examples_are_told_and_nothing_else_happens(examples):
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(examples[3])
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        data = data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data
        try:
            tfrecord.parse(bytes(data), records.SCHEMA)
        except tfrecord.DamageError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": tfrecord.Field("float32", (67, 2), "")}, r"landmarks must be \(67, 2\) numbers. Received: 136"),
        ({"image": tfrecord.Field("jpeg", (9, 9, 3), "")}, r"image must be \(9, 9, 3\). Received: \(320, 320\)"),
        ({"person": tfrecord.Field("jpeg", (9, 9, 3), "")}, "person must be a JPEG picture"),
        ({"person": tfrecord.Field("float32", (1,), "")}, "person must be"),
        ({"landmarks": tfrecord.Field("string", (), "")}, "landmarks must be one text"),
        ({"other": tfrecord.Field("string", (), "")}, "other must be one text. Received: 0 values"),
    ],
)
def test_records_of_another_schema(examples, change, message):
    with pytest.raises(tfrecord.DamageError, match=message):
        tfrecord.parse(examples[0], change)
