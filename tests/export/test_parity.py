"""Differences are in mm and px, and what is beyond its bound is refused."""

import numpy as np
import pytest

from export import parity
from tf_deep3d.face.camera import CAMERA_DISTANCE, FOCAL


def _answers(model, count=3):
    vector = np.random.default_rng(0).normal(size=(count, model.layout().total)).astype(np.float32) * 0.1
    return model.layout().split(vector)._asdict()


def _compare(model, before, after):
    return parity.compare(parity.outcome(model, before), parity.outcome(model, after))


def test_a_known_shift(tiny_model):
    before = _answers(tiny_model) | {
        "angles": np.zeros((3, 3), np.float32),
        "translation": np.zeros((3, 3), np.float32),
    }
    moved = np.zeros((3, 3), np.float32)
    moved[1, 0] = 0.05  # dm to the right, of the second photo
    difference = _compare(tiny_model, before, before | {"translation": moved})
    assert difference["shape_mm"] == {"mean": 0, "max": 0, "photo": 0}
    posed, points = difference["posed_mm"], difference["landmark_px"]
    assert posed["max"] == pytest.approx(5, rel=1e-3)
    assert posed["photo"] == pytest.approx(5, rel=1e-3)
    assert posed["mean"] == pytest.approx(5 / 3, rel=1e-3)
    assert points["photo"] == pytest.approx(0.05 * FOCAL / CAMERA_DISTANCE, rel=0.1)
    assert difference["coefficients"]["translation"]["max"] == pytest.approx(0.05)
    assert difference["coefficients"]["identity"]["max"] == 0


def test_bounds(tiny_model):
    before = _answers(tiny_model)
    for name in parity.BOUNDS:
        assert parity.violations(name, _compare(tiny_model, before, before)) == []
    shifted = _compare(tiny_model, before, before | {"identity": before["identity"] + 0.5})
    (text,) = parity.violations("int8", shifted)[:1]
    assert text.startswith("the shape by a mean of")
    assert "(at most 0.3)" in text
    broken = _compare(tiny_model, before, before | {"identity": np.full_like(before["identity"], np.nan)})
    assert len(parity.violations("int8", broken)) == 2
    slight = before | {"illumination": before["illumination"] + np.float32(2e-4)}
    assert parity.violations("float32", _compare(tiny_model, before, slight))
    assert not parity.violations("float16", _compare(tiny_model, before, slight))
    sure = {"confidence": np.full((3, 6), 0.5)}
    unsure = _compare(tiny_model, before | sure, before | {"confidence": np.full((3, 6), 0.6)})
    assert parity.violations("int8", unsure) == ["the confidences by a mean of 0.1 (at most 0.05)"]


def test_refusal_names_the_file():
    parity.refuse({"a.tflite": [], "b.tflite": []})
    with pytest.raises(parity.ParityError, match=r"--force .* Received: b.tflite differs in the shape .* and in px"):
        parity.refuse({"a.tflite": [], "b.tflite": ["the shape by 3 mm", "in px"]})


def test_table_has_a_row_for_each_file(tiny_model):
    before = _answers(tiny_model)
    difference = _compare(tiny_model, before, before)
    lines = parity.table({"a": difference, "b": difference}, {"a": 2_500_000}, {"a": {"1": 4.25, "2": 3.0}})
    assert len(lines) == 4
    assert lines[2].startswith("| a | 2.5 | 0 (0) |")
    assert "4.2 / 3.0" in lines[2]
    assert {line.count("|") for line in lines} == {7}
