"""What the pages show, and the index over them."""

import base64
import gzip
import json
import os
import re
import struct

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.detection.alignment import Crop
from tf_deep3d.detection.detector import Detection
from tf_deep3d.face import blendshapes
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction import view, viewer

TEXTURE = np.full((8, 8, 3), 0.5)


@pytest.fixture
def found(tiny_model):
    coefficients = tiny_model.layout().zeros(1)
    coefficients = coefficients._replace(
        expression=np.ones_like(coefficients.expression), angles=np.radians([[10.0, -20.0, 5.0]]).astype(np.float32)
    )
    built = faces.reconstruct(tiny_model, coefficients)
    detected = Detection(0.9, np.zeros(4), np.zeros((478, 3)), built.landmarks[0], np.zeros((5, 2)))
    return Reconstruction(
        photo="a <b>.jpg",
        model=tiny_model,
        coefficients=coefficients,
        face=built,
        detected=detected,
        crop=Crop(np.zeros((224, 224, 3), np.float32), Similarity(1.0, 0.0, (0.0, 0.0)), 0.0),
        units=blendshapes.units(tiny_model),
        report={"losses": {"photometric": 0.125}},
    )


def tree_of(page):
    """The JSON of the page's glTF."""
    glb = gzip.decompress(base64.b64decode(re.search('id="glb">([^<]*)<', page)[1]))
    (length,) = struct.unpack("<I", glb[12:16])
    return json.loads(glb[20 : 20 + length])


def test_a_face_s_page_tells_its_numbers_and_holds_its_mesh(found, tiny_model):
    page = view.face_page(found, tiny_model, TEXTURE, np.zeros((2, 2, 3), np.uint8))
    assert "<th>head</th><td>pitch +10°, yaw -20°, roll +5°</td>" in page
    assert "<th>landmarks</th><td>0.0 % of the eye distance" in page
    assert "<th>photometric</th><td>0.125</td>" in page
    assert "<title>a &lt;b&gt;</title>" in page
    assert f"<td>{tiny_model.name} ({tiny_model.licence})</td>" in page
    tree = tree_of(page)
    assert tree["meshes"][0]["extras"]["targetNames"] == [*tiny_model.blendshape_names, "photoExpression"]
    assert tree["meshes"][0]["weights"][-1] == 1.0
    assert tree["images"][0]["mimeType"] == "image/jpeg"


def test_a_page_shows_the_second_level_or_the_written_one_where_that_is_coarser(tiny_model):
    levels = ["coarse", "middle", "fine"]
    assert [view.shown_level(levels, level) for level in (0, 1, 2, -1, -2, -3)] == [
        *("coarse", "middle", "middle", "middle", "middle", "coarse")
    ]
    assert view.shown_level(levels[:1], -1) == "coarse"


def result(folder, *files):
    folder.mkdir()
    for name in files:
        (folder / name).write_text("x")


def test_the_index_links_to_the_results_that_have_pages(tmp_path):
    result(tmp_path / "a <b> 100%", view.VIEW, "overlay.png")
    assert view.write_index(tmp_path)
    assert not (tmp_path / view.INDEX).exists()  # one result needs no index
    result(tmp_path / "c", view.VIEW, "confidence.png")
    result(tmp_path / "d", "overlay.png")
    result(tmp_path / "e", view.VIEW)
    assert view.write_index(tmp_path)
    text = (tmp_path / view.INDEX).read_text(encoding="utf-8")
    assert re.findall(r'href="([^"]*)"', text) == ["a%20%3Cb%3E%20100%25/view.html", "c/view.html", "e/view.html"]
    assert re.findall(r'src="([^"]*)"', text) == ["a%20%3Cb%3E%20100%25/overlay.png", "c/confidence.png"]
    assert "a &lt;b&gt; 100%" in text
    assert "<title>3 faces</title>" in text


def test_only_an_index_of_ours_is_replaced(tmp_path):
    for name in "ab":
        result(tmp_path / name, view.VIEW)
    (tmp_path / view.INDEX).write_text("mine")
    assert not view.write_index(tmp_path)
    assert (tmp_path / view.INDEX).read_text() == "mine"
    (tmp_path / view.INDEX).write_text(viewer.MARK)
    assert view.write_index(tmp_path)
    assert "2 faces" in (tmp_path / view.INDEX).read_text(encoding="utf-8")


def test_folders_of_any_name_have_links(tmp_path):
    result(tmp_path / os.fsdecode(b"caf\xe9"), view.VIEW)
    result(tmp_path / "two\nlines", view.VIEW)
    assert view.write_index(tmp_path)
    text = (tmp_path / view.INDEX).read_text(encoding="utf-8")
    assert re.findall(r'href="([^"]*)"', text) == ["caf%E9/view.html", "two%0Alines/view.html"]
    assert "caf\\udce9" in text
    assert "two\\nlines" in text
