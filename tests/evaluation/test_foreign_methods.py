"""Exported networks as a method; meshes of other programs are in `test_evaluation`."""

import json
import shutil

import numpy as np
import pytest

from tests.export.test_device import write_network
from tf_deep3d.detection import alignment, detector, networks
from tf_deep3d.evaluation import foreign_methods, methods
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.reconstruction import photo


def test_a_bundle_weighs_photos_by_its_own_confidence(tiny_model, tmp_path):
    from export import device

    folder = tmp_path / "bundle"
    (folder / "detector").mkdir(parents=True)
    write_network(folder / "cnet.tflite", tiny_model.layout(), confidence=True)
    morphable_model.save_level(tiny_model, folder / "face.npz")
    shutil.copy(networks.model_file(networks.NETWORKS[0]), folder / "detector")
    manifest = {
        "schema": 1, "lighting": "rgb", "face": {"file": "face.npz"},
        "networks": [{"file": "cnet.tflite", "network": "cnet", "quantization": "float32"}],
        "detector": {"files": [f"detector/{networks.NETWORKS[0]}"]},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    crops = np.random.default_rng(0).random((2, 224, 224, 3)).astype(np.float32)
    seen = detector.Detection(1.0, np.zeros(4), np.zeros((478, 3)), np.zeros((68, 2)), np.zeros((5, 2)))
    still = geometry.Similarity(1.0, 0.0, (0.0, 0.0))
    portraits = tuple(
        photo.Portrait(
            tmp_path / f"{n}.png", np.zeros((4, 4, 3), np.uint8), (0, 0), alignment.Crop(crop, still, 0.0), seen
        )
        for n, crop in enumerate(crops)
    )
    case = Case("set", "person", None, tuple(each.photo for each in portraits), None, (), True, portraits)
    method = foreign_methods.bundle("device", folder)
    found, nothing = method.run([case, case._replace(portraits=())])
    assert nothing == "no face found"
    coefficients, trust = device.load(folder, confidence=True).regress(crops)
    fused = (trust * coefficients.identity).sum(0) / trust.sum(0)
    expected = methods.prediction(tiny_model, coefficients, portraits, True, fused)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)  # the file is rounded
    np.testing.assert_allclose(found.confidence, trust.mean(0), atol=1e-6)
    assert foreign_methods.bundle("exact", folder, "float32").identity != method.identity
    with pytest.raises(ValueError, match="Received: 'int8'"):
        foreign_methods.bundle("small", folder, "int8")
    with pytest.raises(ValueError, match="Received"):
        foreign_methods.bundle("device", tmp_path)
