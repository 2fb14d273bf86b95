"""The albedo's skin beside that of a photo."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.model_people import SKIN_TONES
from tf_deep3d.evaluation.protocols import tones
from tf_deep3d.face import morphable_model
from tf_deep3d.face.lighting import LUMINANCE


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One portrait, as it is and darkened."""
    folder = tmp_path_factory.mktemp("photos")
    portrait = data.astronaut()[:260, 100:340]
    Image.fromarray(portrait).save(folder / "light.png")
    Image.fromarray((0.4 * portrait).astype(np.uint8)).save(folder / "shade.png")
    return folder


def prediction(albedo):
    return Prediction(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 3)), albedo=albedo)


def test_the_albedo_is_compared_with_the_photo_where_skin_is_seen(model, folder):
    protocol = tones.tones(folder, model)
    cases = list(protocol.cases(folder))
    assert [case.group for case in cases] == ["light", "shade"]
    seen = [tones.skin_of(folder / f"{name}.png", model) for name in ("light", "shade")]
    for case, (colors, shown), off in zip(cases, seen, (0.1, -0.05), strict=True):
        assert shown.sum() > 100
        assert not (shown & ~model.regions["skin"]).any()
        albedo = np.full((len(shown), 3), np.nan)
        albedo[shown] = colors + off
        found = case.measure(prediction(albedo)).numbers
        mean = colors.mean(0) @ LUMINANCE
        assert found == pytest.approx({"albedo": abs(off), "lighter": off, "skin": mean + off}, abs=1e-6)
        with pytest.raises(InputError, match="no albedo"):
            case.measure(prediction(None))
        with pytest.raises(InputError, match="no albedo"):
            case.measure(prediction(albedo[1:]))
    (light, _), (shade, _) = seen
    assert shade.mean() == pytest.approx(0.4 * light.mean(), rel=0.1)
    tone = [list(SKIN_TONES).index(case.sections[0].removeprefix("skin: ")) for case in cases]
    assert tone[0] < tone[1]


def test_the_chart_shows_photo_and_albedo():
    rows = [{"numbers": {"albedo": 0.1, "lighter": 0.1 * n, "skin": 0.2 + 0.2 * n}} for n in range(3)]
    (chart,) = tones.figures({"m": [*rows, {"numbers": {}}], "one": rows[:1]})
    np.testing.assert_allclose(chart.series["m"], 255 * np.array([[0.2, 0.3, 0.4], [0.2, 0.4, 0.6]]))
    assert chart.title.endswith("m: Spearman +1.00")


def test_a_photo_without_a_face_is_an_unusable_case(model, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    (case,) = tones.tones(tmp_path, model).cases(tmp_path)
    assert "no face" in case.unusable
