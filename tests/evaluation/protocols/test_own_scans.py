"""A folder of one's own scans, tiny: which files are whose, what is measured, and what a bad scan does."""

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.protocols.conftest import measured, put_photo, put_scan
from tests.evaluation.test_scans import write_obj
from tf_deep3d import evaluate
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import lights, open_benchmark
from tf_deep3d.evaluation.protocols import loading
from tf_deep3d.face.camera import MILLIMETRES


@pytest.fixture
def plain(monkeypatch):
    """Pictures are not rendered: what is measured does not depend on them."""
    monkeypatch.setattr(open_benchmark, "picture", lambda view: np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def folder(tmp_path, tiny_model, points, vertices):
    heads = tmp_path / "heads"
    put_scan(heads / "anna.obj", tiny_model, points, vertices)
    put_scan(heads / "ben" / "head.obj", tiny_model, points, vertices, unit=1000.0)
    put_photo(heads / "ben" / "photos" / "office.jpg")
    put_photo(heads / "anna" / "photos" / "at sea.png")
    put_photo(heads / "ben" / "head.png")  # a texture, not a photo
    return heads


def options(**given):
    return {"yaws": [-30.0, 0.0], "pitches": [0.0, 20.0], **given}


def test_scans_and_photos_find_their_people(tmp_path, tiny_model, folder, right, plain):
    rows, protocol = measured(tiny_model, "scans", folder, tmp_path, right, **options())
    assert [(row["picture"], row["group"]) for row in rows] == [
        ("anna_pitch+00_yaw-30", "anna"), ("anna_pitch+00_yaw+00", "anna"), ("anna_pitch+20_yaw-30", "anna"),
        ("anna_pitch+20_yaw+00", "anna"), ("anna_at-sea", "anna"),
        ("ben_head_pitch+00_yaw-30", "ben"), ("ben_head_pitch+00_yaw+00", "ben"), ("ben_head_pitch+20_yaw-30", "ben"),
        ("ben_head_pitch+20_yaw+00", "ben"), ("ben_head_office", "ben"),
    ]  # fmt: skip
    assert rows[0]["angles"] == [0.0, -30.0, 0.0]
    assert rows[0]["sections"] == ("subjects: anna", "rendered", "yaw 15 to 45")
    assert rows[9]["sections"] == ("subjects: ben", "photos")
    assert rows[9]["angles"] is None
    assert "2 scans of 2 people at pitch 0,20 x yaw -30,0 degrees" in protocol.remark
    assert "2 photos" in protocol.remark
    neutral = [case.neutral for case in protocol.cases(tmp_path / "pictures")]
    assert neutral == [False] * 4 + [True] + [False] * 4 + [True]


def test_the_truth_itself_has_no_error_but_its_size(tmp_path, tiny_model, folder, right, vertices, plain):
    """The right shape 5 % too large: nothing by similarity and vertex to vertex, but something rigidly."""
    big = right._replace(vertices=1.05 / 3 * right.vertices, anchors=1.05 / 3 * right.anchors)
    for row in measured(tiny_model, "scans", folder, tmp_path, big, **options(yaws=[0.0], pitches=[0.0]))[0]:
        numbers = row["numbers"]
        assert numbers["plane_rmse"] < 0.05
        assert numbers["vertex_rmse"] < 0.01
        assert 0.2 < numbers["rigid_rmse"] < 3
        assert abs(numbers["nose_signed"]) < 0.05


def test_errors_have_a_sign_and_a_place(tmp_path, tiny_model, folder, right, points, vertices, plain):
    """Cheeks that are pushed out by 4 mm: cheeks stand out more than the rest."""
    turned = np.abs(vertices[:, 0] - points[30, 0]) > 0.3
    pushed = vertices + np.where(turned, 0.04, 0.0)[:, None] * [0, 0, 1]
    given = right._replace(vertices=pushed, anchors=points[17:])
    numbers = measured(tiny_model, "scans", folder, tmp_path, given, **options(yaws=[0.0]))[0][0]["numbers"]
    assert numbers["cheeks_signed"] > 0.2
    assert numbers["nose_signed"] < -0.2
    assert 0.5 < numbers["vertex_rmse"] < 3


def test_other_triangles_do_not_correspond(tmp_path, tiny_model, folder, right, plain):
    given = right._replace(triangles=right.triangles[::-1])
    numbers = measured(tiny_model, "scans", folder, tmp_path, given, **options())[0][0]["numbers"]
    assert "vertex_rmse" not in numbers
    assert numbers["plane_rmse"] < 0.05


def test_where_it_may_be_measured_is_what_the_file_says(tmp_path, tiny_model, folder, vertices, plain):
    chosen = np.flatnonzero(vertices[:, 1] < 0)
    np.savetxt(folder / "anna_measured.txt", chosen, fmt="%d")
    protocol = loading.load("scans", folder, tiny_model, options())
    anna, ben = (protocol.make(entry, tmp_path / "pictures").truth() for entry in protocol.entries[:10:5])
    assert 0 < len(anna.points) < len(ben.points)
    assert anna.points[:, 1].max() < 0.2


def test_a_bad_scan_is_told_and_skipped(tmp_path, tiny_model, folder, right, points, vertices, plain, capsys):
    put_scan(folder / "giant.obj", tiny_model, points, vertices, unit=0.05)
    (folder / "broken.ply").write_text("ply\nformat ascii 1.0\nelement vertex 9\n")
    write_obj(folder / "points.obj", vertices[:5], np.zeros((0, 3), int))
    write_obj(folder / "holes.obj", np.full((3, 3), np.nan), [[0, 1, 2]])
    protocol = loading.load("scans", folder, tiny_model, options(unit=1.0, yaws=[0.0], pitches=[0.0]))
    cases = {entry.name: case for entry, case in zip(protocol.entries, protocol.cases(tmp_path), strict=True)}
    assert cases["anna_pitch+00_yaw+00"].unusable == ""
    said = {name.split("_")[0]: case.unusable for name, case in cases.items() if case.unusable}
    assert set(said) == {"ben", "giant", "broken", "points", "holes"}
    assert "mm apart. Received" in said["giant"]
    assert "must be a PLY file" in said["broken"]
    assert "no triangles" in said["points"]
    assert "finite" in said["holes"]


def test_a_folder_without_scans_says_what_is_there(tmp_path, capsys):
    put_photo(tmp_path / "heads" / "photo.jpg")
    assert evaluate.main(["scans", str(tmp_path / "heads"), "--methods", "mean", "--out", str(tmp_path / "out")]) == 1
    assert "with photo.jpg" in capsys.readouterr().err


def test_angles_from_which_no_face_is_seen_are_refused(tiny_model, folder):
    for wrong in ({"yaws": [0.0, 120.0]}, {"pitches": [-91.0]}, {"yaws": [float("nan")]}):
        with pytest.raises(InputError, match="90"):
            loading.load("scans", folder, tiny_model, options(**wrong))


def test_a_changed_folder_is_another_benchmark(tiny_model, folder):
    first = loading.load("scans", folder, tiny_model, options()).name
    assert loading.load("scans", folder, tiny_model, options()).name == first
    assert loading.load("scans", folder, tiny_model, options(yaws=[0.0])).name != first
    put_photo(folder / "ben" / "photos" / "more.jpg")
    assert loading.load("scans", folder, tiny_model, options()).name != first


def test_coloured_scans_keep_their_light_unless_it_is_albedo(tmp_path, tiny_model, folder, points, vertices):
    """A scan of one colour: shown in that colour, or shaded; grey clay is always shaded."""
    place = vertices * MILLIMETRES
    rows = [f"v {x} {y} {z} 0.5 0.4 0.3" for x, y, z in place]
    rows += [f"f {a} {b} {c}" for a, b, c in tiny_model.triangles + 1]
    (folder / "anna.obj").write_text("\n".join(rows))
    np.savetxt(folder / "anna.txt", points * MILLIMETRES)
    shades = {}
    for albedo in (False, True):
        protocol = loading.load("scans", folder, tiny_model, options(albedo=albedo))
        assert {entry.light for entry in protocol.entries if entry.photo is None} <= set(lights.LIGHTS)
        path = protocol.make(protocol.entries[1], tmp_path / f"pictures{albedo}").photos[0]
        with Image.open(path) as picture:
            shades[albedo] = np.asarray(picture)[180:220, 180:220].reshape(-1, 3)
    assert np.abs(shades[False] - np.array([127.5, 102, 76.5])).max() <= 1.5
    assert shades[True].std(0).max() > 3
