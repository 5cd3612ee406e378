"""Lists of clips: read however people separate and encode them, or refused with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swinv2_dense.checks.clips import count_clips, read_class_names, read_clip_list
from swinv2_dense.errors import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.txt"


@pytest.mark.parametrize("separator", [" ", "\t", "   ", " \t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_spaces_and_tabs(separator: str, encoding: str, path: Path) -> None:
    path.write_text(f"tai chi/a b.mp4{separator}1\r\n\n摔跤/c.mp4{separator}0\n", encoding=encoding)
    assert read_clip_list(path, 2, prefix="/data") == [("tai chi/a b.mp4", 1), ("摔跤/c.mp4", 0)]


def test_another_delimiter(path: Path) -> None:
    path.write_text("a b.mp4,1\n")
    assert read_clip_list(path, 2, delimiter=",") == [("a b.mp4", 1)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.mp4", "not a path and a label"),
        ("a.mp4 one", "not a path and a label"),
        ("a.mp4 -1", "not a path and a label"),
        ("a.mp4 ²", "not a path and a label"),
        ("3", "not a path and a label"),
        ("a.mp4 7", "label 7 is beyond num_classes=7"),
        ("a.mp4 " + "9" * 5000, "is beyond num_classes=7"),
        ("a.mp4 3 5", "has several labels"),
        ("sub/a b.webm 3 5 6", "has several labels"),
        ("../../a.mp4 3", "leads out of the folder /data"),
        ("/etc/a.mp4 3", "leads out of the folder /data"),
    ],
)
def test_lines_that_are_none(line: str, told: str, path: Path) -> None:
    path.write_text(f"good.mp4 0\n{line}\n")
    with pytest.raises(UserError) as error:
        read_clip_list(path, 7, prefix="/data")
    assert told in str(error.value)
    assert "list.txt, line 2: " in str(error.value)
    assert len(str(error.value)) < 600


def test_paths_of_their_own_need_no_prefix(path: Path) -> None:
    path.write_text("/data/a.mp4 0\n")
    assert read_clip_list(path, 1) == [("/data/a.mp4", 0)]


@pytest.mark.parametrize(("encoding", "told"), [("utf-16", "UTF-16"), ("gbk", r"not UTF-8 \(line 2\)")])
def test_other_encodings(encoding: str, told: str, path: Path) -> None:
    path.write_text("a.mp4 0\n摔跤.mp4 0\n", encoding=encoding)
    with pytest.raises(UserError, match=f"list of clips .*list.txt is {told}: save it as UTF-8"):
        read_clip_list(path, 1)
    with pytest.raises(UserError, match=f"label map .*list.txt is {told}"):
        read_class_names(path)


def test_what_is_no_list(tmp_path: Path, path: Path) -> None:
    path.write_text("\n\n")
    with pytest.raises(UserError, match="lists no clips"):
        read_clip_list(path, 1)
    with pytest.raises(UserError, match="is empty"):
        read_class_names(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="named pipe"):
        read_clip_list(tmp_path / "pipe", 1)


def test_clips_of_every_class_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    count_clips("train", [0, 0, 2], 3, ["a", "b", "c"])
    said = capsys.readouterr()
    assert said.out == "train: 3 clips of 2 classes, 1 to 2 of each\n"
    assert said.err == "warning: train has no clip of 1 of 3 classes: b\n"
