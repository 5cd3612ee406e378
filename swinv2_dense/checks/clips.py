"""Lists of clips and label maps: text files that people write in many ways, read in one."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.checks.coco_file import leaves_folder
from swinv2_dense.checks.findings import warn
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = ["count_clips", "read_class_names", "read_clip_list"]

# "a.mp4 3" as the path of a line "a.mp4 3 7": a suffix, then numbers.
_SEVERAL_LABELS = re.compile(r"\.[A-Za-z0-9]{2,5}([\s,;]+\d+)+\s*$")


def read_clip_list(
    path: str | os.PathLike[str], num_classes: int, *, delimiter: str = " ", prefix: str = ""
) -> list[tuple[str, int]]:
    """Path and label of every line "path label" of a list. Paths may hold spaces; a tab separates as a space does.

    Args:
        num_classes: labels are below.
        prefix: the folder of the clips; with one, no path may lead out of it.

    Raises:
        UserError: no regular file, not UTF-8, no clips, or a line that is not a path and one label in range.
    """
    entries = []
    for number, line in enumerate(read_text(path, "list of clips").split("\n"), start=1):
        line = line.strip()
        if not line:
            continue
        # By whitespace where a space is expected, so that tabs and several spaces are none of the path.
        parts = line.rsplit(None if delimiter == " " else delimiter, 1)
        name, label = (parts[0].strip(), parts[1].strip()) if len(parts) == 2 else (line, "")
        place = f"{shown(path)}, line {number}"
        if _SEVERAL_LABELS.search(name):
            raise UserError(f"{place}: {shown(line)!r} has several labels: a clip of one class each is trained on")
        if not label.isascii() or not label.isdecimal():
            raise UserError(f"{place}: {shown(line)!r} is not a path and a label, separated by {delimiter!r}")
        if len(label) > 9 or int(label) >= num_classes:
            raise UserError(
                f"{place}: label {shown(label, 20)} is beyond num_classes={num_classes}: "
                "correct it, or num_classes of the data set and of model.cls_head"
            )
        if prefix and (reason := leaves_folder(name)):
            raise UserError(f"{place}: {shown(name)!r} {reason} {shown(prefix)}: write paths below it")
        entries.append((name, int(label)))
    if not entries:
        raise UserError(f"{shown(path)} lists no clips: write it by swinv2 prepare kinetics400")
    return entries


def read_class_names(path: Path) -> list[str]:
    """The names in a label map, one a line, the first being label 0.

    Raises:
        UserError: no regular file, not UTF-8, or empty.
    """
    names = [line.strip() for line in read_text(path, "label map").split("\n") if line.strip()]
    if not names:
        raise UserError(f"label map {shown(path)} is empty: write a class name per line, the first being label 0")
    return names


def count_clips(title: str, labels: Sequence[int], num_classes: int, names: Sequence[str] | None) -> None:
    """Print how many clips there are of how many classes, and warn of those without any."""
    counts = Counter(labels)
    fewest, most = min(counts.values()), max(counts.values())
    print(f"{title}: {len(labels):,} clips of {len(counts)} classes, {fewest:,} to {most:,} of each")
    missing = [names[c] if names else f"class {c}" for c in range(num_classes) if c not in counts]
    if missing:
        listed = ", ".join(map(shown, missing[:5])) + (" ..." if len(missing) > 5 else "")
        warn(f"{title} has no clip of {len(missing)} of {num_classes} classes: {listed}")
