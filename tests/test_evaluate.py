"""The command line of the evaluation, as a user meets it."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tf_deep3d import evaluate
from tf_deep3d.evaluation import open_benchmark
from tf_deep3d.face.camera import MILLIMETRES


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Folder of meshes that are the truth of the first and the last picture, in millimetres."""
    folder = tmp_path_factory.mktemp("truth")
    for view in open_benchmark.load(limit=2).views:
        who = view.subject
        rows = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in who.vertices * MILLIMETRES]
        rows += [f"f {a} {b} {c}" for a, b, c in who.triangles + 1]
        (folder / f"{view.name}.obj").write_text("\n".join(rows))
        np.savetxt(folder / f"{view.name}.txt", who.landmarks * MILLIMETRES)
    return folder


def test_the_truth_beats_the_mean_face(tmp_path, truth, capsys):
    command = ["open", "--methods", "mean", "--meshes", f"truth={truth}", "--limit", "2", "--out", str(tmp_path)]
    assert evaluate.main([*command, "--compare", "mean", "truth"]) == 0
    shown = capsys.readouterr().out
    assert "open benchmark 3.2, 2 cases" in shown
    assert "mean - truth" in shown

    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    summary = record["summary"]["all"]
    assert summary["truth"]["plane_rmse"]["mean"] < 0.05  # mm
    assert summary["truth"]["coverage"]["mean"] > 99
    assert 0.5 < summary["mean"]["plane_rmse"]["mean"] < 4
    assert summary["mean"]["nme_box"]["mean"] < 10
    assert summary["mean"]["pose"]["mean"] < 10
    assert "nme_box" not in summary["truth"]
    assert 0 < summary["mean"]["recognition"]["mean"] < 1, "the mean face is not the person"
    assert "recognition" not in summary["truth"]
    assert set(record["summary"]) == {"all", "subjects: person", "subjects: james", "yaw 45 to 75", "yaw 75 to 91"}
    with open(tmp_path / "pictures.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert r"\begin{tabular}" in (tmp_path / "table.tex").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 4

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "methods").rglob("*.json")}
    assert evaluate.main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "methods").rglob("*.json")} == stamps, "all was kept"


def test_photos_with_landmark_files(tmp_path, capsys):
    """Pictures of the open benchmark as a set in the form of 300W, by a method and by a folder of no meshes."""
    views = open_benchmark.load(limit=2).views
    for view in views:
        folder = tmp_path / "set" / view.subject.name
        folder.mkdir(parents=True)
        Image.fromarray(open_benchmark.picture(view)).save(folder / f"{view.name}.png")
        rows = "\n".join(f"{x} {y}" for x, y in view.landmarks + 0.5)
        (folder / f"{view.name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    command = ["pts", str(tmp_path / "set"), "--methods", "mean", "--out", str(tmp_path / "out")]
    assert evaluate.main(command) == 0
    assert "300W landmarks, 2, 2 cases" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert 0 < record["summary"][views[0].subject.name]["mean"]["nme_eyes"]["mean"] < 12
    assert [row["sections"] for row in record["pictures"]["mean"]] == [["james"], ["person00"]]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert "Error against yaw" not in page, "nobody knows it"
    (tmp_path / "meshes").mkdir()
    assert evaluate.main([*command, "--meshes", f"theirs={tmp_path / 'meshes'}"]) == 1
    assert "no such file" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_one_number_of_all_sections_is_one_table_with_charts(tmp_path, capsys):
    command = ["robustness", "--methods", "mean", "--limit", "2", "--out", str(tmp_path)]
    assert evaluate.main(command) == 0
    shown = capsys.readouterr().out
    assert "open robustness 2.2, 0 members, 2 cases" in shown
    assert shown.count("point-to-plane RMSE, mm") == 1
    assert "yaw -80 degrees" in shown
    assert "1 of 1" in shown
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<summary>All numbers</summary>" in page
    names = {path.name for path in (tmp_path / "charts").iterdir()}
    assert {"plane_rmse_yaw.svg", "plane_rmse_face_width.svg"} <= names
    assert "polyline" in (tmp_path / "charts" / "plane_rmse_yaw.svg").read_text(encoding="utf-8")
    latex = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert "yaw -80 degrees" in latex
    assert latex.count("tabular") == 4, "nobody has a confidence"


def test_benchmarks_in_one_folder_keep_their_own_pictures(tmp_path):
    """A person's frontal picture has the same name in both, but another light and tilt."""
    for name in ("open", "robustness"):
        assert evaluate.main([name, "--methods", "mean", "--limit", "1", "--overwrite", "--out", str(tmp_path)]) == 0
    assert len({path.parent for path in (tmp_path / "pictures").rglob("*.png")}) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["aflw2000", "nowhere"], "folder of AFLW2000-3D is expected at nowhere"),
        (["now", "."], "expected imagepathsvalidation.txt in ."),
        (["csv", "mine.csv"], "the list is a .csv file"),
        (["consistency", "nowhere"], "folder of people is expected at nowhere"),
        (["confidence", "nowhere"], "nowhere"),
    ],
)
def test_a_missing_data_set_is_one_line(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert evaluate.main([*arguments, "--methods", "mean", "--out", "out"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert said in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "median"], "Received: 'median'"),
        (["--methods", "mean,mean"], "different methods"),
        (["--methods", "mean", "--compare", "mean", "fit"], "Received: fit"),
        (["--methods", "mean", "--limit", "0"], "limit"),
        (["--methods", "rnet", "--weights", "nowhere"], "No such file"),
        (["--methods", "mean", "--meshes", "theirs=nowhere"], "nowhere"),
        (["--methods", "mean", "--model", "nowhere.npz"], "No such file"),
        (["--methods", "best", "--cnet", "nowhere"], "No such file"),
        (["--methods", "scalar"], "--scalar"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(["open", "--out", "out", *arguments]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert said in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["micc", ".", "--frames", "0"], "frames must be positive. Received: 0"),
        (["now", ".", "--unit", "-1"], "unit must be positive. Received: -1.0"),
        (["csv", ".", "--unit", "nan"], "unit must be positive. Received: nan"),
        (["sets", "--members", "-1"], "must not be negative. Received: -1"),
        (["confidence", "--members", "0"], "at least 1"),
    ],
)
def test_bad_numbers_are_one_line(tmp_path, capsys, arguments, said):
    assert evaluate.main([*arguments, "--methods", "mean", "--out", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert said in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["closed"], ["open"], ["open", "--out", "x", "--meshes", "theirs"], ["micc", "--out", "x"]]
)
def test_wrong_command_lines_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        evaluate.main(arguments)
    assert exit_.value.code == 2


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit_:
        evaluate.main(["open", "--help"])
    assert exit_.value.code == 0
    assert "python -m tf_deep3d.evaluate open --methods mean,rnet --out results" in capsys.readouterr().out
