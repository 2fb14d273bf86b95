"""Shared fixtures. Everything here runs on a CPU and needs no download."""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

with contextlib.suppress(ModuleNotFoundError):  # `tests/fuzz` says where it comes from
    import hypothesis

    hypothesis.settings.register_profile("default", max_examples=20, deadline=None, derandomize=True, database=None)
    hypothesis.settings.load_profile("default")

from tests.synthetic import synthetic_arrays
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """Path of the synthetic model file (`tests.synthetic`), two levels of detail."""
    path = tmp_path_factory.mktemp("model") / "synthetic.npz"
    archive.write_arrays(path, synthetic_arrays())
    return path


@pytest.fixture(scope="session")
def tiny_model(model_file):
    """The synthetic model at its finest level."""
    return morphable_model.load(model_file)


@pytest.fixture(scope="session")
def exported(model_file, tmp_path_factory):
    """A whole bundle of the synthetic model (`tests.exported`)."""
    from tests.exported import export

    return export(tmp_path_factory.mktemp("exported"), model_file)
