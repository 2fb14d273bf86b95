"""The terms in NumPy against those of training."""

import pytest

from tests.fitting.test_gauss_newton import _drawn, _perturbed, _seen
from tf_deep3d.face import morphable_model
from tf_deep3d.fitting import descent, judging
from tf_deep3d.fitting.settings import FitSettings
from tf_deep3d.models.recognition import build_recognition


@pytest.mark.parametrize("lighting", ["rgb", "white"])
def test_terms_are_those_of_the_hybrid_loss(lighting):
    levels = morphable_model.load_levels()[:1]
    truth = _drawn(levels[0], 1, lighting=lighting)
    observation, shown = _seen(levels[0], truth), _perturbed(truth, 2)
    settings = FitSettings(stages=(), lighting=lighting)
    wanted = descent.fit(levels, observation, settings, build_recognition(), shown).terms
    found = judging.terms(levels[0], observation, shown, settings)
    assert set(found[0]) == set(wanted)
    for index, terms in enumerate(found):
        for name, value in terms.items():
            assert value == pytest.approx(
                float(wanted[name][index]), rel=2e-3, abs=1e-3 if name == "perceptual" else 1e-5
            ), name
