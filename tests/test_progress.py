"""Entries are reported every so often, and the last one always."""

from __future__ import annotations

from swinv2_dense.progress import counted


def test_counted() -> None:
    seen: list[tuple[str, int, int]] = []
    entries = list(counted("abcde", "letters", lambda *state: seen.append(state), every=2))
    assert entries == list("abcde")
    assert seen == [("letters", 2, 5), ("letters", 4, 5), ("letters", 5, 5)]
