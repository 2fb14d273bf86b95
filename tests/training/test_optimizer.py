import numpy as np

from tf_deep3d.training.optimizer import build_optimizer, warmup_steps
from tf_deep3d.training.settings import Optimization, TrainSettings


def test_schedules():
    def rates(steps, **options):
        settings = TrainSettings(optimization=Optimization(**options), steps=1000)
        rate = build_optimizer(settings)._learning_rate
        return [float(rate(step)) for step in steps] if callable(rate) else float(rate.numpy())

    short = TrainSettings(optimization=Optimization(schedule="cosine", warmup=200), steps=50)
    assert warmup_steps(short) == 49
    rising = build_optimizer(short)._learning_rate
    np.testing.assert_allclose([float(rising(step)) for step in (0, 49)], [0, 1e-4], atol=1e-10)
    assert rates([], learning_rate=0.5) == 0.5
    steps = rates([0, 99, 101, 250], learning_rate=1.0, schedule="steps", decay=0.2, decay_steps=(100, 200))
    np.testing.assert_allclose(steps, [1, 1, 0.2, 0.04], rtol=1e-6)
    cosine = rates([0, 50, 100, 1000], learning_rate=1.0, schedule="cosine", decay=0.1, warmup=100)
    np.testing.assert_allclose(cosine, [0, 0.5, 1, 0.1], atol=1e-6)
