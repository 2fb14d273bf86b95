"""The optimizer of a training: AdamW along a schedule, with clipping and moving averages."""

import keras

from tf_deep3d.training.settings import TrainSettings


def warmup_steps(settings: TrainSettings) -> int:
    """Steps of `TrainSettings` over which the rate rises: a trial may be shorter than the warm-up of its preset."""
    return min(settings.optimization.warmup, settings.steps - 1)


def build_optimizer(settings: TrainSettings, replicas: int = 1) -> keras.optimizers.Optimizer:
    """The Keras optimizer of `TrainSettings`.

    Keras clips the gradient of each replica, then sums the replicas'. Where each of them brings the mean over all of
    them, clipped to its share of the norm, the sum is the clipped gradient of the whole batch.

    Args:
      settings: `TrainSettings`.
      replicas: number of replicas that each bring the mean of all gradients.
    """
    how, warmup = settings.optimization, warmup_steps(settings)
    rate = how.learning_rate
    if how.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            settings.steps - warmup,
            alpha=how.decay,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    elif how.schedule == "steps":
        rates = [rate * how.decay**index for index in range(len(how.decay_steps) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(list(how.decay_steps), rates)
    adam = keras.optimizers.AdamW(
        rate,
        weight_decay=how.weight_decay,
        global_clipnorm=how.clip_norm / replicas or None,
        use_ema=how.ema > 0,
        ema_momentum=how.ema,
    )
    return keras.optimizers.LossScaleOptimizer(adam) if settings.precision == "mixed_float16" else adam
