"""The NoW challenge on a tiny folder in its layout."""

import numpy as np
import pytest

from tests.evaluation.protocols.conftest import measured, put_photo, put_scan
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import benchmark, mesh_files, result_files, scans
from tf_deep3d.evaluation.benchmark import Hooks, Method
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.evaluation.protocols import loading, now, surfaces
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_EYE_CORNERS, INNER_FACE, NOSE_BASE, eye_distance


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


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a/b/\xe9", b"a/../b", b"one"])
def test_a_list_of_other_lines_is_refused_in_one_line(tmp_path, tiny_model, challenge, right, content):
    (challenge / "imagepathsvalidation.txt").write_bytes(content)
    with pytest.raises((InputError, FileNotFoundError)) as caught:
        measured(tiny_model, "now", challenge, tmp_path / "out", right)
    assert len(str(caught.value).splitlines()) == 1


def test_now_crops_as_the_challenge_does(tiny_model, points, vertices):
    """Centre and radius by hand, from the landmarks of the synthetic face."""
    normals = np.zeros_like(vertices)
    everywhere = np.ones(len(vertices), bool)
    scan = scans.Scan(
        vertices * MILLIMETRES, tiny_model.triangles, normals, points * MILLIMETRES, None, everywhere
    )  # fmt: skip
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
