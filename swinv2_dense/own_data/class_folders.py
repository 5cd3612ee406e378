"""A folder a class: images for classification, or clips."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.own_data.samples import SPLITS, Found, Sample, find_images, split_folders
from swinv2_dense.suffixes import CLIPS, IMAGES

__all__ = ["read_class_folders"]

_SPLIT = re.compile("train|val|test|dev|eval", re.IGNORECASE)


def read_class_folders(folder: Path, *, clips: bool = False) -> Found:
    """Read ``FOLDER/CLASS/FILE``, or ``FOLDER/{train,val}/CLASS/FILE``; classes are in the order of their names.

    Raises:
        UserError: fewer than two classes, a class without files, or a validation class that is not trained on.
    """
    suffixes, what = (CLIPS, "clips") if clips else (IMAGES, "images")
    roots = {"train": folder} | _splits(folder)
    classes = _classes(roots["train"])
    if len(classes) < 2:
        raise UserError(
            f"{shown(roots['train'])} holds {len(classes)} class folders: give one folder of {what} a class"
        )
    splits = {}
    for split, root in roots.items():
        if strangers := sorted(set(_classes(root)) - set(classes)):
            raise UserError(
                f"{shown(root / strangers[0])} is a class that is not trained on: add it to {roots['train'].name}"
            )
        splits[split] = _samples(root, classes, suffixes, what, all_needed=split == "train")
    return Found(f"class folders of {what}", folder.absolute(), classes, splits)


def _splits(folder: Path) -> dict[str, Path]:
    """The folders of splits: those of a split's name that hold folders, for one that holds files is a class.

    Files beside folders make no class of a folder that holds the same folders as another.
    """
    inside = {name: set(_classes(_unwrapped(folder / name))) for name in _classes(folder)}
    files = {name for name in inside if _holds_files(folder / name)}
    held = {
        name: names
        for name, names in inside.items()
        if name not in files or any(names & others for other, others in inside.items() if other != name)
    }
    found = {}
    for split in SPLITS:
        if path := next((path for path in split_folders(folder, split) if held.get(path.name)), None):
            found[split] = path
    if "train" in found:
        train = found["train"].name
        alike = [] if "val" in found else [name for name in held if name != train and held[name] & held[train]]
    elif "val" in found:
        raise UserError(f"{shown(folder)} holds {found['val'].name} and no train: call the folder to train on train")
    else:
        same = not files and len(held) > 1 and len({frozenset(names) for names in held.values()}) == 1
        alike = [
            name
            for name in held
            if (same and len(held[name]) > 1)
            or (_SPLIT.search(name) and any(held[name] & held[other] for other in held if other != name))
        ]
    if alike:
        raise UserError(
            f"{shown(folder)} holds {', '.join(held)}, which look like splits, not classes, because they hold the same "
            "folders: call them train and val, or put the files of a class into its folder itself"
        )
    return found


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the one with folders that is all it holds, as archives have it: seg_train/seg_train."""
    while len(inner := _classes(folder)) == 1 and not _holds_files(folder) and _classes(folder / inner[0]):
        folder = folder / inner[0]
    return folder


def _holds_files(folder: Path) -> bool:
    """Whether files that could be trained on lie in a folder itself."""
    return any(path.name.lower().endswith((*IMAGES, *CLIPS)) and path.name[0] != "." for path in folder.iterdir())


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
    return sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )
