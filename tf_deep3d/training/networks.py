"""The networks of a training, as it begins."""

import keras

from tf_deep3d.face import morphable_model
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import presets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.cnet import CNet
from tf_deep3d.models.rnet import RNet
from tf_deep3d.training.settings import SetSettings, TrainSettings, recipe_of


def build_rnet(settings: TrainSettings) -> RNet:
    """The `RNet` of `TrainSettings`, at its start.

    Raises:
      morphable_model.ModelError, FileNotFoundError: see `morphable_model.load`.
      weights.WeightsError: see `rnet.load_start`.
    """
    wanted = settings.network
    layout = morphable_model.load(wanted.face_model, level=0).layout(wanted.lighting)
    policy = keras.DTypePolicy(settings.precision)
    rnet = RNet(wanted.backbone, layout, rnets.fingerprint(wanted.face_model), recipe_of(settings), dtype=policy)
    rnets.load_start(rnet, wanted.start)
    return rnet


def build_pair(settings: TrainSettings) -> tuple[RNet, CNet]:
    """The frozen `RNet` and the untrained `CNet` of `TrainSettings` with `sets`.

    Raises:
      morphable_model.ModelError, FileNotFoundError: see `morphable_model.load`.
      weights.WeightsError: for unusable weights, or those of another face model.
    """
    wanted = settings.sets or SetSettings()
    rnet = RNet.from_preset(
        presets.DEFAULT if wanted.rnet == "shipped" else wanted.rnet, rnets.fingerprint(settings.network.face_model)
    )
    recipe = recipe_of(settings)
    recipe["sets"].pop("rnet")
    policy = keras.DTypePolicy(settings.precision)
    return rnet, cnets.build_cnet(rnet, wanted.scalar, wanted.bound, recipe, policy)
