"""What every format of own data is read into, and the split into training and validation where there is none."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = [
    "IMAGES",
    "SPLITS",
    "Found",
    "Sample",
    "common_folder",
    "find_images",
    "image_size",
    "split_folder",
    "split_samples",
]

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# What a folder or a file of a split is called, in order of preference.
SPLITS = {
    "train": ("train", "training", "train2017", "videos_train"),
    "val": ("val", "valid", "validation", "val2017", "videos_val", "test"),
}
_VAL_SHARE, _VAL_MOST = 0.2, 2000
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION = 0x0112


@dataclass
class Sample:
    """One image or clip. ``classes``: names of the classes in it; ``objects``: annotations as COCO has them, with the
    class name as ``category``; ``map``: the file of its index map; ``size``: (height, width), where it was read."""

    path: Path
    classes: list[str] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    map: Path | None = None
    size: tuple[int, int] | None = None


@dataclass
class Found:
    """Own data as read. ``splits``: 'train' and, where the data have one, 'val'. ``notes``: for the user."""

    format: str
    root: Path
    classes: list[str]
    splits: dict[str, list[Sample]]
    notes: list[str] = field(default_factory=list)
    masks: bool = False


def split_samples(samples: Sequence[Sample], seed: int) -> dict[str, list[Sample]]:
    """A fifth of the samples, at most 2000, becomes the validation set, drawn at random.

    A sample that is the only one with some class is trained on; apart from that the shares are the same everywhere.

    Raises:
        UserError: there are fewer than two samples.
    """
    if len(samples) < 2:
        raise UserError(f"own data: {len(samples)} samples cannot be split into training and validation; add some")
    wanted = max(1, min(_VAL_MOST, round(_VAL_SHARE * len(samples))))
    left = Counter(name for sample in samples for name in set(sample.classes))
    order = list(range(len(samples)))
    random.Random(seed).shuffle(order)
    chosen: set[int] = set()
    for index in order:
        names = set(samples[index].classes)
        if len(chosen) < wanted and all(left[name] > 1 for name in names):
            chosen.add(index)
            left.subtract(names)
    if not chosen:  # every sample is the only one of its class
        chosen = {order[0]}
    parts = {"train": set(range(len(samples))) - chosen, "val": chosen}
    return {name: [samples[index] for index in sorted(indices)] for name, indices in parts.items()}


def common_folder(splits: dict[str, list[Sample]]) -> Path:
    """The innermost folder that holds all of the samples' files."""
    return Path(os.path.commonpath([sample.path.parent for samples in splits.values() for sample in samples]))


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split in ``root``, whatever it is called, or None."""
    return next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)


def find_images(folder: Path, suffixes: Sequence[str] = IMAGES) -> Iterator[Path]:
    """Images in a folder and the folders in it, sorted."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(tuple(suffixes)) and not name.startswith("."):
                yield Path(parent, name)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels as decoded, which an EXIF orientation may turn; only the header is read.

    Raises:
        UserError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{shown(path)} is no image that can be read ({error}): replace or remove it") from error
    return (width, height) if turned else (height, width)
