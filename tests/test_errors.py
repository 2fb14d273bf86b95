import os

import pytest

from tf_deep3d.errors import LONGEST, InputError, WeightsError, first_line, readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë 😀 👩‍👩‍👧 ﷺ.jpg", "Zoë 😀 👩‍👩‍👧 ﷺ.jpg"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf\\udce9.jpg"),
        ("\u2028\u2029\x85\x1b[31m", "\\u2028\\u2029\\x85\\x1b[31m"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_name_becomes_one_line_of_unicode(text, shown):
    assert readable(text) == shown
    assert len(shown.encode().decode().splitlines()) == 1


def test_a_librarys_message_is_cut_to_its_first_line():
    assert first_line(KeyError("x")) == "KeyError: 'x'"
    assert first_line(ValueError("\n  first\nsecond")) == "ValueError: first"
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("x" * 999)) == "ValueError: " + "x" * 188


def test_a_refusal_is_one_line_whatever_was_received():
    assert str(WeightsError("a number is asked for. Received: 'x\r\x0c\x00\ny'")) == (
        "a number is asked for. Received: 'x\\r\\x0c\\x00\\ny'"
    )
    message = str(InputError(f"{'a' * 400} must be less. Received: {'9' * 200_000} of them"))
    assert message.startswith("a" * 400 + " must be less. Received: 999")
    assert message.endswith("99 of them")
    assert len(message) == LONGEST + 5
