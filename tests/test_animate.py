"""The command line, as a user meets it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d import animate
from tf_deep3d.fitting import descent
from tf_deep3d.fitting.settings import FitSettings, Stage
from tf_deep3d.reconstruction.clip import results


@pytest.fixture
def quick(monkeypatch):
    """A fit of few steps, so that the tests are about the command."""
    fit = descent.fit

    def short(models, observation, settings, *arguments, **named):
        return fit(models, observation, FitSettings(stages=(Stage(0, 2, 0.1, False),)), *arguments, **named)

    monkeypatch.setattr(descent, "fit", short)


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(data.astronaut()[i : 240 + i, 100:340]).save(folder / f"{i}.png")
    return folder


def test_folder_becomes_an_animation(frames, tmp_path, quick, capsys):
    command = [str(frames), "--out", str(tmp_path / "out"), "--fps", "30", "--method", "fit", "--level", "0"]
    assert animate.main([*command, "--max-frames", "3"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(results.FILES)
    said = capsys.readouterr()
    assert "3 frames, 0 filled in, 0 without the face" in said.out
    assert "only its first 3 frames counted" in said.err
    assert animate.main(command) == 1
    assert "overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4"], "missing.mp4"),
        (["{pipe}"], "must be a regular file or a folder"),
        (["/dev/zero"], "must be a regular file or a folder"),
        (["{text}", "--method", "fit"], "text.mp4"),
        (["{frames}", "--smooth", "-1"], "Received: -1"),
        (["{frames}", "--max-frames", "0"], "Received: 0"),
        (["{frames}", "--fps", "0", "--method", "fit"], "Received: 0"),
        (["{frames}", "--method", "fit", "--level", "9"], "Received: 9"),
        (["{grey}", "--method", "fit"], "no face"),
    ],
)
def test_users_mistakes(frames, tmp_path, capsys, arguments, message):
    (tmp_path / "text.mp4").write_text("hello " * 99)
    (tmp_path / "grey").mkdir()
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "grey" / "1.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    places = {"frames": frames, "pipe": tmp_path / "pipe.mp4", "text": tmp_path / "text.mp4", "grey": tmp_path / "grey"}
    arguments = [argument.format(**places) for argument in arguments]
    assert animate.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_help_shows_examples():
    command = [sys.executable, "-m", "tf_deep3d.animate", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown
    assert "--smooth" in shown
