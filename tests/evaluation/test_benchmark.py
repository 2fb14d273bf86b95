"""Running methods on cases: what is measured, kept and summed up, on a small benchmark of the synthetic model."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from tf_deep3d import face
from tf_deep3d.detection import alignment, detector
from tf_deep3d.evaluation import benchmark, foreign_methods, html, measuring, methods, metrics, open_benchmark, report
from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.scans import ANCHORS
from tf_deep3d.face import geometry
from tf_deep3d.reconstruction import photo as pipeline


@pytest.fixture(scope="module")
def landmarks(tiny_model):
    return face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]


@pytest.fixture(scope="module")
def views(tiny_model, landmarks):
    """Six views of two subjects, both the synthetic mean face."""
    colors = np.full((len(tiny_model.mean_shape), 3), 128, np.uint8)
    region = metrics.within(tiny_model.mean_shape * 100, landmarks[30] * 100)
    whole = [
        open_benchmark.subject(name, tiny_model.mean_shape, tiny_model.triangles, region, colors, landmarks, exact=True)
        for name in ("person0", "person1")
    ]
    return [view for number, who in enumerate(whole) for view in open_benchmark.views_of(number, who)[1:4]]


@pytest.fixture
def cases(views, tmp_path):
    return [benchmark.open_case(view, tmp_path / "pictures") for view in views]


def predicted(tiny_model, landmarks, view, scale=1.0):
    """The truth, turned and scaled."""
    turn = geometry.rotation_matrix(np.array([[0.1, 0.2, 0.0]]))[0].T * scale
    albedo = np.full((len(tiny_model.mean_shape), 3), 128 / 255)
    return Prediction(
        tiny_model.mean_shape @ turn + 3, tiny_model.triangles, landmarks[17:] @ turn + 3, ANCHORS[68], view.landmarks,
        view.angles, albedo,
    )  # fmt: skip


def test_the_truth_has_no_error(tiny_model, landmarks, views):
    measured = measuring.measure_view(views[0], predicted(tiny_model, landmarks, views[0], 25.0))
    assert measured.numbers["plane_rmse"] < 1e-3
    assert measured.numbers["point_mean"] < 1e-3
    assert measured.numbers["coverage"] == 1
    for name in ("nme_box", "nme_eyes", "pose", "albedo"):
        assert measured.numbers[name] == pytest.approx(0, abs=1e-6)
    assert measured.errors.shape == views[0].subject.region.shape
    assert measured.picture().shape == (192, 384, 3)


def test_known_errors_are_found(tiny_model, landmarks, views):
    given = predicted(tiny_model, landmarks, views[0])
    shape = tiny_model.mean_shape.copy()
    shape[:, 2] += 0.03 * np.sin(9 * shape[:, 0])  # dm
    wrong = given._replace(
        vertices=shape, anchors=landmarks[17:], landmarks=given.landmarks + 2,
        angles=given.angles + np.array([3, 0, -3]), albedo=given.albedo + 0.1,
    )  # fmt: skip
    numbers = measuring.measure_view(views[0], wrong).numbers
    assert 0.5 < numbers["plane_rmse"] < 2.2  # amplitude 3 mm along z
    assert numbers["pose"] == pytest.approx(2)
    assert numbers["albedo"] == pytest.approx(0.1)
    box = np.sqrt(np.prod(np.ptp(views[0].landmarks, axis=0)))
    assert numbers["nme_box"] == pytest.approx(np.sqrt(8) / box, rel=1e-5)


def test_what_a_method_does_not_say_is_not_measured(tiny_model, landmarks, views):
    bare = predicted(tiny_model, landmarks, views[0])._replace(landmarks=None, angles=None, albedo=None)
    numbers = measuring.measure_view(views[0], bare).numbers
    assert set(numbers) == {"plane_rmse", "point_mean", "coverage"}


def method_of(tiny_model, landmarks, views, calls, name="truth", identity=None):
    by_name = {view.name: view for view in views}

    def run(cases):
        calls.append([case.name for case in cases])
        return [
            "too dark" if case.name.endswith("+30") else predicted(tiny_model, landmarks, by_name[case.name])
            for case in cases
        ]

    return Method(name, run, identity or {"n": 1}, detects=False)


def test_results_are_kept_and_not_measured_again(tiny_model, landmarks, views, cases, tmp_path):
    calls, steps = [], []
    method = method_of(tiny_model, landmarks, views, calls)
    first = benchmark.run("tiny 1", cases[:3], [method], tiny_model, tmp_path, on_progress=steps.append)
    assert [row["reason"] for row in first["truth"]] == [None, None, "too dark"]
    assert sum(steps) == 3
    again = benchmark.run("tiny 1", cases, [method], tiny_model, tmp_path)
    assert calls == [[c.name for c in cases[:3]], [c.name for c in cases[3:]]]
    assert again["truth"][:3] == first["truth"]
    details = benchmark.read_details(benchmark.result_folder(tmp_path, "truth"), cases[0].name)
    assert details.errors.max() < 1e-2
    assert details.picture.dtype == np.uint8
    assert details.neutral is details.confidence is None

    other = method_of(tiny_model, landmarks, views, calls, identity={"n": 2})
    with pytest.raises(ValueError, match="other settings"):
        benchmark.run("tiny 1", cases, [other], tiny_model, tmp_path)
    with pytest.raises(ValueError, match="another benchmark"):
        benchmark.run("tiny 2", cases, [method], tiny_model, tmp_path)
    benchmark.run("tiny 1", cases[:1], [other], tiny_model, tmp_path, overwrite=True)
    assert calls[-1] == [cases[0].name]


@pytest.mark.parametrize("name", [".", "..", "../up", "/", "a/b"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    for folder, place in ((benchmark.result_folder, "methods"), (benchmark.picture_folder, "pictures")):
        assert folder(tmp_path, name).resolve().parent == tmp_path / place


def test_photos_are_kept_without_their_windows(tiny_model, landmarks, views, cases, tmp_path, monkeypatch):
    given = []
    portrait = portrait_of(cases[0], np.zeros((68, 2)))
    monkeypatch.setattr(benchmark.pipeline, "portraits_of", lambda path, model, all_faces: [portrait])

    def run(cases):
        given.extend(portrait for case in cases for portrait in case.portraits)
        return ["nothing"] * len(cases)

    benchmark.run("tiny 1", cases[:2], [Method("m", run, {})], tiny_model, tmp_path)
    assert [each.window for each in given] == [None, None], "a large photo's window would be most of its memory"
    assert given[0].crop is portrait.crop


def test_of_several_faces_the_one_with_the_truth_is_measured(tiny_model, cases, tmp_path, monkeypatch):
    large, small = (portrait_of(cases[0], np.full((68, 2), place)) for place in (50.0, 200.0))
    monkeypatch.setattr(
        benchmark.pipeline, "portraits_of", lambda path, model, all_faces: [large, small] if all_faces else [large]
    )
    given = []

    def run(cases):
        given.extend(portrait.detected for case in cases for portrait in case.portraits)
        return ["nothing"] * len(cases)

    three = [cases[0], cases[1]._replace(face=(190.0, 230.0)), cases[1]._replace(name="other", face=(0.0, 0.0))]
    benchmark.run("tiny 1", three, [Method("m", run, {})], tiny_model, tmp_path)
    assert [each is small.detected for each in given] == [False, True, False]


def test_a_prediction_that_cannot_be_measured_is_a_reason(tiny_model, landmarks, views, cases, tmp_path):
    flat = predicted(tiny_model, landmarks, views[0])._replace(anchors=np.zeros((51, 3)))
    method = Method("flat", lambda cases: [flat] * len(cases), {}, detects=False)
    (row,) = benchmark.run("tiny 1", cases[:1], [method], tiny_model, tmp_path)["flat"]
    assert row["numbers"] is None
    assert "three points" in row["reason"]


def portrait_of(case, points):
    transform = geometry.Similarity(0.5, 0.3, (12.0, -4.0))
    detected = detector.Detection(1.0, np.zeros(4), np.zeros((478, 3)), points, np.zeros((5, 2)))
    crop = alignment.Crop(np.zeros((224, 224, 3), np.float32), transform, 0.0)
    return pipeline.Portrait(case.photos[0], np.zeros((4, 4, 3), np.uint8), (0, 0), crop, detected)


def test_predictions_are_in_the_photos_frame(tiny_model, cases):
    coefficients = tiny_model.layout().zeros(1)._replace(angles=np.float32([[0.1, 0.2, 0.3]]))
    portrait = portrait_of(cases[0], np.zeros((68, 2)))
    good = methods.prediction(tiny_model, coefficients, [portrait])
    np.testing.assert_allclose(good.angles, np.degrees([0.1, 0.2, 0.6]), rtol=1e-5)
    crop = face.reconstruct(tiny_model, coefficients).landmarks[0]
    np.testing.assert_allclose(portrait.crop.transform.apply(good.landmarks), crop, atol=1e-3)
    np.testing.assert_allclose(good.vertices, tiny_model.mean_shape, atol=1e-6)
    photo, rendering = good.likeness()
    assert photo.shape == rendering.shape == (224, 224, 3)
    assert rendering.max() > 0.1
    assert (rendering == photo).all(-1).mean() > 0.1, "the photo shows around the face"


def test_photos_of_one_person_make_one_shape(tiny_model, cases):
    zeros = tiny_model.layout().zeros(3)
    identity, expression = zeros.identity.copy(), zeros.expression.copy()
    identity[:, 0], expression[:, 0] = [1, 3, np.nan], 2
    coefficients = zeros._replace(identity=identity, expression=expression)
    portraits = [portrait_of(cases[0], np.zeros((68, 2)))] * 3
    calm = methods.prediction(tiny_model, coefficients, portraits, neutral=True)
    expected = tiny_model.mean_shape + 2 * tiny_model.identity_basis[0].reshape(-1, 3)
    np.testing.assert_allclose(calm.vertices, expected, atol=1e-6)
    np.testing.assert_allclose(calm.neutral, 100 * expected, atol=1e-4)
    assert calm.landmarks is None
    assert calm.angles is None
    moved = methods.prediction(tiny_model, coefficients, portraits)
    expected = expected + 2 * tiny_model.expression_basis[0].reshape(-1, 3)
    np.testing.assert_allclose(moved.vertices, expected, atol=1e-6)
    lost = coefficients._replace(identity=np.full_like(identity, np.nan))
    assert methods.prediction(tiny_model, lost, portraits) == "the fit of the face diverged"
    assert methods.prediction(tiny_model, zeros, []) == "no face found"


def test_shapes_of_a_person_are_compared_and_renderings_described(tiny_model, landmarks, views, cases, tmp_path):
    by_name = {view.name: view for view in views}
    wave = np.sin(9 * tiny_model.mean_shape[:, :1]) * [0, 0, 1]  # dm

    def run(cases):
        answers = [predicted(tiny_model, landmarks, by_name[case.name]) for case in cases]
        shapes = [100 * tiny_model.mean_shape + sign * wave for case, sign in zip(cases, [1, -1, 1, -1], strict=False)]
        pair = (np.full((2, 2, 3), 0.5), np.full((2, 2, 3), 0.25))
        return [a._replace(neutral=s, likeness=lambda: pair) for a, s in zip(answers, shapes, strict=True)]

    method = Method("waves", run, {}, detects=False)
    chosen = [cases[0], cases[1], cases[3]]  # two pictures of one person, one of another
    rows = benchmark.run(
        "tiny 1",
        chosen,
        [method],
        tiny_model,
        tmp_path,
        describe=lambda images: images[:, 0, 0] * [1, 1, 0] + [0, 0, 1],
    )["waves"]
    expected = np.sqrt(2 * (wave**2).sum(-1).mean())  # of +-1 wave: sqrt(2 / (2 - 1))
    assert rows[0]["numbers"]["consistency"] == pytest.approx(expected, rel=0.1)
    assert rows[1]["numbers"]["consistency"] == pytest.approx(expected, rel=0.1)
    assert "consistency" not in rows[2]["numbers"]
    cosine = (2 * 0.125 + 1) / np.sqrt(1.5 * 1.125)
    assert rows[0]["numbers"]["recognition"] == pytest.approx(1 - cosine)


def test_points_of_all_cases_are_pooled(tiny_model, landmarks, views, cases, tmp_path):
    method = method_of(tiny_model, landmarks, views, [])
    results = benchmark.run("tiny 1", cases[:3], [method], tiny_model, tmp_path)
    found = benchmark.pooled(tmp_path, results)["truth"]
    assert found["all"]["points"] == 2 * len(views[0].subject.region), "the third has no prediction"
    assert found["all"]["median"] < 0.01


def test_the_mean_face_takes_the_pose_of_the_landmarks(tiny_model, cases, landmarks):
    angles = np.float32([[0.05, 0.4, -0.1]])
    posed = face.reconstruct(tiny_model, tiny_model.layout().zeros(1)._replace(angles=angles)).landmarks[0]
    transform = geometry.Similarity(0.5, 0.3, (12.0, -4.0))
    seen = cases[0]._replace(portraits=(portrait_of(cases[0], transform.inverse().apply(posed)),))
    models = pipeline.Models((tiny_model,), tiny_model, None, None)
    method = methods.own_method("mean", models, pipeline.Options(method="fit"))
    answer, missing = method.run([seen, cases[1]])
    assert missing == "no face found"
    np.testing.assert_allclose(answer.angles, np.degrees(angles[0] + [0, 0, 0.3]), atol=0.05)
    assert method.run([cases[1]]) == ["no face found"]


@pytest.mark.parametrize("name", ["median", "fit:3", "rnet:", "rnet:x", "rnet:-1"])
def test_unknown_methods_are_refused(tiny_model, name):
    models = pipeline.Models((tiny_model,), tiny_model, None, None)
    with pytest.raises(ValueError, match="Received"):
        methods.own_method(name, models, pipeline.Options())


def test_steps_are_part_of_a_methods_identity(tiny_model):
    models = pipeline.Models((tiny_model,), tiny_model, None, None)
    identities = [
        json.dumps(methods.own_method(name, models, pipeline.Options(), weights).identity)
        for name, weights in (("rnet", "a"), ("rnet:20", "a"), ("rnet:0", "a"), ("rnet", "b"), ("fit", None))
    ]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 4


def write_obj(path, vertices, triangles):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a}/1 {b}/1 {c}/1" for a, b, c in triangles + 1]
    path.write_text("\n".join(["# a mesh", *lines, ""]))


def test_meshes_of_another_program(tiny_model, landmarks, views, cases, tmp_path):
    folder = tmp_path / "meshes"
    folder.mkdir()
    turn = geometry.rotation_matrix(np.array([[0.2, -0.1, 0.0]]))[0].T * 7
    vertices, points = tiny_model.mean_shape @ turn, landmarks @ turn
    for case in cases[:4]:
        write_obj(folder / f"{case.name}.obj", vertices, tiny_model.triangles)
    nearest = np.linalg.norm(vertices[None] - points[:, None], axis=-1).argmin(1)
    np.savetxt(folder / "landmarks.txt", nearest[ANCHORS[7]], fmt="%d")
    np.savetxt(folder / f"{cases[1].name}.txt", points)
    (folder / f"{cases[2].name}.obj").write_text("v 0 0 zero\n")
    np.savetxt(folder / f"{cases[3].name}.txt", points[:5])
    method = foreign_methods.mesh_folder("theirs", folder)
    rows = benchmark.run("tiny 1", cases[:5], [method], tiny_model, tmp_path)["theirs"]
    assert [row["numbers"] and row["numbers"]["plane_rmse"] < 0.01 for row in rows] == [True, True, None, None, None]
    for row, reason in zip(rows[2:], ("line 1", "68, 51 or 7 rows", "no such file"), strict=True):
        assert reason in row["reason"]
    for case in (cases[0], cases[2], cases[4]):  # one that was there is not read again, others are
        write_obj(folder / f"{case.name}.obj", vertices * [1, 1, 1 + (case is cases[0])], tiny_model.triangles)
    again = benchmark.run("tiny 1", cases[:5], [method], tiny_model, tmp_path)["theirs"]
    assert [row["numbers"] and row["numbers"]["plane_rmse"] < 0.01 for row in again] == [True, True, True, None, True]
    with pytest.raises(FileNotFoundError, match="no folder"):
        foreign_methods.mesh_folder("theirs", tmp_path / "nowhere")


# Tables and report


def result(number, yaw, rmse, group="person"):
    numbers = None if rmse is None else {"plane_rmse": rmse, "nme_box": 0.03, "coverage": 1.0, "albedo": None}
    return {
        "picture": f"p{number}", "group": f"{group}{number // 2}", "angles": [0.0, yaw, 0.0], "numbers": numbers,
        "reason": "no face found" if rmse is None else None,
        "sections": (f"subjects: {group}", *benchmark.yaw_section(yaw)), "photo": "nowhere.png",
    }  # fmt: skip


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    good = [result(i, yaw, 1.5 + 0.1 * rng.normal()) for i, yaw in enumerate([-60, 0, 30, 60, 0, -30])]
    good += [result(6, 80, 2.0, "james"), result(7, 0, None, "james")]
    bad = [
        row | {"numbers": row["numbers"] and row["numbers"] | {"plane_rmse": row["numbers"]["plane_rmse"] + 0.5}}
        for row in good
    ]
    return {"a_1": good, "b": bad}


def test_sections_are_kinds_and_yaws(results):
    found = {title: int(chosen.sum()) for title, chosen in report.sections(results["b"]).items()}
    assert found == {
        "all": 8, "subjects: james": 2, "subjects: person": 6,
        "yaw 0 to 15": 3, "yaw 15 to 45": 2, "yaw 45 to 75": 2, "yaw 75 to 91": 1,
    }  # fmt: skip


def test_tables_say_what_was_measured(results):
    table = report.summaries(results)
    assert table["all"]["b"]["plane_rmse"].mean == pytest.approx(table["all"]["a_1"]["plane_rmse"].mean + 0.5)
    text = report.text_table(table["all"], 8)
    assert "7 of 8" in text
    assert f"{table['all']['b']['plane_rmse'].mean:.2f} [" in text
    assert "albedo" not in text
    assert "3.00" in text, "NME in per cent"
    latex = report.latex_table(table["all"], "all")
    assert r"a\_1 & \textbf{" in latex
    assert r"\textbf{" not in latex[latex.index("\nb &") :].split("&")[1]
    rows = list(csv.DictReader(io.StringIO(report.csv_text(results))))
    assert len(rows) == 16
    assert float(rows[0]["plane_rmse (mm)"]) == pytest.approx(results["a_1"][0]["numbers"]["plane_rmse"], rel=1e-5)
    assert rows[7]["reason"] == "no face found"


def test_comparison_is_of_pairs(results):
    found = report.comparison(results, "a_1", "b")
    assert found["plane_rmse"].difference.mean == pytest.approx(-0.5)
    assert found["plane_rmse"].difference.std == pytest.approx(0, abs=1e-9)
    assert "-0.50 [-0.50, -0.50] mm" in report.comparison_text(found, "a_1", "b")
    with pytest.raises(ValueError, match="Received: c"):
        report.comparison(results, "a_1", "c")


def test_curves_count_failures(results):
    errors, share = html.cumulative(results, "plane_rmse")["a_1"]
    assert share[-1] == pytest.approx(100 * 7 / 8)
    assert (np.diff(errors) >= 0).all()
    yaw, _ = html.by_yaw(results, "plane_rmse")["a_1"]
    np.testing.assert_array_equal(yaw, [-60, -40, 0, 40, 60, 80])


def test_report_is_one_page(results):
    table = report.summaries(results)
    compared = {("a_1", "b"): report.comparison(results, "a_1", "b")}
    picture = np.full((8, 8, 3), 200, np.uint8)
    page = html.html_report("<open>", results, table, compared, lambda *_: [picture] * 3, {"keras": "3"})
    assert "&lt;open&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") == 1 + 2 * 6 * 3
    assert page.count("<polyline") == 4
    assert "p7: no face found" in page
    assert "nan" not in page


def test_the_best_have_most_of_what_is_good(results):
    rows = [
        row | {"numbers": {"confidence": i / 10}, "reason": None, "sections": ()} for i, row in enumerate(results["b"])
    ]
    page = html.html_report("x", {"m": rows}, report.summaries({"m": rows}), {}, lambda *_: [], {})
    assert [page.index(f"p{i}: ") for i in (7, 6, 5, 0, 1, 2)] == sorted(
        page.index(f"p{i}: ") for i in (7, 6, 5, 0, 1, 2)
    )


def test_error_colors_run_from_blue_to_red():
    colors = report.error_colors(np.array([0.0, 2.0, 99.0, np.nan]))
    assert colors[0].argmax() == 2
    assert colors[1].argmax() == 1
    assert colors[2].argmax() == 0
    np.testing.assert_allclose(colors[3], 0.75)
    assert Image.fromarray((colors[None] * 255).astype(np.uint8)).size == (4, 1)
