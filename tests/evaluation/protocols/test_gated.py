"""Protocols on tiny folders in the published layouts; truth and prediction are the synthetic face, or it is bent."""

import numpy as np
import pytest
from PIL import Image
from scipy import io as matlab

from tests.evaluation.test_scans import write_obj
from tf_deep3d import face
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark, mesh_files, output, protocols, result_files, scans
from tf_deep3d.evaluation.benchmark import Hooks, Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.evaluation.protocols import landmarks as landmark_protocols
from tf_deep3d.evaluation.protocols import loading, now, people, regions, surfaces
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_EYE_CORNERS, INNER_FACE, NOSE_BASE, NOSE_ROOT, NOSE_TIP, eye_distance
from tf_deep3d.reconstruction.clip import video
from tf_deep3d.rendering import clay

TURN = geometry.rotation_matrix(np.array([[0.1, 0.2, -0.1]]))[0]


@pytest.fixture(scope="module")
def points(tiny_model):
    """The landmarks [68, 3] of the synthetic face, dm."""
    return face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]


@pytest.fixture(scope="module")
def vertices(tiny_model):
    return tiny_model.mean_shape.astype(np.float64)


@pytest.fixture(scope="module")
def right(tiny_model, points, vertices):
    """The truth as a prediction: turned, in another unit, as methods give it."""
    moved = 3 * vertices @ TURN.T
    return Prediction(moved, tiny_model.triangles, 3 * points[INNER_FACE] @ TURN.T, neutral=vertices * MILLIMETRES)


@pytest.fixture(scope="module")
def bent(tiny_model, points, vertices):
    """The truth with waves of 4 mm."""
    waves = vertices + [0, 0, 0.04] * np.sin(12 * vertices[:, :1])
    return Prediction(waves, tiny_model.triangles, points[INNER_FACE])


def put_scan(path, tiny_model, points, vertices, unit=1.0, marks="txt"):
    """A scan in mm / unit somewhere in space, and its landmarks beside it."""
    place = (vertices * MILLIMETRES @ TURN.T + [30, 40, 900]) / unit
    where = (points * MILLIMETRES @ TURN.T + [30, 40, 900]) / unit
    write_obj(path, place, tiny_model.triangles)
    if marks == "txt":
        np.savetxt(path.with_suffix(".txt"), where)
    return where


def put_photo(path, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), (shade, shade, shade)).save(path)


def measured(tiny_model, name, data, out, prediction, **options):
    """Runs a protocol with a method that always gives `prediction`: (rows, protocol)."""
    protocol = loading.load(name, data, tiny_model, options)
    surfaces._kept.cache_clear()
    surfaces._seen.cache_clear()
    method = Method("given", lambda cases: [prediction] * len(cases), {}, detects=False)
    rows = benchmark.run(protocol.name, protocol.cases(out / "pictures"), [method], tiny_model, out)["given"]
    assert [row["reason"] for row in rows if row["reason"]] == []
    return rows, protocol


# MICC


@pytest.fixture
def florence(tmp_path, tiny_model, points, vertices):
    folder = tmp_path / "micc"
    for number in (1, 2):
        subject = folder / f"subject_{number:02d}"
        put_scan(subject / "Model" / "frontal1" / "obj" / "110920150452.obj", tiny_model, points, vertices)
        for name in people.SEQUENCES[:2]:
            for frame in range(7):
                put_photo(subject / "Video" / name / f"frame{frame}.jpg", 20 * frame)
    return folder


