"""A generated data set of drawn landscapes in ADE20K's format: its folder names, and its indices of seven classes.

ROOT/images/{training,validation}/00000001.jpg
ROOT/annotations/{training,validation}/00000001.png   uint8: 0 other, else as in INDICES
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from swinv2_dense.demo.generated import put_image, write_once
from swinv2_dense.demo.landscapes import CLASSES, draw_landscape
from swinv2_dense.progress import Progress, silent

__all__ = ["INDICES", "write_landscapes_ade20k"]

# As objectInfo150.txt of ADEChallengeData2016 numbers them.
INDICES = {"sky": 3, "mountain": 17, "sea": 27, "grass": 10, "road": 7, "tree": 5, "house": 26}

_VERSION = 1  # to be raised whenever the same arguments give other images
_STORED = np.array([*(INDICES[name] for name in CLASSES), 0], np.uint8)  # of each label of a landscape


def write_landscapes_ade20k(
    root: str | os.PathLike[str],
    *,
    train: int = 500,
    val: int = 50,
    side: int = 112,
    seed: int = 0,
    progress: Progress = silent,
) -> bool:
    """Write the data set unless ``root`` already holds it; return whether anything was written.

    Images are between 3/4 ``side`` and ``side`` pixels high and wide. The same arguments give the same files.

    Raises UserError when ``root`` exists and is something else.
    """

    def write(folder: Path) -> None:
        for number, (split, first, count) in enumerate((("training", 0, train), ("validation", train, val))):
            for done in _write_split(folder, split, count, side, np.random.default_rng([seed, number])):
                progress("drawing images", first + done, train + val)

    recipe = {"format": "ade20k", "version": _VERSION, "train": train, "val": val, "side": side, "seed": seed}
    return write_once(root, "landscapes.json", recipe, write)


def _write_split(root: Path, split: str, count: int, side: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields the number of images that it has written, after each."""
    images, maps = root / "images" / split, root / "annotations" / split
    for folder in (images, maps):
        folder.mkdir(parents=True)
    for number in range(1, count + 1):
        height, width = rng.integers(side * 3 // 4, side + 1, size=2)
        landscape = draw_landscape(rng, (int(height), int(width)))
        put_image(images / f"{number:08d}.jpg", landscape.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        put_image(maps / f"{number:08d}.png", _STORED[landscape.labels])
        yield number
