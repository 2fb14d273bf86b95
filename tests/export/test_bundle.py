"""The folder that leaves the building: complete, described, and refused where a network is broken."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from export import bundle, bundle_text, device, parity
from tests.exported import smooth_pictures
from tf_deep3d.detection import networks as face_networks
from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import GROUPS
from tf_deep3d.models import rnet as rnets


@pytest.fixture(scope="module")
def manifest(exported):
    return json.loads((exported.folder / "manifest.json").read_text(encoding="utf-8"))


def test_every_file_is_listed_with_its_hash(exported, manifest):
    there = {path.relative_to(exported.folder).as_posix() for path in exported.folder.rglob("*") if path.is_file()}
    assert there == {*manifest["files"], "manifest.json"}
    for name, entry in manifest["files"].items():
        data = (exported.folder / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]), name
        assert entry["licence"]
    kinds = {f"{network}_{kind}.tflite" for network in ("rnet", "cnet") for kind in ("float32", "int8", "int8_uint8")}
    assert {entry["file"] for entry in manifest["networks"]} == kinds
    assert {f"python/{name}" for name in device.SOURCES} <= there
    assert {f"detector/{name}" for name in face_networks.NETWORKS} == set(manifest["detector"]["files"])
    assert {"saved_model/1/saved_model.pb", "README.md", "NOTICE.md", "client.py"} <= there
    assert (exported.folder / "rnet_float32.tflite").stat().st_mode & 0o044


def test_the_manifest_describes_the_networks(exported, manifest, model_file):
    layout = exported.networks.rnet.layout
    start = 0
    for name, shape in layout.shapes._asdict().items():
        assert manifest["coefficients"][name] == {"start": start, "shape": list(shape)}
        start += int(np.prod(shape))
    for entry in manifest["networks"]:
        assert entry["input"]["dtype"] == ("uint8" if "_uint8" in entry["file"] else "float32")
        assert entry["outputs"]["illumination"] == [1, 3, 9]
        assert ("confidence" in entry["outputs"]) == (entry["network"] == "cnet")
        assert set(entry["latency_ms"]) == {"1", "2"}
        assert entry["parity"]["shape_mm"]["mean"] <= parity.BOUNDS[entry["quantization"]].shape
        assert "refused" not in entry
    assert manifest["face"]["fingerprint"] == rnets.fingerprint(model_file)
    assert manifest["face"]["vertices"] == len(exported.model.mean_shape)
    assert manifest["checked_on"] == {"faces": 9, "calibrated_on": 17}
    model = morphable_model.load(exported.folder / manifest["face"]["file"])
    np.testing.assert_array_equal(model.triangles, exported.model.triangles)
    names = json.loads((exported.folder / "blendshapes.json").read_text(encoding="utf-8"))
    assert tuple(names) == model.blendshape_names


def test_the_device_runs_it(exported):
    crops = smooth_pictures(2, seed=3).astype(np.float32) / 255
    expected = parity.keras_answers(exported.networks, (255 * crops).round().astype(np.uint8))
    for confidence in (False, True):
        found, trust = device.load(exported.folder, "float32", confidence).regress(crops)
        for name in GROUPS:
            np.testing.assert_allclose(getattr(found, name), expected[name], atol=1e-5)
        assert (trust is not None) == confidence
    np.testing.assert_allclose(trust, expected["confidence"], atol=1e-5)
    assert device.load(exported.folder).regress(crops)[0].identity.shape == expected["identity"].shape


def test_the_readme_is_filled_in(exported, manifest):
    text = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "@" not in text
    assert '"rnet_int8_uint8.tflite"' in text
    assert '"illumination" to 27' in text
    for entry in manifest["networks"]:
        assert f"| {entry['file']} |" in text
        assert f"| {entry['file']} |" in exported.printed
    assert "weighed by `confidence`" in text
    alone = manifest | {"networks": [entry for entry in manifest["networks"] if entry["network"] == "rnet"]}
    assert "confidence" not in bundle_text.readme(alone, exported.model, [])


def test_notices_follow_the_weights(exported):
    subject = bundle.Subject(exported.networks, exported.model, exported.run / rnets.WEIGHTS)
    text = (exported.folder / "NOTICE.md").read_text(encoding="utf-8")
    assert "synthetic, licence: CC0-1.0" in text
    assert "NOTICE for the MediaPipe networks" in text
    assert bundle_text.THEIRS in text
    assert bundle_text.licence("rnet_int8.tflite", subject) == bundle_text.THEIRS
    assert bundle_text.licence("detector/face_landmark.tflite", subject) == "Apache-2.0"
    assert bundle_text.licence("face.npz", subject) == "CC0-1.0"
    shipped = bundle.Subject(exported.networks, exported.model, shipped=True)
    assert bundle_text.licence("saved_model/1/saved_model.pb", shipped) == "Apache-2.0"
    text = bundle_text.notice(shipped)
    assert "NOTICE for open_face.npz" in text
    assert "NOTICE for rnet_mobilenet.keras" in text
    assert "MERCHANTABILITY" in text, "the licence of FaceRes"


@pytest.fixture
def broken(exported, monkeypatch):
    """An export whose files in single precision are in truth the int8 R-Net; returns its arguments."""
    data = (exported.folder / "rnet_int8.tflite").read_bytes()
    monkeypatch.setattr(bundle, "_tflite", lambda networks, made, calibration: [(variant, data) for variant in made])
    monkeypatch.setattr(parity, "latency", lambda data, threads: 1.0)

    def copied(folder, *_):
        shutil.copytree(exported.folder / bundle.SAVED, folder)

    monkeypatch.setattr(bundle, "write_saved_model", copied)
    subject = bundle.Subject(exported.networks, exported.model, exported.run / rnets.WEIGHTS)
    pictures = smooth_pictures(3)
    return subject, (pictures, pictures), ["float32"]


def test_a_broken_network_is_refused_and_nothing_is_left(broken, tmp_path):
    with pytest.raises(parity.ParityError, match=r"--force .* rnet_float32.tflite differs in a coefficient by"):
        bundle.write_bundle(tmp_path / "out", *broken)
    assert list(tmp_path.iterdir()) == []
    manifest, _ = bundle.write_bundle(tmp_path / "out", *broken, force=True)
    entry, _ = manifest["networks"]
    assert any("coefficient" in text for text in entry["refused"])
    assert not any("refused" in each for each in manifest["parity"].values())
    with pytest.raises(FileExistsError, match="overwrite"):
        bundle.write_bundle(tmp_path / "out", *broken, force=True)


def test_force_marks_what_is_no_file(broken, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.BOUNDS, "device", parity.Bound(0.0, 1.0, 1.0, 1.0))
    with pytest.raises(parity.ParityError, match="device runtime differs in a coefficient by"):
        bundle.write_bundle(tmp_path / "out", *broken)
    manifest, _ = bundle.write_bundle(tmp_path / "out", *broken, force=True)
    assert "coefficient" in manifest["parity"]["device runtime"]["refused"][0]


def test_a_full_disk_leaves_nothing(broken, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(morphable_model, "save_level", full)
    with pytest.raises(OSError, match="No space left"):
        bundle.write_bundle(tmp_path / "out", *broken, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "mine").read_text() == "before"


def test_levels(model_file, exported):
    assert bundle.load_model(model_file).level == 1
    assert bundle.load_model(model_file, 0).level == 0
    assert bundle.load_model(exported.folder / "face.npz").level == 0, "its only one"
    with pytest.raises(morphable_model.ModelError, match="Received: 7"):
        bundle.load_model(model_file, 7)
