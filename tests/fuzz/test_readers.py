"""Whatever bytes a reader of foreign files gets, it reads them or says in one line what is wrong with them.

A short look runs with the other tests, by Hypothesis; `pytest -m fuzz tests/fuzz` runs `python -m tests.fuzz` for five
minutes a reader.
"""

import sys

import pytest

from tests.fuzz import __main__ as fuzzing
from tests.fuzz import mutation, readers

hypothesis = pytest.importorskip("hypothesis", reason="pip install -r requirements-test.txt")
st = hypothesis.strategies
# Cost seconds even here: of each file a whole network or face model is made.
SLOW = {"bundle", "dlib-network", "face-model", "face-model-lists", "network"}
SLOW |= {"weights", "weights-config", "weights-hdf5"}


@pytest.mark.parametrize("name", readers.READERS)
@pytest.mark.filterwarnings("ignore")  # of decoders and of NumPy: what counts is how the reader ends
def test_a_changed_file_is_read_or_refused_in_one_line(name, tmp_path):
    reader = readers.READERS[name]()
    path = tmp_path / reader.file

    @hypothesis.settings(max_examples=4 if name in SLOW else hypothesis.settings.default.max_examples)
    @hypothesis.given(st.sampled_from(reader.seeds), st.randoms(use_true_random=False))
    def check(good, rng):
        path.write_bytes(reader.wrap(mutation.changed(good, rng)))
        readers.outcome(reader, path)

    for good in reader.seeds:
        path.write_bytes(reader.wrap(good))
        readers.outcome(reader, path)
    check()


@pytest.mark.parametrize("name", sorted(set(readers.READERS) - {"network", "bundle", "record", "recipe"}))
@pytest.mark.filterwarnings("ignore")
def test_a_seed_is_a_good_file(name, tmp_path):
    reader = readers.READERS[name]()
    (tmp_path / reader.file).write_bytes(reader.wrap(reader.seeds[0]))
    assert readers.outcome(reader, tmp_path / reader.file) is None


@pytest.mark.skipif(sys.platform == "win32", reason="the script measures memory by getrusage")
def test_a_crash_is_told_once_and_kept(tmp_path):
    found = fuzzing.Child(tmp_path)
    broken = readers.Reader("a.txt", lambda path: 1 / path.read_bytes().count(b"z"), [b"zoo", b"zebra"])
    found.prepare(broken)
    for content in (b"zoo", b"moo", b"boo"):
        found.execute(content)
    found.tell()
    assert found.tally.executions == 3
    assert found.tally.read == 1
    (kind,) = found.tally.crashes
    assert kind.startswith("ZeroDivisionError at tests/fuzz/test_readers.py:")
    assert bytes.fromhex(found.tally.crashes[kind]) == b"moo"


def test_the_command_counts(tmp_path, capsys):
    options = ["table", "--engine", "random", "--minutes", "0.1", "--keep", str(tmp_path)]
    assert fuzzing.main(options) == 0
    row = capsys.readouterr().out.splitlines()[-1].split("|")
    assert row[1].strip() == "table"
    assert int(row[2]) > 10


@pytest.mark.fuzz
@pytest.mark.parametrize("name", readers.READERS)
def test_for_long(name, tmp_path, capsys):
    assert fuzzing.main([name, "--keep", str(tmp_path)]) == 0, capsys.readouterr()
