"""Bundles as methods of the evaluation, and the command that measures them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from export import device, device_bundle, methods
from tests.evaluation.conftest import portrait_of
from tests.export.test_device import write_network
from tf_deep3d.detection import networks
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.methods import prediction
from tf_deep3d.face import morphable_model


def test_a_bundle_weighs_photos_by_its_own_confidence(tiny_model, tmp_path):
    folder = tmp_path / "bundle"
    (folder / "detector").mkdir(parents=True)
    write_network(folder / "cnet.tflite", tiny_model.layout(), confidence=True)
    morphable_model.save_level(tiny_model, folder / "face.npz")
    shutil.copy(networks.model_file(networks.MESH_FILE), folder / "detector")
    manifest = {
        "schema": 1, "lighting": "rgb", "face": {"file": "face.npz"},
        "networks": [{"file": "cnet.tflite", "network": "cnet", "quantization": "float32"}],
        "detector": {"files": [f"detector/{networks.MESH_FILE}"]},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    crops = np.random.default_rng(0).random((2, 224, 224, 3)).astype(np.float32)
    portraits = tuple(portrait_of(tmp_path / f"{n}.png", np.zeros((68, 2)), crop) for n, crop in enumerate(crops))
    case = Case("set", "person", None, tuple(each.photo for each in portraits), None, (), True, portraits)
    method = methods.bundle("device", folder)
    found, nothing = method.run([case, case._replace(portraits=())])
    assert nothing == "no face found"
    coefficients, trust = device.load(folder, confidence=True).regress(crops)
    fused = (trust * coefficients.identity).sum(0) / trust.sum(0)
    expected = prediction(tiny_model, coefficients, portraits, True, fused)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)  # the file is rounded
    np.testing.assert_allclose(found.confidence, trust.mean(0), atol=1e-6)
    assert methods.bundle("exact", folder, "float32").identity != method.identity
    with pytest.raises(device_bundle.BundleError, match="Received: 'int8'"):
        methods.bundle("small", folder, "int8")
    with pytest.raises(device_bundle.BundleError, match="Received"):
        methods.bundle("device", tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b/c", ("a", Path("b/c"), None)),
        ("a=b/c:int8", ("a", Path("b/c"), "int8")),
        ("a=C:/b", ("a", Path("C:/b"), None)),
        ("a=C:/b:float16", ("a", Path("C:/b"), "float16")),
    ],
)
def test_a_bundle_may_name_one_of_its_networks(text, expected):
    assert methods.parse(text) == expected


def test_the_command_measures_a_bundle_beside_other_methods(exported, model_file, tmp_path, capsys):
    command = ["open", "--methods", "mean", "--bundle", f"phone={exported.folder}:float32", "--limit", "1"]
    assert (
        methods.main([*command, "--compare", "mean", "phone", "--out", str(tmp_path), "--model", str(model_file)]) == 0
    )
    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    summary = record["summary"]["all"]
    assert set(summary) == {"mean", "phone"}
    for method in summary.values():
        assert method["plane_rmse"]["count"] == 1
        assert 0 < method["recognition"]["mean"] < 1
    assert "1 of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "mean", "--bundle", "theirs=nowhere"], "a bundle of `python -m export` is needed"),
        (["--methods", "mean", "--bundle", "mean=nowhere"], "different methods. Received: mean, mean"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert methods.main(["open", "--out", "out", *arguments]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert said in message
    assert message.count("\n") == 1


def test_help_names_this_command_and_both_options(capsys):
    with pytest.raises(SystemExit) as exit_:
        methods.main(["open", "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m export.methods open")
    assert "--bundle NAME=DIR[:KIND]" in shown
    assert "--meshes NAME=DIR" in shown
    assert "python -m export.methods open --methods rnet:0 --bundle phone=bundle --out results" in shown
