"""What is measured once, and what is averaged."""

import numpy as np
import pytest

from tf_deep3d.evaluation.measuring import Measurement, Prediction, measure_view, remembering, together
from tf_deep3d.face.landmarks import INNER_FACE


def test_measurements_are_averaged():
    first = Measurement({"a": 1.0, "b": 3.0}, np.array([1.0, np.nan]), "picture")
    second = Measurement({"a": 2.0}, np.array([3.0, 1.0]), "other")
    found = together([first, second])
    assert found.numbers == {"a": 1.5, "b": 3.0}
    np.testing.assert_array_equal(found.errors, [2, np.nan])
    assert found.picture == "picture"
    assert together([first]) is first


def test_a_shape_is_measured_once_for_the_last_truth():
    calls, measured = [], remembering()
    shapes = [Prediction(np.full((2, 3), value), None, None) for value in (0.0, 1.0, 0.0)]
    for truth in ("a", "b", "a"):
        found = [measured(truth, shape, lambda truth=truth: calls.append(truth) or len(calls)) for shape in shapes]
        assert found[0] == found[2] == found[1] - 1
    assert calls == ["a", "a", "b", "b", "a", "a"]


@pytest.mark.parametrize(
    ("skin", "tone"), [((0.86, 0.76, 0.69), "light"), ((0.64, 0.50, 0.42), "medium"), ((0.26, 0.19, 0.16), "dark")]
)
def test_the_albedos_error_is_told_by_tone(views, tiny_model, landmarks, skin, tone):
    """The right shape, 0.1 too light; its skin has one tone, so that the other columns stay empty."""
    view = views[0]._replace(subject=views[0].subject._replace(colors=np.tile(skin, (len(tiny_model.mean_shape), 1))))
    given = Prediction(
        tiny_model.mean_shape, tiny_model.triangles, landmarks[INNER_FACE], albedo=view.subject.colors + 0.1
    )
    numbers = measure_view(view, given).numbers
    assert numbers["albedo"] == pytest.approx(0.1)
    assert {name: value for name, value in numbers.items() if name.startswith("albedo_")} == {
        f"albedo_{tone}": numbers["albedo"]
    }
