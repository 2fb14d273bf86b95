import gzip
import hashlib
import io
import math
import os
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.detection import detector
from tf_deep3d.io import archive
from tf_deep3d.models import recognition
from tf_deep3d.porting.networks import dlib_format, dlib_recognition

SOURCE = os.environ.get("TF_DEEP3D_DLIB_DAT", "")  # path of the real file or its source distribution

# --- a writer of dlib's format, independent of the reader ------------------------------------------------------------


def _integer(value):
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def _integers(*values):
    return b"".join(_integer(value) for value in values)


def _float(value):
    mantissa, exponent = math.frexp(value)
    return _integers(int(mantissa * 2**24), exponent - 24)


def _text(value):
    return _integer(len(value)) + value.encode()


def _tensor(values, *shape):
    return _integers(2, *shape) + np.asarray(values, "<f4").tobytes()


_RATES = _float(1.0) * 3 + _float(0.0)
_EMPTY = _tensor([], 0, 0, 0, 0)


def _state(flags=b"110"):
    return flags + _EMPTY * 3


def _convolution(filters, bias, stride, padding):
    count, channels, size, _ = filters.shape
    values = np.concatenate([filters.ravel(), bias])
    numbers = _integers(count, size, size, stride, stride, padding, padding)
    shapes = _integers(1, count, channels, size, size) + _integers(1, 1, count, 1, 1)
    return _text("con_4") + _tensor(values, len(values), 1, 1, 1) + numbers + shapes + _RATES


def _affine(gamma, beta):
    shapes = _integers(1, 1, len(gamma), 1, 1) * 2
    values = np.concatenate([gamma, beta])
    return _text("affine_") + _tensor(values, len(values), 1, 1, 1) + shapes + _integer(0) + _state(b"111")


def _file():
    """Bytes of a network with random weights, and these weights."""
    generator = np.random.default_rng(0)
    weights, contents, versions = [], [], []

    def convolve(filters, channels, size, stride, padding, first=False):
        kernel = generator.normal(size=(filters, channels, size, size)).astype("f4") / 8
        bias, gamma, beta = generator.normal(size=(3, filters)).astype("f4")
        weights.append((kernel, bias, gamma, beta))
        contents.append(_convolution(kernel, bias, stride, padding) + _state())
        if first:
            contents.append(_integer(1))
        contents.append(_affine(gamma, beta))
        versions.extend([3 if first else 2, 2])

    def plain(name, *numbers):
        contents.append(_text(name) + _integers(*numbers) + _state())
        versions.append(2)

    contents.append(_text("input_rgb_image_sized"))
    contents.append(b"".join(_float(float(np.float32(value))) for value in (122.782, 117.001, 104.298)))
    contents.append(_integers(150, 150))
    convolve(32, 3, 7, 2, 0, first=True)
    plain("relu_")
    plain("max_pool_2", 3, 3, 2, 2, 0, 0)
    channels = 32
    for filters, halve in (
        [(32, 0)] * 3
        + [(64, 1)]
        + [(64, 0)] * 3
        + [(128, 1), (128, 0), (128, 0)]
        + [
            (256, 1),
            (256, 0),
            (256, 0),
            (256, 1),
        ]
    ):
        versions.append(1)
        convolve(filters, channels, 3, 1 + halve, 1 - halve)
        plain("relu_")
        convolve(filters, filters, 3, 1, 1)
        if halve:
            versions.extend([1, 1])
            plain("avg_pool_2", 2, 2, 2, 2, 0, 0)
        plain("add_prev_")
        plain("relu_")
        channels = filters
    plain("avg_pool_2", 0, 0, 1, 1, 0, 0)
    matrix = generator.normal(size=(256, 128)).astype("f4") / 16
    shapes = _integers(1, 256, 128, 1, 1) + _integers(1, 0, 0, 0, 0)
    contents.append(_text("fc_2") + _integers(128, 256) + _tensor(matrix, 256, 128, 1, 1) + shapes + _integer(1))
    contents.append(_RATES + _state())
    versions.append(2)
    head = _integer(1) + _text("loss_metric_2") + _float(0.04) + _float(0.6) + _integers(*reversed(versions))
    return head + b"".join(contents), weights, matrix


@pytest.fixture(scope="module")
def written():
    return _file()


@pytest.fixture(scope="module")
def data(written):
    return written[0]


@pytest.fixture(scope="module")
def mean_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("mean") / "mean.npz"
    archive.write_arrays(path, {"mean_descriptor": np.arange(128, dtype=np.float32)})
    return path


# --- the reader ------------------------------------------------------------------------------------------------------


