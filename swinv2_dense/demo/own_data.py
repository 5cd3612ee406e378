"""Drawn data in the layouts of docs/own_data, so that its pages can be followed without data of one's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from swinv2_dense.demo.close_ups import write_close_ups
from swinv2_dense.demo.generated import put_image, write_once
from swinv2_dense.demo.landscapes import CLASSES as LANDSCAPE
from swinv2_dense.demo.landscapes import draw_close_up, draw_landscape
from swinv2_dense.demo.motion_clips import MOTIONS, draw_clip, write_mp4
from swinv2_dense.demo.shapes import draw_scene
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.files import write_text
from swinv2_dense.progress import Progress, silent

__all__ = ["KINDS", "draw_own_data"]

_QUICK = {"train": 8, "val": 4}
_VERSION = 1  # to be raised whenever the same arguments give others


def draw_own_data(
    kind: str, folder: Path, seed: int = 0, *, quick: bool = False, progress: Progress = silent
) -> tuple[Path, Path]:
    """Draw data to train on, and an image or clip that is not among them; returns the two paths in ``folder``.

    Args:
        kind: of KINDS.
        quick: a few images only.

    Raises:
        UserError: the data's folder exists and is something else.
    """
    root, rng = folder / f"my_{kind}", np.random.default_rng([seed, 2])
    KINDS[kind](root, seed, quick, progress)
    new = folder / f"new_{kind}.{'mp4' if kind == 'clips' else 'jpg'}"
    if kind == "clips":
        write_mp4(new, draw_clip(rng, "growing", 16, 64))
    elif kind == "classes":
        put_image(new, draw_close_up(np.random.default_rng([seed, 5]), 240)[0])
    elif kind == "maps":
        put_image(new, draw_landscape(rng, (210, 320)).image)
    else:
        put_image(new, draw_scene(rng, (240, 320), 6).image)
    return root, new


def _shapes(root: Path, seed: int, quick: bool, progress: Progress) -> None:
    write_shapes_coco(root, seed=seed, progress=progress, **(_QUICK if quick else {}))


def _maps(root: Path, seed: int, quick: bool, progress: Progress) -> None:
    counts = _QUICK if quick else {"train": 300, "val": 50}
    total = sum(counts.values())

    def write(work: Path) -> None:
        done = 0
        for number, (split, count) in enumerate(counts.items()):
            rng = np.random.default_rng([seed, number])
            for name in (f"{i:04d}" for i in range(count)):
                drawn = draw_landscape(rng, (int(rng.integers(84, 113)), int(rng.integers(84, 113))))
                values = ((drawn.labels + 1) % (len(LANDSCAPE) + 1)).astype(np.uint8)  # 0 for other, which comes last
                for path, image in ((f"images/{split}/{name}.jpg", drawn.image), (f"masks/{split}/{name}.png", values)):
                    (work / path).parent.mkdir(parents=True, exist_ok=True)
                    put_image(work / path, image)
                progress("drawing images", done := done + 1, total)
        write_text(work / "classes.txt", "".join(f"{name}\n" for name in LANDSCAPE))

    write_once(root, "landscapes.json", {"version": _VERSION, **counts, "seed": seed}, write)


def _classes(root: Path, seed: int, quick: bool, progress: Progress) -> None:
    write_close_ups(root, seed=seed, progress=progress, **({"train": 64, "val": 32, "side": 64} if quick else {}))


def _clips(root: Path, seed: int, quick: bool, progress: Progress) -> None:
    counts = {"train": 2, "val": 1} if quick else {"train": 40, "val": 10}
    total = len(MOTIONS) * sum(counts.values())

    def write(work: Path) -> None:
        done = 0
        for number, (split, count) in enumerate(counts.items()):
            rng = np.random.default_rng([seed, number])
            for clip, motion in product(range(count), MOTIONS):
                write_mp4(work / split / motion / f"{clip:05d}.mp4", draw_clip(rng, motion, 16, 64))
                progress("drawing clips", done := done + 1, total)

    write_once(root, "clips.json", {"version": _VERSION, **counts, "seed": seed}, write)


# Of each page of docs/own_data what draws its data.
KINDS: dict[str, Callable[[Path, int, bool, Progress], None]] = {
    "boxes": _shapes,
    "masks": _shapes,
    "maps": _maps,
    "classes": _classes,
    "clips": _clips,
}
