"""How long work reports how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["Progress", "counted", "silent"]

Progress = Callable[[str, int, int], object]
"""Called with the name of a step, and how many of how many entries are done."""

Entry = TypeVar("Entry")


def silent(step: str, done: int, total: int) -> None:
    """Report to nobody."""


def counted(entries: Sequence[Entry], step: str, progress: Progress, every: int = 1) -> Iterator[Entry]:
    """Iterate over ``entries``, reporting after each ``every`` of them and after the last."""
    for done, entry in enumerate(entries, start=1):
        yield entry
        if done % every == 0 or done == len(entries):
            progress(step, done, len(entries))
