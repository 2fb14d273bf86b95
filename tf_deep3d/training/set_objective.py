"""C-Net from sets of photos alone (Deng et al. 2019, section 4): R-Net stays as it is, and every photo of a set is
rebuilt with the one identity that the set's confidences give. The gradient reaches C-Net through that identity.

Letters: S sets, M photos of a set, K identity coefficients.
"""

from typing import Any

import keras
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.face.aggregation import aggregate
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.losses import supervised
from tf_deep3d.models.cnet import CNet
from tf_deep3d.models.rnet import RNet
from tf_deep3d.training.objective import Reconstructor
from tf_deep3d.training.settings import TrainSettings


class SetReconstructor(Reconstructor):
    """C-Net with its frozen R-Net and everything that turns a fused identity into losses.

    Called with a batch of `image_sets`, it gives what `Reconstructor` does, [S]: means over the photos of a set.
    `shape_error` and `average_error` are the distances in mm (root mean square over the vertices, once aligned) of
    the fused and the plainly averaged shape from the true one.
    """

    MEASURES = (*Reconstructor.MEASURES, "shape_error", "average_error")

    def __init__(
        self,
        rnet: RNet,
        cnet: CNet,
        model: MorphableModel,
        recognition: keras.Model | None,
        settings: TrainSettings,
        strategy: Any = None,
    ) -> None:
        """Prepares the step; arguments as of `Reconstructor`, and `cnet`, the `CNet` to train."""
        super().__init__(rnet, model, recognition, settings, strategy)
        rnet.trainable = False
        self.cnet = cnet

    @property
    def learner(self) -> keras.Model:
        """C-Net."""
        return self.cnet

    def call(self, batch: dict[str, Array], training: bool = False) -> dict[str, Any]:
        """Raw loss terms and measures of `batch`, see the class."""
        present = batch["present"]
        photos = present.shape[1]
        flat = {
            name: ops.reshape(values, (-1, *values.shape[2:])) for name, values in batch.items() if name != "present"
        }
        coefficients, features = self.rnet.regress(flat["inputs"], training=False)
        confidence = self.cnet([ops.stop_gradient(each) for each in features], training=training)
        single = ops.stop_gradient(coefficients.identity)
        single = ops.reshape(single, (-1, photos, single.shape[-1]))
        confidence = ops.reshape(confidence, (-1, photos, confidence.shape[-1]))
        strategy = "scalar" if self.cnet.confidences == 1 else "elementwise"
        fused = aggregate(single, confidence, present, strategy, xp=ops)
        judged = self.judge(coefficients._replace(identity=ops.repeat(fused, photos, axis=0)), flat)

        def over_photos(values: Array) -> Array:
            values = ops.where(present > 0, ops.reshape(values, (-1, photos)), 0.0)
            return ops.sum(values, axis=1) / ops.maximum(ops.sum(present, axis=1), 1.0)

        truth = self.rnet.layout.split(flat["coefficients"], ops).identity
        truth = ops.reshape(truth, (-1, photos, truth.shape[-1]))[:, 0]
        average = aggregate(single, None, present, "average", xp=ops)
        errors = {"shape_error": fused, "average_error": average}
        measures = {name: over_photos(values) for name, values in judged["measures"].items()}
        metric = self.constants.identity_metric
        measures |= {name: supervised.root_mean_square(value - truth, metric) for name, value in errors.items()}
        terms = {name: over_photos(values) for name, values in judged["terms"].items()}
        known = {name: ops.reshape(values, (-1, photos))[:, 0] for name, values in judged["known"].items()}
        known |= dict.fromkeys(errors, supervised.all_known(self.rnet.layout.split(batch["known"][:, 0], ops).identity))
        return {"terms": terms, "measures": measures, "known": known}
