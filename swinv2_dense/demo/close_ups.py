"""Close-ups of drawn landscapes in class folders, as ImageNet's images are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from swinv2_dense.demo.generated import put_image, write_once
from swinv2_dense.demo.landscapes import CLASSES, draw_close_up
from swinv2_dense.progress import Progress, silent

__all__ = ["write_close_ups"]

_VERSION = 1  # to be raised whenever the same arguments give other images


def write_close_ups(
    root: str | os.PathLike[str],
    *,
    train: int = 1200,
    val: int = 200,
    side: int = 96,
    seed: int = 0,
    progress: Progress = silent,
) -> bool:
    """Write ROOT/{train,val}/CLASS/NUMBER.png unless they are there; return whether anything was written.

    Images have ``side`` pixels. The same arguments give the same files.

    Raises UserError when ``root`` exists and is something else.
    """

    def write(folder: Path) -> None:
        for done, split, count, number in ((0, "train", train, 0), (train, "val", val, 1)):
            rng = np.random.default_rng([seed, number])
            for name in CLASSES:
                (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image, category = draw_close_up(rng, side)
                put_image(folder / split / CLASSES[category] / f"{i:05d}.png", image)
                progress("drawing images", done + i + 1, train + val)

    recipe = {"format": "class folders", "version": _VERSION, "train": train, "val": val, "side": side, "seed": seed}
    return write_once(root, "close_ups.json", recipe, write)
