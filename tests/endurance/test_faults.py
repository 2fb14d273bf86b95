"""What the script of the faults thinks of how a command ended."""

import pytest

from tests.endurance import faults

LINE = "error: the folder has vanished while it was written to. Received: out\n"


@pytest.mark.parametrize(
    ("fault", "status", "said", "remains", "whole", "told"),
    [
        ("full", 1, LINE, [], False, ""),
        ("full", 0, "", [], False, "status 0"),
        ("full", 0, "", [], True, "status 0"),
        ("vanished", 1, LINE, [], False, ""),
        ("vanished", 0, "", [], True, ""),  # it was made again
        ("vanished", 0, "", [], False, "status 0"),
        ("memory", 0, "", [], False, ""),
        ("full", 1, "Traceback\n" + LINE, [], False, "traceback"),
        ("full", 1, "", [], False, "no line that says why"),
        ("full", -11, LINE, [], False, "killed by -11"),
        ("full", 1, LINE, ["out/.0123456789abcdef.part"], False, "out/.0123456789abcdef.part"),
    ],
)
def test_verdicts(fault, status, said, remains, whole, told):
    assert faults.verdict(fault, status, said, remains, whole) == told
