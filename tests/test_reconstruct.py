"""The command line, as a user meets it."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image
from skimage import data

from tests.synthetic import synthetic_arrays
from tf_deep3d import reconstruct
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive
from tf_deep3d.io.work_folders import claimed
from tf_deep3d.mesh import face_files

FILES = [
    "albedo.png",
    "coefficients.json",
    "face.glb",
    "face.mtl",
    "face.obj",
    "face.ply",
    "overlay.png",
    "texture.png",
    "view.html",
]


def test_demo_writes_everything(tmp_path, capsys):
    assert reconstruct.main(["--demo", "--out", str(tmp_path / "out"), "--level", "1", "--head"]) == 0
    folder = tmp_path / "out" / "astronaut"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "head.glb"])
    said = capsys.readouterr().out
    assert "astronaut.png ->" in said
    assert "1 face written to" in said

    model = morphable_model.load(level=1)
    record = json.loads((folder / "coefficients.json").read_text(encoding="utf-8"))
    assert {name: np.size(values) for name, values in record["coefficients"].items()} == model.layout().sizes._asdict()
    distance = np.subtract(record["landmarks68_photo_px"], record["detected_landmarks68_photo_px"])
    assert np.linalg.norm(distance[17:], axis=-1).mean() < 10  # both in px of the photo
    assert record["method"] == "rnet"
    assert list(record["arkit"]) == list(model.blendshape_names)
    assert record["pose"]["yaw_degrees"] == pytest.approx(np.degrees(record["coefficients"]["angles"][1]), abs=1e-3)

    obj = trimesh.load(folder / "face.obj", process=False)
    glb = trimesh.load(folder / "face.glb", process=False)
    ply = trimesh.load(folder / "face.ply", process=False)
    assert len(ply.vertices) == len(model.mean_shape)
    width = np.ptp(np.asarray(ply.vertices)[:, 0])
    assert 120 < width < 220  # millimetres
    assert np.ptp(obj.vertices[:, 0]) == pytest.approx(width, rel=1e-3)
    assert np.ptp(glb.to_geometry().vertices[:, 0]) == pytest.approx(width / 1000, rel=0.05)  # metres, neutral
    names = pygltflib.GLTF2().load(str(folder / "face.glb")).meshes[0].extras["targetNames"]
    assert names == [*model.blendshape_names, face_files.PHOTO_EXPRESSION]
    assert len(model.blendshape_names) == 52
    nodes = [node.name for node in pygltflib.GLTF2().load(str(folder / "head.glb")).nodes]
    assert nodes == ["head", "astronaut", "skin", "teethUpper", "teethLower", "tongue", "eyeLeft", "eyeRight"]
    with Image.open(folder / "overlay.png") as picture:
        assert picture.width > 5 * picture.height


def test_runs_are_the_same_and_threads_change_no_more_than_rounding(tmp_path):
    made = []
    for number, threads in enumerate(("1", "1", "3")):
        words = ["--demo", "--out", str(tmp_path / str(number)), "--level", "0"]
        ended = subprocess.run(
            [sys.executable, "-m", "tf_deep3d.reconstruct", *words],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        made.append({path.name: path.read_bytes() for path in (tmp_path / str(number) / "astronaut").iterdir()})
    assert made[0] == made[1]
    mine, theirs = (json.loads(each["coefficients.json"])["coefficients"] for each in made[1:])
    for name in mine:
        np.testing.assert_allclose(theirs[name], mine[name], atol=1e-4, err_msg=name)


def test_existing_results_are_kept_unless_told(tmp_path, capsys):
    kept = tmp_path / "astronaut" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert reconstruct.main(["--demo", "--out", str(tmp_path)]) == 1
    assert "overwrite" in capsys.readouterr().err
    assert kept.read_text() == "mine"
    assert reconstruct.main(["--demo", "--out", str(tmp_path), "--overwrite", "--level", "0"]) == 0
    assert not kept.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["astronaut"]
    assert (tmp_path / "astronaut" / "view.html").is_file()
    command = ["--demo", "--out", str(tmp_path), "--overwrite", "--level", "0", "--no-view"]
    assert reconstruct.main(command) == 0
    assert sorted(path.name for path in (tmp_path / "astronaut").iterdir()) == FILES[:-1]


def test_a_rerun_goes_on_where_it_ended(tmp_path, capsys, monkeypatch):
    """Finished photos are done: they are neither failures nor made again, and nothing is loaded for them."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "sub").mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(photos / "a.png")
    command = [str(photos), "--out", str(out), "--level", "0"]
    assert reconstruct.main(command) == 0
    before = (out / "a" / "face.ply").stat().st_mtime_ns
    Image.fromarray(data.astronaut()[:, ::-1]).save(photos / "sub" / "b.png")
    capsys.readouterr()
    assert reconstruct.main(command) == 0
    said = capsys.readouterr()
    assert f"1 face written to {out}; 1 photo already there, pass --overwrite to make them again" in said.out
    assert not said.err
    monkeypatch.setattr(reconstruct, "load_reconstructor", None)
    assert reconstruct.main(command) == 0
    assert capsys.readouterr().out.startswith(f"0 faces written to {out}; 2 photos already there")
    assert (out / "a" / "face.ply").stat().st_mtime_ns == before
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "index.html"]


