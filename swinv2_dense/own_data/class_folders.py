"""A folder a class: images for classification, or clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.own_data.samples import IMAGES, SPLITS, Found, Sample, find_images, split_folder

__all__ = ["CLIPS", "read_class_folders"]

CLIPS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")


def read_class_folders(folder: Path, *, clips: bool = False) -> Found:
    """Read ``FOLDER/CLASS/FILE``, or ``FOLDER/{train,val}/CLASS/FILE``; classes are in the order of their names.

    Raises:
        UserError: fewer than two classes, a class without files, or a validation class that is not trained on.
    """
    suffixes, what = (CLIPS, "clips") if clips else (IMAGES, "images")
    train, val = split_folder(folder, "train"), split_folder(folder, "val")
    roots = {"train": folder}
    if train is not None and _classes(train):
        roots = {"train": train} | ({"val": val} if val is not None and _classes(val) else {})
    classes = _classes(roots["train"])
    if len(classes) < 2:
        raise UserError(
            f"{shown(roots['train'])} holds {len(classes)} class folders: give one folder of {what} a class"
        )
    if any(name.startswith("train") or name.endswith("train") for name in classes) and len(classes) <= 3:
        raise UserError(
            f"{shown(folder)} holds {', '.join(classes)}, which look like splits, not classes: call them train and val"
        )
    splits = {}
    for split, root in roots.items():
        if strangers := sorted(set(_classes(root)) - set(classes)):
            raise UserError(
                f"{shown(root / strangers[0])} is a class that is not trained on: add it to {SPLITS['train'][0]}"
            )
        splits[split] = _samples(root, classes, suffixes, what, all_needed=split == "train")
    return Found(f"class folders of {what}", folder.absolute(), classes, splits)


def _samples(
    root: Path, classes: Sequence[str], suffixes: Sequence[str], what: str, *, all_needed: bool
) -> list[Sample]:
    samples = []
    for name in classes:
        found = [Sample(path.absolute(), [name]) for path in find_images(root / name, suffixes)]
        if not found and all_needed:
            raise UserError(
                f"{shown(root / name)} holds no {what}: every class needs some, so fill or remove the folder"
            )
        samples += found
    return samples


def _classes(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
