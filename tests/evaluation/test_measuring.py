"""What is measured once, and what is averaged."""

import numpy as np

from tf_deep3d.evaluation.measuring import Measurement, Prediction, remembering, together


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
