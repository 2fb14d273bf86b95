"""The device runtime says what Keras says, needs NumPy, Pillow and LiteRT alone, and takes no harm from bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from keras import ops
from PIL import Image
from skimage import data

from export import device, device_bundle
from tf_deep3d import face as faces
from tf_deep3d.detection import alignment, detector, networks
from tf_deep3d.errors import InputError
from tf_deep3d.face import aggregation, expression, morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import GROUPS
from tf_deep3d.io import archive

ROOT = Path(__file__).parents[2]


def answers(images, layout):
    """The network of these tests: every coefficient is a fixed mixture of the picture's four quarters' mean colours."""
    quarters = [images[:, y : y + 112, x : x + 112].mean((1, 2)) for y in (0, 112) for x in (0, 112)]
    features = np.concatenate(quarters, axis=-1)
    mixtures = np.random.default_rng(0).normal(size=(12, layout.total + layout.identity)).astype(np.float32) * 0.2
    vector, confidence = np.split(features @ mixtures, [layout.total], axis=-1)
    return layout.split(vector), 1 / (1 + np.exp(-4 * confidence))


def write_network(path, layout, confidence=False, bytes_in=False):
    """The network of `answers` as .tflite."""
    import tensorflow as tf

    mixtures = np.random.default_rng(0).normal(size=(12, layout.total + layout.identity)).astype(np.float32) * 0.2

    def network(images):
        images = tf.cast(images, tf.float32) / 255 if bytes_in else images
        quarters = [tf.reduce_mean(images[:, y : y + 112, x : x + 112], (1, 2)) for y in (0, 112) for x in (0, 112)]
        vector = tf.concat(quarters, -1) @ mixtures
        groups = layout.split(vector[:, : layout.total], ops)._asdict()
        return groups | ({"confidence": tf.sigmoid(4 * vector[:, layout.total :])} if confidence else {})

    module = tf.Module()
    dtype = tf.uint8 if bytes_in else tf.float32
    module.network = tf.function(network, input_signature=[tf.TensorSpec((1, 224, 224, 3), dtype, "images")])
    tf.saved_model.save(module, str(path) + ".saved", signatures={"serving_default": module.network})
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(path) + ".saved").convert())
    shutil.rmtree(str(path) + ".saved")


@pytest.fixture(scope="module")
def bundle(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    layout = tiny_model.layout()
    write_network(folder / "rnet_float32.tflite", layout)
    write_network(folder / "rnet_bytes.tflite", layout, bytes_in=True)
    write_network(folder / "cnet_float32.tflite", layout, confidence=True)
    morphable_model.save_level(tiny_model, folder / "face.npz")
    (folder / "detector").mkdir()
    for name in networks.NETWORKS:
        shutil.copy(networks.model_file(name), folder / "detector")
    listed = [
        {"file": f"{network}_{quantization}.tflite", "network": network, "quantization": quantization}
        for network, quantization in (("rnet", "float32"), ("rnet", "bytes"), ("cnet", "float32"))
    ]
    manifest = {
        "schema": device_bundle.SCHEMA,
        "lighting": "rgb",
        "face": {"file": "face.npz"},
        "networks": listed,
        "detector": {"files": [f"detector/{name}" for name in networks.NETWORKS]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def runtime(bundle):
    return device.load(bundle)


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()


@pytest.fixture
def damaged(bundle, tmp_path):
    """A copy of the bundle to spoil, and a function that changes its manifest."""
    folder = tmp_path / "damaged"
    shutil.copytree(bundle, folder)

    def change(**entries):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return folder, change


def test_regress_is_the_network(runtime, bundle):
    crops = np.random.default_rng(0).random((3, 224, 224, 3)).astype(np.float32)
    expected, confidence = answers(crops, runtime.model.layout())
    found, none = runtime.regress(crops)
    assert none is None
    for group in GROUPS:
        np.testing.assert_allclose(getattr(found, group), getattr(expected, group), atol=1e-5)
    found, trust = device.load(bundle, confidence=True).regress(crops)
    np.testing.assert_allclose(found.identity, expected.identity, atol=1e-5)
    np.testing.assert_allclose(trust, confidence, atol=1e-5)
    found, _ = device.load(bundle, quantization="bytes").regress(crops)
    np.testing.assert_allclose(found.identity, expected.identity, atol=1e-3)
    with pytest.raises(InputError, match=r"crops must be .* Received: \[1, 64, 64, 3\]"):
        runtime.regress(np.zeros((1, 64, 64, 3)))


def test_a_photo_becomes_the_face_that_keras_builds(runtime, photo):
    (found,) = runtime.reconstruct(photo)
    detected = detector.nearest(photo)
    np.testing.assert_array_equal(found.detected.points5, detected.points5)
    points = faces.at_landmarks(runtime.model.landmarks["alignment5"], runtime.model.mean_shape[None])[0]
    crop = alignment.align(photo, detected.points5, points)
    np.testing.assert_array_equal(found.crop.image, crop.image)
    coefficients, _ = answers(crop.image[None], runtime.model.layout())
    face = faces.reconstruct(runtime.model.on_backend(ops.convert_to_tensor), coefficients, xp=ops)
    for name, here, there in zip(face._fields, found.face, face, strict=True):
        tolerance = 2e-3 if name in ("pixels", "landmarks") else 2e-5
        np.testing.assert_allclose(here, ops.convert_to_numpy(there), atol=tolerance)
    in_photo = crop.transform.inverse().apply(ops.convert_to_numpy(face.landmarks)[0])
    np.testing.assert_allclose(found.landmarks, in_photo, atol=2e-3 / crop.transform.scale)
    pixels = crop.transform.apply(detected.landmarks478[:, :2])
    frame = expression.Frame(pixels, coefficients.angles[0], coefficients.translation[0])
    weights = expression.of_photo(runtime.model.blendshape_names, frame, Camera())
    assert list(found.arkit) == list(runtime.model.blendshape_names)
    np.testing.assert_allclose(list(found.arkit.values()), weights, atol=1e-3)


def test_results_move_with_the_photo(runtime, photo):
    (here,) = runtime.reconstruct(photo)
    (there,) = runtime.reconstruct(np.pad(photo, [(64, 0), (128, 0), (0, 0)], mode="edge"))
    moved = here.detected.points5 + np.float32([128, 64])
    np.testing.assert_allclose(there.detected.points5, moved, atol=1.5)
    eyes = np.linalg.norm(here.detected.points5[0] - here.detected.points5[1])
    shift = (there.landmarks - here.landmarks).mean(0)
    np.testing.assert_allclose(shift, [128, 64], atol=0.1 * eyes)


def test_paths_bytes_and_arrays_are_photos(runtime, photo, tmp_path):
    path = tmp_path / "me.png"
    Image.fromarray(photo).save(path)
    results = [runtime.reconstruct(given)[0] for given in (photo, path, path.read_bytes())]
    for result in results[1:]:
        np.testing.assert_array_equal(result.face.vertices, results[0].face.vertices)


def test_all_faces_and_no_face(runtime, photo):
    both = np.concatenate([photo, photo[::2, ::2].repeat(2, 0)], axis=1)[:, : photo.shape[1] + 256]
    assert len(runtime.reconstruct(both, all_faces=True)) == 2
    assert len(runtime.reconstruct(both)) == 1
    assert runtime.reconstruct(np.zeros((200, 300, 3), np.uint8)) == []


@pytest.mark.parametrize("confidence", [True, False])
def test_photos_of_one_person_share_the_shape(bundle, photo, confidence):
    runtime = device.load(bundle, confidence=confidence)
    apart = [runtime.reconstruct(picture)[0] for picture in (photo, photo // 2 + 20, photo // 3)]
    together = runtime.together(apart)
    identity = np.stack([one.coefficients.identity[0] for one in apart])[None]
    if confidence:
        weights = np.stack([one.confidence for one in apart])[None]
        expected = aggregation.aggregate(identity, weights)
        assert not np.allclose(expected, identity.mean(1))
    else:
        expected = identity.mean(1)
    for one, before in zip(together, apart, strict=True):
        np.testing.assert_allclose(one.coefficients.identity, expected, atol=1e-6)
        np.testing.assert_array_equal(one.coefficients.expression, before.coefficients.expression)
        again = faces.reconstruct(runtime.model, one.coefficients)
        np.testing.assert_allclose(one.face.vertices, again.vertices)
        assert not np.allclose(one.face.vertices, before.face.vertices)


# Bundles


def test_the_network_is_chosen_by_name(bundle, damaged):
    with pytest.raises(device_bundle.BundleError, match=r"one of \['bytes', 'float32'\]. Received: 'int3'"):
        device.load(bundle, quantization="int3")
    folder, change = damaged
    change(networks=[{"file": "cnet_float32.tflite", "network": "cnet", "quantization": "float32"}])
    crops = np.zeros((1, 224, 224, 3), np.float32)
    assert device.load(folder).regress(crops)[1] is not None  # the only one there is
    change(networks=[{"file": "rnet_float32.tflite", "network": "rnet", "quantization": "float32"}])
    assert device.load(folder, confidence=True).regress(crops)[1] is None


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"schema": 2}, "must have schema 1. Received: 2"),
        ({"networks": []}, r"one of \[\]"),
        ({"networks": [{}]}, "lacks an entry. Received: KeyError"),
        ({"networks": 3}, "lacks an entry. Received: TypeError"),
        ({"face": {"file": "../face.npz"}}, "files of the bundle. Received: '../face.npz'"),
        ({"face": {"file": "/etc/passwd"}}, "files of the bundle"),
        ({"detector": {"files": []}}, "lacks an entry"),
        ({"lighting": "neon"}, "Received: 'neon'"),
        ({"lighting": ["rgb"]}, "lacks an entry. Received: TypeError"),
        ({"lighting": None}, "Received: None"),
        ({"networks": None}, "lacks an entry. Received: TypeError"),
        ({"networks": [None]}, "lacks an entry. Received: TypeError"),
        ({"networks": {"file": "x"}}, "lacks an entry. Received: TypeError"),
        ({"networks": [{"file": 3, "network": "rnet", "quantization": "int8"}]}, "lacks an entry. Received: TypeError"),
        ({"face": []}, "lacks an entry. Received: TypeError"),
        ({"face": {"file": "a\0b"}}, "lacks an entry. Received: ValueError"),
        ({"face": {"file": "\ud800"}}, "lacks an entry. Received: UnicodeEncodeError"),
        ({"detector": {"files": 3}}, "lacks an entry. Received: TypeError"),
        ({"detector": {"files": [None]}}, "lacks an entry. Received: TypeError"),
        ({"schema": {"a": "b" * 5000}}, r"must have schema 1. Received: .{80}$"),
        ({"lighting": "white"}, "must answer as its face model asks"),
        ({"networks": [{"file": "face.npz", "network": "rnet", "quantization": "int8"}]}, "no network with one"),
        (
            {"networks": [{"file": "detector/face_landmark.tflite", "network": "rnet", "quantization": "x"}]},
            "no network",
        ),
    ],
)
def test_a_wrong_manifest_is_named(damaged, entries, message):
    folder, change = damaged
    change(**entries)
    with pytest.raises(device_bundle.BundleError, match=message):
        device.load(folder)


def test_damaged_bundles_are_named(damaged, tmp_path):
    folder, _ = damaged
    with pytest.raises(device_bundle.BundleError, match="a bundle of `python -m export` is needed"):
        device.load(tmp_path)
    archive.write_arrays(folder / "face.npz", {"x": np.zeros(1)}, overwrite=True)
    with pytest.raises(morphable_model.ModelError, match=r"face\.npz"):
        device.load(folder)
    (folder / "rnet_float32.tflite").unlink()
    with pytest.raises(FileNotFoundError, match=r"no rnet_float32\.tflite"):
        device.load(folder)
    for content in (
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"",
        b"[" * 100_000,
        b"\xff",
        b" " * (device_bundle.MAX_MANIFEST + 1),
    ):
        (folder / "manifest.json").write_bytes(content)
        with pytest.raises(device_bundle.BundleError, match=r"manifest\.json .* Received:"):
            device.load(folder)


# The command


def test_command_writes_faces_and_skips_what_it_cannot_read(bundle, photo, tmp_path, capfd):
    Image.fromarray(photo).save(tmp_path / "me.png")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / "black.png")
    out = tmp_path / "out"
    paths = [str(tmp_path / name) for name in ("bad.jpg", "black.png", "me.png")]
    assert device.main([str(bundle), *paths, "--out", str(out)]) == 0
    said = capfd.readouterr()
    assert "1 face written" in said.out
    assert "2 photos without one" in said.out
    assert [line.split(": ")[0] for line in said.err.splitlines()] == paths[:2]
    assert [path.name for path in out.iterdir()] == ["me"]
    assert sorted(path.name for path in (out / "me").iterdir()) == [
        "coefficients.json",
        "face.glb",
        "face.obj",
        "face.ply",
    ]
    model = morphable_model.load(bundle / "face.npz")
    obj = trimesh.load(out / "me" / "face.obj", process=False)
    assert len(obj.faces) == len(model.triangles)
    glb = trimesh.load(out / "me" / "face.glb", process=False).to_geometry()
    assert len(glb.faces) == len(model.triangles)
    record = json.loads((out / "me" / "coefficients.json").read_text(encoding="utf-8"))
    assert record["photo"] == "me.png"
    assert len(record["landmarks68_photo_px"]) == 68
    assert set(record["arkit"]) == set(model.blendshape_names)
    assert device.main([str(bundle), paths[2], "--out", str(out)]) == 0
    said = capfd.readouterr().out
    assert said == f"0 faces written to {out}; 1 photo already there, pass --overwrite to make them again\n"
    assert device.main([str(bundle), paths[2], "--out", str(out), "--overwrite"]) == 0


def test_command_goes_on_after_a_face_that_cannot_be_written(bundle, photo, tmp_path, capfd):
    both = np.concatenate([photo, photo[::2, ::2].repeat(2, 0)], axis=1)[:, : photo.shape[1] + 256]
    for name in ("a", "b"):
        Image.fromarray(both).save(tmp_path / f"{name}.png")
    (tmp_path / "out" / "a-face2").mkdir(parents=True)
    assert device.main([str(bundle), f"{tmp_path}/*.png", "--out", str(tmp_path / "out"), "--all-faces"]) == 0
    said = capfd.readouterr()
    assert "3 faces written" in said.out
    assert "a-face2" in said.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "a-face2", "b", "b-face2"]


def test_command_puts_photos_of_one_person_together(bundle, photo, tmp_path, capfd):
    for name, picture in (("a", photo), ("b", photo // 2)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    assert device.main([str(bundle), f"{tmp_path}/*.png", "--out", str(out), "--one-person"]) == 0
    records = [json.loads((out / name / "coefficients.json").read_text()) for name in "ab"]
    assert records[0]["coefficients"]["identity"] == records[1]["coefficients"]["identity"]
    assert records[0]["coefficients"]["illumination"] != records[1]["coefficients"]["illumination"]
    assert "2 faces written" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["BUNDLE", "nothing.jpg", "--out", "out"], "there is no such photo"),
        (["nowhere", "PHOTO", "--out", "out"], "a bundle of `python -m export` is needed"),
        (["BUNDLE", "PHOTO", "--out", "out", "--quantization", "int3"], "Received: 'int3'"),
        (["BUNDLE", "PHOTO", "--out", "out", "--threads", "0"], "threads must be positive. Received: 0"),
        (["BUNDLE", "PHOTO", "--out", "PHOTO"], "PHOTO"),
    ],
)
def test_command_errors_are_one_line(bundle, photo, tmp_path, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("PHOTO.png")
    places = {"BUNDLE": str(bundle), "PHOTO": "PHOTO.png"}
    assert device.main([places.get(argument, argument) for argument in arguments]) == 1
    error = capfd.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["PHOTO.png"]


# The empty environment

_ALONE = """
import runpy, sys
allowed = set(sys.stdlib_module_names) | {"numpy", "PIL", "ai_edge_litert", "flatbuffers", "tf_deep3d", "export"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"not on the device: {name}", name=name)

sys.meta_path.insert(0, Refuse())
bundle, photo, out = sys.argv[1:]
sys.argv = ["device", bundle, photo, "--out", out]
try:
    runpy.run_module("export.device", run_name="__main__")
finally:
    ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in ("tf_deep3d", "export")]
    print("modules", *sorted(m.__file__ for m in ours))
"""


def test_the_sources_of_a_bundle_run_alone(bundle, photo, tmp_path):
    """In a fresh process that can import NumPy, Pillow and LiteRT, from a folder that holds `SOURCES` alone."""
    for name in device.SOURCES:
        (tmp_path / "python" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "python" / name)
    Image.fromarray(photo).save(tmp_path / "me.png")
    given = [sys.executable, "-c", _ALONE, str(bundle), str(tmp_path / "me.png"), str(tmp_path / "out")]
    done = subprocess.run(given, cwd=tmp_path / "python", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "me" / "face.obj").is_file()
    used = {Path(path).relative_to(tmp_path / "python").as_posix() for path in done.stdout.split("modules ")[1].split()}
    assert used <= set(device.SOURCES)
