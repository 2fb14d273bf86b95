"""The command line of the page, as a user meets it."""

import pytest

from export import __main__ as export


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "out"], "a bundle of `python -m export` is needed. Received: nowhere"),
        (["nowhere", "here"], "overwrite"),
        (["nowhere", "here", "--overwrite"], "only a folder with a service_worker.js can be overwritten"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a file").touch()
    assert export.main(["web", *arguments]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_sample_that_cannot_be_read_is_told_before_the_export(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("export.web.command._export", lambda folder: pytest.fail("it exported"))
    assert export.main(["web", str(tmp_path / "page"), "--sample", str(tmp_path / "nowhere.jpg")]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "nowhere.jpg" in line
    assert not list(tmp_path.iterdir())


def test_help_says_how_to_show_the_page(capsys):
    with pytest.raises(SystemExit) as exit_:
        export.main(["web", "--help"])
    assert exit_.value.code == 0
    assert "python -m http.server --directory page" in capsys.readouterr().out