def test_every_weight_is_read(written):
    data, weights, matrix = written
    convolutions, dense = dlib_format.read_network(data)
    assert len(convolutions) == len(weights) == 29
    for read, wrote in zip(convolutions, weights, strict=True):
        for one, other in zip(read, wrote, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(dense, matrix)


def test_affine_layers_are_folded_into_convolutions(written):
    data, weights, matrix = written
    arrays = dlib_recognition.convert(data, np.arange(128.0))
    filters, bias, gamma, beta = weights[4]
    kernel = arrays["convolution_4_kernel"]
    assert kernel.dtype == np.float16
    assert kernel.shape == (3, 3, 32, 32)
    np.testing.assert_allclose(kernel[1, 2, 5, 7], filters[7, 5, 1, 2] * gamma[7], rtol=1e-3)
    np.testing.assert_allclose(arrays["convolution_4_bias"], bias * gamma + beta, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(arrays["descriptor_kernel"], matrix, rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(arrays["mean_descriptor"], np.arange(128, dtype=np.float32))
    assert str(arrays["source_sha256"]) == hashlib.sha256(data).hexdigest()
    recognition.from_arrays(arrays)


@pytest.mark.parametrize("share", [0, 1e-6, 1e-5, 0.1, 0.5, 0.9, 1 - 1e-7])
def test_a_short_file_is_refused(data, share):
    with pytest.raises(dlib_format.FormatError, match=r"ends early.*Received"):
        dlib_format.read_network(data[: int(share * len(data))])


def test_a_long_file_is_refused(data):
    with pytest.raises(dlib_format.FormatError, match="bytes follow"):
        dlib_format.read_network(data + b"\0")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (_text("loss_metric_2"), _text("loss_metric_1"), "loss layer at byte 2 must be 'loss_metric_2'.*loss_metric_1"),
        (_float(0.04), b"\x09" + b"\xff" * 9, "not the first byte of an integer"),
        (_text("input_rgb_image_sized"), _integer(10**6), "a name must have at most 64 bytes. Received: 1000000"),
        (_text("input_rgb_image_sized"), _text("input_rgb_image"), "input layer"),
        (_float(float(np.float32(117.001))), _float(117.0), "pixel mean"),
        (_float(float(np.float32(117.001))), _integers(117, 2000), r"out of range. Received: 117 \* 2\^2000"),
        (_integers(2, 4736, 1, 1, 1), _integers(2, 4736, 10**6, 10**6, 1), "a tensor must have at most"),
        (_integers(2, 4736, 1, 1, 1), _integers(2, -1, -4736, 1, 1), "a tensor must have at most"),
        (_integers(2, 4736, 1, 1, 1), _integers(1, 4736, 1, 1, 1), "version of a tensor"),
        (
            _integers(32, 7, 7, 2, 2, 0, 0),
            _integers(32, 7, 7, 2, 2, 1, 0),
            r"convolution .*must be \(32, 7, 7, 2, 2, 0",
        ),
        (b"110" + _EMPTY, b"210" + _EMPTY, "flags of a layer"),
        (_EMPTY, _tensor([0.0], 1, 1, 1, 1), "training state must hold 0 values. Received: 1"),
        (_integers(3, 3, 2, 2, 0, 0), _integers(2, 2, 2, 2, 0, 0), r"max_pool .*Received: \(2, 2, 2, 2, 0, 0\)"),
    ],
)
def test_a_wrong_field_is_named(data, old, new, message):
    assert old in data
    with pytest.raises(dlib_format.FormatError, match=message):
        dlib_format.read_network(data.replace(old, new, 1))


def _with_first_weight(data, value):
    header = _integers(2, 4736, 1, 1, 1)
    place = data.index(header) + len(header)
    return data[:place] + struct.pack("<f", value) + data[place + 4 :]


def test_weights_must_be_finite(data):
    damaged = _with_first_weight(data, math.nan)
    with pytest.raises(dlib_format.FormatError, match="finite"):
        dlib_format.read_network(damaged)


def test_weights_must_fit_half_precision(data):
    damaged = _with_first_weight(data, 1e30)
    with pytest.raises(dlib_format.FormatError, match="convolution_0_kernel must fit half"):
        dlib_recognition.convert(damaged, np.zeros(128))


def test_any_damage_is_a_format_error(data):
    """Random bytes over the fields between the weights: read, or refused with our error, never anything else."""
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(100):
        damaged = bytearray(data[:600])
        damaged[generator.integers(0, 352)] = generator.integers(0, 256)
        try:
            dlib_format.read_network(bytes(damaged) + data[600:])
        except dlib_format.FormatError:
            refused += 1
    assert refused > 60


# --- the source distribution -----------------------------------------------------------------------------------------


def _distribution(path, members):
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_the_file_is_found_in_its_distribution(tmp_path):
    members = [("a/README", b"hello"), (f"a/models/{dlib_recognition.DAT}", b"weights"), ("a/models/other.dat", b"x")]
    assert dlib_recognition.read_source(_distribution(tmp_path / "a.tar.gz", members)) == b"weights"
    plain = tmp_path / dlib_recognition.DAT
    plain.write_bytes(b"weights")
    assert dlib_recognition.read_source(plain) == b"weights"


def test_a_distribution_without_the_file_is_refused(tmp_path):
    name = f"a/{dlib_recognition.DAT}"
    for members, count in (([("a/README", b"hello")], 0), ([(name, b"1"), (f"b/{name}", b"2")], 2)):
        with pytest.raises(dlib_format.FormatError, match=f"Received: {count}"):
            dlib_recognition.read_source(_distribution(tmp_path / "a.tar.gz", members))


def test_damaged_and_huge_sources_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tar.gz"
    whole = _distribution(path, [(f"a/{dlib_recognition.DAT}", b"weights" * 1000)]).read_bytes()
    for damaged in (whole[:60], whole[:30] + b"\0\0\0" + whole[33:], gzip.compress(b"no tar" * 1000)):
        path.write_bytes(damaged)
        with pytest.raises(dlib_format.FormatError, match=r"not a readable \.tar\.gz"):
            dlib_recognition.read_source(path)
    path.write_bytes(gzip.compress(bytes(2000)))  # a bomb, had it more zeros
    monkeypatch.setattr(dlib_recognition, "MAX_UNPACKED", 1000)
    with pytest.raises(dlib_format.FormatError, match="at most 1000 bytes"):
        dlib_recognition.read_source(path)
    path.write_bytes(b"x" * 1001)
    monkeypatch.setattr(dlib_recognition, "MAX_BYTES", 1000)
    with pytest.raises(dlib_format.FormatError, match="at most 1000 bytes"):
        dlib_recognition.read_source(path)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_equal_bytes_and_overwrites_only_if_told(tmp_path, data, mean_file, capsys):
    source, out = tmp_path / "network.dat", tmp_path / "out.npz"
    source.write_bytes(data)
    arguments = [str(source), str(out), "--mean", str(mean_file)]
    assert dlib_recognition.main(arguments) == 0
    first = out.read_bytes()
    printed = capsys.readouterr().out
    assert hashlib.sha256(data).hexdigest() in printed
    assert hashlib.sha256(first).hexdigest() in printed
    assert "NOT the known file" in printed
    assert dlib_recognition.main(arguments) == 1
    assert "overwrite" in capsys.readouterr().err
    assert dlib_recognition.main([*arguments, "--overwrite"]) == 0
    assert out.read_bytes() == first
    np.testing.assert_array_equal(dlib_recognition.read_mean(out), np.arange(128, dtype=np.float32))


def test_the_command_fails_without_leaving_anything(tmp_path, data, mean_file, capsys):
    source, out = tmp_path / "network.dat", tmp_path / "out.npz"
    source.write_bytes(data[:1000])
    assert dlib_recognition.main([str(source), str(out), "--mean", str(mean_file)]) == 1
    assert "ends early" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_a_mean_of_another_size_is_refused(tmp_path):
    archive.write_arrays(tmp_path / "mean.npz", {"mean_descriptor": np.zeros(127, np.float32)})
    with pytest.raises(archive.ArchiveError, match=r"Received: float32 \(127,\)"):
        dlib_recognition.read_mean(tmp_path / "mean.npz")
    archive.write_arrays(tmp_path / "none.npz", {"mean": np.zeros(128, np.float32)})
    with pytest.raises(archive.ArchiveError, match="Received"):
        dlib_recognition.read_mean(tmp_path / "none.npz")


def test_the_mean_is_taken_over_photos_with_a_face(tmp_path, monkeypatch):
    model_points5 = np.array([[-0.3, 0.3, 0.5], [0.3, 0.3, 0.5], [0, 0, 0.9], [-0.25, -0.3, 0.6], [0.25, -0.3, 0.6]])
    points5 = np.array([100.0, 100.0]) + 60 * model_points5[:, :2] * (1, -1)
    paths = []
    for name, gray in (("a", 51), ("b", 153), ("none", 255)):
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", (200, 200), (gray,) * 3).save(paths[-1])

    def detect(image):
        face = detector.Detection._make([points5 if name == "points5" else None for name in detector.Detection._fields])
        return [] if image[0, 0, 0] == 255 else [face]

    monkeypatch.setattr(detector, "detect", detect)

    def brightness(images, training):
        return np.asarray(images)[:, 75, 75, :1].repeat(128, axis=1)

    mean, count = dlib_recognition.mean_descriptor(brightness, paths, model_points5)
    assert count == 2
    np.testing.assert_allclose(mean, np.full(128, 0.4), atol=1e-5)
    with pytest.raises(ValueError, match="Received: 1 photos"):
        dlib_recognition.mean_descriptor(brightness, paths[2:], model_points5)


def test_the_shipped_file_is_what_the_real_source_gives(tmp_path):
    if not SOURCE:
        pytest.skip("TF_DEEP3D_DLIB_DAT does not name dlib's model file")
    dlib_recognition.main([SOURCE, str(tmp_path / "again.npz")])
    assert (tmp_path / "again.npz").read_bytes() == recognition.RECOGNITION.read_bytes()


def test_the_shipped_file_says_where_it_is_from():
    arrays = archive.read_arrays(recognition.RECOGNITION)
    assert str(arrays["source_sha256"]) == dlib_recognition.DAT_SHA256
    assert str(arrays["licence"]) == "CC0-1.0"
    assert recognition.RECOGNITION.stat().st_size < 12e6
