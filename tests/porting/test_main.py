import subprocess
import sys

import numpy as np
import pytest

from tests.porting.test_bfm2009 import folder, masks, ready_made  # noqa: F401 - fixtures
from tf_deep3d.porting.__main__ import main

KINDS = ("bfm2009", "bfm2019", "flame", "gnm", "ict-facekit")


def test_help_names_every_kind_and_option(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert all(f"python -m tf_deep3d.porting {kind} " in text for kind in KINDS)
    for kind in KINDS:
        with pytest.raises(SystemExit):
            main([kind, "--help"])
        text = capsys.readouterr().out
        assert "--overwrite" in text
        assert "FILE OUT" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x"],
        ["bfm2009"],
        ["bfm2009", "a"],
        ["bfm2009", "a", "b", "--identity", "0"],
        ["bfm2009", "a", "b", "--albedo", "x"],
        ["bfm2009", "a", "b", "--landmarks", "c"],
        ["bfm2019", "a", "b", "--mean-expression", "x"],
        ["ict-facekit", "a", "b", "--albedo", "3"],
    ],
)
def test_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_an_existing_file_is_kept(ready_made, capsys):  # noqa: F811
    out = ready_made.parent / "out.npz"
    out.write_bytes(b"mine")
    assert main(["bfm2009", str(ready_made), str(out)]) == 1
    assert out.read_bytes() == b"mine"
    assert "overwrite" in capsys.readouterr().err
    assert main(["bfm2009", str(ready_made), str(out), "--overwrite"]) == 0
    text = capsys.readouterr().out
    assert f"wrote {out}: 2091 vertices, 4000 triangles, 5 identity, 4 expression, 3 albedo modes" in text
    assert "licence: " in text
    assert sorted(path.name for path in out.parent.iterdir()) == ["BFM_model_front.mat", "out.npz"]


def test_failure_leaves_nothing_behind(ready_made, capsys):  # noqa: F811
    out = ready_made.parent / "new" / "out.npz"
    ready_made.write_bytes(b"broken")
    assert main(["bfm2009", str(ready_made), str(out)]) == 1
    assert not out.parent.exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_as_a_module_without_a_traceback(tmp_path):
    np.savez(tmp_path / "a.npz", x=1)
    for path, message in ((tmp_path / "no.mat", "No such file"), (tmp_path / "a.npz", "not a readable MATLAB file")):
        command = [sys.executable, "-m", "tf_deep3d.porting", "bfm2009", str(path), str(tmp_path / "out.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