def test_micc_averages_videos(tmp_path, tiny_model, florence, right, bent):
    clip = florence / "subject_01" / "Video" / "PTZ-Outdoor.mjpeg"
    with video.writing_video(clip, 64, 48) as write:
        for number in range(12):
            write(video.Frame(number / 25, np.full((48, 64, 3), 20 * number, np.uint8)))
    rows, protocol = measured(tiny_model, "micc", florence, tmp_path / "right", right, frames=5)
    assert [row["picture"] for row in rows] == [
        "subject_01_Indoor-Cooperative", "subject_01_PTZ-Indoor", "subject_01_PTZ-Outdoor",
        "subject_02_Indoor-Cooperative", "subject_02_PTZ-Indoor",
    ]  # fmt: skip
    assert protocol.remark == "5 cases found; not found: subject_02/Video/PTZ-Outdoor.*."
    assert max(row["numbers"]["plane_rmse"] for row in rows) < 0.05
    assert rows[1]["sections"] == ("PTZ-Indoor",)
    assert rows[0]["numbers"]["consistency"] < 1e-3
    frames = sorted((tmp_path / "right" / "pictures" / "subject_01_PTZ-Outdoor").glob("*.png"))
    assert [frame.stem for frame in frames] == ["000000", "000003", "000006", "000008", "000011"]
    wrong, _ = measured(tiny_model, "micc", florence, tmp_path / "bent", bent, frames=5)
    assert 1 < wrong[0]["numbers"]["plane_rmse"] < 4
    case = protocol.make(protocol.entries[0], tmp_path / "right" / "pictures")
    assert [path.name for path in case.photos] == ["frame0.jpg", "frame2.jpg", "frame3.jpg", "frame4.jpg", "frame6.jpg"]
    assert case.neutral


@pytest.mark.parametrize("together", [False, True])
def test_micc_scans_are_rendered(tmp_path, tiny_model, florence, right, monkeypatch, together):
    monkeypatch.setattr(people.open_benchmark, "picture", lambda view: np.zeros((8, 8, 3), np.uint8))
    protocol = loading.load("micc", florence, tiny_model, {"rendered": True, "together": together}, limit=3)
    method = Method("given", lambda cases: [right] * len(cases), {}, detects=False)
    cases = list(protocol.cases(tmp_path / "pictures"))
    assert [len(case.photos) for case in cases] == ([20, 20] if together else [1, 1, 1])
    rows = benchmark.run(protocol.name, cases[:1], [method], tiny_model, tmp_path / "out")["given"]
    assert rows[0]["numbers"]["plane_rmse"] < 0.05
    assert cases[-1].name == ("subject_02" if together else "subject_02_pitch+30_yaw+80")
    assert all(path.is_file() for case in cases for path in case.photos)


@pytest.mark.parametrize("textured", [False, True])
def test_a_rendered_scan_shows_its_colors(tmp_path, tiny_model, florence, textured):
    scan = sorted(florence.rglob("*.obj"))[0]
    color = (round(255 * clay.COLOR),) * 3
    if textured:
        color = (200, 40, 90)
        Image.new("RGB", (4, 4), color).save(scan.with_suffix(".png"))
        faces = "".join(f"f {a}/1 {b}/1 {c}/1\n" for a, b, c in tiny_model.triangles + 1)
        corners = [line for line in scan.read_text().splitlines() if line.startswith("v ")]
        scan.write_text("\n".join([*corners, "vt 0.5 0.5", faces]))
    people._LAST.clear()
    protocol = loading.load("micc", florence, tiny_model, {"rendered": True}, limit=1)
    (case,) = protocol.cases(tmp_path / "pictures")
    picture = np.asarray(Image.open(case.photos[0])).astype(int)
    assert picture.shape == (400, 400, 3)
    assert (np.abs(picture - color) <= 1).all(-1).mean() > 0.02


# FaceWarehouse and REALY


