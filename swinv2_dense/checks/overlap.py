"""Files that two splits of a data set share: scores on what was trained on say nothing."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["check_overlap", "in_both"]


def in_both(one: Path, other: Path, names: Iterable[str]) -> list[str]:
    """Names, of files below both folders, whose contents are equal; sorted. Different files may have the same name."""
    shared = []
    for name in sorted(names):
        try:
            # Of files of different sizes nothing is read.
            paths = one / name, other / name
            if os.path.samefile(*paths) or filecmp.cmp(*paths, shallow=False):
                shared.append(name)
        except OSError:  # missing or unreadable, which is found elsewhere
            continue
    return shared


def check_overlap(one: Path, other: Path, names: Iterable[str]) -> None:
    """Raise where two splits share files.

    Raises:
        UserError: names the first and how many there are.
    """
    if shared := in_both(one, other, names):
        raise UserError(
            f"{len(shared)} files are in {shown(one)} and in {shown(other)}, the first {shown(shared[0])}: take them "
            "out of one, as scores on what was trained on say nothing"
        )
