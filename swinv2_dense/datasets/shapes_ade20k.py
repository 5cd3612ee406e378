"""A generated data set of drawn shapes in ADE20K's format and with ADE20K's folder names.

    ROOT/images/{training,validation}/00000001.jpg
    ROOT/annotations/{training,validation}/00000001.png   uint8: 0 other, then 1 to 5 as in LABELS

Shapes and the ground are classes; a cluster of small shapes is "other".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from swinv2_dense.datasets.generated import write_once
from swinv2_dense.datasets.shapes import CLASSES, Scene, draw_scene

__all__ = ["LABELS", "write_shapes_ade20k"]

LABELS = (*CLASSES, "ground")

_VERSION = 1  # to be raised whenever the same arguments give other pictures
_CLUSTER_EVERY = 8  # pictures
_RADII = (0.2, 0.36)  # of a shape, in short sides of the picture


def write_shapes_ade20k(
    root: str | os.PathLike[str],
    *,
    train: int = 600,
    val: int = 50,
    side: int = 112,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> bool:
    """Write the data set unless ``root`` already holds it; return whether anything was written.

    Pictures are between 3/4 ``side`` and ``side`` pixels high and wide. The same arguments give the same files.
    ``progress`` is called with the number of pictures written so far.

    Raises UserError when ``root`` exists and is something else.
    """

    def write(folder: Path) -> None:
        _write_split(folder, "training", train, side, np.random.default_rng([seed, 0]), progress)
        _write_split(
            folder, "validation", val, side, np.random.default_rng([seed, 1]), lambda done: progress(train + done)
        )

    recipe = {"format": "ade20k", "version": _VERSION, "train": train, "val": val, "side": side, "seed": seed}
    return write_once(root, "shapes.json", recipe, write)


def _write_split(
    root: Path, split: str, count: int, side: int, rng: np.random.Generator, progress: Callable[[int], object]
) -> None:
    pictures, maps = root / "images" / split, root / "annotations" / split
    for folder in (pictures, maps):
        folder.mkdir(parents=True)
    for number in range(1, count + 1):
        size = (int(rng.integers(side * 3 // 4, side + 1)), int(rng.integers(side * 3 // 4, side + 1)))
        crowd = number % _CLUSTER_EVERY == 2
        scene = draw_scene(rng, size, int(rng.integers(1, 4)), crowd=crowd, radii=_RADII)
        cv2.imwrite(str(pictures / f"{number:08d}.jpg"), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(maps / f"{number:08d}.png"), _index_map(scene))
        progress(number)


def _index_map(scene: Scene) -> np.ndarray:
    labels = np.full(scene.image.shape[:2], len(LABELS), np.uint8)
    for instance in scene.instances:
        labels[instance.mask] = 0 if instance.crowd else 1 + instance.category
    return labels
