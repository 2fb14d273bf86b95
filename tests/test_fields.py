import numpy as np

from tf_deep3d import fields


def test_pull_push_fills_smoothly_and_keeps_what_is_known():
    value = np.zeros((37, 50, 2), np.float32)
    weight = np.zeros((37, 50, 1), np.float32)
    value[:, :5], weight[:, :5] = [1.0, 3.0], 1
    value[:, 45:], weight[:, 45:] = [2.0, 3.0], 1
    value[:, 5:45] = 99  # unknown
    filled = fields.pull_push(value, weight)
    np.testing.assert_array_equal(filled[:, :5], value[:, :5])
    np.testing.assert_allclose(filled[..., 1], 3.0, rtol=1e-6)
    assert filled[..., 0].min() >= 1
    assert filled[..., 0].max() <= 2
    assert abs(np.diff(filled[..., 0], axis=1)).max() < 0.35
