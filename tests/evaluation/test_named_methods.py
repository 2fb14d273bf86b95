"""Which networks the named methods need."""

from pathlib import Path

import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import named_methods
from tf_deep3d.evaluation.named_methods import Networks
from tf_deep3d.face import aggregation
from tf_deep3d.models.weights import WeightsError


def test_what_is_compared_by_default(monkeypatch, tmp_path):
    monkeypatch.setattr(named_methods.cnets, "SHIPPED", tmp_path / "none.keras")
    assert named_methods.set_methods() == ["single", "average"]
    assert named_methods.set_methods(Networks(cnet=Path("cnet"), scalar=Path("scalar"))) == [
        "single",
        *aggregation.STRATEGIES,
    ]
    assert "scalar" not in named_methods.usual("sets", Networks(cnet=Path("cnet")))
    assert named_methods.usual("open") == ["mean", "fit", "rnet"]


def test_networks_that_do_not_fit_are_refused(tmp_path, tiny_model):
    with pytest.raises(FileNotFoundError):
        named_methods.load(["elementwise"], (tiny_model,), Networks(cnet=tmp_path / "none.keras"))
    with pytest.raises(InputError, match="--scalar"):
        named_methods.load(["scalar"], (tiny_model,))
    (tmp_path / "cnet.keras").write_bytes(b"no network")
    with pytest.raises(WeightsError):
        named_methods.load(["best"], (tiny_model,), Networks(cnet=tmp_path / "cnet.keras"))
