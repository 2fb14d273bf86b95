"""The script of the kills, in short; `python -m tests.endurance.kills` goes on for hours."""

import subprocess
import sys

import pytest

from tests.endurance import kills


@pytest.mark.skipif(sys.platform != "linux", reason="the script looks for processes in /proc")
@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_a_killed_command_leaves_nothing_that_a_rerun_does_not_mend(tmp_path, name):
    command = [
        sys.executable,
        "-m",
        "tests.endurance.kills",
        "writer",
        "--kills",
        "12",
        "--each",
        "4",
        "--signal",
        name,
    ]
    ended = subprocess.run([*command, "--keep", str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| writer | 12 |" in ended.stdout


def test_flaws_are_seen(tmp_path):
    for file, content in (("a.json", b"{"), ("a.png", b"\x89PNG"), ("a.npz", b"PK"), ("a.glb", b"glTF" + bytes(8)),
                          ("a.gz", b"\x1f\x8b"), ("a.h5", b"x"), ("a.obj", b"")):  # fmt: skip
        (tmp_path / file).write_bytes(content)
        assert kills.flaw(tmp_path / file), file
    (tmp_path / "b.json").write_text("[]")
    assert kills.flaw(tmp_path / "b.json") is None


def test_hidden_folders_and_visible_files_are_told_apart(tmp_path):
    hidden = tmp_path / "out" / ".0123456789abcdef.part"
    hidden.mkdir(parents=True)
    (hidden / "new").write_text("half")
    (tmp_path / "out" / "face.ply").write_text("whole")
    assert kills.listed(tmp_path, hidden=False) == ["out/face.ply"]
    assert kills.listed(tmp_path, hidden=True) == [f"out/{hidden.name}", f"out/{hidden.name}/new"]
