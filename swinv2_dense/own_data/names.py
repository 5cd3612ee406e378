"""Class names beside the data: a text file with a class a line."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = ["FILES", "Legend", "find_legend"]

FILES = ("classes.txt", "labels.txt", "names.txt", "label_colors.txt", "labelmap.txt")
_COLOUR = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*)")
_COLOUR_AFTER = re.compile(r"(\S.*?)[\s,:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:::?)?")
_NUMBERED = re.compile(r"(\d{1,5})[\s,:]+(\S.*)")

# pattern, and its groups of the name and of the numbers
_KINDS = ((_COLOUR, 4, (1, 2, 3)), (_COLOUR_AFTER, 1, (2, 3, 4)), (_NUMBERED, 2, (1,)))


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
    held = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    path = next((held[name] for name in FILES if name in held), None)
    if path is None:
        return None
    lines = [
        line.strip() for line in read_text(path).splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise UserError(f"{shown(path)} names no classes: write one a line, or remove the file")
    kinds = [
        next((kind for kind, (pattern, *_) in enumerate(_KINDS) if pattern.fullmatch(line)), None) for line in lines
    ]
    (usual, _), *others = Counter(kinds).most_common()
    if others:
        odd = next(line for line, kind in zip(lines, kinds, strict=True) if kind != usual)
        raise UserError(
            f"{shown(path)}: the line {shown(odd)!r} is of another kind than others: number every line or none, give "
            "every one a colour or none; a line that is no class begins with #"
        )
    if usual is not None:
        pattern, name, colour = _KINDS[usual]
        matches = [pattern.fullmatch(line) for line in lines]
        return _legend(path, [(tuple(int(m[k]) for k in colour), m[name]) for m in matches if m is not None])
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
