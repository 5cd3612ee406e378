"""A user's mistake is one line that any terminal shows as it is."""

from __future__ import annotations

import pytest

from swinv2_dense.errors import UserError, printable


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a\n  b", "a b"),
        ("\x1b[31mred\x1b[0m \x07", "\\x1b[31mred\\x1b[0m \\x07"),
        ("Bild_ä_日本", "Bild_ä_日本"),
        ("surrogate \udcff", "surrogate \\udcff"),
        ("right to left \u202e", "right to left \\u202e"),
        ("C1 \x9b31m", "C1 \\x9b31m"),
    ],
)
def test_a_message_is_one_printable_line(message: str, shown: str) -> None:
    line = str(UserError(message))
    assert line == shown
    line.encode("utf-8")


def test_printable_keeps_what_can_be_printed() -> None:
    assert printable("[bold] a\tb") == "[bold] a\\tb"
