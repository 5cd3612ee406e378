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

from swinv2_dense.checks.images import is_turned
from swinv2_dense.errors import UserError
from swinv2_dense.files import files_below, shown
from swinv2_dense.suffixes import IMAGES

__all__ = [
    "SPLITS",
    "Found",
    "Sample",
    "common_folder",
    "find_images",
    "image_size",
    "split_folder",
    "split_folders",
    "split_samples",
]

# What a folder or a file of a split is called, in order of preference.
SPLITS = {
    "train": ("train", "training", "train2017", "videos_train"),
    "val": ("val", "valid", "validation", "val2017", "videos_val", "dev", "eval", "test", "testing"),
}
_VAL_SHARE, _VAL_MOST = 0.2, 2000


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
    Altered copies of one image, which Roboflow calls ``NAME.rf.HASH.jpg``, stay together.

    Raises:
        UserError: there are fewer than two samples, or all are copies of one image.
    """
    if len(samples) < 2:
        raise UserError(f"own data: {len(samples)} samples cannot be split into training and validation; add some")
    copies: dict[Path, list[int]] = {}
    for index, sample in enumerate(samples):
        copies.setdefault(sample.path.with_name(sample.path.name.split(".rf.")[0]), []).append(index)
    if len(copies) < 2:
        raise UserError(
            f"own data: all {len(samples)} samples are copies of {next(iter(copies)).name}, which cannot be split; "
            "add other images"
        )
    groups = list(copies.values())
    least = min(map(len, groups))
    wanted = max(least, min(_VAL_MOST, round(_VAL_SHARE * len(samples))))
    left = Counter(name for sample in samples for name in set(sample.classes))
    random.Random(seed).shuffle(groups)
    chosen: set[int] = set()
    for group in groups:
        held = Counter(name for index in group for name in set(samples[index].classes))
        if len(chosen) + len(group) <= wanted and all(left[name] > count for name, count in held.items()):
            chosen.update(group)
            left.subtract(held)
    if not chosen:  # every image is the only one of its class
        chosen = set(next(group for group in groups if len(group) == least))
    parts = {"train": set(range(len(samples))) - chosen, "val": chosen}
    return {name: [samples[index] for index in sorted(indices)] for name, indices in parts.items()}


def common_folder(splits: dict[str, list[Sample]]) -> Path:
    """The innermost folder that holds all of the samples' files."""
    folders = {sample.path.parent for samples in splits.values() for sample in samples}
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise UserError(f"own data: the files lie on several drives ({error}): bring them to one") from error


def split_folders(root: Path, split: str) -> list[Path]:
    """The folders of a split in ``root``, in order of preference; capitals do not matter."""
    ranked = [
        (SPLITS[split].index(path.name.lower()), path)
        for path in root.iterdir()
        if path.name.lower() in SPLITS[split] and path.is_dir()
    ]
    return [path for _, path in sorted(ranked)]


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split in ``root``, whatever it is called, or None."""
    return next(iter(split_folders(root, split)), None)


def find_images(folder: Path, suffixes: Sequence[str] = IMAGES) -> Iterator[Path]:
    """Images in a folder and the folders in it, sorted."""
    return (path for path in files_below(folder) if path.name.lower().endswith(tuple(suffixes)))


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels as decoded, which an EXIF orientation may turn; only the header is read.

    Raises:
        UserError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = is_turned(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{shown(path)} is no image that can be read ({error}): replace or remove it") from error
    return (width, height) if turned else (height, width)