def test_facewarehouse_has_two_regions(tmp_path, tiny_model, points, vertices, right, bent):
    folder = tmp_path / "warehouse"
    for person in (1, 7):
        for pose in range(2):
            put_scan(
                folder / f"Tester_{person}" / "TrainingPose" / f"pose_{pose}.obj", tiny_model, points, vertices, 100
            )
            put_photo(folder / f"Tester_{person}" / "TrainingPose" / f"pose_{pose}.png")
    rows, protocol = measured(tiny_model, "facewarehouse", folder, tmp_path / "a", right, people=[1])
    assert len(rows) == 2
    assert "Tester_1/TrainingPose/pose_2.obj" in protocol.remark
    assert "not the published ones" in protocol.remark
    assert rows[0]["numbers"]["point_small"] < 0.05
    assert rows[0]["numbers"]["point_large"] < 0.05
    assert [row["sections"] for row in rows] == [("neutral",), ("expressive",)]

    left = np.flatnonzero((vertices[:, 0] < 0) & (np.linalg.norm(vertices - points[NOSE_TIP], axis=1) < 0.7))
    np.savetxt(folder / "regions_S.txt", left, fmt="%d")
    np.savetxt(folder / "regions_L.txt", np.arange(len(vertices)), fmt="%d")
    rows, protocol = measured(tiny_model, "facewarehouse", folder, tmp_path / "b", bent)
    assert "own regions" in protocol.name
    assert rows[0]["numbers"]["point_small"] != rows[0]["numbers"]["point_large"]
    errors = result_files.read_details(result_files.result_folder(tmp_path / "b", "given"), rows[0]["picture"])[0]
    assert len(errors) == len(vertices)


def test_realy_measures_four_regions(tmp_path, tiny_model, points, vertices, right, bent):
    folder = tmp_path / "realy"
    place = vertices @ TURN.T * 2 + 1  # in some unit: metrical_scale says which
    extra = np.concatenate([points @ TURN.T * 2 + 1, np.zeros((17, 3))])
    (folder / "REALY_HIFI3D_keypoints").mkdir(parents=True)
    text = "\n".join(f"v {x} {y} {z}" for x, y, z in extra)
    (folder / "REALY_HIFI3D_keypoints" / "1.obj").write_text(text)
    spots = {"nose": points[NOSE_TIP], "mouth": points[62], "forehead": points[NOSE_ROOT], "cheek": points[3]}
    for name, spot in spots.items():
        near = np.linalg.norm(vertices - spot, axis=1) < 0.45
        used, triangles = np.unique(tiny_model.triangles[near[tiny_model.triangles].all(1)], return_inverse=True)
        write_obj(folder / "REALY_scan_region" / "1" / f"{name}.obj", place[used], triangles.reshape(-1, 3))
    for name in ("1.png", "1_2.png", "2.png", "depth.png"):
        put_photo(folder / "REALY_image" / regions.FRONTAL / name)
    (folder / "metrical_scale.txt").write_text("50.0\n70.0\n")
    rows, protocol = measured(tiny_model, "realy", folder, tmp_path / "a", right)
    assert [row["picture"] for row in rows] == ["1", "1_2"]
    assert "REALY_HIFI3D_keypoints/2.obj" in protocol.remark
    assert max(rows[0]["numbers"][name] for name in (*regions.REGIONS, "regions")) < 0.05
    wrong, _ = measured(tiny_model, "realy", folder, tmp_path / "b", bent)
    numbers = wrong[0]["numbers"]
    assert numbers["regions"] == pytest.approx(np.mean([numbers[name] for name in regions.REGIONS]))
    assert 0.2 < numbers["nose"] < 4
    (folder / "metrical_scale.txt").write_text("100.0\n70.0\n")
    twice, _ = measured(tiny_model, "realy", folder, tmp_path / "c", bent)
    assert twice[0]["numbers"]["nose"] == pytest.approx(2 * numbers["nose"], rel=1e-3)


# BU-3DFE, Stirling, a list


