"""Class names beside the data: a text file with a class a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = ["FILES", "Legend", "find_legend"]

FILES = ("classes.txt", "labels.txt", "names.txt", "label_colors.txt", "labelmap.txt")
_COLOUR = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*)")
_COLOUR_AFTER = re.compile(r"(\S.*?)[\s,:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:::?)?")
_NUMBERED = re.compile(r"(\d{1,5})[\s,:]+(\S.*)")


@dataclass(frozen=True)
class Legend:
    """``names``: value, colour (65536 R + 256 G + B) or place of the line -> name; ``numbered``: not the last."""

    path: Path
    names: dict[int, str]
    numbered: bool
    colours: bool


def find_legend(folder: Path) -> Legend | None:
    """The first of :data:`FILES` in a folder: lines ``NAME``, ``NUMBER NAME``, ``R G B NAME`` or ``NAME R G B``.

    Empty lines and lines that begin with # are left out.

    Raises:
        UserError: the lines are of several kinds, a colour is beyond 255, or a number comes twice.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    lines = [
        line.strip() for line in read_text(path).splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise UserError(f"{shown(path)} names no classes: write one a line, or remove the file")
    for pattern, name, colour in ((_COLOUR, 4, (1, 2, 3)), (_COLOUR_AFTER, 1, (2, 3, 4)), (_NUMBERED, 2, (1,))):
        matches = [pattern.fullmatch(line) for line in lines]
        if all(matches):
            found = [(tuple(int(m[k]) for k in colour), m[name]) for m in matches if m is not None]
            return _legend(path, found)
    return Legend(path, dict(enumerate(lines)), numbered=False, colours=False)


def _legend(path: Path, found: list[tuple[tuple[int, ...], str]]) -> Legend:
    colours = len(found[0][0]) == 3
    names: dict[int, str] = {}
    for numbers, name in found:
        if colours and max(numbers) > 255:
            raise UserError(f"{shown(path)}: {numbers} of {name!r} is no colour, each part is 0 to 255")
        value = numbers[0] if len(numbers) == 1 else 65536 * numbers[0] + 256 * numbers[1] + numbers[2]
        if value in names:
            raise UserError(f"{shown(path)} names {' '.join(map(str, numbers))} twice: {names[value]!r} and {name!r}")
        names[value] = name
    return Legend(path, names, numbered=True, colours=colours)
