"""The one exception for mistakes that a user can fix."""

from __future__ import annotations

__all__ = ["UserError", "printable"]


class UserError(ValueError):
    """A mistake in a config, a file or an environment, in one line.

    The message says what is wrong, which config key or file, and what to do. The command ``swinv2`` prints it as
    ``error: <message>`` and exits with status 1; from Python it is an ordinary ``ValueError``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


def printable(text: str) -> str:
    """``text`` with an escape (``\\x1b``) for every character that would control the terminal or cannot be encoded.

    Names in files are whatever somebody wrote there.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
