"""The face and its head, loaded once."""

import pytest

from tf_deep3d.data.rendered import people
from tf_deep3d.face import morphable_model


@pytest.fixture(scope="package")
def model():
    return morphable_model.load(level=1)


@pytest.fixture(scope="package")
def head(model):
    return people.load_head(model)
