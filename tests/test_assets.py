"""What the package loads is what was shipped, and nothing in it can run."""

import json
import re
import zipfile

import numpy as np
import pytest

from tf_deep3d import assets
from tf_deep3d.io import archive, files

SHIPPED = sorted(path for path in assets.FOLDER.iterdir() if path.suffix not in (".md", ".html", ""))
AGAIN = f"cd {assets.FOLDER} && LC_ALL=C sha256sum *.js *.json *.keras *.npz *.tflite > {assets.SUMS}"


def of_kind(suffix):
    found = [path for path in SHIPPED if path.suffix == suffix]
    assert found
    return pytest.mark.parametrize("path", found, ids=lambda path: path.name)


def test_every_asset_is_the_one_that_is_listed():
    assert assets.sums() == {path.name: files.sha256(path) for path in SHIPPED}, AGAIN


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The package's assets in another folder: the list, and one of them."""
    for name in (assets.SUMS, "open_people.npz"):
        (tmp_path / name).write_bytes(assets.find(name).read_bytes())
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    return tmp_path


def test_a_changed_asset_is_refused_by_whatever_reads_it(elsewhere):
    path = elsewhere / "open_people.npz"
    arrays = archive.read_arrays(path)
    archive.write_arrays(path, {**arrays, "people_male": 1 - arrays["people_male"]}, overwrite=True)
    assets.checked.cache_clear()
    with pytest.raises(assets.AssetError, match=r"open_people\.npz must have the SHA-256 [0-9a-f]{64}\. Received: "):
        archive.read_arrays(path)
    (elsewhere / "more.npz").write_bytes(path.read_bytes())
    with pytest.raises(assets.AssetError, match=r"more\.npz must have the SHA-256 None"):
        archive.read_arrays(elsewhere / "more.npz")


def test_files_of_users_are_not_asked_for_their_hash(tmp_path):
    archive.write_arrays(tmp_path / "open_people.npz", {"x": np.arange(3)})
    assert list(archive.read_arrays(tmp_path / "open_people.npz")) == ["x"]


@of_kind(".keras")
def test_shipped_weights_hold_no_code(path):
    """Keras runs what a `Lambda` holds, and calls what a config names: these name Keras' own and ours."""
    with zipfile.ZipFile(path) as stored:
        assert set(stored.namelist()) == {"metadata.json", "config.json", "model.weights.h5"}
        config = json.loads(stored.read("config.json"))
    named = list(_named(config))
    assert named
    assert all(re.fullmatch(r"(keras|tf_deep3d\.models)(\.\w+)*", module) for module, _ in named)
    assert not [name for _, name in named if "ambda" in name or name == "function"]


def _named(content):
    """(module, name) of each class that a config names, at any depth."""
    if isinstance(content, dict):
        if "class_name" in content:
            yield content.get("module") or "keras", content["class_name"]
        content = content.values()
    if isinstance(content, list | type({}.values())):
        for value in content:
            yield from _named(value)


@of_kind(".npz")
def test_shipped_arrays_are_plain(path):
    with np.load(path, allow_pickle=False) as stored:
        assert all(stored[name].dtype.kind in "biufU" for name in stored.files)
