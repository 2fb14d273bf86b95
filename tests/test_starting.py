"""What a command starts: photos and clips become faces without TensorFlow or Keras."""

import subprocess
import sys

import pytest
from PIL import Image
from skimage import data


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("reconstruct", ["frames/0.png"]),
        ("reconstruct", ["frames/0.png", "--refine", "0"]),
        ("reconstruct", ["--set", "frames"]),
        ("animate", ["frames"]),
    ],
)
def test_it_imports_neither_tensorflow_nor_keras(tmp_path, command, arguments):
    """The shipped networks, the refinement, textures, pictures and meshes need neither."""
    (tmp_path / "frames").mkdir()
    for number in range(3):
        Image.fromarray(data.astronaut()[number : 240 + number, 100:340]).save(tmp_path / "frames" / f"{number}.png")
    code = (
        f"import os, sys; from tf_deep3d import {command}\n"
        f"os.chdir({str(tmp_path)!r})\n"
        f"status = {command}.main({[*arguments, '--out', 'out', '--level', '0']})\n"
        "print(status, sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr
