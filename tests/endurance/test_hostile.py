"""What the scripts of hostile files and of long runs take for a fault; the scripts themselves go on for long."""

from pathlib import Path

import pytest

from tests.endurance import hostile, soak


@pytest.mark.parametrize(
    ("status", "said", "wrong"),
    [
        (0, "", None),
        (0, "bad.jpg: damaged\n", None),
        (1, "error: a photo is needed. Received: none\n", None),
        (2, "usage: reconstruct\nerror: unknown\n", None),
        (1, "", "says nothing"),
        (None, "", "goes on"),
        (-11, "", "status -11"),
        (70, "x\n", "status 70"),
        (1, "Traceback (most recent call last):\nKeyError: 'x'\n", "traceback: KeyError: 'x'"),
        (1, "error: " + "x" * 3000, "a line of 3007 letters"),
        (1, "a\n" * 7, "7 lines"),
    ],
)
def test_an_end_is_judged(status, said, wrong):
    found = hostile._wrong(hostile.Case("a case", "a.module", []), status, said)
    assert found is None if wrong is None else found.startswith(wrong)


def test_what_does_not_depend_on_hostile_files_must_be_there(tmp_path):
    case = hostile.Case("a case", "a.module", [], tmp_path / "face.glb")
    assert "face.glb is missing" in hostile._wrong(case, 0, "")
    case.written.touch()
    assert hostile._wrong(case, 0, "") is None


def test_damage_is_of_many_kinds_and_the_same_again():
    good = bytes(range(200))
    made = dict(hostile._damaged(good, 3))
    assert made == dict(hostile._damaged(good, 3))
    assert len({*made.values(), good}) == len(made) + 1
    flipped = [content for told, content in made.items() if told.startswith("flip")]
    assert all(sum((a ^ b).bit_count() for a, b in zip(each, good, strict=True)) == 1 for each in flipped)


@pytest.mark.parametrize(("last", "status"), [(104, 0), (115, 1)])
def test_memory_that_grows_is_told(monkeypatch, capsys, last, status):
    sizes = iter([90, *[100] * 9, last])
    monkeypatch.setattr(soak, "resident", lambda: next(sizes))
    assert soak.watched((number / 100, f"{number} records") for number in range(101)) == status
    said = capsys.readouterr().out
    assert "| 0 records | 90 |" in said
    assert f"| 100 records | {last} |" in said


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read in /proc")
def test_memory_is_that_of_the_process():
    assert 10 < soak.resident() < 100_000