def test_bu3dfe_takes_the_neutral_frontal_photos(tmp_path, tiny_model, points, vertices, right):
    folder = tmp_path / "bu"
    where = vertices * MILLIMETRES + [1, 2, 3]
    rows = ", ".join(f"{x} {y} {z}" for x, y, z in where)
    index = ", ".join(f"{a}, {b}, {c}, -1" for a, b, c in tiny_model.triangles)
    text = f"#VRML V2.0 utf8\ncoord Coordinate {{ point [ {rows} ] }} coordIndex [ {index} ]"
    for person, kind in (("F0001", "WH"), ("M0044", "IN"), ("M0045", "AE")):
        path = folder / person / f"{person}_NE00{kind}_F3D.wrl"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        np.savetxt(path.with_suffix(".txt"), points * MILLIMETRES + [1, 2, 3])
        (folder / person / f"{person}_HA01{kind}_F3D.wrl").write_text("smiling")
    put_photo(folder / "F0001" / "F0001_NE00WH_F2D.bmp")
    put_photo(folder / "M0044" / "M0044_NE00IN_F2D.png")
    rows, protocol = measured(tiny_model, "bu3dfe", folder, tmp_path / "out", right)
    assert [row["sections"] for row in rows] == [("sex: female", "group: WH"), ("sex: male", "group: IN")]
    assert rows[1]["numbers"]["plane_rmse"] < 0.05
    assert "M0045/M0045_NE00AE_F2D.bmp" in protocol.remark


def test_stirling_aligns_by_landmarks_alone(tmp_path, tiny_model, points, vertices, right):
    folder = tmp_path / "stirling"
    where = put_scan(folder / "F_3D_N" / "f1001b_N.obj", tiny_model, points, vertices, marks=None)
    marks = folder / "annotations" / "F_3D_N" / "f1001b_N.lnd"
    marks.parent.mkdir(parents=True)
    marks.write_text("\n".join(f"{i} {x} {y} {z}" for i, (x, y, z) in enumerate(where[ANCHORS[7]], 1)))
    put_photo(folder / "HQ" / "F1001_n.jpg")
    put_photo(folder / "LQ" / "clip" / "F1001_12.png")
    put_photo(folder / "LQ" / "M1002_12.png")
    rows, protocol = measured(tiny_model, "stirling", folder, tmp_path / "out", right)
    assert [(row["picture"], row["sections"]) for row in rows] == [
        ("HQ_F1001_n", ("HQ",)), ("LQ_clip_F1001_12", ("LQ",)),
    ]  # fmt: skip
    assert rows[0]["numbers"]["surface_rmse"] < 0.01
    assert "[FM]_3D_N/M1002*.obj" in protocol.remark
    shifted = right._replace(anchors=right.anchors + 3 * np.array([0, 0, 0.05]) @ TURN.T)  # 5 mm along z
    rows, _ = measured(tiny_model, "stirling", folder, tmp_path / "shifted", shifted)
    assert 2 < rows[0]["numbers"]["surface_rmse"] < 5.01, "no ICP repairs it"


def test_a_list_of_ones_own(tmp_path, tiny_model, points, vertices, right):
    where = put_scan(tmp_path / "data" / "me.obj", tiny_model, points, vertices, marks=None)
    np.savetxt(tmp_path / "data" / "marks.txt", where[INNER_FACE])
    for name in ("a", "b", "c"):
        put_photo(tmp_path / "data" / f"{name}.jpg")
    table = tmp_path / "data" / "mine.csv"
    table.write_text(
        "photos,scan,landmarks,group,section\na.jpg;b.jpg,me.obj,marks.txt,me,two\n"
        "c.jpg,me.obj,marks.txt,me,one\nd.jpg,me.obj,marks.txt,me,one\n"
    )
    rows, protocol = measured(tiny_model, "csv", table, tmp_path / "out", right)
    assert [(row["picture"], row["sections"], row["group"]) for row in rows] == [
        ("00002_a", ("two",), "me"), ("00003_c", ("one",), "me"),
    ]  # fmt: skip
    assert rows[0]["numbers"]["plane_rmse"] < 0.05
    assert "line 4" in protocol.remark
    assert "d.jpg" in protocol.remark
    table.write_text("photos,scan\na.jpg,me.obj\nb.jpg,me.obj\nc.jpg,you/me.obj\n")
    put_scan(tmp_path / "data" / "you" / "me.obj", tiny_model, points, vertices)
    names = {loading.load("csv", table, tiny_model, given).name for given in ({}, {"neutral": True}, {"unit": 10.0})}
    assert names == {f"list mine.csv, 1{told}" for told in ("", ", neutral=True", ", unit=10.0")}, "they do not compare"
    groups = [case.group for case in loading.load("csv", table, tiny_model, {}).cases(tmp_path)]
    assert groups[0] == groups[1] != groups[2], "two people's scans may have one name"
    table.write_text("photo,scan\na.jpg,me.obj\n")
    with pytest.raises(InputError, match="columns photos and scan"):
        loading.load("csv", table, tiny_model, {})


