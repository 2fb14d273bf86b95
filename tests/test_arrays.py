import numpy as np
import pytest
from keras import ops

from tf_deep3d.arrays import unstack


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("xp", [np, ops])
def test_slices_along_an_axis(axis, xp):
    array = np.arange(24.0).reshape(2, 3, 4)
    slices = unstack(xp.asarray(array) if xp is np else ops.convert_to_tensor(array), axis, xp)
    assert len(slices) == array.shape[axis]
    for place, found in enumerate(slices):
        np.testing.assert_array_equal(np.asarray(found), array.take(place, axis))


def test_numpy_needs_no_function_of_its_own(monkeypatch):
    monkeypatch.delattr(np, "unstack", raising=False)
    assert [found.tolist() for found in unstack(np.eye(2), 0)] == [[1, 0], [0, 1]]
