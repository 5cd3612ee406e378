"""Generated clips: frames alone tell nothing, motion tells the class, files are complete and the same every time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.demo import motion_clips as video_motion
from swinv2_dense.demo.motion_clips import MOTIONS, Pose, draw_clip, poses, write_motion_clips
from swinv2_dense.errors import UserError

OPPOSITES = [("left", "right"), ("up", "down"), ("growing", "shrinking")]
SMALL = {"train": 2, "val": 1, "frames": 4}


def numbers(pose: Pose) -> np.ndarray:
    return np.array([pose.x, pose.y, pose.angle, pose.size])


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("frame", [0, 7, 15])
def test_every_frame_of_every_class_shows_every_pose_alike(motion: str, frame: int) -> None:
    starts = np.random.default_rng(0).random((2000, 4))
    shown = np.array([numbers(poses(Pose(*start), motion, 16)[frame]) for start in starts])
    # 10 bins of about 200; 5 standard deviations are 67
    for column in shown.T:
        assert np.abs(np.histogram(column, bins=10, range=(0, 1))[0] - 200).max() < 70


@pytest.mark.parametrize(("motion", "opposite"), OPPOSITES)
def test_each_class_is_its_opposite_backwards(motion: str, opposite: str) -> None:
    there = poses(Pose(0.2, 0.9, 0.5, 0.7), motion, 16)
    back = poses(there[-1], opposite, 16)[::-1]
    distance = np.abs(np.array([numbers(a) - numbers(b) for a, b in zip(there, back, strict=True)]))
    assert np.minimum(distance, 1 - distance).max() < 1e-9  # cyclic
    assert np.abs(numbers(there[0]) - numbers(there[5])).max() > 0.1  # there is motion at all


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("up", 0, -1), ("down", 0, 1)])
def test_the_drawn_shape_goes_where_the_class_says(motion: str, axis: int, sign: int) -> None:
    for seed in range(5):
        bright = [frame.max(axis=2) > 139 for frame in draw_clip(np.random.default_rng(seed), motion, 2, 64)]
        overlaps = {d: (np.roll(bright[0], d, axis) & bright[1]).sum() for d in range(-5, 6)}
        assert max(overlaps, key=overlaps.__getitem__) == 3 * sign  # 0.05 of 64 pixels


def test_shapes_stand_out_and_leave_by_one_side_to_come_in_on_the_other() -> None:
    ground, colour = np.zeros((64, 64, 3)), np.full(3, 200.0)
    areas = []
    for x, y in [(0.5, 0.5), (0.0, 0.5), (0.98, 0.02)]:
        frame = video_motion._frame(ground, colour, 4, Pose(x, y, 0.1, 0.5))
        areas.append((frame > 100).sum())
        assert frame.max() == 200
    assert max(areas) - min(areas) < 0.05 * max(areas)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion") / "data"
    seen: list[int] = []
    assert write_motion_clips(folder, **SMALL, progress=lambda step, done, total: seen.append(done))
    assert seen == list(range(1, 3 * len(MOTIONS) + 1))
    return folder


@pytest.mark.parametrize(("split", "count"), [("train", 2), ("val", 1)])
def test_lists_name_every_clip_with_its_label(root: Path, split: str, count: int) -> None:
    assert (root / "label_map_k400.txt").read_text().split() == list(MOTIONS)
    lines = (root / f"kinetics400_{split}_list_videos.txt").read_text().splitlines()
    assert len(lines) == count * len(MOTIONS)
    for line in lines:
        name, label = line.split()
        assert name.split("/")[0] == MOTIONS[int(label)]
        video = cv2.VideoCapture(str(root / f"videos_{split}" / name))
        frames = []
        while (frame := video.read())[0]:
            frames.append(frame[1])
        assert len(frames) == 4
        assert frames[0].shape == (64, 64, 3)
        assert np.abs(frames[0].astype(int) - frames[3]).max() > 30


def test_it_is_written_once_and_the_same_every_time(root: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> dict[str, str]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digest(root)
    assert not write_motion_clips(root, **SMALL)
    assert write_motion_clips(tmp_path / "again", **SMALL)
    assert digest(tmp_path / "again") == before
    assert write_motion_clips(tmp_path / "again", **SMALL, seed=1)
    assert digest(tmp_path / "again") != before


def test_a_foreign_folder_is_left_alone_and_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "cat.mp4").write_text("mine")
    with pytest.raises(UserError, match="not a generated data set"):
        write_motion_clips(tmp_path / "films", **SMALL)
    assert (tmp_path / "films" / "cat.mp4").read_text() == "mine"

    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_motion_clips(tmp_path / "data", **SMALL, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["films"]