# NoW


@pytest.fixture
def challenge(tmp_path, tiny_model, points, vertices):
    folder = tmp_path / "now"
    where = put_scan(folder / "scans" / "FaMoS_1_TA" / "natural.obj", tiny_model, points, vertices, marks=None)
    rows = [f'<point x="{x}" y="{y}" z="{z}" name="{i}"/>' for i, (x, y, z) in enumerate(where[ANCHORS[7]])]
    marks = folder / "scans_lmks_onlypp" / "FaMoS_1_TA" / "natural_picked_points.pp"
    marks.parent.mkdir(parents=True)
    marks.write_text("<PickedPoints>\n" + "\n".join(rows))
    lines = ["FaMoS_1_TA/multiview_neutral/IMG_1.jpg", "FaMoS_1_TA/selfie/IMG_2.jpg"]
    for line in lines:
        put_photo(folder / "final_release_version" / "iphone_pictures" / line)
    (folder / "imagepathsvalidation.txt").write_text("\n".join([*lines, "FaMoS_2_TA/selfie/IMG_3.jpg"]))
    (folder / "imagepathstest.txt").write_text("\n".join(lines))
    return folder


def test_now_measures_and_pools(tmp_path, tiny_model, challenge, right):
    rows, protocol = measured(tiny_model, "now", challenge, tmp_path / "out", right)
    assert [row["sections"] for row in rows] == [("multiview_neutral",), ("selfie",)]
    assert rows[0]["numbers"]["surface_median"] < 0.01
    assert "scans/FaMoS_2_TA/*.obj" in protocol.remark
    assert protocol.pooled
    found = result_files.pooled(tmp_path / "out", {"given": rows})["given"]
    assert found["all"]["points"] == 2 * found["selfie"]["points"]
    assert found["all"]["mean"] < 0.01


def test_now_crops_as_the_challenge_does(tiny_model, points, vertices):
    """Centre and radius by hand, from the landmarks of the synthetic face."""
    normals = np.zeros_like(vertices)
    scan = scans.Scan(vertices * MILLIMETRES, tiny_model.triangles, normals, points * MILLIMETRES)
    bridge, base = points[list(INNER_EYE_CORNERS)].mean(0), points[NOSE_BASE]
    radius = 1.4 * (eye_distance(points) + np.linalg.norm(bridge - base)) / 2
    expected = np.linalg.norm(vertices - (0.7 * base + 0.3 * bridge), axis=1) <= radius
    np.testing.assert_array_equal(surfaces.challenge_region(scan, now.RADIUS), expected)
    assert 0.1 < expected.mean() < 0.9


