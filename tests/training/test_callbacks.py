"""What a training does beside its steps."""

import keras
import numpy as np
import pytest

from tf_deep3d.training import callbacks
from tf_deep3d.training.optimizer import build_optimizer
from tf_deep3d.training.settings import PRECISIONS, Optimization, TrainSettings


class Learning(keras.Model):
    """One weight and its optimizer, in place of a `Reconstructor`."""

    def __init__(self, settings):
        super().__init__()
        self.learner = keras.layers.Dense(1, use_bias=False)
        self.learner.build((1, 1))
        self.optimizer = build_optimizer(settings)
        self.optimizer.build(self.learner.trainable_variables)

    def weight(self):
        return float(self.learner.get_weights()[0][0, 0])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_kept_are_the_moving_averages(precision):
    settings = TrainSettings(precision=precision, optimization=Optimization(learning_rate=0.1, ema=0.5))
    model = Learning(settings)
    (variable,) = model.learner.trainable_variables
    start, average = model.weight(), None
    with callbacks.averaged(model):
        assert model.weight() == start  # no step, no average
    for _ in range(3):
        model.optimizer.apply_gradients([(np.full((1, 1), model.optimizer.scale_loss(1.0), np.float32), variable)])
        average = model.weight() if average is None else (average + model.weight()) / 2
    last = model.weight()
    with callbacks.averaged(model):
        assert model.weight() == pytest.approx(average, abs=1e-6)
    assert model.weight() == last
    assert abs(last - average) > 0.05
