"""How many objects and images of every class there are: the table that training and ``prepare`` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from swinv2_dense.checks.annotations import Counts
from swinv2_dense.files import shown

__all__ = ["show_counts", "show_table"]

_ROWS = 25  # of one column of classes
_WIDEST = 4  # columns of classes side by side
_NAME = 24  # characters
_LINES = 9  # characters that the lines of three columns and the space beside them take


def show_counts(title: str, counts: Counts, console: Console | None = None) -> None:
    """Print a table of objects and images per class, under a line of what the whole file holds.

    Args:
        title: which data these are.
    """
    console = console or Console()
    total = sum(counts.objects.values())
    console.print(
        f"{escape(shown(title))}: {counts.images:,} images ({counts.empty:,} without annotations), "
        f"{counts.annotations:,} annotations ({counts.crowds:,} crowds), {total:,} objects of {len(counts.objects)} "
        "classes to train on",
        highlight=False,
        soft_wrap=True,
    )
    rows = [(name, f"{counts.objects[name]:,}", f"{counts.images_of[name]:,}") for name in counts.objects]
    show_table(("class", "objects", "images"), rows, console)


def show_table(
    header: tuple[str, str, str], rows: Sequence[tuple[str, str, str]], console: Console | None = None
) -> None:
    """Print names with two numbers each, in several columns where there are many."""
    if not rows:
        return
    console = console or Console()
    widths = [max(len(text) for text in column) for column in zip(header, *rows, strict=True)]
    fitting = max(1, console.width // (min(_NAME, widths[0]) + sum(widths[1:]) + _LINES))
    columns = min(_WIDEST, fitting, -(-len(rows) // _ROWS))
    height = -(-len(rows) // columns)
    table = Table()
    for _ in range(columns):
        table.add_column(header[0], no_wrap=True, max_width=_NAME)
        table.add_column(header[1], justify="right", no_wrap=True)
        table.add_column(header[2], justify="right", no_wrap=True)
    for row in range(height):
        cells = []
        for name, *numbers in rows[row::height]:
            cells += [escape(shown(name)), *numbers]
        table.add_row(*cells)
    console.print(table)
