"""tools/prepare/kinetics400.py, from folders of clips to lists that the configs read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the video extra")

from swinv2_dense.checks.clips import read_clip_list
from swinv2_dense.demo.motion_clips import write_mp4
from tests.tiny import mistake, tool

NAME = "prepare/kinetics400"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    frames = [np.full((64, 64, 3), t, np.uint8) for t in range(20)]
    for split in ("train", "val"):
        write_mp4(tmp_path / f"videos_{split}" / "tai_chi" / "a.mp4", frames)
        write_mp4(tmp_path / f"videos_{split}" / "arm wrestling" / "b.mp4", frames)
    (tmp_path / "videos_train" / "tai_chi" / "empty.mp4").write_bytes(b"")
    (tmp_path / "label_map_k400.txt").write_text("arm wrestling\ntai chi\n")
    return tmp_path


def test_lists_and_what_was_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "kinetics400_val_list_videos.txt").write_text("an older one\n")
    tool(NAME).main([str(root), "--workers", "1"])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"left out {root}/videos_train/tai_chi/empty.mp4: empty file"
    assert told[1].startswith("train: 2 clips of 2 classes, 1 left out")
    assert sum(line.startswith("val: 2 clips of 2 classes, 0 left out") for line in told) == 1
    assert sum("tai chi" in line and " 1 " in line for line in told) == 2  # a table of each split
    for split in ("train", "val"):
        lines = (root / f"kinetics400_{split}_list_videos.txt").read_text().splitlines()
        assert lines == ["arm wrestling/b.mp4 0", "tai_chi/a.mp4 1"]


def test_a_dry_run_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(root.rglob("*"))
    tool(NAME).main([str(root), "--workers", "1", "--dry-run", "--min-frames", "20", "--out", str(root / "out")])
    assert sorted(root.rglob("*")) == before
    assert "not written" in capsys.readouterr().out


def test_mistakes_are_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none of the 3 clips" in mistake(NAME, [str(root), "--workers", "1", "--min-frames", "21"], capsys)
    assert "does not exist" in mistake(NAME, [str(root / "nowhere")], capsys)
    (root / "label_map_k400.txt").write_text("arm wrestling\n")
    assert "tai_chi is no class" in mistake(NAME, [str(root)], capsys)


def test_what_is_not_read_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "videos_val" / "tai_chi" / "gone.mp4").symlink_to("nothing.mp4")
    (root / "videos_val" / "tai_chi" / "clip.rm").write_bytes(b"x")
    (root / "videos_val" / "tai_chi" / "more").mkdir()
    (root / "videos_val" / "tai_chi" / "a.mp4").rename(root / "videos_val" / "tai_chi" / "more" / "a.M4V")
    (root / "label_map_k400.txt").write_bytes("arm wrestling\r\ntai chi\r\njuggling\r\n".encode("utf-8-sig"))
    tool(NAME).main([str(root), "--workers", "1", "--splits", "val"])
    told = capsys.readouterr().out
    assert f"left out {root}/videos_val/tai_chi/gone.mp4: a link to nothing" in told
    assert "1 files in" in told
    assert "tai_chi/clip.rm" in told
    assert "warning: val has no clip of 1 of 3 classes, the first juggling" in told
    lines = (root / "kinetics400_val_list_videos.txt").read_text().splitlines()
    assert lines == ["arm wrestling/b.mp4 0", "tai_chi/more/a.M4V 1"]


def test_label_maps_in_other_encodings(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "label_map_k400.txt").write_text("arm wrestling\ntai chi\n", encoding="utf-16")
    assert "label_map_k400.txt is UTF-16: save it as UTF-8" in mistake(NAME, [str(root)], capsys)
    (root / "label_map_k400.txt").write_text("摔跤\n", encoding="gbk")
    assert "label_map_k400.txt is not UTF-8 (line 1)" in mistake(NAME, [str(root)], capsys)
    assert "--workers 0" in mistake(NAME, [str(root), "--workers", "0"], capsys)


def test_all_folders_are_found_before_clips_are_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "videos_val").rename(root / "val")
    assert "videos_val does not exist" in mistake(NAME, [str(root), "--workers", "1"], capsys)
    (root / "val").rename(root / "videos_val")
    (root / "videos_val" / "loose.mp4").write_bytes(b"x")
    line = mistake(NAME, [str(root), "--workers", "1"], capsys)
    assert "1 clips lie in" in line and "videos_val itself, the first loose.mp4, and would be left out" in line
    assert not list(root.glob("*_list_*"))


def test_linked_folders_are_read_and_hidden_ones_are_not(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = root / "videos_train" / "tai_chi"
    for name in ("more", ".trash"):
        (root / name).mkdir()
        (root / name / "c.mp4").symlink_to(kind / "a.mp4")
        (kind / name).symlink_to(root / name)
    tool(NAME).main([str(root), "--workers", "1"])
    lines = (root / "kinetics400_train_list_videos.txt").read_text().splitlines()
    assert lines == ["arm wrestling/b.mp4 0", "tai_chi/a.mp4 1", "tai_chi/more/c.mp4 1"]
    # The fixture's clips are the same in both.
    assert "warning: 2 clips are in train and in val, the first arm wrestling/b.mp4" in capsys.readouterr().out


def test_a_name_that_no_list_can_hold_is_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = root / "videos_train" / "tai_chi"
    try:
        (kind / os.fsdecode(b"caf\xe9.mp4")).symlink_to(kind / "a.mp4")
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    tool(NAME).main([str(root), "--workers", "1", "--splits", "train"])
    assert "caf\\udce9.mp4: its name is no UTF-8, in which lists are written" in capsys.readouterr().out
    assert len(read_clip_list(root / "kinetics400_train_list_videos.txt", 2)) == 2
