"""Which extra of the package installs what a task needs."""

from __future__ import annotations

__all__ = ["EXTRAS", "install_command", "missing"]

EXTRAS = {"mmdet": "det", "mmseg": "seg", "mmaction": "video", "mmpretrain": "cls"}
"""Library of each task, also its configs' ``default_scope`` -> the extra that installs it."""


def install_command(extra: str) -> str:
    return f"pip install 'swinv2_dense[{extra}]'"


def missing(what: str, error: ImportError, extra: str) -> str:
    """The line about something that did not import."""
    # mmaction2's wheel asks for decord, which nothing here uses. ARM has no wheels of it, so the extra leaves both out.
    on_arm = " (on ARM also pip install --no-deps mmaction2==1.2.0)" if error.name == "mmaction" else ""
    return (
        f"{what} needs {error.name or 'a library'}, which does not import ({error}): {install_command(extra)}{on_arm}, "
        "or let swinv2 doctor find what is missing"
    )
