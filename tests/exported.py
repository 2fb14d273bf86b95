"""A bundle of the tiny face model, as `python -m export` writes it: MobileNets whose heads are random."""

import contextlib
import io
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

from export import __main__ as command
from export import networks, parity
from tests.prepared import write_records
from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import GROUPS
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets

QUANTIZATIONS = "float32,int8"


class Exported(NamedTuple):
    """What was exported, and what came out.

    Attributes:
      run: folder of the weights.
      records: folder of the calibration.
      folder: the bundle.
      networks: `Networks`.
      model: `MorphableModel` of the bundle's level.
      printed: what the command said on standard output.
    """

    run: Path
    records: Path
    folder: Path
    networks: Any
    model: Any
    printed: str


def build_networks(model, model_file):
    """An R-Net and its C-Net with random heads."""
    rng = np.random.default_rng(0)
    rnet = rnets.RNet("mobilenet", model.layout(), rnets.fingerprint(model_file))
    rnets.load_start(rnet, "shipped")
    for name in GROUPS:
        _randomize(rnet.network.get_layer(name), 0.01, rng)
    cnet = cnets.build_cnet(rnet)
    _randomize(cnet.network.get_layer("confidence"), 0.05, rng)
    return networks.Networks(rnet, cnet)


def export(folder, model_file):
    """Runs the command in `folder`; returns `Exported`."""
    model = morphable_model.load(model_file, level=0)
    made = build_networks(model, model_file)
    rnets.save_rnet(made.rnet, folder / "run" / rnets.WEIGHTS)
    cnets.save_cnet(made.cnet, folder / "run" / cnets.WEIGHTS)
    write_records(folder / "records", model, 26, shard=13)
    paths = [str(folder / "run"), str(folder / "bundle"), "--calibration", str(folder / "records")]
    options = ["--model", str(model_file), "--level", "0", "--quantize", QUANTIZATIONS]
    printed = io.StringIO()
    fast = mock.patch.object(parity, "latency", partial(parity.latency, repeats=2, warm=1))
    with contextlib.redirect_stdout(printed), fast:
        assert command.main([*paths, *options]) == 0
    return Exported(folder / "run", folder / "records", folder / "bundle", made, model, printed.getvalue())


def smooth_pictures(count, seed=0):
    """Random coloured clouds [count, 224, 224, 3] uint8."""
    cells = np.random.default_rng(seed).integers(0, 256, (count, 7, 7, 3), np.uint8)
    return np.stack([Image.fromarray(each).resize((224, 224), Image.Resampling.BICUBIC) for each in cells])


def encode(picture, kind="PNG", **options):
    """The bytes of a picture [H, W, 3] uint8 as a file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **options)
    return stream.getvalue()


def _randomize(layer, scale, rng):
    layer.set_weights([rng.normal(0, scale, weight.shape) for weight in layer.get_weights()])
