"""Legends of every kind, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.names import find_legend


@pytest.mark.parametrize(
    ("text", "names", "numbered", "colours"),
    [
        ("sky\n# comment\n\ndeep sea\n", {0: "sky", 1: "deep sea"}, False, False),
        ("3 sky\n5\tdeep sea\n", {3: "sky", 5: "deep sea"}, True, False),
        ("3: sky\n5, sea\n", {3: "sky", 5: "sea"}, True, False),
        ("1 2 3 sky\n255 0 0\tdeep sea\n", {66051: "sky", 0xFF0000: "deep sea"}, True, True),
        ("sky 1 2 3\nsea 255 0 0\n", {66051: "sky", 0xFF0000: "sea"}, True, True),
        ("sky:1,2,3::\nsea:255,0,0::\n", {66051: "sky", 0xFF0000: "sea"}, True, True),  # CVAT
    ],
)
def test_kinds(tmp_path: Path, text: str, names: dict[int, str], numbered: bool, colours: bool) -> None:
    (tmp_path / "labels.txt").write_text(text)
    legend = find_legend(tmp_path)
    assert legend is not None
    assert (legend.names, legend.numbered, legend.colours) == (names, numbered, colours)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("3 sky\n3 sea\n", "names 3 twice"),
        ("1 2 300 sky\n", "is no colour"),
        ("# nothing\n", "names no classes"),
        ("2 road\n0 tree\ncar\n", "'car' is of another kind"),
        ("1 road\n0 tree\n2\n", "'2' is of another kind"),
        ("name r g b\nroad 1 2 3\ntree 0 255 0\n", "'name r g b' is of another kind"),
        ("0 0 0 sky\n1 road\n2 2 2 sea\n", "'1 road' is of another kind"),
        ("sky\nsea\n7 road\n", "'7 road'"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=line):
        find_legend(tmp_path)


def test_none(tmp_path: Path) -> None:
    assert find_legend(tmp_path) is None


def test_capitals_in_the_name_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "Classes.TXT").write_text("sky\n")
    legend = find_legend(tmp_path)
    assert legend is not None
    assert legend.names == {0: "sky"}