def test_two_commands_share_the_photos_of_a_folder(tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    for name in "ab":
        Image.fromarray(data.astronaut()).save(photos / f"{name}.png")
    command = [str(photos), "--out", str(out), "--level", "0", "--no-view"]
    with claimed(out / "a") as mine:  # as the other command does
        assert mine
        assert reconstruct.main(command) == 0
        assert f"1 face written to {out}; 1 photo left to another command that is at work" in capsys.readouterr().out
        assert not (out / "a").exists()
    assert reconstruct.main(command) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]


def test_one_good_photo_among_bad_ones(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    good = Image.fromarray(data.astronaut())
    good.save(photos / "göod one.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    good.rotate(90, expand=True).save(photos / "turned.jpg", exif=turned, quality=95)
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.png").write_text("hello")
    (photos / "half.jpg").write_bytes((photos / "göod one.jpg").read_bytes()[:3000])
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    Image.new("1", (20_000, 20_000)).save(photos / "huge.png")
    Image.fromarray(data.coffee()).save(photos / "coffee.png")
    out = tmp_path / "out"
    assert reconstruct.main([str(photos), "--out", str(out), "--level", "0"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["göod one", "index.html", "turned"]
    errors = capsys.readouterr().err
    for name in ("empty.jpg", "text.png", "half.jpg", "dot.png", "huge.png", "coffee.png"):
        assert name in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "Name at least one photo"),
        (["--demo", "x.jpg"], 2, "just one"),
        (["--set", "photos", "--demo"], 2, "just one"),
        (["--strategy", "best", "x.jpg"], 2, "--strategy and --keep-outliers need --set"),
        (["--keep-outliers", "--demo"], 2, "--strategy and --keep-outliers need --set"),
        (["--all-faces", "--set", "x"], 2, "--all-faces"),
        (["--set", "missing"], 1, "missing"),
        (["missing.jpg"], 1, "missing.jpg"),
        (["--demo", "--level", "9"], 1, "Received: 9"),
        (["--demo", "--model", "missing.npz"], 1, "missing.npz"),
    ],
)
def test_users_mistakes(tmp_path, capsys, arguments, status, message):
    assert reconstruct.main([*arguments, "--out", str(tmp_path / "out")]) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert reconstruct.main(["--demo", "--out", str(tmp_path / "out")]) == 1
    assert "out" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("kind", ["shapes", "nan", "pickle", "text"])
def test_unusable_models_are_named_before_any_work(tmp_path, capsys, kind):
    path = tmp_path / "model.npz"
    arrays = synthetic_arrays()
    if kind == "text":
        path.write_text("hello")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(arrays))
    else:
        mean = arrays["mean_shape"]
        arrays["mean_shape"] = mean[:, :2] if kind == "shapes" else np.full_like(mean, np.nan)
        archive.write_arrays(path, arrays)
    assert reconstruct.main(["--demo", "--out", str(tmp_path / "out"), "--model", str(path)]) == 1
    errors = capsys.readouterr().err
    assert "model.npz" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").iterdir())


def test_a_head_needs_the_open_face_model(tmp_path, model_file, capsys):
    command = ["--demo", "--out", str(tmp_path / "out"), "--model", str(model_file), "--head"]
    assert reconstruct.main(command) == 1
    errors = capsys.readouterr().err
    assert "another face model or level of detail" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def album(tmp_path):
    """Two photos of one face, one of a landscape, a damaged one."""
    folder = tmp_path / "me"
    folder.mkdir()
    photo = data.astronaut()[:260, 100:340]
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[:, ::-1]).save(folder / "b.png")
    Image.new("RGB", (64, 64), "grey").save(folder / "c.png")
    (folder / "d.jpg").write_bytes(b"hello")
    return folder


def test_an_album_becomes_one_face(tmp_path, album, capsys):
    out = tmp_path / "out"
    command = ["--set", str(album), "--out", str(out), "--level", "0"]
    assert reconstruct.main(command) == 0
    said = capsys.readouterr()
    assert "2 photos ->" in said.out
    assert "c.png: no face found" in said.err
    assert "d.jpg: not a picture" in said.err
    record = json.loads((out / "me" / "coefficients.json").read_text(encoding="utf-8"))
    assert [photo["photo"] for photo in record["photos"]] == ["a.png", "b.png"]
    assert all(photo["likeness"] > 0.8 for photo in record["photos"])
    assert sum(photo["pose"]["yaw_degrees"] for photo in record["photos"]) == pytest.approx(0, abs=8)  # mirrored

    assert reconstruct.main([*command, "--strategy", "scalar"]) == 1  # refused before any work
    errors = capsys.readouterr().err
    assert "me" in errors
    assert "overwrite" in errors
    assert len(errors.strip().splitlines()) == 1


def test_an_album_without_photos(tmp_path, capsys):
    (tmp_path / "me").mkdir()
    assert reconstruct.main(["--set", str(tmp_path / "me"), "--out", str(tmp_path / "out")]) == 1
    assert "the folder holds no file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_shows_examples():
    command = [sys.executable, "-m", "tf_deep3d.reconstruct", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown
    assert "--all-faces" in shown
    assert "--set photos/of/me" in shown
