"""MICC Florence, BU-3DFE, Stirling and a list of one's own, on tiny folders in their layouts."""

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.protocols.conftest import TURN, measured, put_photo, put_scan
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark
from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.evaluation.protocols import loading, people
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE
from tf_deep3d.reconstruction.clip import video
from tf_deep3d.rendering import clay


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
