import io
import json
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tf_deep3d.models import weights
from tf_deep3d.models.cnet import CNet
from tf_deep3d.models.rnet import RNet


@pytest.fixture(scope="module")
def network():
    """A small C-Net."""
    made = CNet((8, 8, 4), 8, 6, "0123456789abcdef", separable=True, recipe={"steps": 3})
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=values.shape) for values in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def entries(network, tmp_path_factory):
    """The files inside its `.keras` file: name -> bytes."""
    path = tmp_path_factory.mktemp("weights") / "small.keras"
    weights.save(network, path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(path, entries, config=None, stored=None):
    """Writes `entries` with another config, or with other HDF5 bytes."""
    content = {**entries, **({"config.json": config} if config is not None else {})}
    content |= {"model.weights.h5": stored} if stored is not None else {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def _changed(entries, **changes):
    """`config.json` with changed arguments of the network."""
    content = json.loads(entries["config.json"])
    content["config"] |= changes
    return json.dumps(content)


def _refused(path, kind=CNet):
    """The message, of one line, with which a file is refused; nothing large was allocated by NumPy or Python."""
    tracemalloc.start()
    try:
        with pytest.raises(weights.WeightsError) as caught:
            weights.load(path, kind)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 500 + len(str(path))
    assert path.name in message
    return message


def test_untouched_entries_give_the_network_back(tmp_path, network, entries):
    back = weights.load(_packed(tmp_path / "x.keras", entries), CNet)
    assert back.get_config() == network.get_config()
    for mine, theirs in zip(back.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("half", [True, False])
def test_weights_are_read_in_single_precision(tmp_path, network, half):
    weights.save(network, tmp_path / "x.keras", half=half)
    back = weights.load(tmp_path / "x.keras", CNet)
    assert {weight.dtype for weight in back.weights} == {"float32"}
    kept = [values.astype(np.float16 if half else np.float32) for values in network.get_weights()]
    for mine, theirs in zip(back.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(mine, theirs.astype(np.float32))


def test_another_class_is_refused_before_it_is_built(tmp_path, entries):
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 8]}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 400_000_000}},
    ]
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "big", "layers": layers}}
    message = _refused(_packed(tmp_path / "x.keras", entries, json.dumps(config)))
    assert message.endswith("must hold weights of CNet. Received: Sequential")
    config["class_name"] = "CNet"
    assert "Received: CNet" in _refused(_packed(tmp_path / "x.keras", entries, json.dumps(config)))


@pytest.mark.parametrize(
    "change",
    [
        {"confidences": 400_000_000},
        {"confidences": -1},
        {"confidences": "80"},
        {"pooled": 400_000_000},
        {"pooled": 1e9},
        {"stage": [8, 8, 400_000_000]},
        {"stage": [8, 8]},
        {"stage": 8},
        {"stage": [8] * 100_000},
        {"bound": "wide"},
        {"bound": -1},
        {"recipe": [1]},
    ],
)
def test_sizes_beyond_all_networks_are_refused_in_one_line(tmp_path, entries, change):
    _refused(_packed(tmp_path / "x.keras", entries, _changed(entries, **change)))


@pytest.mark.parametrize(
    "change",
    [{"identity": 400_000_000}, {"albedo": -1}, {"expression": 1.5}, {"expression": None}, {"lighting": ["rgb"]}],
)
def test_an_rnet_of_sizes_beyond_all_face_models_is_refused_in_one_line(tmp_path, entries, change):
    layout = {"identity": 8, "expression": 6, "albedo": 4, "lighting": "rgb", **change}
    arguments = {"backbone": "mobilenet", "layout": layout, "face_model": "x", "recipe": {}}
    config = {"module": RNet.__module__, "class_name": "RNet", "config": arguments}
    _refused(_packed(tmp_path / "x.keras", entries, json.dumps(config)), RNet)


def test_arguments_that_are_not_the_networks_are_refused(tmp_path, entries):
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 400_000_000}}
    message = _refused(_packed(tmp_path / "x.keras", entries, _changed(entries, outputs=dense)))
    assert message.endswith("must hold weights of CNet. Received: the arguments ['outputs']")


def test_a_layer_in_place_of_the_precision_is_not_made(tmp_path, network, entries, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a layer was made")

    monkeypatch.setattr(keras.layers.LSTM, "__init__", refuse)
    lstm = {"module": "keras.layers", "class_name": "LSTM", "config": {"units": 3}, "registered_name": None}
    back = weights.load(_packed(tmp_path / "x.keras", entries, _changed(entries, dtype=lstm)), CNet)
    np.testing.assert_array_equal(back.get_weights()[0], network.get_weights()[0])


@pytest.mark.parametrize(
    "config",
    ["null", "[]", "3", '"text"', "{}", "{", "", "[" * 100_000, "\xff", " " * (weights.MAX_CONFIG + 1)],
    ids=lambda config: config[:12],
)
def test_a_config_that_is_none_is_refused_in_one_line(tmp_path, entries, config):
    assert "no readable .keras file" in _refused(_packed(tmp_path / "x.keras", entries, config))


@pytest.mark.parametrize("missing", ["config.json", "model.weights.h5"])
def test_a_file_without_a_part_is_refused_in_one_line(tmp_path, entries, missing):
    rest = {name: data for name, data in entries.items() if name != missing}
    assert missing in _refused(_packed(tmp_path / "x.keras", rest))


def test_arrays_that_unpack_to_more_than_a_network_are_refused(tmp_path, entries):
    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        file.create_dataset("layers/huge", (weights.MAX_BYTES // 4 + 1,), "f4", chunks=(1 << 20,), compression="gzip")
    assert len(packed.getvalue()) < 1 << 20
    message = _refused(_packed(tmp_path / "x.keras", entries, stored=packed.getvalue()))
    assert f"arrays of {weights.MAX_BYTES + 4} bytes" in message


def test_weights_of_another_shape_are_refused_in_one_line(tmp_path, entries):
    assert "no readable" in _refused(_packed(tmp_path / "x.keras", entries, _changed(entries, confidences=7)))
    empty = io.BytesIO()
    with h5py.File(empty, "w") as file:
        file.create_group("layers")
    assert "no readable" in _refused(_packed(tmp_path / "x.keras", entries, stored=empty.getvalue()))


def test_weights_that_are_no_numbers_are_refused(tmp_path, network):
    spoiled = CNet.from_config(network.get_config())
    spoiled.set_weights([np.full_like(values, np.nan) for values in network.get_weights()])
    weights.save(spoiled, tmp_path / "x.keras")
    assert _refused(tmp_path / "x.keras").endswith("weights must be finite. Received: NaN or infinity")


def test_changed_bytes_change_nothing_or_are_refused_in_one_line(tmp_path, network, entries):
    content = _packed(tmp_path / "whole.keras", entries).read_bytes()
    rng = np.random.default_rng(19)
    messages = []
    for _ in range(40):
        spoiled = bytearray(content)
        spoiled[rng.integers(len(content))] ^= rng.integers(1, 256)
        (tmp_path / "x.keras").write_bytes(spoiled)
        try:
            back = weights.load(tmp_path / "x.keras", CNet)
        except weights.WeightsError as error:
            messages.append(str(error))
            continue
        for mine, theirs in zip(back.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert len(messages) > 20
    assert all(len(message.splitlines()) == 1 for message in messages)
