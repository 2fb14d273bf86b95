"""What all protocols share: what lacks is said, what is damaged stops nothing, a bug stops all."""

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import protocols
from tf_deep3d.evaluation.protocols import loading


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
