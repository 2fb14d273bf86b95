"""The face model as the page reads it: what is unpacked again is the model."""

import dataclasses

import numpy as np
import pytest

from export.web.face_data import ALBEDO_STEP, SHAPE_STEP, face_data
from tf_deep3d.errors import InputError

_PLAIN = {"float32": "<f4", "uint16": "<u2", "uint32": "<u4"}


def read(data, name):
    """An array as the page reads it, flat; modes as [K, 3, V]."""
    entry = data.description["arrays"][name]
    start, count = entry["offset"], entry["count"]
    assert start % 4 == 0
    if entry["type"] != "modes":
        return np.frombuffer(data.binary, _PLAIN[entry["type"]], count, start)
    low, high = np.frombuffer(data.binary, np.uint8, 2 * count, start).reshape(2, count)
    whole = (low.astype(np.uint16) | high.astype(np.uint16) << 8).view(np.int16)
    return entry["step"] * whole.reshape(-1, 3, data.description["vertices"])


def test_arrays_are_those_of_the_model(tiny_model):
    data = face_data(tiny_model)
    np.testing.assert_array_equal(read(data, "meanShape"), tiny_model.mean_shape.reshape(-1))
    np.testing.assert_array_equal(read(data, "meanAlbedo"), tiny_model.mean_albedo.reshape(-1))
    np.testing.assert_array_equal(read(data, "triangles"), tiny_model.triangles.reshape(-1))
    modes = {
        "identity": (tiny_model.identity_basis, SHAPE_STEP),
        "expression": (tiny_model.expression_basis, SHAPE_STEP),
        "albedo": (tiny_model.albedo_basis, ALBEDO_STEP),
        "blendshapes": (tiny_model.blendshapes, SHAPE_STEP),
    }
    for name, (values, step) in modes.items():
        np.testing.assert_allclose(read(data, name), values.swapaxes(1, 2), atol=0.501 * step)
    assert data.description["units"] == list(tiny_model.blendshape_names)


def test_modes_beyond_16_bits_are_refused(tiny_model):
    large = dataclasses.replace(tiny_model, identity_basis=tiny_model.identity_basis + 2.0)
    with pytest.raises(InputError, match=r"modes of identity up to 1\.64\. Received: "):
        face_data(large)
