"""Charts: points lie where their numbers say."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tf_deep3d.evaluation import charts

SPACE = "{http://www.w3.org/2000/svg}"


def test_lines_are_to_scale():
    chart = charts.Chart("name", "title", "x < y", "up", {"a & b": (np.array([0, 5, 10]), np.array([0, 2, 1]))})
    page = ElementTree.fromstring(charts.draw(chart))
    (line,) = page.findall(f"{SPACE}polyline")
    points = np.array([[float(x) for x in pair.split(",")] for pair in line.get("points").split()])
    assert points[1, 0] - points[0, 0] == pytest.approx(points[2, 0] - points[1, 0], abs=0.2)
    assert points[0, 1] - points[1, 1] == pytest.approx(2 * (points[0, 1] - points[2, 1]), abs=0.2)
    assert "a & b" in [each.text for each in page.iter(f"{SPACE}text")]


def test_dots_and_numbers_below_zero():
    page = ElementTree.fromstring(charts.curves({"a": (np.array([-80, 80]), np.array([-3, -1]))}, "", "", dots=True))
    places = [float(dot.get("cy")) for dot in page.findall(f"{SPACE}circle")]
    zero = next(
        float(text.get("y")) - 4
        for text in page.iter(f"{SPACE}text")
        if text.text == "0" and text.get("text-anchor") == "end"
    )
    assert places[0] - zero == pytest.approx(3 * (places[1] - zero), abs=0.4)
    assert charts.curves({}, "", "") == "<p>No result.</p>"


def test_nothing_but_zeros_has_axes():
    page = charts.curves({"perfect": (np.zeros(2), np.zeros(2))}, "", "")
    assert "nan" not in page
    assert ">1<" in page
