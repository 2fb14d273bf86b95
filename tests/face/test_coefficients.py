import numpy as np
import pytest
from keras import ops

from tf_deep3d.face.coefficients import GROUPS, Layout


@pytest.mark.parametrize(("lighting", "total"), [("rgb", 257), ("white", 239)])
def test_the_papers_sizes(lighting, total):
    assert Layout(80, 64, 80, lighting).total == total


def test_order_and_shapes_of_the_groups():
    layout = Layout(2, 3, 4)
    groups = layout.split(np.arange(layout.total)[None])
    assert GROUPS == ("identity", "expression", "albedo", "angles", "illumination", "translation")
    np.testing.assert_array_equal(groups.identity, [[0, 1]])
    np.testing.assert_array_equal(groups.angles, [[9, 10, 11]])
    np.testing.assert_array_equal(groups.illumination[0, 1], np.arange(21, 30))
    np.testing.assert_array_equal(groups.translation, [[39, 40, 41]])


@pytest.mark.parametrize("xp", [np, ops])
def test_join_undoes_split(xp):
    layout = Layout(5, 3, 4, "white")
    vector = np.random.default_rng(0).normal(size=(3, layout.total)).astype("float32")
    np.testing.assert_array_equal(layout.join(layout.split(vector, xp), xp), vector)


def test_wrong_size_and_wrong_lighting_are_named():
    with pytest.raises(ValueError, match=r"Received: shape \(1, 9\)"):
        Layout(5, 3, 4).split(np.zeros((1, 9)))
    with pytest.raises(ValueError, match="Received: 'blue'"):
        Layout(5, 3, 4, "blue")
