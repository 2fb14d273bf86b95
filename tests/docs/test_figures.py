"""The documentation's figures show what the code draws today."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_kept_pictures_are_those_of_the_code(figures):
    model = figures.Model()
    for draw in (figures.axes, figures.pose, figures.jaw):
        drawn = np.asarray(draw(model).convert("RGB"), float)
        with Image.open(figures.PLACE / f"{draw.__name__}.webp") as picture:
            kept = np.asarray(picture.convert("RGB"), float)
        assert kept.shape == drawn.shape
        assert np.abs(kept - drawn).mean() < 2  # of 255; the kept ones are compressed


def test_signs_are_as_the_page_says(figures):
    """A nose, seen from the front, goes down, to the right, and nowhere; the crown goes to the left."""
    camera = figures.Camera()
    for degrees, moved in (((25, 0, 0), (0, 1)), ((0, 25, 0), (1, 0))):
        rotation = figures.geometry.rotation_matrix(np.radians([degrees]))[0]
        nose = figures.to_pixels(camera, (rotation @ [0, 0, 1.0])[None, None])[0][0, 0] - camera.center
        assert (np.sign(np.round(nose, 6)) == moved).all()
    rotation = figures.geometry.rotation_matrix(np.radians([(0, 0, 25)]))[0]
    crown = figures.to_pixels(camera, (rotation @ [0, 1.0, 0])[None, None])[0][0, 0] - camera.center
    assert crown[0] < 0
    assert crown[1] < 0
