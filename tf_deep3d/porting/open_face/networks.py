"""Moves networks of an older open face model to the shipped one: `python -m tf_deep3d.porting.open_face.networks RNET
OUT [--cnet CNET CNET_OUT] [--face OLD_FACE]`.

With `--face`, the model that R-Net was trained with, the shapes of both models mean the same, and the colours are
spanned by other modes: each albedo becomes the nearest one of the shipped model, one affine map on the last layer.

Without, R-Net was trained with the sculpted identities. It keeps what it sees in a photo, and says it of people: the
identity that stood at a place among the sculpted ones becomes the one at the same place among people
(`population.Axes`), so that a photo that tells it nothing shows the mean of people. That is one matrix on its last
layer; the shapes change, and training goes on from there.

C-Net's confidences belong to single coefficients. One of the new coefficients mixes the old ones; its confidence mixes
theirs, before the last nonlinearity, in the shares that they have in its variance. That is no exact translation.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from tf_deep3d import command_line
from tf_deep3d.face import morphable_model
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import files
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import presets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.weights import WeightsError
from tf_deep3d.porting.open_face.population import Axes, principal_axes, read_population


def move_rnet(rnet: rnets.RNet, axes: Axes, face_model: str) -> rnets.RNet:
    """A copy of `rnet` that says identities on the `axes` of the face model with the fingerprint `face_model`.

    Raises:
      WeightsError: if its identities have another number of coefficients.
    """
    if rnet.layout.identity != len(axes.turn):
        raise WeightsError(f"R-Net must have {len(axes.turn)} identity coefficients. Received: {rnet.layout.identity}")
    moved = rnets.RNet.from_config({**rnet.get_config(), "face_model": face_model})
    moved.set_weights(rnet.get_weights())
    _mix(moved.network.get_layer("identity"), axes.turn)
    return moved


def move_albedo(rnet: rnets.RNet, old: MorphableModel, new: MorphableModel, face_model: str) -> rnets.RNet:
    """A copy of `rnet` that says the colours it found in the albedo modes of `new`, as nearly as these can.

    Args:
      rnet: R-Net of `old`.
      old, new: models of one surface, at one level of detail, whose shapes mean the same.
      face_model: fingerprint of `new`.

    Raises:
      WeightsError: if the models have other vertices or other numbers of modes.
    """
    if rnet.layout != old.layout(rnet.layout.lighting) or rnet.layout != new.layout(rnet.layout.lighting):
        raise WeightsError(f"both models must have {rnet.layout}. Received: {old.layout()} and {new.layout()}")
    if len(old.mean_shape) != len(new.mean_shape):
        received = f"{len(old.mean_shape)} and {len(new.mean_shape)}"
        raise WeightsError(f"both models must have the same vertices. Received: {received}")
    moved = rnets.RNet.from_config({**rnet.get_config(), "face_model": face_model})
    moved.set_weights(rnet.get_weights())
    basis = new.albedo_basis.reshape(len(new.albedo_basis), -1).astype(np.float64)
    wanted = np.concatenate([(old.mean_albedo - new.mean_albedo)[None], old.albedo_basis])
    solved = np.linalg.solve(basis @ basis.T, basis @ wanted.reshape(len(wanted), -1).T)
    _mix(moved.network.get_layer("albedo"), solved[:, 1:], solved[:, 0])
    return moved


def move_cnet(cnet: cnets.CNet, turn: np.ndarray, rnet: rnets.RNet) -> cnets.CNet:
    """A copy of `cnet` for the moved `rnet`, whose identities are `turn` [K, K] times the old ones, but for a constant;
    one with a single confidence for each photo only changes its R-Net."""
    moved = cnets.CNet.from_config({**cnet.get_config(), "rnet": rnet.signature()})
    moved.set_weights(cnet.get_weights())
    if cnet.confidences > 1:
        _mix(moved.network.get_layer("confidence"), turn**2)
    return moved


def _mix(layer: keras.layers.Layer, matrix: np.ndarray, offset: np.ndarray | float = 0.0) -> None:
    """Makes a dense `layer` with outputs y [K] give `matrix` [K, K] y + `offset` [K]."""
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel @ matrix.T, matrix @ bias + offset])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.networks", __doc__)
    parser.add_argument("rnet", type=Path, help=".keras file of R-Net, or the folder of a training")
    parser.add_argument("out", type=Path, help=".keras file to write")
    parser.add_argument("--cnet", nargs=2, type=Path, metavar=("CNET", "CNET_OUT"), help="likewise of its C-Net")
    parser.add_argument("--face", type=Path, metavar="OLD_FACE", help="face model that R-Net was trained with")
    parser.add_argument("--half", action="store_true", help="store half precision")
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out, *(options.cnet or ())[1:])
    old = rnets.load_rnet(options.rnet, rnets.fingerprint(options.face) if options.face else presets.SCULPTED)
    judge = cnets.load_cnet(options.cnet[0], old) if options.cnet else None
    if options.face:
        before, after = (morphable_model.load(path, level=0) for path in (options.face, None))
        rnet, turn = move_albedo(old, before, after, rnets.fingerprint()), np.eye(old.layout.identity)
    else:
        axes = principal_axes(read_population())
        rnet, turn = move_rnet(old, axes, rnets.fingerprint()), axes.turn
    rnets.save_rnet(rnet, options.out, options.overwrite, options.half)
    if judge is not None:
        cnets.save_cnet(move_cnet(judge, turn, rnet), options.cnet[1], options.overwrite, options.half)
    return 0


if __name__ == "__main__":
    sys.exit(main())
