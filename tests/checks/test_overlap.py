"""Files that are in two splits are found by their content; those that share a name alone do not matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense.checks.overlap import check_overlap, in_both
from swinv2_dense.errors import UserError


def test_equal_files_are_named_and_equal_names_are_not(tmp_path: Path) -> None:
    one, other = tmp_path / "train", tmp_path / "val"
    for folder, contents in ((one, ("same", "left", "linked")), (other, ("same", "more"))):
        folder.mkdir()
        for name, content in zip("abc", contents, strict=False):
            (folder / name).write_text(content)
    (other / "c").symlink_to(one / "c")
    assert in_both(one, other, ["c", "b", "a", "gone"]) == ["a", "c"]
    check_overlap(one, other, ["b", "gone"])
    with pytest.raises(UserError, match=r"2 files are in \S+train and in \S+val, the first a: take them out of one"):
        check_overlap(one, other, "abc")
