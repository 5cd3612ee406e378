"""Drawn clips that differ only by motion, as mp4 files: data for demos and trials that need no download.

A shape moves over a textured ground. Its outline, colour, place, angle and size are drawn alike for every class, and
the motion keeps them so: places wrap around at the edges, angles around the circle, sizes from the largest to the
smallest. A single frame, wherever in the clip, therefore says nothing about the class, and each class is its opposite
played backwards; turning, either way, is its own.

    ROOT/kinetics400_{train,val}_list_videos.txt    a path and a label per line
    ROOT/label_map_k400.txt                         a class per line
    ROOT/videos_{train,val}/CLASS/00000.mp4
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from swinv2_dense.demo.generated import write_once
from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress, silent

__all__ = ["MOTIONS", "Pose", "draw_clip", "poses", "write_motion_clips", "write_mp4"]

# Change per frame of x and y (in sides of the image), of the angle (in turns) and of the size (in ranges of sizes).
_SPEEDS = {
    "left": (-0.05, 0, 0, 0),
    "right": (0.05, 0, 0, 0),
    "up": (0, -0.05, 0, 0),
    "down": (0, 0.05, 0, 0),
    "turning": (0, 0, 0.035, 0),
    "growing": (0, 0, 0, 0.06),
    "shrinking": (0, 0, 0, -0.06),
}
MOTIONS = tuple(_SPEEDS)

# Triangle, square and star: corners -> radius of every second one. No circle, which has no angle.
_CORNERS = {3: 1.0, 4: 1.0, 10: 0.45}
_RADII = (0.15, 0.35)  # smallest and largest, in sides of the image
_FPS = 12
_RECIPE = "motion.json"  # what the folder was made from; also marks it as ours
_VERSION = 1  # to be raised whenever the same arguments give other clips


@dataclass(frozen=True)
class Pose:
    """Where a shape is: ``x``, ``y``, ``angle`` and ``size``, all cyclic in 0..1."""

    x: float
    y: float
    angle: float
    size: float


def poses(start: Pose, motion: str, frames: int) -> list[Pose]:
    """Where a shape that was at ``start`` in the first frame is in each of ``frames`` frames."""
    first = np.array([start.x, start.y, start.angle, start.size])
    return [Pose(*(first + frame * np.array(_SPEEDS[motion])) % 1) for frame in range(frames)]


def draw_clip(rng: np.random.Generator, motion: str, frames: int, side: int) -> list[np.ndarray]:
    """A clip of ``frames`` frames, each uint8, side x side x 3, BGR."""
    corners = int(rng.choice(list(_CORNERS)))
    coarse = rng.uniform(20, 110, size=3) + rng.uniform(-25, 25, size=(side // 8, side // 8, 1))
    ground = cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    ground = ground + rng.normal(0, 4, ground.shape)
    colour = rng.uniform(140, 255, size=3)
    shown = poses(Pose(*rng.random(4)), motion, frames)
    if motion == "turning" and rng.random() < 0.5:
        shown.reverse()
    return [_frame(ground, colour, corners, pose) for pose in shown]


def _frame(ground: np.ndarray, colour: np.ndarray, corners: int, pose: Pose) -> np.ndarray:
    side, fine = len(ground), 4  # drawn four times finer: smooth edges, motion of a part of a pixel shows
    radius = _RADII[0] * (_RADII[1] / _RADII[0]) ** pose.size
    angles = 2 * np.pi * (pose.angle + np.arange(corners) / corners)
    radii = radius * np.where(np.arange(corners) % 2, _CORNERS[corners], 1.0)
    outline = np.array([pose.x, pose.y]) + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mask = np.zeros((fine * side, fine * side), np.float32)
    for wrap in product((-1, 0, 1), repeat=2):  # what leaves on one side comes in on the other
        cv2.fillPoly(mask, [np.round((outline + wrap) * fine * side).astype(np.int32)], 1.0)
    alpha = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)[..., None]
    return np.clip(ground * (1 - alpha) + colour * alpha, 0, 255).round().astype(np.uint8)


def write_motion_clips(
    root: str | os.PathLike[str],
    *,
    train: int = 40,
    val: int = 10,
    frames: int = 16,
    side: int = 64,
    seed: int = 0,
    progress: Progress = silent,
) -> bool:
    """Write the data set unless ``root`` already holds it; return whether anything was written.

    Args:
        train, val: clips of each class.
        side: pixels.

    The same arguments give the same frames. A data set made by this function from other arguments is replaced, and the
    folder appears under its name only when complete.

    Raises:
        UserError: ``root`` exists and is something else, or OpenCV writes no mp4.
    """

    def write(folder: Path) -> None:
        (folder / "label_map_k400.txt").write_text("".join(f"{motion}\n" for motion in MOTIONS))
        done = 0
        for number, (split, count) in enumerate((("train", train), ("val", val))):
            for _ in _write_split(folder, split, count, frames, side, np.random.default_rng([seed, number])):
                progress("drawing clips", done := done + 1, len(MOTIONS) * (train + val))

    recipe = {"version": _VERSION, "train": train, "val": val, "frames": frames, "side": side, "seed": seed}
    return write_once(root, _RECIPE, recipe, write)


def _write_split(
    root: Path, split: str, count: int, frames: int, side: int, rng: np.random.Generator
) -> Iterator[Path]:
    """Write ``count`` clips of each class and their list, yielding each clip's path when it is written."""
    lines = []
    for number, (label, motion) in product(range(count), enumerate(MOTIONS)):
        name = f"{motion}/{number:05d}.mp4"
        path = root / f"videos_{split}" / name
        write_mp4(path, draw_clip(rng, motion, frames, side))
        lines.append(f"{name} {label}\n")
        yield path
    (root / f"kinetics400_{split}_list_videos.txt").write_text("".join(lines))


def write_mp4(path: Path, frames: list[np.ndarray]) -> None:
    """Write frames (uint8, H x W x 3, BGR) as MPEG-4 video.

    Raises:
        UserError: this OpenCV was built without video.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _FPS, (width, height))
    if not writer.isOpened():
        raise UserError(f"this OpenCV cannot write {path}: swinv2 doctor says which one to install")
    for frame in frames:
        writer.write(frame)
    writer.release()
