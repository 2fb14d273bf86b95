"""Settings of a training: what cannot be is refused, and the shipped configurations are what they say."""

import pytest

from tf_deep3d.data.mixture import DataSettings
from tf_deep3d.errors import InputError
from tf_deep3d.losses.weighing import LossWeights
from tf_deep3d.training.settings import Network, Optimization, SetSettings, TrainSettings, recipe_of


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Optimization(learning_rate=0),
        lambda: Optimization(schedule="linear"),
        lambda: Optimization(clip_norm=-1),
        lambda: Optimization(warmup=10),
        lambda: Optimization(schedule="steps"),
        lambda: Optimization(schedule="steps", decay_steps=(100, 50)),
        lambda: Optimization(schedule="steps", decay_steps=(0, 50)),
        lambda: Optimization(schedule="cosine", decay_steps=(50,)),
        lambda: TrainSettings(precision="half"),
        lambda: TrainSettings(attention="none"),
        lambda: TrainSettings(steps=99, log_every=50),
        lambda: TrainSettings(log_every=0),
        lambda: TrainSettings(seed=-1),
        lambda: SetSettings(photos=2, least=3),
        lambda: SetSettings(bound=0.0),
        lambda: LossWeights(landmark=-1.0),
        lambda: DataSettings(batch=1_000_000_000),
        lambda: DataSettings(batch=0),
        lambda: DataSettings(validation=10**30),
        lambda: DataSettings(shares=(1e308, 1e308)),
        lambda: TrainSettings(steps=10**30),
        lambda: TrainSettings(save_every=10**30),
        lambda: Optimization(schedule="cosine", warmup=10**30),
        lambda: Optimization(schedule="steps", decay_steps=(1, 10**30)),
    ],
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(InputError, match="Received"):
        wrong()


def test_the_recipe_says_how_and_not_where():
    recipe = recipe_of(TrainSettings(network=Network(start="/home/me/runs/first/rnet.keras"), seed=7))
    assert recipe["network"]["start"] == "rnet.keras"
    assert "records" not in recipe["data"]
    assert recipe["seed"] == 7
    assert recipe["optimization"]["decay_steps"] == []
