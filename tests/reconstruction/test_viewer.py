"""The page of a mesh: what it holds, and what a browser makes of it."""

import base64
import gzip
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.browser import document_of, needs_browser
from tests.mesh.tube import TUBE
from tf_deep3d import assets
from tf_deep3d.face.camera import Camera
from tf_deep3d.io.files import sha256
from tf_deep3d.mesh import gltf
from tf_deep3d.mesh.animation import Animation, animate
from tf_deep3d.reconstruction import viewer

# What notebooks of VS Code let a cell do, and a little less.
CLOSED = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture(scope="module")
def file():
    rng = np.random.default_rng(0)
    targets = {name: rng.normal(size=TUBE.vertices.shape) * 0.1 for name in ("jawOpen", "eyeBlinkLeft", "<b>")}
    return gltf.build(TUBE, targets, {"eyeBlinkLeft": 0.5}, "tube")


def unpacked(page, name):
    return gzip.decompress(base64.b64decode(re.search(f'id="{name}">([^<]*)<', page)[1]))


def test_the_page_holds_the_mesh_and_the_library(file):
    page = viewer.page(gltf.glb(file), "tube")
    assert unpacked(page, "glb") == gltf.glb(file)
    assert unpacked(page, "three") == assets.find("three.min.js").read_bytes()
    assert viewer.MARK in page
    assert page == viewer.page(gltf.glb(file), "tube")


def test_the_page_shows_title_facts_and_picture_as_text(file):
    picture = np.full((4, 6, 3), 200, np.uint8)
    page = viewer.page(gltf.glb(file), "a < b\n@GLB@", {"</script>": "<img src=x>"}, picture, "x & y")
    assert "<title>a &lt; b @GLB@</title>" in page
    assert "<tr><th>&lt;/script&gt;</th><td>&lt;img src=x&gt;</td></tr>" in page
    assert "<footer>x &amp; y</footer>" in page
    encoded = re.search('<img alt="" src="data:image/jpeg;base64,([^"]*)"', page)[1]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (6, 4)


def test_the_page_names_no_other_place():
    template = viewer.PAGE.read_text(encoding="utf-8")
    assert "//" not in template.replace("// Textures", "").replace("// the bytes", "").replace("// one for each", "")
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\b\(", template)


def test_the_notice_tells_the_library_s_version_and_digest():
    notice = assets.find("three_NOTICE.md").read_text(encoding="utf-8")
    version = re.match(r"/\* three\.js ([\d.]+),", viewer.THREE.read_text(encoding="utf-8"))[1]
    assert f"three.js {version}" in notice
    assert sha256(viewer.THREE) in notice
    assert "The MIT License" in notice


def test_a_cell_is_the_page_in_a_frame(file):
    page = viewer.page(gltf.glb(file), 'a "b" & c')
    cell = viewer.cell(page, 300)
    assert html.unescape(re.search('srcdoc="([^"]*)"', cell)[1]) == page
    assert "height: 300px" in cell


@needs_browser
def test_a_browser_shows_the_page_where_nothing_may_be_loaded(file, tmp_path):
    closed = f'<meta http-equiv="Content-Security-Policy" content="{CLOSED}">'
    page = viewer.page(gltf.glb(file), "tube", {"a": "b"}).replace("<title>", closed + "<title>")
    (tmp_path / "view.html").write_text(page, encoding="utf-8")
    document, said = document_of(tmp_path / "view.html")
    assert '<html lang="en" data-ready="">' in document, said
    assert '<div id="message" role="status"></div>' in document
    names = re.findall(r"<label><span>([^<]*)</span>", document)
    assert names == ["eyeBlinkLeft", "jawOpen", "&lt;b&gt;"]
    assert re.findall(r"<output>([\d.]+)</output>", document) == ["0.50", "0.00", "0.00"]
    assert '<label id="time" hidden="">' in document
    assert not [line for line in said if "Content Security Policy" in line or "Error" in line]


@needs_browser
def test_a_browser_plays_an_animation(tmp_path):
    file = gltf.build(TUBE, {"jawOpen": 0.1 * TUBE.vertices}, name="tube")
    weights = {"jawOpen": np.array([0.25, 0.25])}
    animate(file, Animation(np.array([0.0, 2.0]), weights, np.zeros((2, 3)), np.zeros((2, 3))), Camera())
    (tmp_path / "view.html").write_text(viewer.page(gltf.glb(file), "tube"), encoding="utf-8")
    document, said = document_of(tmp_path / "view.html")
    assert "data-ready" in document, said
    assert '<label id="time"><button id="play">Pause</button>' in document
    assert re.search(r'aria-label="time" max="2">\s*<output>[01]\.\d s</output>', document)
    assert re.findall(r"<output>([\d.]+)</output>", document) == ["0.25"]


@needs_browser
def test_a_damaged_mesh_is_said(tmp_path):
    (tmp_path / "view.html").write_text(viewer.page(b"no mesh", "tube"), encoding="utf-8")
    document, _ = document_of(tmp_path / "view.html")
    assert "data-ready" not in document
    assert "The face cannot be shown here: " in document
