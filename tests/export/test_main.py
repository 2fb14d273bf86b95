"""The command line of the export, as a user meets it. A whole run is `tests.exported`."""

import pytest
from PIL import Image
from skimage import data

from export import __main__ as command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["out", "--quantize", "int3,int8"], "some of float32, float16, dynamic, int8. Received: 'int3'"),
        (["out", "--quantize", ","], "Received: none"),
        (["here"], "overwrite"),
        (["here", "--overwrite"], "only a folder with a manifest.json can be overwritten. Received: here"),
        (["nowhere", "out"], "No such file: nowhere"),
        (["RUN", "out", "--model", "nowhere.npz"], "nowhere.npz"),
        (["RUN", "out"], "trained with another face model than this one"),
        (["RUN", "out", "--model", "MODEL", "--level", "7"], "levels of detail 0 to 1. Received: 7"),
        (["RUN", "out", "--model", "MODEL", "--calibration", "nowhere"], "there is no such photo. Received: 'nowhere'"),
        (["RUN", "out", "--model", "MODEL", "--calibration", "here"], "at least 24 faces are needed"),
        (["here/me.png", "out", "--model", "MODEL"], "no readable .keras file"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(exported, model_file, tmp_path, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    Image.fromarray(data.astronaut()).save("here/me.png")
    places = {"RUN": str(exported.run), "MODEL": str(model_file)}
    assert command.main([places.get(argument, argument) for argument in arguments]) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_what_a_run_says(exported):
    lines = exported.printed.splitlines()
    assert lines[-1].startswith(f"{exported.folder}: ")
    assert lines[0].startswith("| file | MB |")
    assert "C-Net" not in exported.printed


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"], ["out", "--level", "x"]])
def test_wrong_command_lines_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == 2


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(["--help"])
    assert exit_.value.code == 0
    assert "python -m export runs/rnet_mobilenet bundle" in capsys.readouterr().out
