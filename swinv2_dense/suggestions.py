"""The words that a user probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of ``words`` that is most like ``word``, or None where none is; ``cutoff`` 0 takes any."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)), None)


def did_you_mean(word: str, words: Iterable[str], otherwise: str | None = None) -> str:
    """``did you mean 'WORD'?`` for a message about an unknown word.

    Args:
        otherwise: What to say where none is near (default: all ``words``).
    """
    words = sorted(words)
    close = nearest(word, words)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"there are {', '.join(words)}" if otherwise is None else otherwise
