"""AFLW2000-3D and .pts files on tiny folders in their layouts."""

import numpy as np
import pytest
from PIL import Image
from scipy import io as matlab

from tests.evaluation.protocols.conftest import measured, put_photo
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark, output, result_files
from tf_deep3d.evaluation.benchmark import Hooks, Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.protocols import landmarks as landmark_protocols
from tf_deep3d.evaluation.protocols import loading
from tf_deep3d.face import geometry
from tf_deep3d.face.landmarks import eye_distance


def flat_prediction(landmarks, angles=None):
    return Prediction(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 3)), landmarks=landmarks, angles=angles)


def test_aflw2000_by_yaw(tmp_path, tiny_model, points):
    folder = tmp_path / "aflw"
    folder.mkdir()
    place = points[:, :2] * [20, -20] + [50, 40]  # px, ours
    poses = [(0.1, -0.2, 0.05), (0.3, 0.8, -0.2), (-0.1, 1.3, 0.2)]
    for number, pose in enumerate(poses):
        stored = np.concatenate([place.T + 0.5, np.zeros((1, 68))])
        row = np.array([[*pose, 1, 2, 3, 0.001]])
        matlab.savemat(folder / f"image{number:05d}.mat", {"pt3d_68": stored, "Pose_Para": row})
        Image.new("RGB", (100, 80)).save(folder / f"image{number:05d}.jpg")
    box = np.sqrt(np.prod(np.ptp(place, axis=0)))
    given = flat_prediction(place + np.array([3, 4]), np.zeros(3))
    rows, protocol = measured(tiny_model, "aflw2000", folder, tmp_path / "out", given)
    assert [row["sections"] for row in rows] == [("yaw 0 to 30",), ("yaw 30 to 60",), ("yaw 60 to 91",)]
    for row in rows:
        assert row["numbers"]["nme_box"] == pytest.approx(5 / box)
    jaw = given._replace(jaw_line=place[:17])  # right, where the contour is not
    rows, _ = measured(tiny_model, "aflw2000", folder, tmp_path / "jaw", jaw)
    assert rows[0]["numbers"]["nme_box"] == pytest.approx(5 / box * 51 / 68)
    assert protocol.remark == ""
    truth, angles, yaw = landmark_protocols.read_mat(folder / "image00001.mat")
    np.testing.assert_allclose(truth, place)
    assert yaw == pytest.approx(np.degrees(0.8))
    p, y, r = poses[1]  # as 3DDFA builds its matrix
    pitch = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    yawed = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    roll = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    np.testing.assert_allclose(geometry.rotation_matrix(np.radians([angles]))[0], pitch @ yawed @ roll, atol=1e-12)
    picture = result_files.read_details(result_files.result_folder(tmp_path / "out", "given"), "image00000")[1]
    assert (picture[..., 1] > 150).any(), "the truth is drawn"
    assert (picture[..., 0] > 180).any(), "and the prediction"


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file, damaged" + bytes(200), b"\x80\x04]q"])
def test_damaged_mat_files_are_refused(tmp_path, content):
    path = tmp_path / "image.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match="pt3d_68"):
        landmark_protocols.read_mat(path)


@pytest.mark.parametrize("name", ["pt3d_68", "Pose_Para"])
def test_large_arrays_are_not_read(tmp_path, monkeypatch, name):
    content = {"pt3d_68": np.zeros((3, 68)), "Pose_Para": np.zeros((1, 7))} | {name: np.zeros((3000, 3000))}
    matlab.savemat(tmp_path / "image.mat", content, do_compression=True)
    monkeypatch.setattr(matlab, "loadmat", None)
    with pytest.raises(InputError, match=r"must hold pt3d_68.*3000"):
        landmark_protocols.read_mat(tmp_path / "image.mat")


def test_pts_files(tmp_path, tiny_model, points):
    folder = tmp_path / "300w"
    place = points[:, :2] * [20, -20] + [50, 40]
    rows = "\n".join(f"{x} {y}" for x, y in place + 0.5)
    for name in ("01_Indoor/indoor_001", "02_Outdoor/outdoor_001"):
        put_photo(folder / f"{name}.png")
        (folder / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    (folder / "lost.pts").write_text("{ }")
    found, protocol = measured(tiny_model, "pts", folder, tmp_path / "out", flat_prediction(place + np.array([0, 2])))
    assert [row["sections"] for row in found] == [("01_Indoor",), ("02_Outdoor",)]
    assert found[0]["numbers"]["nme_eyes"] == pytest.approx(2 / eye_distance(place))
    assert "the photo of lost.pts" in protocol.remark
    with pytest.raises(InputError, match="68 rows"):
        landmark_protocols.read_pts(folder / "lost.pts")


def test_a_damaged_file_stops_nothing(tmp_path, tiny_model, points, capsys):
    place = points[:, :2] * [20, -20] + [50, 40]
    rows = "\n".join(f"{x} {y}" for x, y in place + 0.5)
    for name in "abc":
        put_photo(tmp_path / "set" / f"{name}.png")
        text = "{ }" if name == "b" else f"{{\n{rows}\n}}\n"
        (tmp_path / "set" / f"{name}.pts").write_text(text)
    protocol = loading.load("pts", tmp_path / "set", tiny_model, {})
    method = Method("given", lambda cases: [flat_prediction(place)] * len(cases), {}, detects=False)
    steps = []
    results = benchmark.run(
        protocol.name,
        protocol.cases(tmp_path),
        [method],
        tiny_model,
        tmp_path / "out",
        hooks=Hooks(progress=steps.append),
    )
    assert [row["numbers"] is None for row in results["given"]] == [False, True, False]
    assert sum(steps) == 3
    output.write(tmp_path / "out", protocol, results)
    shown = capsys.readouterr().out
    assert "2 of 3" in shown
    assert f"Unusable cases: 1; the first: {tmp_path / 'set' / 'b.pts'} must hold 68 rows" in shown
    assert "must hold 68 rows" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_shape_alone_has_no_landmark_error(tmp_path, tiny_model, points, right):
    case = landmark_protocols._case("a", tmp_path / "a.png", points[:, :2], None, (), "eyes")
    with pytest.raises(InputError, match="no landmarks"):
        case.measure(right)
