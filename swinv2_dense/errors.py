"""The one exception for mistakes that a user can fix."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """A mistake in a config, a file or an environment, in one line.

    The message says what is wrong, which config key or file, and what to do. The command ``swinv2`` prints it as
    ``error: <message>`` and exits with status 1; from Python it is an ordinary ``ValueError``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
