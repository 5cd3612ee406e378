"""Lists hold every clip that can be used and its class's label; the others are named with their reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the video extra")

from swinv2_dense.cli.prepare.clip_listing import Clip, check_clip, find_clips, read_label_map, write_lists
from swinv2_dense.demo.motion_clips import write_mp4
from swinv2_dense.errors import UserError

LABELS = {"arm wrestling": 0, "tai chi": 1, "petting animal (not cat)": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "videos_train"
    frames = [np.full((64, 64, 3), 20 * t, np.uint8) for t in range(8)]
    write_mp4(root / "arm_wrestling" / "b.mp4", frames)
    write_mp4(root / "arm_wrestling" / "a.mp4", frames)
    write_mp4(root / "tai chi" / "one.mp4", frames[:1])
    write_mp4(root / "Petting_Animal_(not_cat)" / "c.mp4", frames)
    whole = (root / "arm_wrestling" / "a.mp4").read_bytes()
    (root / "tai chi" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "tai chi" / "empty.mp4").write_bytes(b"")
    (root / "tai chi" / "notes.txt").write_text("no clip")
    (root / ".hidden").mkdir()
    return root


def test_clips_are_found_by_folder_however_it_is_spelt(folder: Path) -> None:
    assert find_clips(folder, LABELS) == [
        Clip("Petting_Animal_(not_cat)/c.mp4", 2),
        Clip("arm_wrestling/a.mp4", 0),
        Clip("arm_wrestling/b.mp4", 0),
        Clip("tai chi/cut.mp4", 1),
        Clip("tai chi/empty.mp4", 1),
        Clip("tai chi/one.mp4", 1),
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("tai chi/cut.mp4", "unreadable"), ("tai chi/empty.mp4", "empty"), ("tai chi/one.mp4", "1 frame, fewer than 8")],
)
def test_what_is_wrong_with_a_clip(folder: Path, name: str, problem: str) -> None:
    found = check_clip(folder, 8, Clip(name, 1))
    assert found.name == name
    assert found.problem is not None
    assert found.problem.startswith(problem)


def test_a_clip_garbled_in_the_middle_is_found(folder: Path) -> None:
    path = folder / "arm_wrestling" / "noise.mp4"
    rng = np.random.default_rng(0)
    write_mp4(path, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(60)])
    assert check_clip(folder, 8, Clip("arm_wrestling/noise.mp4", 0)).problem is None
    raw = bytearray(path.read_bytes())
    third = len(raw) // 3
    raw[third : 2 * third] = bytes(third)
    path.write_bytes(raw)
    problem = check_clip(folder, 8, Clip("arm_wrestling/noise.mp4", 0)).problem
    assert problem is not None and problem.startswith("unreadable")


def test_the_list_holds_what_is_left(folder: Path, tmp_path: Path) -> None:
    done: list[int] = []
    target = tmp_path / "list.txt"
    bad = write_lists(
        folder,
        find_clips(folder, LABELS),
        target,
        min_frames=8,
        workers=1,
        progress=lambda step, i, total: done.append(i),
    )
    assert target.read_text().splitlines() == [
        "Petting_Animal_(not_cat)/c.mp4 2",
        "arm_wrestling/a.mp4 0",
        "arm_wrestling/b.mp4 0",
    ]
    assert [clip.name for clip in bad] == ["tai chi/cut.mp4", "tai chi/empty.mp4", "tai chi/one.mp4"]
    assert done == list(range(1, 7))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "videos_train"]


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"arm_wrestling is no class.*'arm wrestlin'"):
        find_clips(folder, {"arm wrestlin": 0, "petting animal (not cat)": 2})
    with pytest.raises(UserError, match="videos_val does not exist"):
        find_clips(tmp_path / "videos_val", LABELS)
    (tmp_path / "videos_val").mkdir()
    with pytest.raises(UserError, match="holds no clips"):
        find_clips(tmp_path / "videos_val", LABELS)
    clips = [Clip("tai chi/cut.mp4", 1), Clip("tai chi/empty.mp4", 1)]
    with pytest.raises(UserError, match=r"none of the 2 clips.*tai chi/cut.mp4: unreadable"):
        write_lists(folder, clips, tmp_path / "list.txt", min_frames=1, workers=1)
    assert not (tmp_path / "list.txt").exists()


def test_label_maps(tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    path.write_text("arm wrestling\nTai_Chi\n\npetting animal (not cat)\n")
    assert read_label_map(path) == LABELS
    path.write_text("tai chi\ntai_chi\n")
    with pytest.raises(UserError, match="'tai chi' twice"):
        read_label_map(path)
    with pytest.raises(UserError, match="--label-map"):
        read_label_map(tmp_path / "absent.txt")