def test_a_submission_is_what_the_challenge_reads(tmp_path, tiny_model, challenge, right):
    protocol = loading.load("now", challenge, tiny_model, {"part": "test", "submission": True})
    method = Method("ours", lambda cases: [right] * len(cases), {}, detects=False)
    submit = now.submitting(tmp_path)
    rows = benchmark.run(
        protocol.name,
        protocol.cases(tmp_path / "pictures"),
        [method],
        tiny_model,
        tmp_path,
        hooks=Hooks(predicted=submit),
    )["ours"]
    assert [set(row["numbers"]) for row in rows] == [{"seconds", "consistency"}] * 2, "nobody has the scans of the test"
    folder = tmp_path / "submission" / "ours" / "FaMoS_1_TA"
    assert sorted(path.name for path in folder.rglob("*.*")) == ["IMG_1.npy", "IMG_1.obj", "IMG_2.npy", "IMG_2.obj"]
    mesh = folder / "selfie" / "IMG_2.obj"
    lines = [line.split() for line in mesh.read_text().splitlines()]
    assert {len(line) for line in lines if line[0] == "v"} == {4}, "no colours"
    found, triangles = mesh_files.read_mesh(mesh)
    np.testing.assert_allclose(found, right.vertices * MILLIMETRES, atol=1e-4)
    np.testing.assert_array_equal(triangles, right.triangles)
    marks = np.load(mesh.with_suffix(".npy"), allow_pickle=False)
    assert marks.shape == (7, 3)
    np.testing.assert_allclose(marks, right.anchors[ANCHORS[7] - INNER_FACE.start] * MILLIMETRES)
    with pytest.raises(InputError, match="landmarks"):
        now.seven(right._replace(anchors=right.anchors[:20], anchor_indices=np.arange(17, 37)))


# Landmarks


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


def test_a_bug_in_a_protocol_is_no_unusable_case(tmp_path):
    def broken(entry, pictures):
        return np.zeros(entry).reshape(3)

    protocol = protocols.Protocol("broken", [2], broken)
    with pytest.raises(ValueError, match="reshape"):
        list(protocol.cases(tmp_path))

    def refusing(entry, pictures):
        raise InputError("the file is damaged")

    (case,) = protocol._replace(make=refusing).cases(tmp_path)
    assert case.unusable == "the file is damaged"
    with pytest.raises(InputError, match="unusable"):
        case.measure(None)


@pytest.mark.parametrize("text", ["one two", "1.5 x"])
def test_numbers_that_are_none_name_their_file(tmp_path, text):
    (tmp_path / "regions_S.txt").write_text(text)
    with pytest.raises(InputError, match=r"regions_S\.txt must hold whole numbers"):
        regions._listed(tmp_path / "regions_S.txt", 10)


def test_a_shape_alone_has_no_landmark_error(tmp_path, tiny_model, points, right):
    case = landmark_protocols._case("a", tmp_path / "a.png", points[:, :2], None, (), "eyes")
    with pytest.raises(InputError, match="no landmarks"):
        case.measure(right)


# What lacks


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("micc", "subject_NN/Model/frontal1/obj"),
        ("facewarehouse", "Tester_N/TrainingPose/pose_0.obj"),
        ("bu3dfe", "F0001/F0001_NE00WH_F3D.wrl"),
        ("now", "imagepathsvalidation.txt"),
        ("realy", "REALY_image"),
        ("aflw2000", "image00002.mat"),
        ("pts", "NAME.pts"),
        ("stirling", "F_3D_N/F1001_N.obj"),
    ],
)
def test_another_folder_is_told_from_a_data_set(tmp_path, tiny_model, name, layout):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.txt").write_text("sand")
    with pytest.raises(FileNotFoundError) as caught:
        loading.load(name, tmp_path / "holiday", tiny_model, {})
    message = str(caught.value)
    assert layout in message
    assert "Received" in message
    assert "\n" not in message
    with pytest.raises(FileNotFoundError, match="with holiday/"):
        loading.load(name, tmp_path / "nowhere" / "else", tiny_model, {})


def test_messages_stay_short(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02d}").mkdir()
    assert protocols.found_at(tmp_path / "x").endswith("07/ and 22 more")
    assert protocols.whole(["a"], [str(n) for n in range(30)], tmp_path, "").endswith("; 7; and 22 more.")
