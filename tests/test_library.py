"""The front door: what `import tf_deep3d as d3d` offers, and the documentation's examples, run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import tf_deep3d as d3d
from tf_deep3d.reconstruction.portraits import NoFaceError

ROOT = Path(__file__).parents[1]
PUBLIC = (
    *("CNet", "Camera", "Coefficients", "FaceReconstructor", "InputError"),
    *("MorphableModel", "RNet", "Reconstruction", "render"),
)


@pytest.fixture(scope="module")
def reconstructor():
    return d3d.FaceReconstructor.from_preset("mobilenet", level=0, refine=0)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_lead_to_what_they_name(name):
    assert getattr(d3d, name).__name__ == name
    assert name in dir(d3d)
    assert getattr(d3d, name).__doc__


def test_the_package_alone_imports_nothing_heavy_and_knows_no_other_names():
    script = "import sys, tf_deep3d; print(*(n for n in ('numpy', 'keras', 'tensorflow', 'PIL') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
    with pytest.raises(AttributeError, match="no attribute 'faces'"):
        d3d.faces  # noqa: B018


def test_a_photo_becomes_a_face_in_memory(reconstructor, tmp_path):
    path = tmp_path / "me.png"
    Image.fromarray(data.astronaut()).save(path)
    (face,) = reconstructor.reconstruct(path)
    assert face.photo == "me.png"
    assert face.mesh.vertices.shape == (len(reconstructor.models.written.mean_shape), 3)
    assert np.linalg.norm(face.landmarks - face.detected.landmarks68, axis=1).mean() < 6  # px of 512
    assert set(face.arkit) == set(face.model.blendshape_names)
    for other in (str(path), path.read_bytes(), data.astronaut(), [path]):
        (again,) = reconstructor.reconstruct(other)
        np.testing.assert_array_equal(again.mesh.vertices, face.mesh.vertices)
    assert not list(tmp_path.glob("*/"))  # nothing is written unasked


def test_no_face_is_no_error_and_no_photo_is_one(reconstructor):
    assert reconstructor.reconstruct(np.zeros((90, 90, 3), np.uint8)) == []
    with pytest.raises(d3d.InputError, match="not a picture"):
        reconstructor.reconstruct(b"no picture")
    with pytest.raises(d3d.InputError, match=r"must be \[H, W, 3\].*Received: \[90, 90\]"):
        reconstructor.reconstruct(np.zeros((90, 90), np.uint8))
    with pytest.raises(FileNotFoundError):
        reconstructor.reconstruct("missing.jpg")


def test_photos_of_one_person_become_one_face(reconstructor, tmp_path):
    photo = data.astronaut()[:260, 100:340]
    fused = reconstructor.fuse([photo, photo[:, ::-1]], strategy="average")
    apart = reconstructor.reconstruct([photo, photo[:, ::-1]])
    mean = np.mean([face.coefficients.identity for face in apart], axis=0)
    np.testing.assert_allclose(fused.coefficients.identity, mean, atol=1e-5)
    np.testing.assert_allclose(fused.weights, 0.5)
    outcome = fused.write(tmp_path / "me")
    assert (tmp_path / "me" / "face.glb").is_file()
    assert "2 photos" in outcome.summary()
    with pytest.raises(NoFaceError, match="no face found in 1 photo;"):
        reconstructor.fuse([np.zeros((90, 90, 3), np.uint8)])


def test_models_by_name_and_by_path(model_file):
    assert len(d3d.MorphableModel.from_preset(level=0).mean_shape) < len(
        d3d.MorphableModel.from_preset(level=1).mean_shape
    )
    assert d3d.MorphableModel.from_preset(model_file).name == "synthetic"
    with pytest.raises(FileNotFoundError):
        d3d.MorphableModel.from_preset("no_such_model")


def test_the_examples_run_as_written(tmp_path, monkeypatch):
    """Of the README and the page on Python: their photo is me.jpg, and they write faces/me."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/pages/api.md")]
    blocks = [block for text in texts for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(data.astronaut()).save("me.jpg", quality=95)
    Image.fromarray(data.astronaut()[:, ::-1]).save("me_too.jpg", quality=95)
    names = {}
    for block in blocks:
        exec(compile(block, "example", "exec"), names)
    assert len(blocks) > 1
    assert (tmp_path / "faces" / "me" / "face.glb").is_file()
    assert (tmp_path / "faces" / "us" / "confidence.png").is_file()
    assert names["picture"].shape == (1, 224, 224, 3)
