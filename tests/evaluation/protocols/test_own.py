"""Our own benchmarks: which pictures make a case, what is measured, and what is added when all is measured."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark, open_benchmark, report
from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.protocols import confidence, consistency, fairness, robustness, sets, spoiled
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE
from tf_deep3d.io import photos


@pytest.fixture(scope="module")
def subject():
    """A small square with a picture of its own: a quick person."""
    x, y = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(1, -1, 24))
    vertices = np.stack([x, y, 0.4 * np.exp(-4 * (x**2 + y**2)) - 0.3 * x**2], -1).reshape(-1, 3)
    index = np.arange(24 * 24).reshape(24, 24)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    colors = np.random.default_rng(0).integers(60, 200, (len(vertices), 3)).astype(np.uint8)
    points = vertices[np.linspace(60, 500, 68).astype(int)].astype(np.float32)
    return open_benchmark.subject(
        "square", vertices, triangles.astype(np.int32), np.ones(len(vertices), bool), colors, points, exact=True
    )


@pytest.fixture
def people(subject, monkeypatch):
    """The square twice, in place of all people."""
    both = [(0, subject), (1, subject._replace(name="other"))]
    for module in (sets, robustness):
        monkeypatch.setattr(module, "people", lambda members: both)
    monkeypatch.setattr(confidence, "drawn_members", lambda count: both[:count])
    return both


def truth_of(subject):
    moved = 3 * subject.vertices + 1
    return Prediction(
        moved, subject.triangles, 3 * subject.landmarks[INNER_FACE] + 1, landmarks=subject.landmarks[:, :2]
    )


def sections_of(protocol, folder, entries):
    return [protocol.make(entry, folder).sections for entry in entries]


def test_sets_hold_all_and_a_few_photos_clean_and_spoiled(people, tmp_path):
    protocol = sets.sets(0)
    kinds = 1 + len(sets.SPOILED) * len(sets.SPOILS)
    assert len(protocol.entries) == 2 * kinds * (1 + sets.DRAWS)
    whole, blurred = protocol.entries[0], protocol.entries[1]
    assert sorted(whole.chosen) == list(range(20))
    assert blurred.chosen == whole.chosen
    clean = protocol.make(whole._replace(chosen=whole.chosen[:2]), tmp_path)
    assert clean.sections == ("2 photos", "2 photos, people")
    assert clean.neutral
    worse = protocol.make(blurred._replace(chosen=whole.chosen[:2], spoiled=1), tmp_path)
    assert worse.sections == ("2 photos, 1 blurred",)
    assert worse.photos[1] == clean.photos[1]
    before, after = (photos.read_photo(each.photos[0]).astype(float) for each in (clean, worse))
    assert np.abs(np.diff(after, axis=0)).mean() < 0.7 * np.abs(np.diff(before, axis=0)).mean(), "it is blurred"
    again = sets.sets(0).entries
    assert again == protocol.entries
    measured = clean.measure(truth_of(people[0][1]))
    assert measured.numbers["plane_rmse"] < 1e-3
    assert set(measured.numbers) == {"plane_rmse", "point_mean", "coverage"}, "landmarks of one photo are none of a set"
    assert clean.measure(truth_of(people[0][1])) is measured, "the same shape is measured once"
    assert worse.measure(truth_of(people[0][1])).picture is None


def test_every_step_of_robustness_is_a_section(people, tmp_path):
    protocol = robustness.robustness(0)
    titles = [title for each in sections_of(protocol, tmp_path, protocol.entries[:29]) for title in each]
    assert len(titles) == len(set(titles)) == len(robustness.YAWS) + sum(map(len, robustness.LEVELS.values()))
    assert {entry[0] for entry in protocol.entries[:29]} == {0}
    assert len(list(tmp_path.iterdir())) == 29, "no picture twice"

    subject = people[0][1]
    for kind, level in (("yaw", 40), ("face width", 16), ("face width", 32)):
        case = protocol.make((0, kind, level), tmp_path)
        view = open_benchmark.views_at(0, subject, {"x": (0.0, 40.0 if kind == "yaw" else 0.0, 0.0)})[0]
        size = photos.read_photo(case.photos[0]).shape[0]
        given = truth_of(subject)._replace(landmarks=view.landmarks * size / open_benchmark.SIZE)
        assert case.measure(given).numbers["nme_box"] < 1e-6, "landmarks are in px of the picture as it is"
    assert size / open_benchmark.SIZE == pytest.approx(32 / np.ptp(view.landmarks[:, 0]), rel=0.02)


def rows_of(protocol, folder, entries, numbers):
    """Results as of `benchmark.run`, with numbers given by the case."""
    cases = [protocol.make(entry, folder) for entry in entries]
    return [
        {"picture": case.name, "group": case.group, "angles": case.angles, "sections": case.sections, "photo": "",
         "numbers": numbers(case), "reason": None}
        for case in cases
    ]  # fmt: skip


def test_curves_of_robustness_show_the_means(people, tmp_path):
    protocol = robustness.robustness(0)
    entries = [entry for entry in protocol.entries if entry[1] in ("yaw", "blur")]

    def numbers(case):
        if case.sections[0].startswith("yaw"):
            return {"plane_rmse": 2.0 + (case.group == "other")}
        return {"plane_rmse": float(case.sections[0].split()[1])}

    found = {chart.name: chart for chart in protocol.charts(None, {"m": rows_of(protocol, tmp_path, entries, numbers)})}
    assert set(found) == {
        f"plane_rmse_{name}" for name in ("yaw", "blur", "JPEG_quality", "occluded", "light", "face_width")
    }
    x, y = found["plane_rmse_yaw"].series["m"]
    np.testing.assert_array_equal(x, robustness.YAWS)
    np.testing.assert_allclose(y, 2.5)
    x, y = found["plane_rmse_blur"].series["m"]
    np.testing.assert_allclose(x, robustness.LEVELS["blur"])
    np.testing.assert_allclose(y, [2.5, *robustness.LEVELS["blur"][1:]])


def write_people(folder, counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / name / f"{number}.png")


def test_a_list_says_who_is_who(tmp_path):
    write_people(tmp_path, {"x": 3, "y": 2})
    table = tmp_path / "people.csv"
    table.write_text("identity,file\na,x/0.png\na,x/1.png\na,x/7.png\nb,y/0.png\nc\n")
    protocol = consistency.consistency(tmp_path, table, held_out=1)
    cases = list(protocol.cases(tmp_path))
    assert sorted(photo for case in cases for photo in case.photos) == [tmp_path / "x" / f"{i}.png" for i in (0, 1)]
    for lacking in ("a second photo of b", "a second photo of c", str(tmp_path / "x" / "7.png")):
        assert lacking in protocol.remark
    table.write_text("name,file\na,x/0.png\n")
    with pytest.raises(InputError, match="columns identity and file"):
        consistency.consistency(tmp_path, table)


def test_halves_of_people_are_compared(tmp_path, tiny_model):
    write_people(tmp_path / "people", {"a": 5, "b": 2, "c": 1, "d": 50})
    protocol = consistency.consistency(tmp_path / "people", held_out=1)
    assert "a second photo of c" in protocol.remark
    cases = list(protocol.cases(tmp_path))
    shown = {case.name: case.photos for case in cases}
    assert {name: len(each) for name, each in shown.items()} == {
        "a_a": 3,
        "a_b": 2,
        "b_a": 1,
        "b_b": 1,
        "d_a": 10,
        "d_b": 10,
    }
    assert not set(shown["d_a"]) & set(shown["d_b"])

    shapes = {
        "a": tiny_model.mean_shape * MILLIMETRES,
        "b": tiny_model.mean_shape * MILLIMETRES * [0.9, 1, 1],
        "d": tiny_model.mean_shape * MILLIMETRES * [1, 0.9, 1],
    }
    noise = np.random.default_rng(0).normal(0, 0.5, tiny_model.mean_shape.shape)

    def run(cases):
        return [
            Prediction(
                None, tiny_model.triangles, None, neutral=3 * shapes[case.group] + noise * case.name.endswith("b")
            )
            for case in cases
        ]

    results = benchmark.run(protocol.name, cases, [Method("m", run, {}, detects=False)], tiny_model, tmp_path / "out")
    protocol.finish(tmp_path / "out", results)
    for row in results["m"]:
        numbers = row["numbers"]
        assert numbers["same_person"] == pytest.approx(0.5 * 3**0.5, rel=0.05), "the noise"
        assert numbers["other_people"] > 3
        assert numbers["halves_ratio"] == pytest.approx(numbers["same_person"] / numbers["other_people"])
        assert numbers["recognized"] == 1
    table = report.summaries(results)
    assert "recognized" in report.shown_measures(table["all"])


def test_a_list_of_people_and_held_out_ones(tmp_path):
    names = [f"person{number}" for number in range(40)]
    write_people(tmp_path / "people", dict.fromkeys(names, 2))
    lines = [f"{name},{name}/{number}.png" for name in names for number in (0, 1)]
    (tmp_path / "list.csv").write_text("identity,file\n" + "\n".join(lines))
    protocol = consistency.consistency(tmp_path / "people", tmp_path / "list.csv", 0.25)
    kept = {name for name, _, _ in protocol.entries}
    assert kept == {name for name in names if consistency.split_of(name, 0.25) == "validation"}
    assert 0 < len(kept) < 20
    (tmp_path / "list.csv").write_text("name,file\na,b\n")
    with pytest.raises(InputError, match="columns identity and file"):
        consistency.consistency(tmp_path / "people", tmp_path / "list.csv")
    with pytest.raises(InputError, match="share"):
        consistency.consistency(tmp_path / "people", held_out=0.0)
    with pytest.raises(FileNotFoundError, match="expected"):
        consistency.consistency(tmp_path / "nowhere")


def test_confidence_of_turned_people_and_of_spoiled_photos(people, tmp_path, tiny_model):
    protocol = confidence.confidence(tiny_model, members=1)
    steps = 1 + sum(map(len, confidence.LEVELS.values()))
    assert len(protocol.entries) == len(confidence.YAWS) + steps
    rows = rows_of(
        protocol, tmp_path, protocol.entries, lambda case: {"confidence": 0.2 if "light 6" in case.sections[0] else 0.4}
    )
    protocol.finish(tmp_path, {"m": rows})
    changes = {row["sections"][0]: row["numbers"].get("confidence_change") for row in rows if not row["angles"]}
    assert changes.pop("photo as it is") is None
    assert changes.pop("photo, light 6 %") == pytest.approx(-0.5)
    assert set(changes.values()) == {0.0}
    with pytest.raises(InputError, match="no confidence"):
        protocol.make(protocol.entries[0], tmp_path).measure(truth_of(people[0][1]))
    with pytest.raises(InputError, match="at least 1"):
        confidence.confidence(tiny_model, members=0)
    with pytest.raises(FileNotFoundError):
        confidence.confidence(tiny_model, tmp_path / "nowhere")
    write_people(tmp_path, {"one": 1, "two": 1})
    protocols = [confidence.confidence(tiny_model, tmp_path / name) for name in ("one", "two")]
    *_, blurred = protocols[0].cases(tmp_path / "pictures")
    assert "no face found" in blurred.unusable, "a whole photo is not spoiled"
    names = [each.name for each in protocols]
    assert names[0] != names[1], "as many photos of others"


def test_figures_of_confidence_tell_coefficients_apart(people, tmp_path, tiny_model):
    protocol = confidence.confidence(tiny_model, members=1)
    cases = [protocol.make(entry, tmp_path / "pictures") for entry in protocol.entries[: len(confidence.YAWS)]]
    depth, whole = confidence.depth_influence(tiny_model)

    def run(cases):
        """Trusts what moves depth more in profiles."""
        turned = [abs(case.angles[1]) / 80 for case in cases]
        return [
            Prediction(None, None, None, confidence=np.float32(0.5 - 0.3 * turn + 0.25 * turn * depth / whole))
            for turn in turned
        ]

    out = tmp_path / "out"
    results = benchmark.run(protocol.name, cases, [Method("m", run, {}, detects=False)], tiny_model, out)
    by_yaw, dots = protocol.charts(out, results)
    yaws, values = by_yaw.series["m"]
    np.testing.assert_array_equal(yaws, confidence.YAWS)
    assert values[8] == pytest.approx(50)
    assert values[0] < values[4] < values[8]
    assert "Spearman +1.00" in dots.title
    np.testing.assert_allclose(dots.series["m"][0], 100 * depth / whole)


def test_depth_is_what_moves_along_the_view(tiny_model):
    basis = np.zeros_like(tiny_model.identity_basis)
    wave = np.where(np.arange(basis.reshape(len(basis), -1, 3).shape[1]) % 2, 0.01, -0.01)
    moves = basis.reshape(len(basis), -1, 3)
    moves[0, :, 2], moves[1, :, 0], moves[2, :, 2] = wave, wave, 5
    depth, whole = confidence.depth_influence(replace(tiny_model, identity_basis=basis))
    np.testing.assert_allclose(depth[:3], [0.01, 0, 0], atol=1e-3)
    np.testing.assert_allclose(whole[:3], [0.01, 0.01, 0], atol=1e-3)


def test_fairness_tells_people_apart(subject, monkeypatch, tmp_path):
    crowd = [
        fairness.model_people.Known(subject._replace(name=f"known{n}"), ("female", "male")[n % 2]) for n in range(4)
    ]
    monkeypatch.setattr(fairness.model_people, "crowd", lambda model, head, count: crowd[:count])
    monkeypatch.setattr(fairness.morphable_model, "load", lambda level: None)
    monkeypatch.setattr(fairness.rendered_people, "load_head", lambda model: None)
    protocol = fairness.fairness(4)
    assert len(protocol.entries) == 8
    yaws = {(sex, view.angles[1]) for view, sex, _ in protocol.entries}
    assert yaws == {(sex, yaw) for sex in ("female", "male") for yaw in (0, 40, -40)}
    case = protocol.make(protocol.entries[0], tmp_path)
    assert case.sections == ("sex: female", f"skin: {fairness.model_people.skin_tone(subject)}")
    assert case.measure(truth_of(subject)).numbers["plane_rmse"] < 1e-3


def test_spoiled_pictures_are_made_once(tmp_path):
    clean = tmp_path / "clean.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 60, 3)).astype(np.uint8)).save(clean)
    box = (10.0, 10.0, 50.0, 60.0)
    for kind, made in spoiled.KINDS.items():
        assert spoiled.spoil(clean, box, kind, made.none, (1, 2, 3), tmp_path) == clean
        level = 20
        path = spoiled.spoil(clean, box, kind, level, (1, 2, 3), tmp_path)
        stamp = path.stat().st_mtime_ns
        assert spoiled.spoil(clean, box, kind, level, (1, 2, 3), tmp_path).stat().st_mtime_ns == stamp
        changed = np.asarray(Image.open(path))
        assert changed.shape == ((40, 30, 3) if kind == "face width" else (80, 60, 3))
    covered = (np.asarray(Image.open(tmp_path / "clean_occluded20.png")) != np.asarray(Image.open(clean))).any(-1)
    assert covered.sum() == pytest.approx(0.2 * 40 * 50, rel=0.1)
    assert spoiled.title("blur", 4) == "blur 4 % of the face's width"
