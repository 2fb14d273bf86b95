"""The page's files: whole, known to the service worker, ours or noted, and closed to other places."""

import gzip
import hashlib
import json
import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from PIL import Image

from export.web import page
from tf_deep3d import assets
from tf_deep3d.io.files import sha256

CLOSED = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; "  # and what narrows it
TEXTS = (page.PAGE / "texts.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "page"
    picture = np.full((40, 2000, 3), 128, np.uint8)
    return folder, page.write_page(folder, exported.folder, picture)


def test_what_is_written(written, exported):
    folder, files = written
    assert files == {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    assert (folder / "three.min.js").read_bytes() == assets.find("three.min.js").read_bytes()
    assert (folder / "data" / "cnet_int8.tflite").read_bytes() == (exported.folder / "cnet_int8.tflite").read_bytes()
    with Image.open(folder / "data" / "sample.jpg") as sample:
        assert sample.size == (1600, 32)
    description = json.loads((folder / "data" / "face.json").read_text(encoding="utf-8"))
    assert description["vertices"] == len(exported.model.mean_shape)
    assert description["confident"]
    notice = (folder / "NOTICE.md").read_text(encoding="utf-8")
    for name in ("MediaPipe", "three.js", "LiteRT.js"):
        assert name in notice


def test_the_service_worker_knows_every_file_and_the_version_of_all(written, exported, tmp_path):
    folder, files = written
    line = r'const VERSION = "(\w{16})", FILES = (\[.*\]);'
    version, names = re.search(line, (folder / page.MARK).read_text(encoding="utf-8")).groups()
    assert {*json.loads(names), page.MARK} == files.keys()
    page.write_page(tmp_path / "same", exported.folder, np.full((40, 2000, 3), 128, np.uint8))
    assert (tmp_path / "same" / page.MARK).read_bytes() == (folder / page.MARK).read_bytes()
    page.write_page(tmp_path / "other", exported.folder, np.full((40, 2000, 3), 129, np.uint8))
    assert version not in (tmp_path / "other" / page.MARK).read_text(encoding="utf-8")


def test_libraries_are_those_of_the_notice():
    notice = (page.VENDOR / "NOTICE.md").read_text(encoding="utf-8")
    for path in page.VENDOR.glob("*.*"):
        if path.name != "NOTICE.md":
            assert f"| `{path.name}` | {sha256(path)} |" in notice
    wasm = gzip.decompress((page.VENDOR / "litert_wasm_compat_internal.wasm.gz").read_bytes())
    assert f"| the same, unpacked | {hashlib.sha256(wasm).hexdigest()} |" in notice


def test_a_fixed_batch_changes_no_answer():
    name = "face_landmarks_detector.tflite"
    opened = assets.find(name).read_bytes()
    fixed = page.fix_batch(opened)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(fixed))
    assert all(tensor.shapeSignature is None for tensor in model.subgraphs[0].tensors)
    picture = np.random.default_rng(0).random((1, 256, 256, 3), np.float32)
    for one, other in zip(*(_answers(network, picture) for network in (opened, fixed)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert page.fix_batch(fixed) == fixed


def _answers(network, picture):
    interpreter = Interpreter(model_content=network)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def test_the_policy_lets_the_page_ask_its_own_server_only():
    html = (page.PAGE / "index.html").read_text(encoding="utf-8")
    assert f'content="{CLOSED}' in html
    for path in page.PAGE.glob("*.*"):
        addresses = re.findall(r"\w+://[^\s\"']+", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path.name


def test_every_text_stands_in_one_file():
    html = (page.PAGE / "index.html").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in page.PAGE.glob("*.js"))
    wanted = {*re.findall(r'data-(?:text|label)="(\w+)"', html), *re.findall(r"TEXTS\.(\w+)", code)}
    assert wanted == set(re.findall(r"^  (\w+):", TEXTS, re.MULTILINE))
    visible = re.sub(r"<title>.*</title>|<[^>]*>", "", html).split()
    assert not visible, "words of the page belong into texts.js"
