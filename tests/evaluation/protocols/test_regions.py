"""FaceWarehouse and REALY on tiny folders in their layouts."""

import numpy as np
import pytest

from tests.evaluation.protocols.conftest import TURN, measured, put_photo, put_scan
from tests.evaluation.test_scans import write_obj
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import result_files
from tf_deep3d.evaluation.mesh_files import read_indices
from tf_deep3d.evaluation.protocols import regions
from tf_deep3d.face.landmarks import NOSE_ROOT, NOSE_TIP


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


@pytest.mark.parametrize("text", ["one two", "1.5 x"])
def test_numbers_that_are_none_name_their_file(tmp_path, text):
    (tmp_path / "regions_S.txt").write_text(text)
    with pytest.raises(InputError, match=r"regions_S\.txt must hold whole numbers"):
        read_indices(tmp_path / "regions_S.txt", 10)
