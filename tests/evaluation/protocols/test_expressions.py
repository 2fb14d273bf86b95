"""Rendered people of known units, and photos whose paths say what they show."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.detection import detector
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.protocols import expressions
from tf_deep3d.face import expression, morphable_model
from tf_deep3d.face.blendshapes import ARKIT
from tf_deep3d.face.camera import Camera
from tf_deep3d.reconstruction import portraits


def prediction(*weights):
    """Of photos 0, 1, ..."""
    everything = {str(photo): dict.fromkeys(ARKIT, 0.0) | each for photo, each in enumerate(weights)}
    return Prediction(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 3)), arkit=lambda: everything)


def pictures():
    return [entry for entry in expressions.expressions().entries if isinstance(entry, expressions.Shown)]


def entries(section):
    return [entry for entry in pictures() if entry.section == section]


def test_three_people_show_35_units_and_10_combinations_and_nothing():
    assert len(entries("units")) == len(entries("units, half")) == 3 * 35
    assert len(entries("combinations")) == len(entries("combinations, half")) == 3 * 10
    assert len(entries("neutral")) == 3 * expressions.NEUTRALS
    names = [(entry.person, entry.name) for entry in pictures()]
    assert len(set(names)) == len(names)
    for entry in pictures():
        assert set(entry.weights) <= set(ARKIT)
        assert all(0 < weight <= 1 for weight in entry.weights.values())


def test_the_strongest_unit_counts():
    laugh = {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "jawOpen": 0.4}

    def measured(**weights):
        return expressions._of_photo(prediction(weights), laugh).numbers

    found = measured(mouthSmileLeft=0.5, mouthSmileRight=0.9, jawOpen=0.8)
    assert found == pytest.approx({"named": 1.0, "within": 1.0, "unit_weight": 0.2})
    found = measured(mouthSmileLeft=0.3, mouthSmileRight=0.3, jawOpen=0.4)
    assert found == pytest.approx({"named": 0.0, "within": 0.0, "unit_weight": 0.6})
    found = expressions._of_photo(prediction({"browInnerUp": 0.2, "jawOpen": 0.1}), {}).numbers
    assert found == {"most": 0.2}
    with pytest.raises(InputError, match="gives no weights"):
        expressions._of_photo(prediction({})._replace(arkit=None), laugh)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("closed/me.jpg", "closed eyes"),
        ("me_open.jpg", "open eyes"),
        ("004_Smiling.jpg", "smile"),
        ("smiles/2.png", "smile"),
        ("me.jpg", ""),
    ],
)
def test_paths_say_what_photos_show(path, kind):
    assert expressions.kind_of(Path("closed photos") / path, Path("closed photos")) == kind


@pytest.mark.parametrize(
    ("kind", "unit", "weight", "right"),
    [
        ("closed eyes", "eyeBlink", 0.6, 1),
        ("closed eyes", "eyeBlink", 0.5, 0),
        ("open eyes", "eyeBlink", 0.15, 1),
        ("open eyes", "eyeBlink", 0.2, 0),
        ("smile", "mouthSmile", 0.5, 1),
        ("smile", "mouthSmile", 0.4, 0),
    ],
)
def test_photos_are_judged_by_their_kind(kind, unit, weight, right):
    found = expressions._judged(prediction({unit + "Left": weight, unit + "Right": weight}), kind).numbers
    measure = "smile" if kind == "smile" else "blink"
    assert found == pytest.approx({measure: weight, "within": right})


def test_photos_that_say_nothing_are_left_out(tmp_path):
    (tmp_path / "smile").mkdir()
    for name in ("smile/a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    protocol = expressions.expressions(tmp_path)
    assert protocol.entries[-1] == (tmp_path / "smile/a.png", "smile")
    assert "1 photos of 2" in protocol.remark
    (tmp_path / "smile/a.png").unlink()
    with pytest.raises(InputError, match=r"must say closed, open or smile\. Received: 1 in"):
        expressions.expressions(tmp_path)


def test_a_picture_shows_what_it_says(tmp_path):
    """The detector sees closed lids where the person blinks, and open ones where not."""
    protocol = expressions.expressions()
    chosen = [next(e for e in protocol.entries if e.name == name) for name in ("neutral0", "eyeBlink")]
    gaps = []
    for entry in chosen:
        case = protocol.make(entry, tmp_path)
        assert case.sections == (entry.section,)
        assert case.photos[0].is_file()
        (found,) = detector.detect(np.asarray(Image.open(case.photos[0])))
        upper, lower = found.landmarks478[[160, 158], :2], found.landmarks478[[144, 153], :2]
        width = np.linalg.norm(found.landmarks478[33, :2] - found.landmarks478[133, :2])
        gaps.append(np.linalg.norm(upper - lower, axis=-1).mean() / width)
    assert gaps[1] < 0.6 * gaps[0]


def test_a_clip_is_all_pictures_of_a_person(tmp_path, monkeypatch):
    monkeypatch.setattr(expressions, "picture", lambda shown: np.zeros((8, 8, 3), np.uint8))
    protocol = expressions.expressions()
    clips = [entry for entry in protocol.entries if isinstance(entry, expressions.ShownClip)]
    assert len(clips) == 2 * expressions.PEOPLE
    cases = [protocol.make(entry, tmp_path) for entry in clips[:2]]
    assert [case.sections for case in cases] == [("clip, full strength",), ("clip, half strength",)]
    mine = [tmp_path / f"0_{entry.name}.png" for entry in pictures() if entry.person == 0]
    for case in cases:
        assert list(case.photos) == mine
        assert all(path.is_file() for path in case.photos)


def test_a_clip_counts_the_frames_of_its_strength(tmp_path, monkeypatch):
    """All that is found is a smile at full strength: three of 45 at full strength name it, none at half is within."""
    monkeypatch.setattr(expressions, "picture", lambda shown: np.zeros((8, 8, 3), np.uint8))
    protocol = expressions.expressions()
    clips = [entry for entry in protocol.entries if isinstance(entry, expressions.ShownClip)]
    full, half = (protocol.make(entry, tmp_path) for entry in clips[:2])
    smile = dict.fromkeys(ARKIT, 0.0) | {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}
    given = prediction()._replace(arkit=lambda: {str(path): smile for path in full.photos})
    numbers = full.measure(given).numbers
    assert numbers["most"] == 1
    assert numbers["named"] == pytest.approx(3 / 45)  # mouthSmile, duchenne, laugh
    numbers = half.measure(given).numbers
    assert numbers["named"] == pytest.approx(3 / 45)
    assert numbers["within"] < 0.1
    assert "most" not in numbers
    few = prediction()._replace(arkit=lambda: {str(full.photos[0]): smile})  # a face in the first photo alone
    assert full.measure(few).numbers == {"most": 1}


def test_units_of_rendered_people_are_named_beside_their_neutral_face():
    measured, model = expression.load(), morphable_model.load(level=0)
    chosen = ("neutral0", "neutral1", "neutral2", "jawOpen", "eyeBlink", "mouthSmile", "browInnerUp", "mouthPucker")
    found = []
    for name in chosen:
        entry = next(e for e in pictures() if e.name == name and e.person == 0)
        (portrait,) = portraits.portraits_of(expressions.picture(entry), model)
        pixels = portrait.crop.transform.apply(portrait.detected.landmarks478[:, :2])
        frame = expression.Frame(pixels, np.zeros(3), np.zeros(3))
        found.append(expression.coordinates(measured, frame, Camera()))
    person = expression.neutral_of(measured, np.array(found[:2] * 10))
    weights = [dict(zip(ARKIT, expression.solve(measured, each, person, ARKIT), strict=True)) for each in found[2:]]
    assert max(weights[0].values()) < 0.25
    for name, shown in zip(chosen[3:], weights[1:], strict=True):
        assert max(shown, key=shown.__getitem__) in expressions.UNITS[name]
        off = [abs(shown[unit] - weight) for unit, weight in expressions.UNITS[name].items()]
        assert np.mean(off) < 0.4
