"""Progress bars on the terminal for work that reports how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from swinv2_dense.progress import Progress

__all__ = ["bars"]


@contextlib.contextmanager
def bars() -> Iterator[Progress]:
    """A bar with the time left for each step that reports; they vanish at the end. Nothing where stderr is a file."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = shown.add_task(step, total=total)
            shown.update(tasks[step], completed=done, total=total)

        yield report
