"""What the commands that reconstruct have in common."""

import argparse
import tempfile
from pathlib import Path

import pytest

from tf_deep3d.reconstruction import options


@pytest.mark.parametrize(
    ("words", "hidden"),
    [
        ([], False),
        (["--method", "fit"], True),
        (["--model", "face.npz"], True),
        (["--model", "face.npz", "--method", "rnet"], False),
        (["--weights", "run"], True),
        (["--refine", "5"], False),
        (["--set", "me"], False),
        (["--set", "me", "--refine", "5"], True),
    ],
)
def test_temporary_files_are_hidden_where_tensorflow_works(words, hidden, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    parser.add_argument("--refine", type=int)
    parser.add_argument("--set", nargs="+")
    with options.library_files(parser.parse_args(words)):
        place = Path(tempfile.gettempdir())
        assert place.exists()
        assert (place.parent == tmp_path and place.name.startswith(".")) == hidden
    assert list(tmp_path.iterdir()) == []
